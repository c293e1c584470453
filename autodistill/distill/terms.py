"""Terms of a recipe's loss: the pure objectives, bound to what the models give.

A term says what it needs, and compares two views under a layer map. Where the
widths of student and teacher differ, the student's states go through a learned
projection, one for each of its layers, which is trained with it and then thrown
away.

Axes: B = batch, L = sequence, K = masked places.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

import jax

from autodistill.distill import layer_map as maps
from autodistill.distill.attention import attention_divergence, attention_scores, score_error
from autodistill.distill.feature_maps import feature_map_errors
from autodistill.distill.layer_map import LayerMap
from autodistill.distill.objectives import (
    cosine_distance,
    label_cross_entropy,
    mean_squared_error,
    similarity_divergence,
    soft_target_kl,
    state_error,
)
from autodistill.distill.relations import relation_divergence, relation_heads
from autodistill.distill.train_step import Batch
from autodistill.distill.views import ArraysByName, View, applied


class Need(StrEnum):
    """What a term asks of teacher and student."""

    HEAD = "a masked-LM head on the teacher"
    EMBEDDING = "an embedding teacher"
    EQUAL_HEADS = "equal num_attention_heads"
    PROJECTIONS = "projections of mapped states"
    WORD_PROJECTION = "a projection of the embedding's output"
    BLOCKS = "layers that can be run from the teacher's states"


@dataclass(frozen=True)
class Compared:
    """All that a term may read.

    Attributes:
        student: What the student makes of the batch.
        teacher: What the teacher makes of it.
        layers: Which layer learns from which.
        batch: See ``views.py``.
        params: The student's, with projections.
        variances: Of the teacher's ``tokens`` and ``passages``, summed over the width.
    """

    student: View
    teacher: View
    layers: LayerMap
    batch: Batch
    params: ArraysByName
    variances: Mapping[str, float]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Layers of student and teacher that the map pairs, counted from 1."""
        return ((i, j) for i, j in enumerate(self.layers, 1) if j is not None)

    def projected(self, layer: int) -> jax.Array:
        """A state of the student at the teacher's width."""
        states, name = self.student.states[layer], f"projection.{layer}"
        return applied(self.params, name, states) if f"{name}.kernel" in self.params else states


class Term(Protocol):
    """One kind of loss.

    Attributes:
        name: For records.
        kind: Of the positions that it has a value for: tokens (B, L), places (B, K)
            or passages (B,).
        needs: What it asks for.
    """

    kind: ClassVar[str]
    needs: ClassVar[frozenset[Need]]

    @property
    def name(self) -> str: ...

    def __call__(self, seen: Compared) -> jax.Array: ...


@dataclass(frozen=True)
class MaskedLM:
    """Cross-entropy with the words that were masked."""

    kind: ClassVar[str] = "places"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.HEAD})
    name: ClassVar[str] = "masked_lm"

    def __call__(self, seen: Compared) -> jax.Array:
        assert seen.student.logits is not None, "checked by the recipe"
        return label_cross_entropy(seen.student.logits, seen.batch["labels"])


@dataclass(frozen=True)
class SoftTargets:
    """Divergence from the teacher's distribution over the vocabulary, at masked places."""

    kind: ClassVar[str] = "places"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.HEAD})
    name: ClassVar[str] = "soft_targets"
    temperature: float = 1.0

    def __call__(self, seen: Compared) -> jax.Array:
        assert seen.student.logits is not None, "checked by the recipe"
        assert seen.teacher.logits is not None, "checked by the recipe"
        return soft_target_kl(
            seen.student.logits, seen.teacher.logits, temperature=self.temperature
        )


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


@dataclass(frozen=True)
class WordStates:
    """Mean squared error of what the embeddings put out."""

    kind: ClassVar[str] = "tokens"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.WORD_PROJECTION})
    name: ClassVar[str] = "word_states"

    def __call__(self, seen: Compared) -> jax.Array:
        return mean_squared_error(seen.projected(0), seen.teacher.states[0])


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


@dataclass(frozen=True)
class AttentionProbabilities:
    """Divergence of attention probabilities, summed over mapped layers."""

    kind: ClassVar[str] = "tokens"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.EQUAL_HEADS})
    name: ClassVar[str] = "attention"

    def __call__(self, seen: Compared) -> jax.Array:
        return _sum(
            attention_divergence(
                seen.student.attended[i].probabilities, seen.teacher.attended[j].probabilities
            )
            for i, j in seen.pairs()
        )


@dataclass(frozen=True)
class AttentionScores:
    """Squared error of attention scores, before the softmax, summed over mapped layers."""

    kind: ClassVar[str] = "tokens"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.EQUAL_HEADS})
    name: ClassVar[str] = "attention_scores"

    def __call__(self, seen: Compared) -> jax.Array:
        def scores(view: View, layer: int) -> jax.Array:
            one = view.attended[layer]
            return attention_scores(one.query, one.key, view.config.num_attention_heads)

        return _sum(
            score_error(scores(seen.student, i), scores(seen.teacher, j), seen.batch["mask"])
            for i, j in seen.pairs()
        )


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
            ours = getattr(seen.student.attended[i], self.of)
            theirs = getattr(seen.teacher.attended[j], self.of)
            heads = self.heads or relation_heads(ours.shape[-1], theirs.shape[-1])
            return relation_divergence(ours, theirs, seen.batch["mask"], heads=heads)

        return _sum(one(i, j) for i, j in seen.pairs())


@dataclass(frozen=True)
class TokenStates:
    """Error of each token's share of the passage embedding, in units of its variance."""

    kind: ClassVar[str] = "tokens"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.EMBEDDING})
    name: ClassVar[str] = "token_states"

    def __call__(self, seen: Compared) -> jax.Array:
        assert seen.student.tokens is not None, "checked by the recipe"
        assert seen.teacher.tokens is not None, "checked by the recipe"
        return state_error(seen.student.tokens, seen.teacher.tokens) / seen.variances["tokens"]


@dataclass(frozen=True)
class PassageEmbedding:
    """Error of the passage embedding, in units of its variance."""

    kind: ClassVar[str] = "passages"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.EMBEDDING})
    name: ClassVar[str] = "passage_embedding"

    def __call__(self, seen: Compared) -> jax.Array:
        assert seen.student.passages is not None, "checked by the recipe"
        assert seen.teacher.passages is not None, "checked by the recipe"
        errors = state_error(seen.student.passages, seen.teacher.passages)
        return errors / seen.variances["passages"]


@dataclass(frozen=True)
class PassageSimilarity:
    """Divergence of each passage's similarities to the others of the batch."""

    kind: ClassVar[str] = "passages"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.EMBEDDING})
    name: ClassVar[str] = "passage_similarity"
    temperature: float = 0.05

    def __call__(self, seen: Compared) -> jax.Array:
        assert seen.student.passages is not None, "checked by the recipe"
        assert seen.teacher.passages is not None, "checked by the recipe"
        return similarity_divergence(
            seen.student.passages, seen.teacher.passages, temperature=self.temperature
        )


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
            made, outlet = seen.student.run_layers(given, begin, end), f"projection.{end}"
            if f"{outlet}.kernel" in seen.params:
                made = applied(seen.params, outlet, made)
            return mean_squared_error(made, seen.teacher.states[teacher_end])

        return _sum(one(*block) for block in maps.blocks(seen.layers))


def _sum(values: Iterator[jax.Array]) -> jax.Array:
    total = next(values)
    for value in values:
        total += value
    return total
