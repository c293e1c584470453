"""The product of states with a layer's matrix, and its gradients.

jax's own gradient of the matrix contracts batch and sequence as two axes, which XLA on
CPUs brings into the form of a matrix product by copying an operand and then multiplies
at less than half of the speed. Here states and cotangents are rows of matrices throughout.

A CPU that knows bfloat16 multiplies it at twice the speed of float32, but XLA has it do so
only where rows of the first factor are contracted and no transpose was folded into the
product; anything else it widens to float32. ``unfolded_transpose`` is for this.

Axes: *batch = any leading axes; n, m = widths before and after; r = rows of a matrix.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

ArrayT = TypeVar("ArrayT", jax.Array, np.ndarray, np.ndarray | jax.Array)

FLOAT32 = jnp.float32
TILES = (16, 8, 4, 2)


@jax.custom_vjp
def product(
    x: jax.Array,  # (*batch, n)
    kernel: jax.Array,  # (n, m)
) -> jax.Array:  # (*batch, m)
    """``x @ kernel``: factors in the kernel's dtype, sums and result in float32."""
    rows = x.astype(kernel.dtype).reshape(-1, x.shape[-1])
    return _contracted(rows, kernel, 1, 0).reshape(*x.shape[:-1], kernel.shape[1])


def unfolded_transpose(matrix: ArrayT) -> ArrayT:  # (r, n) -> (n, r)
    """The transpose, in a form that XLA's CPU compiler does not fold into a product."""

    def in_tiles(matrix: jax.Array) -> jax.Array:
        rows, width = matrix.shape
        tile = next((size for size in TILES if rows % size == 0), None)
        if tile is None:
            return matrix.T
        return matrix.reshape(-1, tile, width).transpose(2, 0, 1).reshape(width, rows)

    if matrix.dtype != jnp.bfloat16:  # as fast when it is folded
        return matrix.T
    return jax.lax.platform_dependent(matrix, cpu=in_tiles, default=jnp.transpose)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    factor = x.astype(kernel.dtype)
    return product(factor, kernel), (factor, kernel, jnp.zeros((), x.dtype))


def _backward(kept: tuple[jax.Array, ...], cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    factor, kernel, like = kept
    states = factor.reshape(-1, factor.shape[-1])
    errors = cotangent.reshape(-1, cotangent.shape[-1]).astype(kernel.dtype)
    to_states = _contracted(errors, kernel, 1, 1)
    to_kernel = _contracted(unfolded_transpose(states), errors, 1, 0)
    return to_states.reshape(factor.shape).astype(like.dtype), to_kernel.astype(kernel.dtype)


def _contracted(a: jax.Array, b: jax.Array, axis_a: int, axis_b: int) -> jax.Array:
    """The sum over these axes, in float32."""
    axes = (((axis_a,), (axis_b,)), ((), ()))
    return jax.lax.dot_general(a, b, axes, preferred_element_type=FLOAT32)


product.defvjp(_forward, _backward)
