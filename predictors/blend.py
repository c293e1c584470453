"""Several predictors as one, weighted by their errors on held-out rows.

Notation (all of u, the modelled scale: log y where ``log_target``, else y):
    m_k, s_k    mean and standard deviation of member k.
    w_k         its weight; weights are not negative and sum to one.
    e_k         (rows,) errors of member k at rows held out from it.

References:
    [Breiman1996] Breiman. Stacked Regressions. Machine Learning 24, 1996 (weights
    without sign changes, from held-out predictions).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from sklearn.base import clone

from predictors import metrics
from predictors.calibration import ErrorScale
from predictors.document import plain_seed
from predictors.errors import InputError, PersistError
from predictors.estimator import PredictorBase
from predictors.gp import GPPredictor
from predictors.held_out import (
    HeldOut,
    held_out_folds,
    modelled,
    of_rows,
    predict_held_out,
    row_groups,
)
from predictors.inputs import check_new_rows, check_training_rows
from predictors.protocol import FloatArray, Predictor
from predictors.scaling import TargetScale
from predictors.state import check_one_scale, shares
from predictors.xgb import XGBPredictor

MIN_ROWS = 6  # below, held-out errors tell nothing: equal weights
MEMBER_KINDS: dict[str, Any] = {kind.kind: kind for kind in (GPPredictor, XGBPredictor)}


@dataclass(frozen=True)
class Mixture:
    """Weights of some members, and how large the errors of their mixture are.

    Attributes:
        weights: (members,).
        error_scale: Of the mixture's held-out errors.
    """

    weights: FloatArray
    error_scale: ErrorScale

    @classmethod
    def equal(cls, n_members: int) -> "Mixture":
        """Without any knowledge of errors."""
        return cls(np.full(n_members, 1 / n_members), ErrorScale.none())

    @classmethod
    def of(cls, u: FloatArray, means: FloatArray, stds: FloatArray) -> "Mixture":
        """From held-out predictions, (members, rows) each, of ``u``, (rows,)."""
        weights = least_error_weights(u - means)
        mean, std = mix(weights, means, stds)
        return cls(weights, ErrorScale.of(u - mean, std))


def least_error_weights(errors: FloatArray) -> FloatArray:  # (members, rows) -> (members,)
    """Weights of the mixture with the least mean squared error [Breiman1996].

    Minimises ``w^T R w`` for ``R = e e^T / n``, with ``members / n`` of the mean
    diagonal added to it: few rows move weights little from equal ones.
    """
    k, n = errors.shape
    moments = errors @ errors.T / n
    size = float(np.trace(moments)) / k
    if size == 0:
        return np.full(k, 1 / k)
    moments = moments / size + (k / n + 1e-9) * np.eye(k)
    # v >= 0 that minimises v^T R v / 2 - sum(v) points to the best w.
    factor = cholesky(moments, lower=True)
    direction, _ = nnls(factor.T, solve_triangular(factor, np.ones(k), lower=True))
    return np.asarray(direction / direction.sum())


def mix(
    weights: FloatArray,  # (members,)
    means: FloatArray,  # (members, rows)
    stds: FloatArray,  # (members, rows)
) -> tuple[FloatArray, FloatArray]:  # (rows,), (rows,)
    """Mean and standard deviation of the mixture: what members say, and that they differ."""
    mean = weights @ means
    variance = weights @ (stds**2 + (means - mean) ** 2)
    return np.asarray(mean), np.sqrt(variance)


class BlendPredictor(PredictorBase):
    """Weighted mean of predictors; weights are those that err least on held-out rows.

    The rows are held out in ``n_splits`` random folds (one by one if they are
    fewer than twice as many; equal rows together). Each member predicts what was held out from it;
    weights follow from the errors, and so does the calibration of the spread.
    Then each member is fitted on all rows. Below six rows the weights are equal.

    Args:
        log_target: Model log(y), as in ``GPPredictor``; given to every member.
        random_state: Seed of the folds; given to every member.
        members: Predictors by name, left as they are; by default ``gp`` and ``xgb``.
        n_splits: Number of folds, at least 2.

    Raises:
        InputError: A cell is NaN or infinite, or ``log_target`` and y <= 0.

    Example:
        >>> import numpy as np
        >>> X = np.arange(20.0)[:, None]
        >>> members = {"gp": GPPredictor(), "xgb": XGBPredictor(n_trees=20)}
        >>> model = BlendPredictor(members=members).fit(X, 3 * X[:, 0])
        >>> {name: round(weight, 1) for name, weight in model.weights_.items()}
        {'gp': 1.0, 'xgb': 0.0}
    """

    kind = "blend"

    def __init__(
        self,
        *,
        log_target: bool = False,
        random_state: int | np.random.RandomState | None = 0,
        members: Mapping[str, Predictor] | None = None,
        n_splits: int = 5,
    ) -> None:
        self.log_target = log_target
        self.random_state = random_state
        self.members = members
        self.n_splits = n_splits

    @property
    def weights_(self) -> dict[str, float]:
        """The weight of each member by name."""
        return dict(zip(self.members_, map(float, self.mixture_.weights), strict=True))

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Learn from X, (rows, columns), and y, (rows,); at least two rows.

        Rows of one group, (rows,) labels, are held out together; by default equal rows.
        Members must take labels where there are some.
        """
        if self.n_splits < 2:
            raise InputError(f"n_splits must be at least 2; got {self.n_splits}")
        if self.members is not None and not self.members:
            raise InputError("a blend needs at least one member; got none")
        rows, targets = check_training_rows(self, X, y)
        seed = self._whole_seed()
        given = self.members or {"gp": GPPredictor(), "xgb": XGBPredictor()}
        ready = {
            name: clone(member).set_params(log_target=self.log_target, random_state=seed)
            for name, member in given.items()
        }
        held_out = []
        if len(rows) >= MIN_ROWS:
            group = row_groups(rows, groups)
            folds = held_out_folds(group, n_splits=self.n_splits, random_state=seed)
            held_out = [predict_held_out(m, rows, targets, folds, groups) for m in ready.values()]
        labels = of_rows(groups, np.arange(len(rows)))
        fitted = {name: member.fit(rows, targets, **labels) for name, member in ready.items()}
        return self._join(fitted, held_out, targets)

    @classmethod
    def of_fitted(
        cls,
        fitted: Mapping[str, Predictor],
        held_out: Sequence[HeldOut],  # of each member, in order
        X: ArrayLike,  # (rows, columns)
        y: ArrayLike,  # (rows,)
        **params: Any,
    ) -> Self:
        """What ``fit`` would give, from members and held-out predictions already made."""
        blend = cls(members={name: clone(member) for name, member in fitted.items()}, **params)
        _, targets = check_training_rows(blend, X, y)
        return blend._join(fitted, held_out if len(targets) >= MIN_ROWS else [], targets)

    def _predict(
        self, rows: FloatArray, return_std: bool
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        if return_std:
            mean, std = self._mean_and_std(rows)
            std = self.mixture_.error_scale.spread * std
            return self._unit.median(mean), self._unit.std(mean, std)
        medians = np.array([member.predict(rows) for member in self.members_.values()])
        return self._unit.median(self.mixture_.weights @ self._unit.apply(medians))

    def predict_interval(
        self, X: ArrayLike, coverage: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bound, both (rows,), for a new measurement of each row."""
        rows = check_new_rows(self, X)
        width = self.mixture_.error_scale.half_width(coverage)
        mean, std = self._mean_and_std(rows)
        return self._unit.median(mean - width * std), self._unit.median(mean + width * std)

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as values that JSON can hold.

        Raises:
            PersistError: A member is of a kind that a file of blends does not know.
        """
        for name, member in self.members_.items():
            if getattr(member, "kind", None) not in MEMBER_KINDS:
                raise PersistError(
                    f"member {name!r} is a {type(member).__name__}; a file can hold blends of "
                    f"{', '.join(sorted(MEMBER_KINDS))}"
                )
        return {
            "params": {
                "log_target": bool(self.log_target),
                "random_state": plain_seed(self.random_state),
                "n_splits": int(self.n_splits),
            },
            "weights": self.mixture_.weights.tolist(),
            "error_scale": self.mixture_.error_scale.to_state(),
            "members": [
                {"name": name, "kind": member.kind, "state": member.to_state()}
                for name, member in self.members_.items()
            ],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Inverse of ``to_state``."""
        members = {
            member["name"]: MEMBER_KINDS[member["kind"]].from_state(member["state"])
            for member in state["members"]
        }
        blend = cls(members={name: clone(m) for name, m in members.items()}, **state["params"])
        if not members:
            raise ValueError("the blend has no members")
        check_one_scale(blend.log_target, *(member.log_target for member in members.values()))
        weights = shares(state, "weights", (len(state["members"]),))
        if len(members) < len(weights):
            raise ValueError("two members have one name")
        widths = {member.n_features_in_ for member in members.values()}
        if len(widths) > 1:
            raise ValueError(f"members have {sorted(widths)} columns; expected one number")
        blend.members_ = members
        blend.mixture_ = Mixture(weights, ErrorScale.from_state(state["error_scale"]))
        blend.n_features_in_ = widths.pop()
        return blend

    @property
    def _unit(self) -> TargetScale:
        """Between y and u, which is not scaled."""
        return TargetScale(self.log_target, 0.0, 1.0)

    def _join(
        self, fitted: Mapping[str, Predictor], held_out: Sequence[HeldOut], targets: FloatArray
    ) -> Self:
        self.members_ = dict(fitted)
        u = self._unit.apply(targets)
        if held_out:
            means = np.array([member.mean for member in held_out])
            self.mixture_ = Mixture.of(u, means, np.array([member.std for member in held_out]))
            self.training_error_ = metrics.rmse(u, self.mixture_.weights @ means)
        else:
            self.mixture_ = Mixture.equal(len(fitted))
            errors = [member.training_error_ for member in fitted.values()]
            self.training_error_ = float(np.mean(errors))
        return self

    def _mean_and_std(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Of u, as the mixture has them."""
        pairs = [modelled(member, rows) for member in self.members_.values()]
        return mix(
            self.mixture_.weights, np.array([m for m, _ in pairs]), np.array([s for _, s in pairs])
        )
