"""Apply a compiled function to many rows, in blocks of one shape."""

from collections.abc import Callable

import jax
import numpy as np

from autodistill.distill.memory import is_out_of_memory


def in_blocks(
    function: Callable[..., jax.Array | np.ndarray], *arrays: np.ndarray, rows: int = 64
) -> np.ndarray:
    """Results of all rows; the last block is filled up, so one program serves all.

    Where memory does not suffice for a block, blocks are halved: results are the same but
    for rounding. What does not suffice for one row is raised.
    """
    while True:
        try:
            return _in_blocks(function, arrays, rows)
        except jax.errors.JaxRuntimeError as error:
            if rows == 1 or not is_out_of_memory(error):
                raise
        rows //= 2


def _in_blocks(
    function: Callable[..., jax.Array | np.ndarray], arrays: tuple[np.ndarray, ...], rows: int
) -> np.ndarray:
    n = len(arrays[0])
    parts = []
    for begin in range(0, n, rows):
        which = np.arange(begin, begin + rows) % n
        parts.append(np.asarray(function(*(array[which] for array in arrays))))
    return np.concatenate(parts)[:n]
