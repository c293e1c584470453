"""A boosted-tree predictor: rugged responses, many rows, calibrated spread.

Notation (all on the scaled target z): r_i is the error at row i of the mean of
the members that never saw row i; v_i is the variance among those members.

References:
    [Barber2021] Barber, Candes, Ramdas, Tibshirani. Predictive inference with
    the jackknife+. Annals of Statistics 49(1), 2021 (held-out residuals of an
    ensemble measure the error of its prediction).
"""

import json
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from predictors.calibration import ErrorScale
from predictors.document import plain_params
from predictors.errors import InputError
from predictors.estimator import PredictorBase
from predictors.held_out import row_groups, split_groups
from predictors.inputs import check_new_rows, check_training_rows
from predictors.protocol import FloatArray
from predictors.scaling import InputScale, TargetScale
from predictors.state import booster, check_one_scale, number
from predictors.threads import on_all_cores

N_FOLDS = 5
EXACT_UP_TO_ROWS = 4096  # above, splits are sought on histograms: faster, a little coarser
THREADED_ROWS = 4096  # from here on, members predict side by side
LEAST_VARIANCE = 1e-6  # of z: no ensemble is surer than a thousandth of the spread of y
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
RATIOS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # tried for Calibration.slope * mean(v)


@dataclass(frozen=True)
class Calibration:
    """``variance of z = floor + slope * (variance among members)``."""

    floor: float
    slope: float

    @classmethod
    def of(
        cls,
        residuals: FloatArray,  # r, (rows,)
        variances: FloatArray,  # v, (rows,)
    ) -> "Calibration":
        """The most likely line for ``r_i ~ Normal(0, floor + slope * v_i)``.

        With ``w_i = 1 + ratio * v_i / mean(v)`` the best floor for a ratio is
        ``mean(r**2 / w)``; the ratio is the best of a short list.
        """
        usual = float(variances.mean())
        relative = variances / usual if usual > 0 else np.zeros_like(variances)

        def fit(ratio: float) -> tuple[float, float]:
            weights = 1 + ratio * relative
            floor = max(float(np.mean(residuals**2 / weights)), LEAST_VARIANCE)
            total = floor * weights
            return float(np.sum(np.log(total) + residuals**2 / total)), floor

        ratio = min(RATIOS, key=lambda candidate: fit(candidate)[0])
        floor = fit(ratio)[1]
        return cls(floor, floor * ratio / usual if usual > 0 else 0.0)

    def std(self, variances: FloatArray) -> FloatArray:
        """Standard deviation of z where the members differ by these variances."""
        return np.sqrt(self.floor + self.slope * variances)


