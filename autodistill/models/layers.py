"""Building blocks that both encoder families share.

Attributes carry the names of Hugging Face's modules, so that a parameter's
path *is* its checkpoint name (see ``checkpoint.py``).

Axes: B = batch, L = sequence, C = channels, H = heads, D = head width.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

ACTIVATION_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_new": partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


def _no_value(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
    """An initialiser that only says the shape: ``checkpoint.build`` brings the values."""
    return jax.ShapeDtypeStruct(shape, dtype)


def linear(inputs: int, outputs: int, rngs: nnx.Rngs, *, use_bias: bool = True) -> nnx.Linear:
    """A dense layer without values yet."""
    return nnx.Linear(
        inputs, outputs, use_bias=use_bias, kernel_init=_no_value, bias_init=_no_value, rngs=rngs
    )


def embed(entries: int, width: int, rngs: nnx.Rngs) -> nnx.Embed:
    """A table without values yet."""
    return nnx.Embed(entries, width, embedding_init=_no_value, rngs=rngs)


def position_rows(table: nnx.Embed, length: int) -> jax.Array:  # (length, C)
    """The first rows of a position table.

    Raises:
        ValueError: ``length`` exceeds the table; jax alone would return NaN.
    """
    if length > table.num_embeddings:
        raise ValueError(
            f"sequences may have {table.num_embeddings} tokens at most "
            f"(max_position_embeddings); got {length}"
        )
    return table(jnp.arange(length))


class NoNorm(nnx.Module):
    """An element-wise affine map in the place of layer norm (MobileBERT, section 3.2)."""

    def __init__(self, width: int) -> None:
        self.scale = nnx.Param(jax.ShapeDtypeStruct((width,), jnp.float32))
        self.bias = nnx.Param(jax.ShapeDtypeStruct((width,), jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:  # (*batch, C)
        return x * self.scale[...] + self.bias[...]


def normalization(kind: str, width: int, epsilon: float, rngs: nnx.Rngs) -> nnx.Module:
    """Layer norm or MobileBERT's ``no_norm``."""
    if kind == "no_norm":
        return NoNorm(width)
    # The two-pass variance agrees with PyTorch where the one-pass form cancels.
    return nnx.LayerNorm(
        width,
        epsilon=epsilon,
        use_fast_variance=False,
        scale_init=_no_value,
        bias_init=_no_value,
        rngs=rngs,
    )


def attend(
    query: jax.Array,  # (B, L, C)
    key: jax.Array,  # (B, L, C)
    value: jax.Array,  # (B, L, C)
    bias: jax.Array | None,  # (B, 1, 1, L), added to the scores
    heads: int,
) -> tuple[jax.Array, jax.Array]:  # (B, L, C), (B, H, L, L)
    """Scaled dot-product attention; the softmax runs in float32."""

    def split(x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:-1], heads, -1)

    query, key, value = split(query), split(key), split(value)
    scores = jnp.einsum("blhd,bmhd->bhlm", query, key) * query.shape[-1] ** -0.5
    scores = scores.astype(jnp.float32)
    if bias is not None:
        scores = scores + bias
    probabilities = jax.nn.softmax(scores, axis=-1)
    mixed = jnp.einsum("bhlm,bmhd->blhd", probabilities.astype(value.dtype), value)
    return mixed.reshape(*mixed.shape[:2], -1), probabilities


def attention_bias(attention_mask: jax.Array | None) -> jax.Array | None:
    """Turn a mask of ones and zeros, (B, L), into scores to add, (B, 1, 1, L)."""
    if attention_mask is None:
        return None
    hidden = jnp.finfo(jnp.float32).min
    return jnp.where(attention_mask[:, None, None, :] > 0, 0.0, hidden)


class SelfAttention(nnx.Module):
    """Query, key and value projections and the attention between them."""

    def __init__(self, width: int, value_width: int, heads: int, rngs: nnx.Rngs) -> None:
        self.query = linear(width, width, rngs)
        self.key = linear(width, width, rngs)
        self.value = linear(value_width, width, rngs)
        self.heads = heads

    def __call__(
        self, query: jax.Array, value: jax.Array, bias: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        return attend(self.query(query), self.key(query), self.value(value), bias, self.heads)


class ResidualOutput(nnx.Module):
    """``norm(dense(x) + residual)``."""

    def __init__(self, inner: int, width: int, kind: str, epsilon: float, rngs: nnx.Rngs) -> None:
        self.dense = linear(inner, width, rngs)
        self.LayerNorm = normalization(kind, width, epsilon, rngs)

    def __call__(self, x: jax.Array, residual: jax.Array) -> jax.Array:
        return self.LayerNorm(self.dense(x) + residual)


class Attention(nnx.Module):
    """Self-attention and its residual output."""

    def __init__(
        self,
        width: int,
        value_width: int,
        heads: int,
        kind: str,
        epsilon: float,
        rngs: nnx.Rngs,
    ) -> None:
        self.self = SelfAttention(width, value_width, heads, rngs)
        self.output = ResidualOutput(width, width, kind, epsilon, rngs)

    def __call__(
        self,
        query: jax.Array,
        value: jax.Array,
        residual: jax.Array,
        bias: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array]:
        mixed, probabilities = self.self(query, value, bias)
        return self.output(mixed, residual), probabilities


class Intermediate(nnx.Module):
    """The widening half of a feed-forward network."""

    def __init__(self, width: int, inner: int, activation: str, rngs: nnx.Rngs) -> None:
        self.dense = linear(width, inner, rngs)
        self.activation = activation

    def __call__(self, x: jax.Array) -> jax.Array:
        return ACTIVATION_FUNCTIONS[self.activation](self.dense(x))
