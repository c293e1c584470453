"""Building blocks that both encoder families share.

Attributes carry the names of Hugging Face's modules, so that a parameter's
path *is* its checkpoint name (see ``checkpoint.py``).

Axes: B = batch, L = sequence, C = channels, H = heads, D = head width.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from autodistill.models.activations import ACTIVATION_FUNCTIONS
from autodistill.models.attention import query_key_products, softmax, weighted_values
from autodistill.models.product import product


def _no_value(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
    """An initialiser that only says the shape: ``checkpoint.build`` brings the values."""
    return jax.ShapeDtypeStruct(shape, dtype)


class Linear(nnx.Module):
    """A dense layer: products in the dtype of its input, sums and bias in float32.

    The bias may so stay float32 where the matrix is bfloat16. Converted once more
    at every call, each vector is a kernel of its own on a TPU.
    """

    def __init__(self, inputs: int, outputs: int, *, use_bias: bool = True) -> None:
        self.kernel = _parameter(inputs, outputs)
        self.bias = _parameter(outputs) if use_bias else None

    def __call__(self, x: jax.Array) -> jax.Array:  # (*batch, inputs) -> (*batch, outputs)
        y = product(x, self.kernel[...])
        return (y if self.bias is None else y + self.bias[...]).astype(x.dtype)


def _parameter(*shape: int) -> nnx.Param:
    """A float32 parameter without values yet."""
    return nnx.Param(jax.ShapeDtypeStruct(shape, jnp.float32))


def embed(entries: int, width: int, rngs: nnx.Rngs) -> nnx.Embed:
    """A table without values yet."""
    return nnx.Embed(entries, width, embedding_init=_no_value, rngs=rngs)


def word_rows(table: nnx.Embed, input_ids: jax.Array) -> jax.Array:  # (*batch, C)
    """Rows of a large table; ids must lie within it, others get its first or last row.

    With the default of NaN for ids outside, the TPU compiler moves the widening of the
    few rows before the lookup and so widens the whole table at every call.
    """
    return table.embedding.at[input_ids].get(mode="clip")


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
    return table.embedding[:length]


def type_rows(table: nnx.Embed, token_type_ids: jax.Array | None) -> jax.Array:
    """Segment embeddings of the tokens, or the one row that all share, (C,)."""
    return table.embedding[0] if token_type_ids is None else table(token_type_ids)


class NoNorm(nnx.Module):
    """An element-wise affine map in the place of layer norm (MobileBERT, section 3.2)."""

    def __init__(self, width: int) -> None:
        self.scale = _parameter(width)
        self.bias = _parameter(width)

    def __call__(self, x: jax.Array) -> jax.Array:  # (*batch, C)
        return (x * self.scale[...] + self.bias[...]).astype(x.dtype)


class LayerNorm(nnx.Module):
    """Layer norm over the last axis, computed in float32 whatever the input's dtype."""

    def __init__(self, width: int, epsilon: float) -> None:
        self.scale = _parameter(width)
        self.bias = _parameter(width)
        self.epsilon = epsilon

    def __call__(self, x: jax.Array) -> jax.Array:  # (*batch, C)
        wide = x.astype(jnp.float32)
        # The two-pass variance agrees with PyTorch where the one-pass form cancels.
        centred = wide - wide.mean(-1, keepdims=True)
        deviation = jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + self.epsilon)
        return (centred * deviation * self.scale[...] + self.bias[...]).astype(x.dtype)


def normalization(kind: str, width: int, epsilon: float) -> nnx.Module:
    """Layer norm or MobileBERT's ``no_norm``."""
    return NoNorm(width) if kind == "no_norm" else LayerNorm(width, epsilon)


class Attended(NamedTuple):
    """What attention computed on its way: targets of a student.

    Attributes:
        probabilities: (B, H, L, L).
        query: (B, L, C), the heads side by side; so are the other two.
        key: (B, L, C).
        value: (B, L, C).
    """

    probabilities: jax.Array
    query: jax.Array
    key: jax.Array
    value: jax.Array


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
    scores = query_key_products(query, key) * query.shape[-1] ** -0.5
    scores = scores.astype(jnp.float32)
    if bias is not None:
        scores = scores + bias
    probabilities = softmax(scores)
    mixed = weighted_values(probabilities.astype(value.dtype), value)
    return mixed.reshape(*mixed.shape[:2], -1), probabilities


def attention_bias(attention_mask: jax.Array | None) -> jax.Array | None:
    """Turn a mask of ones and zeros, (B, L), into scores to add, (B, 1, 1, L)."""
    if attention_mask is None:
        return None
    hidden = jnp.finfo(jnp.float32).min
    return jnp.where(attention_mask[:, None, None, :] > 0, 0.0, hidden)


class SelfAttention(nnx.Module):
    """Query, key and value projections and the attention between them."""

    def __init__(self, width: int, value_width: int, heads: int) -> None:
        self.query = Linear(width, width)
        self.key = Linear(width, width)
        self.value = Linear(value_width, width)
        self.heads = heads

    def __call__(
        self, query: jax.Array, value: jax.Array, bias: jax.Array | None
    ) -> tuple[jax.Array, Attended]:
        projected = self.query(query), self.key(query), self.value(value)
        mixed, probabilities = attend(*projected, bias, self.heads)
        return mixed, Attended(probabilities, *projected)


class ResidualOutput(nnx.Module):
    """``norm(dense(x) + residual)``."""

    def __init__(self, inner: int, width: int, kind: str, epsilon: float) -> None:
        self.dense = Linear(inner, width)
        self.LayerNorm = normalization(kind, width, epsilon)

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
    ) -> None:
        self.self = SelfAttention(width, value_width, heads)
        self.output = ResidualOutput(width, width, kind, epsilon)

    def __call__(
        self,
        query: jax.Array,
        value: jax.Array,
        residual: jax.Array,
        bias: jax.Array | None,
    ) -> tuple[jax.Array, Attended]:
        mixed, attended = self.self(query, value, bias)
        return self.output(mixed, residual), attended


class Intermediate(nnx.Module):
    """The widening half of a feed-forward network."""

    def __init__(self, width: int, inner: int, activation: str) -> None:
        self.dense = Linear(width, inner)
        self.activation = activation

    def __call__(self, x: jax.Array) -> jax.Array:
        return ACTIVATION_FUNCTIONS[self.activation](self.dense(x))
