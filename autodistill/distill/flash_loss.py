"""What a flash distillation minimises; see ``flash.py`` for why.

Axes: B = batch, L = sequence, H = hidden width, K = masked places.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autodistill.distill.objectives import (
    label_cross_entropy,
    state_error,
    top_k_kl,
    weighted_mean,
)
from autodistill.distill.output_layer import ROWS_FOR_TOKEN_FIT
from autodistill.distill.passage_set import PassageSet
from autodistill.distill.precision import as_multiplied
from autodistill.distill.student import Params, StudentProgram
from autodistill.distill.teacher_outputs import TeacherOutputs
from autodistill.models.product import product
from autodistill.teacher import Teacher, pool


@dataclass(frozen=True)
class FlashLoss:
    """The loss of a batch, and its parts.

    Attributes:
        teacher: Whose outputs a batch holds.
        token_variance: Of the teacher's token states, summed over the width.
        passage_variance: Of its passage embeddings, likewise; 1 where it has none.
        passage_weight: Of the passage error, against the token error's 1.
        output_scale: What the output layers are multiplied by while they are trained.
        dtype: Of states and of what is multiplied.
    """

    teacher: Teacher
    token_variance: float
    passage_variance: float
    passage_weight: float
    output_scale: float
    dtype: str

    @classmethod
    def of(
        cls,
        teacher: Teacher,
        passages: PassageSet,
        outputs: TeacherOutputs,
        *,
        passage_weight: float,
        dtype: str,
    ) -> "FlashLoss":
        """In units of the variance that the teacher's outputs for these passages have."""
        some = slice(0, ROWS_FOR_TOKEN_FIT)
        real = regressed(teacher, passages.input_ids[some], passages.attention_mask[some]) > 0
        states = outputs.states[some][real].astype(np.float32)
        passage = 1.0
        if outputs.passages is not None:
            passage = float(np.asarray(outputs.passages).var(0).sum())
        return cls(
            teacher,
            token_variance=max(float(states.var(0).sum()), 1e-12),
            passage_variance=max(passage, 1e-12),
            passage_weight=passage_weight,
            # Adam's steps have one size for all weights: with the output layers scaled
            # up to the size of the others, a step does not overthrow the fitted start.
            output_scale=outputs.states.shape[-1] ** 0.5,
            dtype=dtype,
        )

    def __call__(
        self, program: StudentProgram, params: Params, batch: dict[str, jax.Array]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Of a student with these parameters, (), and each part before its weight, ()."""
        params = as_multiplied(params, self.dtype)
        hidden = program.hidden(params, batch["ids"], batch["mask"], self.dtype)
        parts: dict[str, jax.Array] = {}
        pooling = self.teacher.pooling
        if pooling is None or pooling.is_linear:
            states = _apply(params["token_output"], hidden) / self.output_scale
            errors = state_error(states, batch["states"]) / self.token_variance
            parts["token"] = weighted_mean(
                errors, regressed(self.teacher, batch["ids"], batch["mask"])
            )
        if pooling is not None:
            pooled = pool(hidden, batch["mask"], pooling.mode)
            vectors = _apply(params["output"], pooled) / self.output_scale
            error = state_error(vectors, batch["passages"]).mean()
            parts["passage"] = error / self.passage_variance
        else:
            parts |= self._masked_parts(program, params, hidden, batch)
        total = sum(
            value * (self.passage_weight if name == "passage" else 1.0)
            for name, value in parts.items()
        )
        parts["loss"] = jnp.asarray(total)
        return parts["loss"], parts

    def _masked_parts(
        self,
        program: StudentProgram,
        params: Params,
        hidden: jax.Array,  # (B, L, H)
        batch: dict[str, jax.Array],
    ) -> dict[str, jax.Array]:
        """Losses over the vocabulary, on masked positions only."""
        where = batch["positions"][..., None]  # (B, K, 1)
        logits = program.logits(params, jnp.take_along_axis(hidden, where, axis=1))
        classes = batch["classes"].astype(jnp.int32)
        weights = batch["weights"]
        labels = weighted_mean(label_cross_entropy(logits, batch["labels"]), weights)
        soft = weighted_mean(top_k_kl(logits, batch["likeliest"], classes), weights)
        return {"label": 0.5 * labels, "soft": 0.5 * soft}


def regressed(teacher: Teacher, ids: Any, mask: Any) -> Any:
    """Positions whose states are regressed, as ones and zeros like ``mask``, (B, L).

    All tokens of a passage; under a masked-LM teacher not its first and last,
    where checkpoints keep outliers that would drown all other positions.
    """
    if teacher.pooling is not None:
        return mask
    special = teacher.special
    return mask * ((ids != special.cls) & (ids != special.sep))


def _apply(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return product(x, layer["kernel"]) + layer["bias"]
