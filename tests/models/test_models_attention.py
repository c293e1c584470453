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


def close(found, right, dtype):
    assert found.dtype == dtype
    assert found.shape == right.shape
    atol = DTYPES[dtype] * np.abs(right).max()
    np.testing.assert_allclose(found.astype(float), right, rtol=0, atol=atol)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_query_key_products_and_their_gradients(dtype, compiled):
    function = jax.jit(query_key_products) if compiled else query_key_products
    value, back = jax.vjp(function, jnp.asarray(QUERY, dtype), jnp.asarray(KEY, dtype))
    to_query, to_key = back(jnp.asarray(WEIGHTS, dtype))
    close(value, np.einsum("blhd,bmhd->bhlm", QUERY, KEY), dtype)
    close(to_query, np.einsum("bhlm,bmhd->blhd", WEIGHTS, KEY), dtype)
    close(to_key, np.einsum("bhlm,blhd->bmhd", WEIGHTS, QUERY), dtype)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_values_and_their_gradients(dtype, compiled):
    function = jax.jit(weighted_values) if compiled else weighted_values
    value, back = jax.vjp(function, jnp.asarray(WEIGHTS, dtype), jnp.asarray(KEY, dtype))
    to_weights, to_value = back(jnp.asarray(QUERY, dtype))
    close(value, np.einsum("bhlm,bmhd->blhd", WEIGHTS, KEY), dtype)
    close(to_weights, np.einsum("blhd,bmhd->bhlm", QUERY, KEY), dtype)
    close(to_value, np.einsum("bhlm,blhd->bmhd", WEIGHTS, QUERY), dtype)


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
        close(a, np.asarray(b, float), "float32")


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
