"""Attention transfer: whom each head of a layer attends to.

A head of the student learns from the same head of the teacher, so both must have
as many; ``relations.py`` compares layers whose heads differ.

Axes: B = batch; H = heads; L = queries; M = keys; C = width of all heads.

References:
    [Sun2020] MobileBERT. https://arxiv.org/abs/2004.02984, section 3.3: divergence
    of probabilities.
    [Jiao2020] Jiao et al. TinyBERT: Distilling BERT for Natural Language
    Understanding. https://arxiv.org/abs/1909.10351, section 3.1: squared error of
    scores, before the softmax.
"""

import jax
import jax.numpy as jnp

from autodistill.errors import RecipeError
from autodistill.models.attention import query_key_products

LEAST = 1e-12  # probability; below it logarithms stand still


def attention_divergence(
    student: jax.Array,  # (B, H, L, M) probabilities
    teacher: jax.Array,  # (B, H, L, M) probabilities, treated as data
) -> jax.Array:  # (B, L)
    """``KL(teacher || student)`` over the keys of each query, averaged over heads [Sun2020].

    Keys that are padding have probability zero on both sides and add nothing.

    Raises:
        RecipeError: The head counts differ.
        ValueError: Batches or lengths differ.
    """
    _check(student, teacher)
    target = jax.lax.stop_gradient(teacher).astype(jnp.float32)
    log_q = jnp.log(jnp.maximum(student.astype(jnp.float32), LEAST))
    log_p = jnp.log(jnp.maximum(target, LEAST))
    return jnp.sum(target * (log_p - log_q), axis=-1).mean(1)


def score_error(
    student: jax.Array,  # (B, H, L, M) scores, before the softmax
    teacher: jax.Array,  # (B, H, L, M) scores, treated as data
    attention_mask: jax.Array,  # (B, M), 1 = token, 0 = padding
) -> jax.Array:  # (B, L)
    """Mean squared error over heads and over the keys that are tokens [Jiao2020].

    Raises:
        RecipeError: The head counts differ.
        ValueError: Batches or lengths differ.
    """
    _check(student, teacher)
    target = jax.lax.stop_gradient(teacher).astype(jnp.float32)
    weights = attention_mask[:, None, None, :].astype(jnp.float32)
    errors = jnp.square(student.astype(jnp.float32) - target) * weights
    return (errors.sum(-1) / jnp.maximum(weights.sum(-1), 1.0)).mean(1)


def attention_scores(
    query: jax.Array,  # (B, L, C)
    key: jax.Array,  # (B, M, C)
    heads: int,
) -> jax.Array:  # (B, H, L, M)
    """Scaled products of queries and keys, as attention takes their softmax."""
    query, key = split_heads(query, heads), split_heads(key, heads)
    return query_key_products(query, key) * query.shape[-1] ** -0.5


def split_heads(x: jax.Array, heads: int) -> jax.Array:
    """(B, L, C) -> (B, L, heads, C / heads), float32."""
    return x.astype(jnp.float32).reshape(*x.shape[:-1], heads, -1)


def _check(student: jax.Array, teacher: jax.Array) -> None:
    if student.shape[1] != teacher.shape[1]:
        raise RecipeError(
            "attention is transferred head by head, so student and teacher must have equal "
            f"num_attention_heads; got {student.shape[1]} and {teacher.shape[1]}"
        )
    if student.shape != teacher.shape:
        raise ValueError(f"both must have one shape; got {student.shape} and {teacher.shape}")
