"""The products and the softmax of attention, with gradients of their own.

XLA's CPU compiler is fast at products whose first factor is contracted along its rows and
whose second along its columns, batch by batch. From jax's own products over heads it makes
others, and multiplies at a half to a third of that speed; and it computes the softmax once
more for its gradient. So on CPUs each factor is first brought into the form that is fast.
Elsewhere these are jax's products.

Axes: B = batch, L, M = sequence, H = heads, D = head width.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from autodistill.models.platforms import by_platform

Pair = tuple[jax.Array, jax.Array]


@jax.custom_vjp
def query_key_products(
    query: jax.Array,  # (B, L, H, D)
    key: jax.Array,  # (B, M, H, D)
) -> jax.Array:  # (B, H, L, M)
    """Every query times every key of its head."""

    def on_cpu(query: jax.Array, key: jax.Array) -> jax.Array:
        return _by_head(_rows(query), _columns(key))

    return by_platform(on_cpu, partial(jnp.einsum, "blhd,bmhd->bhlm"), query, key)


@jax.custom_vjp
def weighted_values(
    weights: jax.Array,  # (B, H, L, M)
    value: jax.Array,  # (B, M, H, D)
) -> jax.Array:  # (B, L, H, D)
    """The sum of each head's values, as each position weighs them."""

    def on_cpu(weights: jax.Array, value: jax.Array) -> jax.Array:
        return _from_rows(_by_head(weights, _rows(value)))

    return by_platform(on_cpu, partial(jnp.einsum, "bhlm,bmhd->blhd"), weights, value)


def _given_back(
    weights: jax.Array,  # (B, H, L, M)
    errors: jax.Array,  # (B, L, H, D)
) -> jax.Array:  # (B, M, H, D)
    """``weighted_values`` with the weights transposed: what each position is told of its own."""

    def on_cpu(weights: jax.Array, errors: jax.Array) -> jax.Array:
        return _from_columns(_by_head(_columns(errors), weights))

    return by_platform(on_cpu, partial(jnp.einsum, "bhlm,blhd->bmhd"), weights, errors)


def _query_key_backward(kept: Pair, cotangent: jax.Array) -> Pair:
    query, key = kept
    return weighted_values(cotangent, key), _given_back(cotangent, query)


def _weighted_backward(kept: Pair, cotangent: jax.Array) -> Pair:
    weights, value = kept
    return query_key_products(cotangent, value), _given_back(weights, cotangent)


@jax.custom_vjp
def softmax(scores: jax.Array) -> jax.Array:
    """Over the last axis."""
    return jax.nn.softmax(scores, axis=-1)


def _softmax_forward(scores: jax.Array) -> Pair:
    probabilities = softmax(scores)
    return probabilities, probabilities


def _softmax_backward(probabilities: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    weighted = probabilities * cotangent
    return (weighted - probabilities * weighted.sum(-1, keepdims=True),)


def _keeping_both(function: Callable[..., jax.Array]) -> Callable[..., tuple[jax.Array, Pair]]:
    return lambda a, b: (function(a, b), (a, b))


query_key_products.defvjp(_keeping_both(query_key_products), _query_key_backward)
weighted_values.defvjp(_keeping_both(weighted_values), _weighted_backward)
softmax.defvjp(_softmax_forward, _softmax_backward)


def _by_head(a: jax.Array, b: jax.Array) -> jax.Array:
    """(B, H, i, j) x (B, H, j, k) -> (B, H, i, k)."""
    return jax.lax.dot_general(a, b, (((3,), (2,)), ((0, 1), (0, 1))))


# The barriers keep XLA from folding the transposes into the products again.


def _rows(x: jax.Array) -> jax.Array:
    """(B, L, H, D) -> (B, H, L, D)."""
    return jax.lax.optimization_barrier(x.transpose(0, 2, 1, 3))


def _columns(x: jax.Array) -> jax.Array:
    """(B, L, H, D) -> (B, H, D, L)."""
    return jax.lax.optimization_barrier(x.transpose(0, 2, 3, 1))


def _from_rows(x: jax.Array) -> jax.Array:
    """(B, H, L, D) -> (B, L, H, D)."""
    return jax.lax.optimization_barrier(x).transpose(0, 2, 1, 3)


def _from_columns(x: jax.Array) -> jax.Array:
    """(B, H, D, L) -> (B, L, H, D)."""
    return jax.lax.optimization_barrier(x).transpose(0, 3, 1, 2)