class XGBPredictor(PredictorBase):
    """Mean of boosted trees, each fitted on four fifths of the rows.

    The rows are split into five folds (one fold per row below five rows; equal rows
    together),
    ``n_repeats`` times anew; each member leaves one fold out. The prediction is
    the mean of all members. Its standard deviation is calibrated on the errors
    at rows that members had left out [Barber2021], so it is that of a new
    measurement drawn like the training rows. Trees are constant outside the
    data: far away the spread does not grow, unlike that of GPPredictor.

    Args:
        log_target: Model log(y). ``predict`` then returns the median ``exp(m)``
            and the standard deviation of a log-normal, ``exp(m + s**2 / 2) *
            sqrt(exp(s**2) - 1)``, with m and s those of log(y). y must be
            positive.
        random_state: Seed of the folds and of the trees.
        n_trees: Trees of each member.
        max_depth: Depth of each tree.
        learning_rate: Step of each tree.
        n_repeats: Ways in which the rows are split; at least 2.
        n_jobs: Threads of XGBoost.

    Raises:
        InputError: A cell is NaN or infinite, or ``log_target`` and y <= 0.

    Example:
        >>> import numpy as np
        >>> X = np.arange(20.0)[:, None]
        >>> model = XGBPredictor().fit(X, np.where(X[:, 0] < 10, 1.0, 3.0))
        >>> model.predict([[4.0], [15.0]]).round(1).tolist()
        [1.0, 3.0]
    """

    kind = "xgb"

    def __init__(
        self,
        *,
        log_target: bool = False,
        random_state: int | np.random.RandomState | None = 0,
        n_trees: int = 120,
        max_depth: int = 3,
        learning_rate: float = 0.15,
        n_repeats: int = 2,
        n_jobs: int = 1,
    ) -> None:
        self.log_target = log_target
        self.random_state = random_state
        self.n_trees = n_trees
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.n_repeats = n_repeats
        self.n_jobs = n_jobs

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Learn from X, (rows, columns), and y, (rows,); at least two rows.

        Rows of one group, (rows,) labels, are left out together; by default equal rows.
        """
        for name, least in (("n_trees", 1), ("max_depth", 1), ("n_repeats", 2)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}; got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate must be positive; got {self.learning_rate}")
        rows, targets = check_training_rows(self, X, y)
        rng = check_random_state(self.random_state)
        self.input_scale_ = InputScale.of(rows)
        self.target_scale_ = TargetScale.of(targets, log=self.log_target)
        x, z = self.input_scale_.apply(rows), self.target_scale_.apply(targets)

        self.members_: list[Any] = []
        held_out = np.empty((self.n_repeats, len(x)))
        group = row_groups(rows, groups)
        n_folds = min(N_FOLDS, int(group.max()) + 1)
        for repeat in range(self.n_repeats):
            for left_out in split_groups(group, n_folds, rng):
                kept = np.setdiff1d(np.arange(len(x)), left_out)
                member = self._train(x[kept], z[kept], seed=int(rng.randint(2**31 - 1)))
                held_out[repeat, left_out] = member.inplace_predict(x[left_out])
                self.members_.append(member)
        residuals = z - held_out.mean(axis=0)
        variances = held_out.var(axis=0, ddof=1)
        errors = residuals * _gain_of_many(residuals, variances, self.n_repeats, len(self.members_))
        self.calibration_ = Calibration.of(errors, variances)
        self.error_scale_ = ErrorScale.of(errors, self.calibration_.std(variances))
        self.training_error_ = float(self.target_scale_.scale * np.sqrt(np.mean(residuals**2)))
        return self

    def _predict(
        self, rows: FloatArray, return_std: bool
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        mean, std = self._mean_and_std(rows)
        median = self.target_scale_.median(mean)
        if not return_std:
            return median
        return median, self.target_scale_.std(mean, self.error_scale_.spread * std)

    def predict_interval(
        self, X: ArrayLike, coverage: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bound, both (rows,), for a new measurement of each row."""
        mean, std = self._mean_and_std(check_new_rows(self, X))
        width = self.error_scale_.half_width(coverage)
        return self.target_scale_.median(mean - width * std), self.target_scale_.median(
            mean + width * std
        )

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as values that JSON can hold; members in XGBoost's own JSON."""
        return {
            "params": plain_params(self),
            "input_scale": self.input_scale_.to_state(),
            "target_scale": self.target_scale_.to_state(),
            "calibration": {"floor": self.calibration_.floor, "slope": self.calibration_.slope},
            "error_scale": self.error_scale_.to_state(),
            "members": [json.loads(member.save_raw("json")) for member in self.members_],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Inverse of ``to_state``."""
        predictor = cls(**state["params"])
        predictor.input_scale_ = InputScale.from_state(state["input_scale"])
        predictor.target_scale_ = TargetScale.from_state(state["target_scale"])
        check_one_scale(predictor.log_target, predictor.target_scale_.log)
        line = state["calibration"]
        predictor.calibration_ = Calibration(
            number(line, "floor", above=0), number(line, "slope", least=0)
        )
        predictor.error_scale_ = (  # files of the first version have none
            ErrorScale.from_state(state["error_scale"])
            if "error_scale" in state
            else ErrorScale.none()
        )
        predictor.n_features_in_ = len(predictor.input_scale_.centre)
        if not state["members"]:
            raise ValueError("the ensemble has no members")
        predictor.members_ = [
            booster(member, predictor.n_features_in_, n_threads=predictor.n_jobs)
            for member in state["members"]
        ]
        return predictor

    def _train(self, x: FloatArray, z: FloatArray, *, seed: int) -> Any:
        import xgboost

        params = {
            "objective": "reg:squarederror",
            "tree_method": "exact" if len(x) <= EXACT_UP_TO_ROWS else "hist",
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
            "subsample": 0.8,
            "colsample_bytree": 0.8,
            "nthread": self.n_jobs,
            "seed": seed,
        }
        return xgboost.train(
            params, xgboost.DMatrix(x, z, nthread=self.n_jobs), num_boost_round=self.n_trees
        )

    def _mean_and_std(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        # Trees are constant beyond their last split: the largest float32 is as good as more.
        x = np.clip(self.input_scale_.apply(rows), -LARGEST_FLOAT32, LARGEST_FLOAT32)
        x = np.ascontiguousarray(x, dtype=np.float32)

        def predict(member: Any) -> FloatArray:
            return np.asarray(member.inplace_predict(x), dtype=np.float64)

        many = len(x) >= THREADED_ROWS
        predictions = np.array(
            on_all_cores(predict, self.members_) if many else list(map(predict, self.members_))
        )  # (members, rows)
        return predictions.mean(axis=0), self.calibration_.std(predictions.var(axis=0, ddof=1))


def _gain_of_many(
    residuals: FloatArray,  # (rows,), of the mean of n_few members
    variances: FloatArray,  # (rows,), among those
    n_few: int,
    n_many: int,
) -> float:
    """How much smaller the errors of the mean of all members are than those held out.

    A row is held out from one member in each repeat; a new row is predicted by all.
    Averaging k members leaves ``v / k`` of the variance v among them, so the mean
    squared error falls by ``(1 / n_few - 1 / n_many) * mean(v)``. At least half of
    an error is thought to stay.
    """
    saved = (1 / n_few - 1 / n_many) * float(variances.mean())
    square = float(np.mean(residuals**2))
    return float(np.sqrt(max(1 - saved / square, 0.25))) if square > 0 else 1.0
