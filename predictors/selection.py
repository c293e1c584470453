"""Choosing among predictors, or blending them, by their errors on held-out rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from predictors import metrics
from predictors.blend import MIN_ROWS, BlendPredictor, Mixture, mix
from predictors.errors import InputError
from predictors.gp import GPPredictor
from predictors.held_out import (
    COVERAGE,
    HeldOut,
    held_out_folds,
    of_rows,
    predict_held_out,
    row_groups,
)
from predictors.inputs import check_training_rows
from predictors.normal_scores import NormalScores, NormalScoresPredictor
from predictors.protocol import FloatArray, Predictor
from predictors.scaling import TargetScale
from predictors.xgb import XGBPredictor

BLEND = "blend"


@dataclass(frozen=True)
class CrossValidation:
    """Errors at rows that a predictor had not seen.

    Attributes:
        rmse: On the modelled scale: of normal scores if ``normal_scores``, of log y if
            ``log_target``, else of y.
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

    @property
    def margins(self) -> dict[str, float]:
        """By which share the winner's RMSE is below that of each other candidate."""
        best = self.scores[self.name].rmse
        return {
            name: 1 - best / score.rmse if score.rmse > 0 else 0.0
            for name, score in self.scores.items()
            if name != self.name
        }


def select(
    X: ArrayLike,  # (rows, columns)
    y: ArrayLike,  # (rows,)
    *,
    log_target: bool,
    random_state: int,
    candidates: Mapping[str, Predictor] | None = None,
    n_splits: int = 5,
    blend: bool | None = None,
    groups: ArrayLike | None = None,  # (rows,)
    normal_scores: bool = False,
) -> Selection:
    """Cross-validate each candidate and their blend; the one of lowest RMSE is the answer.

    Rows are held out in ``n_splits`` random folds, the same for each candidate,
    or one by one if there are fewer than ``2 * n_splits``; equal rows together. The blend (see
    ``BlendPredictor``) costs no further fit: what it predicts of a fold has its
    weights from the other folds. Equal errors: the first candidate wins, and any
    single one over the blend. The same arguments give the same result.

    Args:
        X: Finite features.
        y: Finite targets; positive if ``log_target``.
        log_target: Given to every candidate, as errors are compared on that scale.
        random_state: Given to every candidate; also the seed of the folds.
        candidates: Predictors by name, left as they are; by default ``gp`` and ``xgb``.
        n_splits: Number of folds, at least 2.
        blend: Whether the blend of all candidates competes, as ``blend``, from six
            rows on; by default only where ``candidates`` are not given.
        groups: Labels of rows to be held out together, instead of equal rows; the
            candidates' ``fit`` must take them.
        normal_scores: Let the candidates learn, and their errors be compared on, the normal
            scores of y, for targets of which a few lie far from all others; the winner then
            comes as a ``NormalScoresPredictor``.

    Returns:
        The winner and the scores of all.

    Raises:
        InputError: No candidates, fewer than three rows, or a bad cell.
    """
    blend = candidates is None if blend is None else blend
    if candidates is None:
        candidates = {"gp": GPPredictor(), "xgb": XGBPredictor()}
    if not candidates:
        raise InputError("select needs at least one candidate; got none")
    if blend and BLEND in candidates:
        raise InputError(f"a candidate is called {BLEND!r}, the name of the blend; rename it")
    if n_splits < 2:
        raise InputError(f"n_splits must be at least 2; got {n_splits}")
    shape, length = np.shape(X), np.shape(y)
    if len(shape) != 2 or length != shape[:1]:
        raise InputError(f"X must be (rows, columns) and y (rows,); got {shape} and {length}")
    if shape[0] < 3:
        raise InputError(f"cross-validation needs at least 3 rows; got {shape[0]}. Measure more")
    # A bad cell is named by its row in X, not in a fold, and by the name of its column.
    rows, targets = check_training_rows(GPPredictor(log_target=log_target), X, y)

    unit: TargetScale | NormalScores = TargetScale(log_target, 0.0, 1.0)
    learnt, log = targets, log_target
    if normal_scores:
        unit = NormalScores.of(targets, log=log_target)
        learnt, log = unit.apply(targets), False
    ready = {
        name: clone(candidate).set_params(log_target=log, random_state=random_state)
        for name, candidate in candidates.items()
    }
    labels = of_rows(groups, np.arange(len(rows)))
    fitted = {name: clone(one).fit(rows, learnt, **labels) for name, one in ready.items()}
    group = row_groups(rows, groups)
    folds = held_out_folds(group, n_splits=n_splits, random_state=random_state)
    held_out = {
        name: predict_held_out(candidate, rows, learnt, folds, groups)
        for name, candidate in ready.items()
    }
    if isinstance(unit, NormalScores):
        held_out = {name: _in_unit_of_y(found, unit) for name, found in held_out.items()}
    judged = dict(held_out)
    if blend and len(candidates) > 1 and len(rows) >= MIN_ROWS:
        judged[BLEND] = _blend_held_out(list(held_out.values()), targets, folds, unit)
    scores = {name: _score(predictions, targets, unit) for name, predictions in judged.items()}
    winner = min(scores, key=lambda name: scores[name].rmse)
    options: dict[str, Any] = {"log_target": log, "random_state": random_state}
    predictor = (
        fitted[winner]
        if winner in fitted
        else BlendPredictor.of_fitted(
            fitted,
            list(held_out.values()),
            rows,
            learnt,
            n_splits=n_splits,
            **options,
        )
    )
    if normal_scores:
        options["log_target"] = log_target
        predictor = NormalScoresPredictor.of_fitted(predictor, X, targets, **options)
    elif hasattr(X, "columns"):  # a data frame, whose names hold for what is predicted
        check_training_rows(predictor, X, targets)
    return Selection(winner, predictor, scores)


def _in_unit_of_y(predictions: HeldOut, scores: NormalScores) -> HeldOut:
    """What learned scores, with its bounds as of y."""
    bounds = scores.median(predictions.lower), scores.median(predictions.upper)
    return HeldOut(predictions.mean, predictions.std, *bounds)


def _blend_held_out(
    members: Sequence[HeldOut],
    targets: FloatArray,
    folds: Sequence[np.ndarray],
    unit: TargetScale | NormalScores,
) -> HeldOut:
    """Each fold by the mixture that the other folds give."""
    u = unit.apply(targets)
    means, stds = (np.array([getattr(m, part) for m in members]) for part in ("mean", "std"))
    mean, std, half = (np.empty(len(u)) for _ in range(3))
    for fold in folds:
        kept = np.setdiff1d(np.arange(len(u)), fold)
        mixture = Mixture.of(u[kept], means[:, kept], stds[:, kept])
        mean[fold], raw = mix(mixture.weights, means[:, fold], stds[:, fold])
        std[fold] = mixture.error_scale.spread * raw
        half[fold] = mixture.error_scale.half_width(COVERAGE) * raw
    return HeldOut(mean, std, unit.median(mean - half), unit.median(mean + half))


def _score(
    predictions: HeldOut, targets: FloatArray, unit: TargetScale | NormalScores
) -> CrossValidation:
    median = unit.median(predictions.mean)
    return CrossValidation(
        rmse=metrics.rmse(unit.apply(targets), predictions.mean),
        mape=metrics.mape(targets, median),
        spearman=metrics.spearman(targets, median),
        coverage90=metrics.covered(targets, predictions.lower, predictions.upper),
        n_rows=len(targets),
    )
