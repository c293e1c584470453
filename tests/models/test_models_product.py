"""The product of states with a matrix: its value and gradients against numpy's in float64.

Tolerance: bfloat16 keeps 8 bits, so each operand is off by up to 2**-9 of its size,
and a float32 sum of 30 terms by far less; float32 operands leave 1e-6.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autodistill.distill.precision import NATIVE, cpu_flags
from autodistill.models.product import product, unfolded_transpose

DTYPES = {"float32": 1e-5, "bfloat16": 2e-2}


@pytest.mark.parametrize("batch", [(), (5,), (3, 10)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_value_and_gradients_are_numpy_s(batch, dtype):
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((*batch, 7)), rng.standard_normal((7, 4))
    cotangent = rng.standard_normal((*batch, 4))
    given = jnp.asarray(x, dtype), jnp.asarray(kernel, dtype)
    value, back = jax.vjp(product, *given)
    to_x, to_kernel = back(jnp.asarray(cotangent, jnp.float32))
    assert value.dtype == jnp.float32
    assert (to_x.dtype, to_kernel.dtype) == (dtype, dtype)
    expected = (
        x @ kernel,
        cotangent @ kernel.T,
        np.einsum("bn,bm->nm", x.reshape(-1, 7), cotangent.reshape(-1, 4)),
    )
    for found, right in zip((value, to_x, to_kernel), expected, strict=True):
        scale = np.abs(right).max()
        np.testing.assert_allclose(found.astype(float), right, rtol=0, atol=DTYPES[dtype] * scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_states_of_another_dtype_are_multiplied_in_the_kernel_s(dtype):
    """The gradient of each is of its own dtype."""
    rng = np.random.default_rng(2)
    x, kernel = rng.standard_normal((6, 7)), rng.standard_normal((7, 4))
    other = next(one for one in DTYPES if one != dtype)
    value, back = jax.vjp(product, jnp.asarray(x, other), jnp.asarray(kernel, dtype))
    to_x, to_kernel = back(jnp.ones((6, 4)))
    assert (value.dtype, to_x.dtype, to_kernel.dtype) == (jnp.float32, other, dtype)
    for found, right in (
        (value, x @ kernel),
        (to_x, np.ones((6, 4)) @ kernel.T),
        (to_kernel, x.T @ np.ones((6, 4))),
    ):
        np.testing.assert_allclose(found.astype(float), right, atol=0.03 * np.abs(right).max())


@pytest.mark.parametrize("rows", [32, 12, 7])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_unfolded_transpose_is_the_transpose(rows, dtype):
    matrix = jnp.asarray(np.random.default_rng(3).standard_normal((rows, 5)), dtype)
    for turn in (unfolded_transpose, jax.jit(unfolded_transpose)):
        np.testing.assert_array_equal(turn(matrix), matrix.T)


@pytest.mark.skipif(
    jax.default_backend() != "cpu" or not NATIVE & cpu_flags(),
    reason="this machine's CPU does not multiply bfloat16, so XLA widens it",
)
def test_a_step_in_bfloat16_multiplies_nothing_in_float32():
    """Forwards and backwards, through a weight that is stored as checkpoints store it."""

    def loss(weight, x):
        return jnp.sum(product(x, unfolded_transpose(weight.astype("bfloat16"))) ** 2)

    given = (
        jax.ShapeDtypeStruct((256, 128), jnp.float32),
        jax.ShapeDtypeStruct((8, 64, 128), jnp.bfloat16),
    )
    program = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*given).compile().as_text()
    dtypes = dict(re.findall(r"(%[\w.\-]+) = (\w+)\[", program))
    factors = re.findall(r" dot\((%[\w.\-]+), (%[\w.\-]+)\)", program)
    assert len(factors) == 3
    assert {dtypes[name] for pair in factors for name in pair} == {"bf16"}


def test_gradients_under_a_loop_and_compiled_are_those_of_plain_products():
    """As in training: layers in a scan, the whole of it compiled."""
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((2, 6, 5)), jnp.float32)
    kernels = jnp.asarray(rng.standard_normal((3, 5, 5)), jnp.float32)

    def loss(multiply, kernels, x):
        last, _ = jax.lax.scan(lambda h, k: (jnp.tanh(multiply(h, k)), None), x, kernels)
        return jnp.sum(last**2)

    ours = jax.jit(jax.grad(lambda *a: loss(product, *a), argnums=(0, 1)))(kernels, x)
    plain = jax.grad(lambda *a: loss(jnp.matmul, *a), argnums=(0, 1))(kernels, x)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())
