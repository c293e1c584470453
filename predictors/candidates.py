"""What is known of other devices must earn its place against measurements alone.

Notation: g are the predictions of the known devices' models, as further columns.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from predictors.errors import SubsetWarning
from predictors.gp import GPPredictor
from predictors.held_out import held_out_folds, row_groups
from predictors.known_devices import KnownDevices
from predictors.new_device import NewDevice
from predictors.protocol import FloatArray, Predictor
from predictors.state import flag, number, numbers
from predictors.xgb import XGBPredictor

LEAST_ROWS_TO_COMPARE = 5
LEAST_ROWS_ALONE = 2  # of a GPPredictor
MUCH_BETTER = 0.8  # of the mixture's error, rows predicted from the others
MANY_ROWS = 60  # from here on predictors compete on held-out folds
TREES_FROM = 150  # rows: trees need more before they can win
MANY_FOLDS_UP_TO = 300  # rows: above, one fold tells enough
MIXTURE_ROWS = 120  # the mixture uses so many rows at most; deviations are smooth
N_SPLITS = 4


@dataclass(frozen=True)
class FromScratch:
    """A predictor fitted to measured rows, (n, d), given g where ``known`` is not None."""

    predictor: Any
    known: KnownDevices | None
    rows: FloatArray
    kind = "scratch"

    @property
    def training_error(self) -> float:
        """RMSE of the predictor's held-out predictions of its own rows."""
        return float(self.predictor.training_error_)

    def predict(
        self, rows: FloatArray, return_std: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Median of y for each row, and its standard deviation if asked."""
        result: FloatArray | tuple[FloatArray, FloatArray]
        result = self.predictor.predict(_columns(self.known, rows), return_std=return_std)
        return result

    def predict_interval(self, rows: FloatArray, coverage: float) -> tuple[FloatArray, FloatArray]:
        """Central interval of a new measurement of each row."""
        bounds: tuple[FloatArray, FloatArray]
        bounds = self.predictor.predict_interval(_columns(self.known, rows), coverage)
        return bounds

    def to_state(self) -> dict[str, Any]:
        """The predictor; the known devices are kept elsewhere."""
        return {
            "predictor": self.predictor.kind,
            "given": self.known is not None,
            "state": self.predictor.to_state(),
            "rows": self.rows.tolist(),
            "training_error": self.training_error,
        }

    @classmethod
    def from_state(cls, known: KnownDevices | None, state: dict[str, Any]) -> "FromScratch":
        """Inverse of ``to_state``."""
        given = flag(state, "given")
        if given and known is None:
            raise ValueError("the predictor was given what known devices say; there are none")
        kinds = {kind.kind: kind for kind in (GPPredictor, XGBPredictor)}
        predictor = kinds[state["predictor"]].from_state(state["state"])
        predictor.training_error_ = number(state, "training_error", least=0)
        n_columns = predictor.n_features_in_ - (len(known.names) if given and known else 0)
        rows = numbers(state, "rows", (None, n_columns))
        return cls(predictor, known if given else None, rows)


Learner = Callable[[FloatArray, FloatArray], NewDevice | FromScratch]


def learn_best(
    known: KnownDevices,
    rows: FloatArray,  # (n, d)
    y: FloatArray,  # (n,)
    rng: np.random.RandomState,
) -> NewDevice | FromScratch:
    """The mixture, or what predicts held-out rows better.

    Below ``MANY_ROWS`` rows that can only be a Gaussian process on the rows alone,
    and it must foretell each of them from the others much better: a device that
    follows a rule of its own, which few columns tell, while the mixture's kernels
    weigh columns as the sources do. As its lengthscales are found on all rows, it must
    do so where it is fitted anew without each of them too, and there sizes of errors are
    compared: of their squares one disturbed measurement makes up the most. (Folds of
    several rows would leave it too few to find a rule in.)
    """

    def mixture(rows: FloatArray, y: FloatArray) -> NewDevice:
        chosen = np.sort(rng.permutation(len(rows))[:MIXTURE_ROWS])
        return NewDevice.learn(known, rows[chosen], y[chosen], rng)

    def scratch(make: Callable[..., Predictor], given: KnownDevices | None) -> Learner:
        def learn(rows: FloatArray, y: FloatArray) -> FromScratch:
            predictor = make(log_target=known.log, random_state=seed)
            return FromScratch(predictor.fit(_columns(given, rows), y), given, rows)

        return learn

    seed = int(rng.randint(2**31 - 1))
    with warnings.catch_warnings():
        # Subsets are intended here, and an unfinished search is judged by its error.
        warnings.simplefilter("ignore", SubsetWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        if len(rows) < MANY_ROWS:
            related = mixture(rows, y)
            if len(rows) < LEAST_ROWS_TO_COMPARE:
                return related
            learn_alone = scratch(GPPredictor, None)
            alone = learn_alone(rows, y)
            if alone.training_error >= MUCH_BETTER * related.training_error:
                return related
            groups = row_groups(rows)
            folds = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
            if len(rows) - max(map(len, folds)) < LEAST_ROWS_ALONE:
                return related
            own = np.abs(_held_out_errors(learn_alone, rows, y, folds, known)).mean()
            others = np.abs(related.leave_one_out_errors).mean()
            return alone if own < MUCH_BETTER * others else related

        learners: list[Learner] = [mixture]
        kinds = (GPPredictor, XGBPredictor) if len(rows) >= TREES_FROM else (GPPredictor,)
        learners += [scratch(make, given) for make in kinds for given in (known, None)]
        folds = held_out_folds(row_groups(rows), n_splits=N_SPLITS, random_state=seed)
        if len(rows) > MANY_FOLDS_UP_TO:
            folds = folds[:1]

        def squares(learner: Learner) -> float:
            return float(np.sum(_held_out_errors(learner, rows, y, folds, known) ** 2))

        return min(learners, key=squares)(rows, y)


def _held_out_errors(
    learner: Learner,
    rows: FloatArray,
    y: FloatArray,
    folds: list[np.ndarray],
    known: KnownDevices,
) -> FloatArray:  # (rows of all folds,)
    modelled = np.log if known.log else np.asarray
    errors = []
    for fold in folds:
        kept = np.setdiff1d(np.arange(len(rows)), fold)
        predicted = learner(rows[kept], y[kept]).predict(rows[fold])
        errors.append(modelled(predicted) - modelled(y[fold]))
    return np.concatenate(errors)


def _columns(known: KnownDevices | None, rows: FloatArray) -> FloatArray:
    return rows if known is None else np.hstack([rows, known.describe(rows).g])
