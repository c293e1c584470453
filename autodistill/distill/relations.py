"""Self-attention relations: which positions of a layer resemble each other.

The queries of a layer are cut into relation heads, and in each the scaled
products of all positions with each other become distributions; the same for keys
and for values. Student and teacher are compared by these, so neither the number
of attention heads nor the width has to agree: only the number of relation heads,
which is free.

Axes: B = batch; L = sequence; C = width of the student's, D = of the teacher's.

References:
    [Wang2020] Wang, Wei, Dong, Bao, Yang, Zhou. MiniLM: Deep Self-Attention
    Distillation. https://arxiv.org/abs/2002.10957, section 3.2.
    [Wang2021] Wang, Bao, Huang, Dong, Wei. MiniLMv2: Multi-Head Self-Attention
    Relation Distillation. https://arxiv.org/abs/2012.15828, section 3.1.
"""

import math

import jax
import jax.numpy as jnp

from autodistill.distill.attention import split_heads
from autodistill.errors import RecipeError
from autodistill.models.attention import query_key_products

MOST_HEADS = 48  # MiniLMv2's for teachers of BERT-base's width [Wang2021]


def relation_divergence(
    student: jax.Array,  # (B, L, C) queries, keys or values
    teacher: jax.Array,  # (B, L, D) the same, treated as data
    attention_mask: jax.Array,  # (B, L), 1 = token, 0 = padding
    *,
    heads: int,
) -> jax.Array:  # (B, L)
    """``KL`` of the teacher's relations to the student's, averaged over heads [Wang2021].

    Raises:
        RecipeError: A width is not a multiple of ``heads``.
        ValueError: Batches or lengths differ.
    """
    if student.shape[:2] != teacher.shape[:2]:
        raise ValueError(
            f"both must have one batch and length; got {student.shape} and {teacher.shape}"
        )
    log_q = _log_relations(student, attention_mask, heads)
    log_p = _log_relations(jax.lax.stop_gradient(teacher), attention_mask, heads)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1).mean(1)


def relation_heads(student_width: int, teacher_width: int) -> int:
    """The most relation heads, up to ``MOST_HEADS``, that divide both widths.

    Example:
        >>> relation_heads(312, 768), relation_heads(128, 768), relation_heads(33, 128)
        (24, 32, 1)
    """
    common = math.gcd(student_width, teacher_width)
    return max(n for n in range(1, MOST_HEADS + 1) if common % n == 0)


def _log_relations(states: jax.Array, attention_mask: jax.Array, heads: int) -> jax.Array:
    """Logarithms of (B, heads, L, L) distributions over the positions that are tokens."""
    if heads < 1 or states.shape[-1] % heads:
        raise RecipeError(
            f"relation heads must divide the widths; got {heads} heads and a width of "
            f"{states.shape[-1]}"
        )
    split = split_heads(states, heads)
    products = query_key_products(split, split) * split.shape[-1] ** -0.5
    hidden = jnp.finfo(jnp.float32).min
    products = jnp.where(attention_mask[:, None, None, :] > 0, products, hidden)
    return jax.nn.log_softmax(products, axis=-1)
