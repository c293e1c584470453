"""A predictor of ranks: targets far from all others, wherever they lie, cannot rule it.

A training run that failed lies many deviations below its neighbours, and squared errors
see little else. Learned from are therefore the quantiles of a standard normal at the
ranks of the targets; predictions go back along the training targets.

Notation: u is the modelled scale, log y where ``log_target``, else y; z its normal score.

References:
    [Waerden1952] van der Waerden. Order tests for the two-sample problem and their power.
    Indagationes Mathematicae 14, 1952 (the scores).
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, rankdata
from sklearn.base import clone

from predictors.blend import BlendPredictor
from predictors.document import plain_seed
from predictors.errors import PersistError
from predictors.estimator import PredictorBase
from predictors.gp import GPPredictor
from predictors.held_out import of_rows
from predictors.inputs import check_new_rows, check_training_rows
from predictors.protocol import FloatArray, Predictor
from predictors.scaling import TargetScale
from predictors.state import check_one_scale, flag, numbers
from predictors.xgb import XGBPredictor

MEMBER_KINDS: dict[str, Any] = {
    kind.kind: kind for kind in (GPPredictor, XGBPredictor, BlendPredictor)
}
QUARTILE = float(norm.ppf(0.75))


@dataclass(frozen=True)
class NormalScores:
    """The map between y and z: increasing, straight between the training targets.

    Beyond the outermost target it goes on as steeply as between the quartiles, where a few
    of many targets, far from all others, have no say.

    Attributes:
        log: Whether u is log y.
        values: (distinct targets,) of u, ascending.
        scores: (distinct targets,) of z, ascending.
    """

    log: bool
    values: FloatArray
    scores: FloatArray

    @classmethod
    def of(cls, y: FloatArray, *, log: bool) -> "NormalScores":
        """Equal targets have the score of their middle rank."""
        TargetScale.of(y, log=log)  # refuses what spreads too far
        u = TargetScale(log, 0.0, 1.0).apply(y)
        scores = norm.ppf((rankdata(u) - 0.5) / len(u))
        values, first = np.unique(u, return_index=True)
        return cls(log, values, scores[first])

    def apply(self, y: FloatArray) -> FloatArray:
        """Scores of targets, same shape."""
        u = self._unit.apply(y)
        return self._straight_on(u, self.values, self.scores, 1 / self._slope)

    def modelled(self, z: FloatArray) -> FloatArray:
        """The u that has this score, same shape."""
        return self._straight_on(z, self.scores, self.values, self._slope)

    def median(self, z: FloatArray) -> FloatArray:
        """Median of y, if z is the median of its scores."""
        return self._unit.median(self.modelled(z))

    def std(self, z: FloatArray, std: FloatArray) -> FloatArray:
        """Standard deviation of y: half of what lies between one deviation below and above."""
        spread = (self.modelled(z + std) - self.modelled(z - std)) / 2
        return self._unit.std(self.modelled(z), spread)

    def to_state(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "log": self.log,
            "values": self.values.tolist(),
            "scores": self.scores.tolist(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "NormalScores":
        """Inverse of ``to_state``."""
        values = numbers(state, "values", (None,))
        scores = numbers(state, "scores", (len(values),))
        for key, found in (("values", values), ("scores", scores)):
            if len(found) == 0 or (np.diff(found) <= 0).any():
                raise ValueError(f"{key!r} must hold ascending numbers")
        return cls(flag(state, "log"), values, scores)

    @property
    def _unit(self) -> TargetScale:
        """Between y and u, which is not scaled."""
        return TargetScale(self.log, 0.0, 1.0)

    @property
    def _slope(self) -> float:
        """Of u over z between the quartiles; 1 if all targets are equal."""
        low, high = np.interp([-QUARTILE, QUARTILE], self.scores, self.values)
        return float(high - low) / (2 * QUARTILE) if high > low else 1.0

    @staticmethod
    def _straight_on(
        x: FloatArray, known: FloatArray, values: FloatArray, slope: float
    ) -> FloatArray:
        beyond = x - np.clip(x, known[0], known[-1])
        return np.asarray(np.interp(x, known, values) + slope * beyond)


class NormalScoresPredictor(PredictorBase):
    """A predictor fitted to the normal scores of y [Waerden1952].

    For targets of which a few lie far from all others: accuracies of trainings that now
    and then fail. ``training_error_`` is that of the scores.

    Args:
        log_target: Model log(y) between neighbouring targets, and beyond the outermost.
        random_state: Given to the member.
        member: What learns the scores, left as it is; by default a ``GPPredictor``.

    Raises:
        InputError: A cell is NaN or infinite, or ``log_target`` and y <= 0.

    Example:
        >>> import numpy as np
        >>> X = np.arange(20.0)[:, None]
        >>> y = 2 * X[:, 0]
        >>> y[7] = -1000.0
        >>> float(NormalScoresPredictor().fit(X, y).predict([[12.0]])[0].round())
        24.0
    """

    kind = "normal-scores"

    def __init__(
        self,
        *,
        log_target: bool = False,
        random_state: int | np.random.RandomState | None = 0,
        member: Predictor | None = None,
    ) -> None:
        self.log_target = log_target
        self.random_state = random_state
        self.member = member

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Learn from X, (rows, columns), and y, (rows,); at least two rows.

        Labels of ``groups``, (rows,), are handed to the member, which must take them.
        """
        rows, targets = check_training_rows(self, X, y)
        seed = self._whole_seed()
        scores = NormalScores.of(targets, log=self.log_target)
        member = clone(self.member if self.member is not None else GPPredictor())
        member.set_params(log_target=False, random_state=seed)
        labels = of_rows(groups, np.arange(len(rows)))
        return self._with(scores, member.fit(rows, scores.apply(targets), **labels))

    @classmethod
    def of_fitted(
        cls,
        member: Predictor,  # fitted to the scores of y
        X: ArrayLike,  # (rows, columns)
        y: ArrayLike,  # (rows,)
        **params: Any,
    ) -> Self:
        """What ``fit`` would give, from a member already fitted."""
        predictor = cls(member=clone(member), **params)
        _, targets = check_training_rows(predictor, X, y)
        return predictor._with(NormalScores.of(targets, log=predictor.log_target), member)

    def _predict(
        self, rows: FloatArray, return_std: bool
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        if not return_std:
            return self.scores_.median(self.member_.predict(rows))
        mean, std = self.member_.predict(rows, return_std=True)
        return self.scores_.median(mean), self.scores_.std(mean, std)

    def predict_interval(
        self, X: ArrayLike, coverage: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bound, both (rows,), for a new measurement of each row."""
        lower, upper = self.member_.predict_interval(check_new_rows(self, X), coverage)
        return self.scores_.median(lower), self.scores_.median(upper)

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as values that JSON can hold.

        Raises:
            PersistError: The member is of a kind that such a file does not know.
        """
        kind = getattr(self.member_, "kind", None)
        if kind not in MEMBER_KINDS:
            raise PersistError(
                f"the member is a {type(self.member_).__name__}; a file can hold normal scores of "
                f"{', '.join(sorted(MEMBER_KINDS))}"
            )
        return {
            "params": {
                "log_target": bool(self.log_target),
                "random_state": plain_seed(self.random_state),
            },
            "scores": self.scores_.to_state(),
            "member": {"kind": kind, "state": self.member_.to_state()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Inverse of ``to_state``."""
        kind, scores = state["member"]["kind"], NormalScores.from_state(state["scores"])
        member = MEMBER_KINDS[kind].from_state(state["member"]["state"])
        predictor = cls(member=clone(member), **state["params"])
        check_one_scale(predictor.log_target, scores.log)
        check_one_scale(member.log_target, False)
        predictor.n_features_in_ = member.n_features_in_
        predictor.scores_, predictor.member_ = scores, member
        return predictor

    def _with(self, scores: NormalScores, member: Predictor) -> Self:
        self.scores_, self.member_ = scores, member
        self.training_error_ = member.training_error_
        return self
