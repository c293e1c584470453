"""What a teacher is: an encoder with a masked-LM head, or with the pooling of an embedding model.

Axes: B = batch, L = sequence, C = hidden width, E = embedding width.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from autodistill.corpus import SpecialTokens
from autodistill.models.checkpoint import Weights, parameter_count
from autodistill.models.config import EncoderConfig
from autodistill.models.encoder import Encoder
from autodistill.models.heads import MaskedLMHead


class TeacherKind(StrEnum):
    """What a teacher is for, and so how its students are judged."""

    MASKED_LM = "masked_lm"
    EMBEDDING = "embedding"

    @property
    def words(self) -> str:
        """As people write it."""
        return self.value.replace("_", "-")


@dataclass(frozen=True)
class DenseLayer:
    """A sentence-transformers ``Dense`` module: ``activation(x @ kernel + bias)``."""

    kernel: np.ndarray  # (in, out)
    bias: np.ndarray  # (out,)
    is_linear: bool

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x @ self.kernel + self.bias
        return y if self.is_linear else jnp.tanh(y)


@dataclass(frozen=True)
class Pooling:
    """How token states become one vector.

    Attributes:
        mode: ``mean`` or ``max`` over the tokens, or the first token (``cls``).
        dense: Layers applied to the pooled vector, in order.
        normalize: Whether the vector is brought to unit length at the end.
    """

    mode: str = "mean"
    dense: tuple[DenseLayer, ...] = ()
    normalize: bool = False

    @property
    def is_linear(self) -> bool:
        """Whether pooling and dense layers commute: a token then has its own share."""
        return self.mode in ("mean", "cls") and all(layer.is_linear for layer in self.dense)

    def project(self, states: jax.Array) -> jax.Array:
        """The dense layers, on pooled vectors or token states, (*batch, C) -> (*batch, E)."""
        for layer in self.dense:
            states = layer(states)
        return states


def pool(
    states: jax.Array,  # (B, L, C)
    attention_mask: jax.Array,  # (B, L)
    mode: str,
) -> jax.Array:  # (B, C)
    """Mean or maximum over the tokens, or the first token, in float32; padding is left out."""
    states = states.astype(jnp.float32)
    if mode == "cls":
        return states[:, 0]
    mask = attention_mask[..., None].astype(states.dtype)
    if mode == "mean":
        return (states * mask).sum(1) / mask.sum(1).clip(1e-9)
    return jnp.where(mask > 0, states, -jnp.inf).max(1)


@dataclass(frozen=True)
class Teacher:
    """A model to compress.

    Attributes:
        name: For people.
        folder: Where it was loaded from; its tokenizer files are copied to students,
            unless these have a vocabulary of their own.
        fingerprint: A digest of all that changes its outputs.
        kind: Masked-LM or embedding.
        weights: Arrays by checkpoint name, float32.
        head: Only of a masked-LM teacher.
        pooling: Only of an embedding teacher.
        notes: What was assumed in loading it, for people.
        whole: Where students have a vocabulary of their own, the teacher with all its
            words, of which this one is a part; see ``restrict.py``.
    """

    name: str
    folder: Path
    fingerprint: str
    kind: TeacherKind
    config: EncoderConfig
    weights: Weights
    encoder: Encoder
    head: MaskedLMHead | None
    pooling: Pooling | None
    tokenizer: Tokenizer
    special: SpecialTokens
    notes: tuple[str, ...] = ()
    whole: "Teacher | None" = None

    @property
    def parameters(self) -> int:
        """Number of weights that serving it needs."""
        dense = self.pooling.dense if self.pooling else ()
        return (
            parameter_count(self.encoder)
            + (parameter_count(self.head) if self.head else 0)
            + sum(layer.kernel.size + layer.bias.size for layer in dense)
        )

    @property
    def word_embeddings(self) -> np.ndarray:
        """The input table, (vocab, embedding width)."""
        return self.weights["embeddings.word_embeddings.weight"]

    @property
    def output_width(self) -> int:
        """Width of what students regress: the embedding, or the last hidden state."""
        if self.pooling is not None and self.pooling.dense:
            return int(self.pooling.dense[-1].kernel.shape[1])
        return self.config.hidden_size
