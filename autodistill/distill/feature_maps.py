"""Feature-map transfer: a layer's states in normal form, and apart from it their scale.

The error of layer-normalised states says whether the pattern of a position is
right; its mean and variance over the width, which normalisation removes, have
terms of their own, since they would drown the pattern in a plain squared error.

Axes: *batch = any leading axes; e = width.

References:
    [Sun2020] Sun, Yu, Song, Liu, Yang, Zhou. MobileBERT: a Compact Task-Agnostic
    BERT for Resource-Limited Devices. https://arxiv.org/abs/2004.02984, sections
    3.3 and 3.5; the absolute difference of variances is that of the program that
    its authors published.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

EPSILON = 1e-6  # of the normalisation


class FeatureMapErrors(NamedTuple):
    """One value per position each.

    Attributes:
        normalised: Mean squared error of the layer-normalised states.
        mean: Squared difference of the means over the width.
        variance: Absolute difference of the variances over the width.
    """

    normalised: jax.Array
    mean: jax.Array
    variance: jax.Array


def feature_map_errors(
    student: jax.Array,  # (*batch, e)
    teacher: jax.Array,  # (*batch, e), treated as data
) -> FeatureMapErrors:
    """The three terms of feature-map transfer [Sun2020].

    Raises:
        ValueError: The shapes differ.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"both must have one shape; got {student.shape} and {teacher.shape}")
    ours, mean, variance = _normal_form(student)
    theirs, teacher_mean, teacher_variance = _normal_form(jax.lax.stop_gradient(teacher))
    return FeatureMapErrors(
        jnp.mean(jnp.square(ours - theirs), axis=-1),
        jnp.square(mean - teacher_mean),
        jnp.abs(variance - teacher_variance),
    )


def _normal_form(states: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Layer-normalised states, and the means and variances that were removed."""
    wide = states.astype(jnp.float32)
    mean = wide.mean(-1)
    centred = wide - mean[..., None]
    variance = jnp.square(centred).mean(-1)
    return centred * jax.lax.rsqrt(variance + EPSILON)[..., None], mean, variance
