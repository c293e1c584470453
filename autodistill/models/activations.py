"""Activation functions, by the names that Hugging Face's configs give them."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from autodistill.models.platforms import by_platform

ROOT_OF_HALF = 0.5**0.5
# Bound here: jax2onnx puts an operator of its own in the place of the name.
_exact_gelu = partial(jax.nn.gelu, approximate=False)
DENSITY_AT_0 = (2 * jnp.pi) ** -0.5  # of the standard normal distribution


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
    """``x`` times the standard normal distribution function of it [Hendrycks2016].

    jax has the distribution function as a complementary error function, which is exact
    where it is nearly zero. On CPUs that takes twice the time of an error function, and
    what it adds is lost in float32, as it is in PyTorch.

    References:
        [Hendrycks2016] Hendrycks, Gimpel. Gaussian Error Linear Units.
        https://arxiv.org/abs/1606.08415
    """

    def on_cpu(x: jax.Array) -> jax.Array:
        wide = x.astype(jnp.float32)
        return (wide * _normal_distribution(wide)).astype(x.dtype)

    return by_platform(on_cpu, _exact_gelu, x)


def _gelu_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return gelu(x), x


def _gelu_backward(x: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    wide = x.astype(jnp.float32)
    density = DENSITY_AT_0 * jnp.exp(-0.5 * jnp.square(wide))
    slope = _normal_distribution(wide) + wide * density
    return ((cotangent * slope).astype(x.dtype),)


gelu.defvjp(_gelu_forward, _gelu_backward)


def _normal_distribution(x: jax.Array) -> jax.Array:
    return 0.5 * (1 + jax.lax.erf(x * ROOT_OF_HALF))


ACTIVATION_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    "gelu_new": partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}
