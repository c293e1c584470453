"""Distillation losses: how far a student's outputs lie from its teacher's.

Pure functions of arrays, in float32. Each returns one value per position;
averaging is left to the caller, who alone knows which positions are padding.
Losses between attentions, relations and feature maps have modules of their own.

Axes: *batch = any leading axes; B = batch; L = sequence; e = width;
classes = vocabulary; k = classes kept.

References:
    [Hinton2015] Hinton, Vinyals, Dean. Distilling the Knowledge in a Neural
    Network. https://arxiv.org/abs/1503.02531, section 2.
    [Sanh2019] Sanh, Debut, Chaumond, Wolf. DistilBERT, a distilled version of
    BERT. https://arxiv.org/abs/1910.01108, section 2.
    [Fang2021] Fang, Wang, Wang, Zhang, Yang, Liu. SEED: Self-supervised
    Distillation for Visual Representation. https://arxiv.org/abs/2101.04731,
    section 3.2.
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


def mean_squared_error(
    student: jax.Array,  # (*batch, e)
    teacher: jax.Array,  # (*batch, e), treated as data
) -> jax.Array:  # (*batch,)
    """``state_error`` over the width.

    Raises:
        ValueError: The shapes differ.
    """
    return state_error(student, teacher) / student.shape[-1]


def cosine_distance(
    student: jax.Array,  # (*batch, e)
    teacher: jax.Array,  # (*batch, e), treated as data
) -> jax.Array:  # (*batch,)
    """One less the cosine of the angle between states, in [0, 2] [Sanh2019].

    Raises:
        ValueError: The shapes differ.
    """
    _check_shapes(student, teacher)
    target = jax.lax.stop_gradient(teacher)
    return 1.0 - jnp.sum(unit(student) * unit(target), axis=-1)


def unit(vectors: jax.Array) -> jax.Array:  # (*batch, e)
    """Float32 vectors of length one; the zero vector stays, and has no gradient."""
    wide = vectors.astype(jnp.float32)
    square = jnp.sum(jnp.square(wide), axis=-1, keepdims=True)
    return wide * jax.lax.rsqrt(jnp.maximum(square, 1e-24))


def similarity_divergence(
    student: jax.Array,  # (B, e), of any width
    teacher: jax.Array,  # (B, f), treated as data
    *,
    temperature: float = 0.05,
) -> jax.Array:  # (B,)
    """How differently the two see each passage's neighbours within the batch [Fang2021].

    The divergence between the distributions ``softmax(cosine / T)`` over all other
    passages of the batch. The widths need not agree.

    Raises:
        ValueError: The numbers of passages differ or are below three, where there
            is nothing to choose, or ``temperature`` is not positive.
    """
    _check_shapes(student[:, 0], teacher[:, 0])
    if len(student) < 3:
        raise ValueError(f"a batch must have three passages or more; got {len(student)}")
    others = ~jnp.eye(len(student), dtype=bool)

    def similarities(vectors: jax.Array) -> jax.Array:
        directions = unit(vectors)
        cosine = jnp.matmul(directions, directions.T, precision="highest")
        return jnp.where(others, cosine, -1e9)

    return (
        soft_target_kl(similarities(student), similarities(teacher), temperature=temperature)
        / temperature**2
    )


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


def top_k_kl(
    student_logits: jax.Array,  # (*batch, classes)
    teacher_log_probabilities: jax.Array,  # (*batch, k), at the temperature, treated as data
    teacher_classes: jax.Array,  # (*batch, k) integers, which classes these are of
    *,
    temperature: float = 1.0,
) -> jax.Array:  # (*batch,)
    """``soft_target_kl`` from the teacher's likeliest classes alone.

    All other classes count as one, whose probability is what is missing of the
    teacher's. By the data-processing inequality the result is never above that of
    the whole distributions; it equals it when ``k`` is all classes, and when the
    student spreads the missing mass as the teacher does.

    Raises:
        ValueError: The shapes do not fit, or ``temperature`` is not positive.
    """
    _check_shapes(teacher_log_probabilities, teacher_classes)
    _check_shapes(student_logits[..., 0], teacher_classes[..., 0])
    if not temperature > 0:
        raise ValueError(f"temperature must be positive; got {temperature}")
    log_p = jax.lax.stop_gradient(teacher_log_probabilities).astype(jnp.float32)
    log_q = jax.nn.log_softmax(student_logits.astype(jnp.float32) / temperature, axis=-1)
    known = jnp.take_along_axis(log_q, teacher_classes, axis=-1)
    divergence = jnp.sum(jnp.exp(log_p) * (log_p - known), axis=-1)
    if teacher_classes.shape[-1] < student_logits.shape[-1]:
        missing = jnp.clip(1.0 - jnp.sum(jnp.exp(log_p), axis=-1), 1e-12)
        hidden = jnp.finfo(jnp.float32).min
        others = jnp.put_along_axis(log_q, teacher_classes, hidden, axis=-1, inplace=False)
        divergence += missing * (jnp.log(missing) - jax.nn.logsumexp(others, axis=-1))
    return temperature**2 * divergence


def label_cross_entropy(
    logits: jax.Array,  # (*batch, classes)
    labels: jax.Array,  # (*batch,) integers
) -> jax.Array:  # (*batch,)
    """Negative log-probability of the label, in nats: the masked-LM loss.

    Raises:
        ValueError: The labels are not one per row of logits.
    """
    _check_shapes(logits[..., 0], labels)
    log_q = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    return -jnp.take_along_axis(log_q, labels[..., None], axis=-1)[..., 0]


def _check_shapes(a: jax.Array, b: jax.Array) -> None:
    if a.shape != b.shape:
        raise ValueError(f"both must have one shape; got {a.shape} and {b.shape}")
