"""Choosing among predictors by their errors on held-out rows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils import check_random_state

from predictors import metrics
from predictors.errors import InputError
from predictors.gp import GPPredictor
from predictors.protocol import FloatArray, Predictor
from predictors.xgb import XGBPredictor

COVERAGE = 0.9


@dataclass(frozen=True)
class CrossValidation:
    """Errors at rows that a predictor had not seen.

    Attributes:
        rmse: On the modelled scale: of log y if ``log_target``, else of y.
        mape: Mean relative error in the unit of y (0.1 is 10%); None unless all y > 0.
        spearman: Rank correlation; NaN where y or the predictions are constant.
        coverage90: Share of rows inside their 90% interval; near 0.9 is honest.
        n_rows: Rows held out, each once.
    """

    rmse: float
    mape: float | None
    spearman: float
    coverage90: float
    n_rows: int


@dataclass(frozen=True)
class Selection:
    """The best candidate, fitted on all rows, and how each candidate did."""

    name: str
    predictor: Predictor
    scores: dict[str, CrossValidation]


def select(
    X: ArrayLike,  # (rows, columns)
    y: ArrayLike,  # (rows,)
    *,
    log_target: bool,
    random_state: int,
    candidates: Mapping[str, Predictor] | None = None,
    n_splits: int = 5,
) -> Selection:
    """Cross-validate each candidate and refit the one of lowest RMSE on all rows.

    Rows are held out in ``n_splits`` random folds, the same for each candidate,
    or one by one if there are fewer than ``2 * n_splits``. Equal errors: the
    first candidate wins. The same arguments give the same result.

    Args:
        X: Finite features.
        y: Finite targets; positive if ``log_target``.
        log_target: Given to every candidate, as errors are compared on that scale.
        random_state: Given to every candidate; also the seed of the folds.
        candidates: Predictors by name, left as they are; by default ``gp`` and ``xgb``.
        n_splits: Number of folds, at least 2.

    Returns:
        The winner and the scores of all.

    Raises:
        InputError: No candidates, fewer than three rows, or a bad cell.
    """
    if candidates is None:
        candidates = {"gp": GPPredictor(), "xgb": XGBPredictor()}
    if not candidates:
        raise InputError("select needs at least one candidate; got none")
    if n_splits < 2:
        raise InputError(f"n_splits must be at least 2; got {n_splits}")
    rows, targets = np.asarray(X), np.asarray(y, dtype=float)
    if rows.ndim != 2 or targets.shape != rows.shape[:1]:
        raise InputError(
            f"X must be (rows, columns) and y (rows,); got {rows.shape} and {targets.shape}"
        )
    if len(rows) < 3:
        raise InputError(f"cross-validation needs at least 3 rows; got {len(rows)}. Measure more")

    ready = {
        name: clone(candidate).set_params(log_target=log_target, random_state=random_state)
        for name, candidate in candidates.items()
    }
    folds = held_out_folds(len(rows), n_splits=n_splits, random_state=random_state)
    winner = None
    scores = {}
    # Each candidate is fitted on all rows first: a bad cell is then named by its row in X.
    fitted = {name: clone(candidate).fit(rows, targets) for name, candidate in ready.items()}
    for name, candidate in ready.items():
        scores[name] = _cross_validate(candidate, rows, targets, folds, log_target=log_target)
        if winner is None or scores[name].rmse < scores[winner].rmse:
            winner = name
    assert winner is not None  # there is at least one candidate
    return Selection(winner, fitted[winner], scores)


def held_out_folds(n_rows: int, *, n_splits: int, random_state: int) -> list[np.ndarray]:
    """Row indices of each fold, disjoint and together all rows; one row each if few."""
    n_folds = n_rows if n_rows < 2 * n_splits else n_splits
    order = check_random_state(random_state).permutation(n_rows)
    return [np.sort(fold) for fold in np.array_split(order, n_folds)]


def _cross_validate(
    candidate: Predictor,
    rows: FloatArray,
    targets: FloatArray,
    folds: list[np.ndarray],
    *,
    log_target: bool,
) -> CrossValidation:
    median, lower, upper = (np.empty(len(rows)) for _ in range(3))
    for fold in folds:
        kept = np.setdiff1d(np.arange(len(rows)), fold)
        predictor = clone(candidate).fit(rows[kept], targets[kept])
        median[fold] = predictor.predict(rows[fold])
        lower[fold], upper[fold] = predictor.predict_interval(rows[fold], COVERAGE)
    modelled = np.log if log_target else np.asarray
    return CrossValidation(
        rmse=metrics.rmse(modelled(targets), modelled(median)),
        mape=metrics.mape(targets, median),
        spearman=metrics.spearman(targets, median),
        coverage90=metrics.covered(targets, lower, upper),
        n_rows=len(rows),
    )
