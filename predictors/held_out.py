"""What predictors say of rows that they were not fitted on.

Axes: rows = architectures; u = the modelled scale, log y where ``log_target``, else y.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from predictors.protocol import FloatArray, Predictor

COVERAGE = 0.9
SMALLEST = 1e-300  # of a median; its inverse is the largest of what is computed with


@dataclass(frozen=True)
class HeldOut:
    """Predictions of rows by predictors that had not seen them.

    Attributes:
        mean: (rows,) of u.
        std: (rows,) of u.
        lower: (rows,) of y, bound of the 90% interval.
        upper: (rows,) likewise.
    """

    mean: FloatArray
    std: FloatArray
    lower: FloatArray
    upper: FloatArray


def held_out_folds(n_rows: int, *, n_splits: int, random_state: int) -> list[np.ndarray]:
    """Row indices of each fold, disjoint and together all rows; one row each if few."""
    n_folds = n_rows if n_rows < 2 * n_splits else n_splits
    order = check_random_state(random_state).permutation(n_rows)
    return [np.sort(fold) for fold in np.array_split(order, n_folds)]


def predict_held_out(
    candidate: Predictor,
    rows: FloatArray,  # (rows, columns)
    targets: FloatArray,  # (rows,)
    folds: list[np.ndarray],
) -> HeldOut:
    """Fit a clone on all rows but a fold's, for each fold, and let it predict the fold."""
    mean, std, lower, upper = (np.empty(len(rows)) for _ in range(4))
    for fold in folds:
        kept = np.setdiff1d(np.arange(len(rows)), fold)
        predictor = clone(candidate).fit(rows[kept], targets[kept])
        mean[fold], std[fold] = modelled(predictor, rows[fold])
        lower[fold], upper[fold] = predictor.predict_interval(rows[fold], COVERAGE)
    return HeldOut(mean, std, lower, upper)


def modelled(
    predictor: Predictor,
    rows: FloatArray,  # (rows, columns)
) -> tuple[FloatArray, FloatArray]:  # (rows,), (rows,)
    """Mean and standard deviation of u, from what any predictor says of y.

    On the log scale ``predict`` gives the median ``exp(m)`` and the standard
    deviation ``exp(m + s**2 / 2) * sqrt(exp(s**2) - 1)``; with r their ratio,
    ``exp(s**2) = (1 + sqrt(1 + 4 r**2)) / 2``. What is too large or too small for
    64-bit numbers counts as the largest or smallest of them.
    """
    median, std = predictor.predict(rows, return_std=True)
    if not predictor.log_target:
        return median, std
    median = np.clip(median, SMALLEST, 1 / SMALLEST)
    with np.errstate(over="ignore"):
        r = np.minimum(std / median, 1 / SMALLEST)
    return np.log(median), np.sqrt(np.log1p(2 * r * (r / (1 + np.hypot(1, 2 * r)))))
