"""Terms that compare what the models put out: words and embeddings.

Axes: B = batch, K = masked places.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax

from autodistill.distill.layer_map import LayerMap
from autodistill.distill.objectives import (
    cosine_distance,
    label_cross_entropy,
    similarity_divergence,
    soft_target_kl,
    state_error,
    top_k_kl,
)
from autodistill.distill.quantities import (
    PassageOutputs,
    Quantity,
    SoftTargetOutputs,
    TokenOutputs,
)
from autodistill.distill.terms import Compared, Need


@dataclass(frozen=True)
class MaskedLM:
    """Cross-entropy with the words that were masked."""

    kind: ClassVar[str] = "places"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.HEAD})
    name: ClassVar[str] = "masked_lm"

    def __call__(self, seen: Compared) -> jax.Array:
        assert seen.student.logits is not None, "checked by the recipe"
        return label_cross_entropy(seen.student.logits, seen.batch["labels"])

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return set()


@dataclass(frozen=True)
class SoftTargets:
    """Divergence from the teacher's distribution over the vocabulary, at masked places.

    From kept outputs: over the classes that were kept, and all others as one.
    """

    kind: ClassVar[str] = "places"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.HEAD})
    name: ClassVar[str] = "soft_targets"
    temperature: float = 1.0

    def __call__(self, seen: Compared) -> jax.Array:
        assert seen.student.logits is not None, "checked by the recipe"
        if kept := seen.teacher.likeliest.get(self.temperature):
            return top_k_kl(seen.student.logits, *kept, temperature=self.temperature)
        assert seen.teacher.logits is not None, "checked by the recipe"
        return soft_target_kl(
            seen.student.logits, seen.teacher.logits, temperature=self.temperature
        )

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return {SoftTargetOutputs(self.temperature, classes)}


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

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return {TokenOutputs()}


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

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return {PassageOutputs()}


@dataclass(frozen=True)
class PassageCosine:
    """One less the cosine of the passage embeddings."""

    kind: ClassVar[str] = "passages"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.EMBEDDING})
    name: ClassVar[str] = "passage_cosine"

    def __call__(self, seen: Compared) -> jax.Array:
        assert seen.student.passages is not None, "checked by the recipe"
        assert seen.teacher.passages is not None, "checked by the recipe"
        return cosine_distance(seen.student.passages, seen.teacher.passages)

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return {PassageOutputs()}


@dataclass(frozen=True)
class PassageSimilarity:
    """Divergence of each passage's similarities to the others of the batch.

    The batch is what it is compared within, so micro-batches would change its value.
    """

    kind: ClassVar[str] = "passages"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.EMBEDDING, Need.WHOLE_BATCH})
    name: ClassVar[str] = "passage_similarity"
    temperature: float = 0.05

    def __call__(self, seen: Compared) -> jax.Array:
        assert seen.student.passages is not None, "checked by the recipe"
        assert seen.teacher.passages is not None, "checked by the recipe"
        return similarity_divergence(
            seen.student.passages, seen.teacher.passages, temperature=self.temperature
        )

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        return {PassageOutputs()}
