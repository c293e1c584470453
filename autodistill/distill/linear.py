"""What can be had in closed form: ridge regression, and the reference line.

Axes: n = passages, L = sequence, V = vocabulary, w = word-embedding width,
e = embedding width.

References:
    [Allen1974] Allen. The relationship between variable selection and data
    augmentation and a method for prediction. Technometrics 16(1): the PRESS sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RIDGE = 1e-2  # penalty, relative to the mean variance of the inputs
PENALTIES = tuple(10.0 ** (k / 2) for k in range(-8, 5))  # from 1e-4 to 100


@dataclass(frozen=True)
class Ridge:
    """``x @ kernel + bias``."""

    kernel: np.ndarray  # (in, out)
    bias: np.ndarray  # (out,)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x @ self.kernel + self.bias


def fit_ridge(x: np.ndarray, y: np.ndarray, *, penalty: float = RIDGE) -> Ridge:
    """Least squares with a penalty on the kernel, none on the bias.

    Args:
        x: (n, in).
        y: (n, out).
        penalty: In units of the mean variance of a column of ``x``, times n.
    """
    mean_x, mean_y = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
    centred = x.astype(np.float64) - mean_x
    gram = centred.T @ centred
    size = max(np.trace(gram) / len(gram), 1e-12)
    gram[np.diag_indices_from(gram)] += penalty * size
    kernel = np.linalg.solve(gram, centred.T @ (y - mean_y))
    return Ridge(kernel.astype(np.float32), (mean_y - mean_x @ kernel).astype(np.float32))


def fit_ridge_by_left_out(
    x: np.ndarray, y: np.ndarray, *, penalties: Sequence[float] = PENALTIES
) -> Ridge:
    """``fit_ridge`` with the penalty that predicts each row best from all others.

    The errors of left-out rows follow from one decomposition, without fitting again:
    each is the residual over one less the row's leverage [Allen1974].

    Args:
        x: (n, in).
        y: (n, out).
        penalties: Tried, in the units of ``fit_ridge``.
    """
    mean_x, mean_y = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
    centred_x, centred_y = x - mean_x, y - mean_y
    sizes, directions = np.linalg.eigh(centred_x.T @ centred_x)
    sizes = sizes.clip(0.0)
    scores = centred_x @ directions  # (n, in)
    products = scores.T @ centred_y  # (in, out)
    unit = max(float(sizes.mean()), 1e-12)

    def left_out_error(penalty: float) -> float:
        shrunk = 1.0 / (sizes + penalty * unit)
        leverage = scores**2 @ shrunk + 1.0 / len(x)
        residual = centred_y - scores @ (shrunk[:, None] * products)
        return float(((residual / (1.0 - leverage).clip(1e-6)[:, None]) ** 2).sum())

    penalty = min(penalties, key=left_out_error)
    kernel = directions @ (products / (sizes + penalty * unit)[:, None])
    return Ridge(kernel.astype(np.float32), (mean_y - mean_x @ kernel).astype(np.float32))


def mean_word_embedding(
    table: np.ndarray,  # (V, w)
    input_ids: np.ndarray,  # (n, L)
    attention_mask: np.ndarray,  # (n, L)
) -> np.ndarray:  # (n, w)
    """Mean of the table's rows over each passage's tokens."""
    out = np.empty((len(input_ids), table.shape[1]), np.float32)
    for begin in range(0, len(input_ids), 256):  # bounds the memory of the gathered rows
        part = slice(begin, begin + 256)
        mask = attention_mask[part, :, None].astype(np.float32)
        out[part] = (table[input_ids[part]] * mask).sum(1) / mask.sum(1).clip(1)
    return out
