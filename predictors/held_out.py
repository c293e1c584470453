"""What predictors say of rows that they were not fitted on.

Rows of one group (repeated measurements of an architecture, or the same one at several
batch sizes) are held out together: who has seen one of them knows the others.

Axes: rows = architectures; u = the modelled scale, log y where ``log_target``, else y.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state

from predictors.errors import InputError
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


def row_groups(
    rows: FloatArray,  # (rows, columns)
    groups: ArrayLike | None = None,  # (rows,) labels of any kind
) -> NDArray[np.intp]:  # (rows,)
    """A number for each row; those that must be held out together have the same.

    Without labels those are equal rows. Numbers count up from 0 in the order of first
    appearance. Where all rows would be of one group, each has its own.

    Raises:
        InputError: There are more or fewer labels than rows.
    """
    if groups is None:
        labels, axis = rows + 0.0, 0  # -0.0 is 0.0
    else:
        labels, axis = np.asarray(groups), None
        if labels.shape != (len(rows),):
            raise InputError(
                f"groups must have a label for each of {len(rows)} rows; got shape {labels.shape}"
            )
    if labels.size == 0:
        return np.arange(len(rows))
    _, first, numbers = np.unique(labels, axis=axis, return_index=True, return_inverse=True)
    if len(first) < 2:
        return np.arange(len(rows))
    return np.asarray(np.argsort(np.argsort(first))[numbers.reshape(-1)])


def split_groups(
    groups: NDArray[np.intp], n_folds: int, rng: np.random.RandomState
) -> list[np.ndarray]:
    """Row indices of each fold, ascending; a fold has whole groups, in random order."""
    _, numbers = np.unique(groups, return_inverse=True)
    order = rng.permutation(int(numbers.max()) + 1)
    return [np.flatnonzero(np.isin(numbers, part)) for part in np.array_split(order, n_folds)]


def held_out_folds(
    groups: NDArray[np.intp],  # (rows,)
    *,
    n_splits: int,
    random_state: int,
) -> list[np.ndarray]:
    """Row indices of each fold, disjoint and together all rows; one group each if few."""
    n_groups = len(np.unique(groups))
    n_folds = n_groups if n_groups < 2 * n_splits else n_splits
    return split_groups(groups, n_folds, check_random_state(random_state))


def predict_held_out(
    candidate: Predictor,
    rows: FloatArray,  # (rows, columns)
    targets: FloatArray,  # (rows,)
    folds: list[np.ndarray],
    groups: ArrayLike | None = None,  # (rows,), for candidates that take them
) -> HeldOut:
    """Fit a clone on all rows but a fold's, for each fold, and let it predict the fold."""
    mean, std, lower, upper = (np.empty(len(rows)) for _ in range(4))
    for fold in folds:
        kept = np.setdiff1d(np.arange(len(rows)), fold)
        predictor = clone(candidate).fit(rows[kept], targets[kept], **of_rows(groups, kept))
        mean[fold], std[fold] = modelled(predictor, rows[fold])
        lower[fold], upper[fold] = predictor.predict_interval(rows[fold], COVERAGE)
    return HeldOut(mean, std, lower, upper)


def of_rows(groups: ArrayLike | None, kept: np.ndarray) -> dict[str, Any]:
    """The labels of these rows as an argument of ``fit``, if there are labels."""
    return {} if groups is None else {"groups": np.asarray(groups)[kept]}


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
