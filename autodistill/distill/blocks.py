"""Apply a compiled function to many rows, in blocks of one shape."""

from collections.abc import Callable

import jax
import numpy as np


def in_blocks(
    function: Callable[..., jax.Array | np.ndarray], *arrays: np.ndarray, rows: int = 64
) -> np.ndarray:
    """Results of all rows; the last block is filled up, so one program serves all."""
    n = len(arrays[0])
    parts = []
    for begin in range(0, n, rows):
        which = np.arange(begin, begin + rows) % n
        parts.append(np.asarray(function(*(array[which] for array in arrays))))
    return np.concatenate(parts)[:n]
