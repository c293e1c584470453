"""Distillation losses: how far a student's outputs lie from its teacher's.

Pure functions of arrays, in float32, padding masked out by weights.

Axes: *batch = any leading axes; B = batch; L = sequence; e = width;
classes = vocabulary.

References:
    [Hinton2015] Hinton, Vinyals, Dean. Distilling the Knowledge in a Neural
    Network. https://arxiv.org/abs/1503.02531, section 2.
"""

import jax
import jax.numpy as jnp


def weighted_mean(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Mean of ``values`` under weights of the same shape; 0 where all weights are 0.

    Raises:
        ValueError: The shapes differ.
    """
    _check_shapes(values, weights)
    weights = weights.astype(jnp.float32)
    total = jnp.sum(weights)
    return jnp.sum(values * weights) / jnp.where(total > 0, total, 1.0)


def state_error(
    student: jax.Array,  # (*batch, e)
    teacher: jax.Array,  # (*batch, e), treated as data
) -> jax.Array:  # (*batch,)
    """Squared distance between states, summed over the width.

    Raises:
        ValueError: The shapes differ.
    """
    _check_shapes(student, teacher)
    target = jax.lax.stop_gradient(teacher).astype(jnp.float32)
    return jnp.sum(jnp.square(student.astype(jnp.float32) - target), axis=-1)


def soft_target_kl(
    student_logits: jax.Array,  # (*batch, classes)
    teacher_logits: jax.Array,  # (*batch, classes), treated as data
    *,
    temperature: float = 1.0,
) -> jax.Array:  # (*batch,)
    """``T**2 * KL(softmax(teacher / T) || softmax(student / T))`` [Hinton2015].

    The factor keeps gradients of one size as ``T`` grows.

    Raises:
        ValueError: The shapes differ, or ``temperature`` is not positive.

    Example:
        >>> student, teacher = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 0.0]])
        >>> round(float(soft_target_kl(student, teacher)[0]), 4)
        0.4338
    """
    _check_shapes(student_logits, teacher_logits)
    if not temperature > 0:
        raise ValueError(f"temperature must be positive; got {temperature}")
    teacher = jax.lax.stop_gradient(teacher_logits).astype(jnp.float32)
    log_p = jax.nn.log_softmax(teacher / temperature, axis=-1)
    log_q = jax.nn.log_softmax(student_logits.astype(jnp.float32) / temperature, axis=-1)
    return temperature**2 * jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


def label_cross_entropy(
    logits: jax.Array,  # (*batch, classes)
    labels: jax.Array,  # (*batch,) integers
) -> jax.Array:  # (*batch,)
    """Negative log-probability of the label, in nats.

    Raises:
        ValueError: The labels are not one per row of logits.
    """
    _check_shapes(logits[..., 0], labels)
    log_q = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    return -jnp.take_along_axis(log_q, labels[..., None], axis=-1)[..., 0]


def _check_shapes(a: jax.Array, b: jax.Array) -> None:
    if a.shape != b.shape:
        raise ValueError(f"both must have one shape; got {a.shape} and {b.shape}")
