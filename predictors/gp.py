"""A Gaussian process predictor: few rows, smooth responses, honest spread."""

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from predictors import gaussian_process as process
from predictors import hyperparameters
from predictors.calibration import ErrorScale
from predictors.column_range import ColumnRange
from predictors.document import plain_params
from predictors.errors import InputError, SubsetWarning
from predictors.estimator import PredictorBase
from predictors.held_out import held_out_folds, row_groups
from predictors.inputs import check_new_rows, check_training_rows
from predictors.protocol import FloatArray
from predictors.scaling import InputScale, TargetScale
from predictors.state import check_one_scale, flag, numbers
from predictors.threads import one_blas_thread

N_FOLDS = 3  # of the rows held out for calibration: few, as each goes on with the search
MIN_ROWS_TO_HOLD_OUT = 5


class GPPredictor(PredictorBase):
    """Gaussian process with an ARD Matern 5/2 part on a quadratic trend.

    Inputs and target are standardised; hyperparameters are the most probable
    ones under weak priors (see ``hyperparameters``), so three rows are enough
    for a sensible answer. The trend is carried on outside the training range, but
    only so far (see ``ColumnRange.reined_in``). The standard deviation is that of
    a new measurement, noise included, and grows away from the data. It and the
    intervals are calibrated on the errors at rows that a process had not seen (see
    ``calibration``): three folds, or beyond ``max_search_rows``, where the
    hyperparameters hardly depend on any row, one by one.

    More than ``max_rows`` rows: the process is fitted on a random subset of that
    many (chosen by ``random_state``), with a SubsetWarning. Up to ``max_rows``
    every row is used, but hyperparameters are searched for on a random subset
    of at most ``max_search_rows``, as more rows barely move them, and the spread
    is conditioned on the 512 most telling rows, which can only widen it.

    Args:
        log_target: Model log(y). ``predict`` then returns the median ``exp(m)``
            and the standard deviation of a log-normal, ``exp(m + s**2 / 2) *
            sqrt(exp(s**2) - 1)``, with m and s those of log(y). y must be
            positive.
        random_state: Seed of the starts, of the subsets and of the rows held out.
        n_starts: Searches for hyperparameters; the most promising one counts. The
            first starts at the prior's mode and is as good as any on most tables.
        max_rows: Rows used at most. Memory grows with its square.
        max_search_rows: Rows used at most in the search.

    Raises:
        InputError: A cell is NaN or infinite, or ``log_target`` and y <= 0.

    Example:
        >>> import numpy as np
        >>> X = np.arange(6.0)[:, None]
        >>> model = GPPredictor().fit(X, 2 * X[:, 0])
        >>> median, std = model.predict([[2.5]], return_std=True)
        >>> round(float(median[0]), 1)
        5.0
    """

    kind = "gp"

    def __init__(
        self,
        *,
        log_target: bool = False,
        random_state: int | np.random.RandomState | None = 0,
        n_starts: int = 1,
        max_rows: int = 2000,
        max_search_rows: int = 500,
    ) -> None:
        self.log_target = log_target
        self.random_state = random_state
        self.n_starts = n_starts
        self.max_rows = max_rows
        self.max_search_rows = max_search_rows

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Learn from X, (rows, columns), and y, (rows,); at least two rows.

        Rows of one group, (rows,) labels, are held out together where errors are
        estimated; by default equal rows.

        Warns with ConvergenceWarning if the best search stopped early; the
        predictor can still be used, at a worse fit.
        """
        for name, least in (("n_starts", 1), ("max_rows", 2), ("max_search_rows", 2)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}; got {getattr(self, name)}")
        rows, targets = check_training_rows(self, X, y)
        group = row_groups(rows, groups)
        rng = check_random_state(self.random_state)
        if len(rows) > self.max_rows:
            warnings.warn(
                f"fitting on {self.max_rows} rows drawn from {len(rows)}; "
                "raise max_rows to use more",
                SubsetWarning,
                stacklevel=2,
            )
            chosen = np.sort(rng.permutation(len(rows))[: self.max_rows])
            rows, targets, group = rows[chosen], targets[chosen], group[chosen]
        self.input_scale_ = InputScale.of(rows)
        self.target_scale_ = TargetScale.of(targets, log=self.log_target)
        x, z = self.input_scale_.apply(rows), self.target_scale_.apply(targets)
        searched: Any = slice(None)
        if len(x) > self.max_search_rows:
            searched = np.sort(rng.permutation(len(x))[: self.max_search_rows])
        with one_blas_thread():
            phi, converged = hyperparameters.most_probable_phi(
                x[searched], z[searched], n_starts=self.n_starts, rng=rng
            )
        if not converged:
            warnings.warn(
                f"the search for hyperparameters stopped after {hyperparameters.MAX_ITERATIONS} "
                "iterations before it settled; raise n_starts, or look for columns of "
                "very uneven values",
                ConvergenceWarning,
                stacklevel=2,
            )
        self._set_posterior(hyperparameters.kernel_of(phi), x, z)
        with one_blas_thread():
            residuals, std = process.leave_one_out(self.posterior_, group)
            errors = residuals
            if MIN_ROWS_TO_HOLD_OUT <= len(x) <= self.max_search_rows:
                seed = int(rng.randint(2**31 - 1))
                folds = held_out_folds(group, n_splits=N_FOLDS, random_state=seed)
                errors, std = hyperparameters.held_out_errors(phi, x, z, folds)
        self.error_scale_ = ErrorScale.of(errors, std)
        self.training_error_ = float(self.target_scale_.scale * np.sqrt(np.mean(residuals**2)))
        return self

    def _predict(
        self, rows: FloatArray, return_std: bool
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        if not return_std:
            with one_blas_thread():
                mean = process.predict_mean(self.posterior_, self._scaled(rows))
            return self.target_scale_.median(mean)
        mean, std = self._mean_and_std(rows)
        std = self.error_scale_.spread * std
        return self.target_scale_.median(mean), self.target_scale_.std(mean, std)

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
        """Everything learned, as values that JSON can hold."""
        return {
            "params": plain_params(self),
            "input_scale": self.input_scale_.to_state(),
            "target_scale": self.target_scale_.to_state(),
            "kernel": self.posterior_.kernel.to_state(),
            "error_scale": self.error_scale_.to_state(),
            "reined_in": self.reach_ is not None,
            "inputs": self.posterior_.x.tolist(),
            "targets": self.scaled_targets_.tolist(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Inverse of ``to_state``; the covariance is factored again, by the same code."""
        predictor = cls(**state["params"])
        predictor.input_scale_ = InputScale.from_state(state["input_scale"])
        predictor.target_scale_ = TargetScale.from_state(state["target_scale"])
        check_one_scale(predictor.log_target, predictor.target_scale_.log)
        n_columns = len(predictor.input_scale_.centre)
        x = numbers(state, "inputs", (None, n_columns))
        z = numbers(state, "targets", (len(x),))
        first = "theta" in state
        kernel = (
            process.Kernel.of_first_version(numbers(state, "theta", (n_columns + 3,)))
            if first
            else process.Kernel.from_state(state["kernel"])
        )
        if kernel.n_columns != n_columns:
            raise ValueError(
                f"{n_columns} columns do not fit a kernel of {kernel.n_columns} columns"
            )
        predictor.error_scale_ = (
            ErrorScale.none() if first else ErrorScale.from_state(state["error_scale"])
        )
        predictor.n_features_in_ = n_columns
        predictor._set_posterior(kernel, x, z)
        if first or not flag(state, "reined_in"):  # the first version followed its trend everywhere
            predictor.reach_ = None
        return predictor

    def _set_posterior(self, kernel: process.Kernel, x: FloatArray, z: FloatArray) -> None:
        with one_blas_thread():
            self.posterior_ = process.condition(kernel, x, z)
        self.scaled_targets_ = z
        self.reach_: ColumnRange | None = ColumnRange.of(x)

    def _mean_and_std(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Of z, as the process has them."""
        with one_blas_thread():
            return process.predict_mean_and_std(self.posterior_, self._scaled(rows))

    def _scaled(self, rows: FloatArray) -> FloatArray:
        x = self.input_scale_.apply(rows)
        return x if self.reach_ is None else self.reach_.reined_in(x)
