"""Terms that compare layers: hidden states, attention and its relations, blocks.

Where several layers are mapped, their losses are summed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import jax

from autodistill.distill import layer_map as maps
from autodistill.distill.attention import attention_divergence, attention_scores, score_error
from autodistill.distill.feature_maps import feature_map_errors
from autodistill.distill.layer_map import LayerMap, pairs
from autodistill.distill.objectives import cosine_distance, mean_squared_error
from autodistill.distill.quantities import Attention, Quantity, State
from autodistill.distill.relations import relation_divergence, relation_heads
from autodistill.distill.terms import Compared, Need
from autodistill.distill.views import View, applied


@dataclass(frozen=True)
class WordStates:
    """Mean squared error of what the embeddings put out."""

    kind: ClassVar[str] = "tokens"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.WORD_PROJECTION})
    name: ClassVar[str] = "word_states"

    def __call__(self, seen: Compared) -> jax.Array:
        return mean_squared_error(seen.projected(0), seen.teacher.states[0])

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return {State(0)}


@dataclass(frozen=True)
class HiddenStates:
    """Mean squared error of states, summed over mapped layers."""

    kind: ClassVar[str] = "tokens"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROJECTIONS})
    name: ClassVar[str] = "hidden_states"

    def __call__(self, seen: Compared) -> jax.Array:
        return _sum(
            mean_squared_error(seen.projected(i), seen.teacher.states[j]) for i, j in seen.pairs()
        )

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return {State(j) for _, j in pairs(layers)}


@dataclass(frozen=True)
class CosineStates:
    """One less the cosine of states, summed over mapped layers."""

    kind: ClassVar[str] = "tokens"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROJECTIONS})
    name: ClassVar[str] = "cosine"

    def __call__(self, seen: Compared) -> jax.Array:
        return _sum(
            cosine_distance(seen.projected(i), seen.teacher.states[j]) for i, j in seen.pairs()
        )

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return {State(j) for _, j in pairs(layers)}


@dataclass(frozen=True)
class FeatureMap:
    """One of ``feature_map_errors``, summed over mapped layers."""

    kind: ClassVar[str] = "tokens"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROJECTIONS})
    part: str  # normalised, mean or variance

    @property
    def name(self) -> str:
        """Which part."""
        return f"feature_map_{self.part}"

    def __call__(self, seen: Compared) -> jax.Array:
        return _sum(
            getattr(feature_map_errors(seen.projected(i), seen.teacher.states[j]), self.part)
            for i, j in seen.pairs()
        )

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return {State(j) for _, j in pairs(layers)}


@dataclass(frozen=True)
class AttentionProbabilities:
    """Divergence of attention probabilities, summed over mapped layers."""

    kind: ClassVar[str] = "tokens"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.EQUAL_HEADS})
    name: ClassVar[str] = "attention"

    def __call__(self, seen: Compared) -> jax.Array:
        return _sum(
            attention_divergence(
                seen.student.attended[i]["probabilities"], seen.teacher.attended[j]["probabilities"]
            )
            for i, j in seen.pairs()
        )

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return {Attention(j, of) for _, j in pairs(layers) for of in ("query", "key")}


@dataclass(frozen=True)
class AttentionScores:
    """Squared error of attention scores, before the softmax, summed over mapped layers."""

    kind: ClassVar[str] = "tokens"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.EQUAL_HEADS})
    name: ClassVar[str] = "attention_scores"

    def __call__(self, seen: Compared) -> jax.Array:
        def scores(view: View, layer: int) -> jax.Array:
            one = view.attended[layer]
            return attention_scores(one["query"], one["key"], view.config.num_attention_heads)

        return _sum(
            score_error(scores(seen.student, i), scores(seen.teacher, j), seen.batch["mask"])
            for i, j in seen.pairs()
        )

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return {Attention(j, of) for _, j in pairs(layers) for of in ("query", "key")}


@dataclass(frozen=True)
class Relations:
    """Divergence of the relations among queries, keys or values, over mapped layers."""

    kind: ClassVar[str] = "tokens"
    needs: ClassVar[frozenset[Need]] = frozenset()
    of: str  # query, key or value
    heads: int | None = None  # the most that divide both widths, if not given

    @property
    def name(self) -> str:
        """Relations of what."""
        return f"{self.of}_relations"

    def __call__(self, seen: Compared) -> jax.Array:
        def one(i: int, j: int) -> jax.Array:
            ours = seen.student.attended[i][self.of]
            theirs = seen.teacher.attended[j][self.of]
            heads = self.heads or relation_heads(ours.shape[-1], theirs.shape[-1])
            return relation_divergence(ours, theirs, seen.batch["mask"], heads=heads)

        return _sum(one(i, j) for i, j in seen.pairs())

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return {Attention(j, self.of) for _, j in pairs(layers)}


@dataclass(frozen=True)
class Blocks:
    """Error of each block of layers, fed with what the teacher's block is fed with.

    The mapped layers cut the student into blocks. The first reads the student's own
    embeddings; the others the teacher's states, through a projection where the
    widths differ, so that no block waits for those below it.
    """

    kind: ClassVar[str] = "tokens"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROJECTIONS, Need.BLOCKS})
    name: ClassVar[str] = "blocks"

    def __call__(self, seen: Compared) -> jax.Array:
        def one(begin: int, end: int, teacher_begin: int, teacher_end: int) -> jax.Array:
            given = seen.student.states[0]
            if begin:
                given = jax.lax.stop_gradient(seen.teacher.states[teacher_begin])
                inlet = f"inlet.{begin}"
                if f"{inlet}.kernel" in seen.params:
                    given = applied(seen.params, inlet, given)
            assert seen.student.run_layers is not None, "a student's view runs its layers"
            made, outlet = seen.student.run_layers(given, begin, end), f"projection.{end}"
            if f"{outlet}.kernel" in seen.params:
                made = applied(seen.params, outlet, made)
            return mean_squared_error(made, seen.teacher.states[teacher_end])

        return _sum(one(*block) for block in maps.blocks(seen.layers))

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        ends = {State(end) for *_, end in maps.blocks(layers)}
        return ends | {State(begin) for _, _, begin, _ in maps.blocks(layers) if begin}


def _sum(values: Iterator[jax.Array]) -> jax.Array:
    total = next(values)
    for value in values:
        total += value
    return total
