"""The products and the softmax of attention, and GELU, against numpy's in float64.

Tolerance: as in ``test_models_product.py``, of the largest value.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

from autodistill.models.activations import gelu
from autodistill.models.attention import query_key_products, softmax, weighted_values
from autodistill.models.platforms import one_form

DTYPES = {"float32": 1e-5, "bfloat16": 2e-2}
B, L, M, H, D = 2, 5, 6, 3, 4
RNG = np.random.default_rng(0)
QUERY, KEY, WEIGHTS = (
    RNG.standard_normal(shape) for shape in ((B, L, H, D), (B, M, H, D), (B, H, L, M))
)


def assert_close(found, right, dtype):
    assert found.dtype == dtype
    assert found.shape == right.shape
    atol = DTYPES[dtype] * np.abs(right).max()
    np.testing.assert_allclose(found.astype(float), right, rtol=0, atol=atol)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("function", "given", "cotangent", "equation"),
    [
        (query_key_products, (QUERY, KEY), WEIGHTS, "blhd,bmhd->bhlm"),
        (weighted_values, (WEIGHTS, KEY), QUERY, "bhlm,bmhd->blhd"),
    ],
    ids=["query_key_products", "weighted_values"],
)
def test_products_and_their_gradients(function, given, cotangent, equation, dtype, compiled):
    """A gradient is the product of the cotangent and the other factor, by the same letters."""
    function = jax.jit(function) if compiled else function
    value, back = jax.vjp(function, *(jnp.asarray(factor, dtype) for factor in given))
    first, second, result = re.split(",|->", equation)
    assert_close(value, np.einsum(equation, *given), dtype)
    to_first, to_second = back(jnp.asarray(cotangent, dtype))
    expected = np.einsum(f"{result},{second}->{first}", cotangent, given[1])
    assert_close(to_first, expected, dtype)
    expected = np.einsum(f"{result},{first}->{second}", cotangent, given[0])
    assert_close(to_second, expected, dtype)


def attention(query, key):
    return (weighted_values(softmax(query_key_products(query, key)), key) ** 2).sum()


@pytest.mark.parametrize("elsewhere", [True, False])
def test_gradients_of_the_whole_are_those_of_plain_attention(elsewhere):
    """Both on CPUs and in the form for other platforms, which ONNX gets."""

    def plain(query, key):
        weights = jax.nn.softmax(jnp.einsum("blhd,bmhd->bhlm", query, key), -1)
        return (jnp.einsum("bhlm,bmhd->blhd", weights, key) ** 2).sum()

    given = jnp.asarray(QUERY, jnp.float32), jnp.asarray(KEY, jnp.float32)
    expected = jax.grad(plain, (0, 1))(*given)
    if elsewhere:
        with one_form():
            found = jax.grad(attention, (0, 1))(*given)
    else:
        found = jax.grad(attention, (0, 1))(*given)
    for a, b in zip(found, expected, strict=True):
        assert_close(a, np.asarray(b, float), "float32")


def test_what_is_exported_asks_for_no_platform():
    given = jnp.asarray(QUERY, jnp.float32), jnp.asarray(KEY, jnp.float32)
    assert "platform_index" in str(jax.make_jaxpr(attention)(*given))
    with one_form():
        assert "platform_index" not in str(jax.make_jaxpr(lambda q, k: attention(q, k))(*given))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the forms are a CPU's")
def test_on_cpus_first_factors_are_contracted_along_rows_and_second_ones_along_columns():
    """No transpose was folded into a product again."""
    shape = jax.ShapeDtypeStruct((16, 128, 4, 32), jnp.float32)
    program = jax.jit(jax.grad(attention, (0, 1))).lower(shape, shape).compile().as_text()
    contracted = re.findall(
        r" dot\(.*lhs_contracting_dims={(\d)}.*rhs_contracting_dims={(\d)}", program
    )
    assert len(contracted) == 6
    assert set(contracted) == {("3", "2")}


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_and_its_gradient(dtype):
    x = np.linspace(-12, 12, 2001)
    value, back = jax.vjp(gelu, jnp.asarray(x, dtype))
    (slope,) = back(jnp.ones_like(value))
    x = np.asarray(jnp.asarray(x, dtype), float)
    right = ndtr(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    scale = {"float32": 2e-6, "bfloat16": 1e-2}[dtype]
    assert (value.dtype, slope.dtype) == (dtype, dtype)
    np.testing.assert_allclose(value.astype(float), x * ndtr(x), rtol=scale, atol=scale)
    np.testing.assert_allclose(slope.astype(float), right, rtol=scale, atol=scale)
