"""Fitting the models of the objectives, each the best of a few by what it did not see.

Each objective that is not known is modelled by Gaussian processes that see
different columns (what is known of architectures; their choices; both) and by
boosted trees. The processes are compared by the probability that each gives to
held-out values; the trees serve where they err clearly less. A process may also
model what is left of an objective when a multiple of what an earlier study predicts
is taken off, if that explains more.

Axes: n = architectures told, d = columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autodistill.search.described import Described
from autodistill.search.models import (
    KnownObjective,
    Model,
    ProcessObjective,
    Shift,
    ShiftedObjective,
    TreesObjective,
    View,
)
from autodistill.search.processes import Process
from predictors import CrossValidation, GPPredictor, XGBPredictor, select

MIN_ROWS_FOR_CHOICE = 6  # below, cross-validation tells nothing: the process serves
MIN_ROWS_FOR_TREES = 12
MIN_ROWS_FOR_PRIOR = 4
LEAST_STD = 1e-9  # of the largest value: a known objective that claims to be exact
UNEXPLAINED = 0.5  # share of the spread that a process leaves, from which on trees are tried
TREES_MUST_ERR_LESS = 0.8  # than the process, whose held-out error is flattered a little
# On 8 to 60 rows as accurate as the default trees, in a quarter of the time: a proposal
# cross-validates them anew.
TREES = XGBPredictor(n_trees=60, learning_rate=0.2, n_repeats=2)


@dataclass(frozen=True)
class Surrogate:
    """The model of one objective, and how well its rivals did."""

    predictor: object
    name: str
    scores: Mapping[str, CrossValidation]


def fit_surrogate(
    x: np.ndarray,  # (n, d)
    y: np.ndarray,  # (n,)
    *,
    seed: int,
    log_target: bool = False,
) -> Surrogate:
    """The better of a Gaussian process and boosted trees on these rows."""
    if len(y) < MIN_ROWS_FOR_CHOICE:
        model = GPPredictor(log_target=log_target, random_state=seed).fit(x, y)
        return Surrogate(model, "gp", {})
    chosen = select(
        x,
        y,
        log_target=log_target,
        random_state=seed,
        candidates={"gp": GPPredictor(), "xgb": TREES},
    )
    return Surrogate(chosen.predictor, chosen.name, chosen.scores)


def fit_objective(
    described: Described,
    y: np.ndarray,  # (n,)
    variance: np.ndarray,  # (n,)
    *,
    seed: int,
    views: Mapping[str, View],
    priors: Sequence[Shift] = (),
) -> Model:
    """The model of one objective that explains best what it does not see.

    Args:
        described: Architectures told.
        y: Their values.
        variance: Of each as a measurement; 0 is exact.
        seed: Of the fits.
        views: Columns that a process may see, by name.
        priors: What earlier studies predict of the same objective.
    """
    options: list[tuple[float, float, Model]] = []
    options += [_fit_process(described, y, variance, seed, name, views[name]) for name in views]
    for prior in priors if len(y) >= MIN_ROWS_FOR_PRIOR else ():
        predicted = prior(described)
        weight = _weight(predicted, y)
        if weight == 0:
            continue

        def shift(new: Described, prior: Shift = prior, weight: float = weight) -> np.ndarray:
            return weight * prior(new)

        told = weight * predicted
        for name in views:
            surprise, error, rest = _fit_process(
                described, y - told, variance, seed, name, views[name]
            )
            model = ShiftedObjective(rest, shift, told, f"{rest.name}, beside an earlier study")
            # a few more numbers were fitted, and held-out values know them
            options.append((surprise + np.log(len(y)) / len(y), error, model))
    _, error, best = min(options, key=lambda option: option[0])
    if len(y) < MIN_ROWS_FOR_TREES or error < UNEXPLAINED * y.std():
        return best
    trees = XGBPredictor(**TREES.get_params()).set_params(random_state=seed)
    trees.fit(described.everything, y)
    better = trees.training_error_ < TREES_MUST_ERR_LESS * error
    return TreesObjective(trees) if better else best


def correct_known(
    known: KnownObjective,
    described: Described,
    y: np.ndarray,  # (n,)
    variance: np.ndarray,  # (n,)
    *,
    seed: int,
    views: Mapping[str, View],
) -> Model:
    """A known objective, or it and a process of its errors where they have a pattern.

    Far from what a latency model was fitted on, at the corners of a space, it may
    well be wrong and not know it. The values told say so.
    """
    if len(y) < MIN_ROWS_FOR_PRIOR:
        return known
    mean, std = known(described.architectures)
    std = np.maximum(std, LEAST_STD * max(float(np.abs(y).max()), 1e-300))
    residual = y - mean
    surprise = float(np.mean(np.log(std) + 0.5 * (residual / std) ** 2))
    options: list[tuple[float, Model]] = [(surprise, known)]
    if residual.std() > LEAST_STD * max(float(np.abs(y).max()), 1e-300):
        for name in views:
            found, _, rest = _fit_process(described, residual, variance, seed, name, views[name])
            model = ShiftedObjective(
                rest, lambda new: known(new.architectures)[0], mean, "known, corrected"
            )
            options.append((found + np.log(len(y)) / len(y), model))
    return min(options, key=lambda option: option[0])[1]


def _fit_process(
    described: Described, y: np.ndarray, variance: np.ndarray, seed: int, name: str, view: View
) -> tuple[float, float, ProcessObjective]:
    """Mean surprise at held-out values in nats, their root mean square error, the model."""
    x = view(described)
    predictor = GPPredictor(random_state=seed).fit(x, y)
    found = Process.of(predictor, x, y, variance)
    residual, std = found.leave_one_out()
    scale = predictor.target_scale_.scale
    surprise = float(np.mean(np.log(scale * std) + 0.5 * (residual / std) ** 2))
    error = float(scale * np.sqrt(np.mean(residual**2)))
    return surprise, error, ProcessObjective(found, view, f"gp on {name}")


def _weight(predicted: np.ndarray, y: np.ndarray) -> float:
    """The multiple of a prediction that is nearest to y, shrunk as if two rows more said 0."""
    centred = predicted - predicted.mean()
    size = float(centred @ centred)
    if size <= 1e-12 * max(float(predicted @ predicted), 1e-300):
        return 0.0
    return float(centred @ (y - y.mean())) / size * len(y) / (len(y) + 2)
