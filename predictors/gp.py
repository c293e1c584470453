"""A Gaussian process predictor: few rows, smooth responses, honest spread."""

import warnings
from os import PathLike
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from predictors import gaussian_process as process
from predictors.document import plain_params, save
from predictors.errors import InputError, SubsetWarning
from predictors.inputs import check_new_rows, check_training_rows
from predictors.protocol import FloatArray
from predictors.scaling import InputScale, TargetScale
from predictors.threads import one_blas_thread


class GPPredictor(RegressorMixin, BaseEstimator):
    """Gaussian process with an ARD Matern 5/2 and a linear part.

    Inputs and target are standardised; hyperparameters are the most probable
    ones under weak priors (see ``gaussian_process``), so three rows are enough
    for a sensible answer. The standard deviation is that of a new measurement,
    noise included, and grows away from the data.

    More than ``max_rows`` rows: the process is fitted on a random subset of that
    many (chosen by ``random_state``), with a SubsetWarning. Up to ``max_rows``
    every row is used, but hyperparameters are searched for on a random subset
    of at most ``max_search_rows``, as more rows barely move them.

    Args:
        log_target: Model log(y). ``predict`` then returns the median ``exp(m)``
            and the standard deviation of a log-normal, ``exp(m + s**2 / 2) *
            sqrt(exp(s**2) - 1)``, with m and s those of log(y). y must be
            positive.
        random_state: Seed of the starts and of the subsets.
        n_starts: Searches for hyperparameters; the best one counts.
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
    n_features_in_: int
    n_rows_: int
    column_names_: tuple[str, ...]
    target_name_: str | None
    training_error_: float

    def __init__(
        self,
        *,
        log_target: bool = False,
        random_state: int | np.random.RandomState | None = 0,
        n_starts: int = 3,
        max_rows: int = 2000,
        max_search_rows: int = 500,
    ) -> None:
        self.log_target = log_target
        self.random_state = random_state
        self.n_starts = n_starts
        self.max_rows = max_rows
        self.max_search_rows = max_search_rows

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from X, (rows, columns), and y, (rows,); at least two rows.

        Warns with ConvergenceWarning if the best search stopped early; the
        predictor can still be used, at a worse fit.
        """
        for name, least in (("n_starts", 1), ("max_rows", 2), ("max_search_rows", 2)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}; got {getattr(self, name)}")
        rows, targets = check_training_rows(self, X, y)
        rng = check_random_state(self.random_state)
        if len(rows) > self.max_rows:
            warnings.warn(
                f"fitting on {self.max_rows} rows drawn from {len(rows)}; "
                "raise max_rows to use more",
                SubsetWarning,
                stacklevel=2,
            )
            chosen = np.sort(rng.permutation(len(rows))[: self.max_rows])
            rows, targets = rows[chosen], targets[chosen]
        self.input_scale_ = InputScale.of(rows)
        self.target_scale_ = TargetScale.of(targets, log=self.log_target)
        x, z = self.input_scale_.apply(rows), self.target_scale_.apply(targets)
        searched: Any = slice(None)
        if len(x) > self.max_search_rows:
            searched = np.sort(rng.permutation(len(x))[: self.max_search_rows])
        with one_blas_thread():
            theta, converged = process.most_probable_theta(
                x[searched], z[searched], n_starts=self.n_starts, rng=rng
            )
        if not converged:
            warnings.warn(
                f"the search for hyperparameters stopped after {process.MAX_ITERATIONS} "
                "iterations before it settled; raise n_starts, or look for columns of "
                "very uneven values",
                ConvergenceWarning,
                stacklevel=2,
            )
        self._set_posterior(theta, x, z)
        with one_blas_thread():
            residuals = process.leave_one_out_residuals(self.posterior_)
        self.training_error_ = float(self.target_scale_.scale * np.sqrt(np.mean(residuals**2)))
        return self

    @overload
    def predict(self, X: ArrayLike, return_std: Literal[False] = ...) -> FloatArray: ...
    @overload
    def predict(self, X: ArrayLike, return_std: Literal[True]) -> tuple[FloatArray, FloatArray]: ...
    @overload
    def predict(
        self, X: ArrayLike, return_std: bool
    ) -> FloatArray | tuple[FloatArray, FloatArray]: ...

    def predict(
        self, X: ArrayLike, return_std: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Median of y for each row of X, and its standard deviation if asked.

        Returns:
            (rows,) in the unit of y, or a pair of such arrays.
        """
        x = self._scaled(X)
        if not return_std:
            with one_blas_thread():
                return self.target_scale_.median(process.predict_mean(self.posterior_, x))
        with one_blas_thread():
            mean, std = process.predict_mean_and_std(self.posterior_, x)
        return self.target_scale_.median(mean), self.target_scale_.std(mean, std)

    def predict_interval(
        self, X: ArrayLike, coverage: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bound, both (rows,), for a new measurement of each row."""
        x = self._scaled(X)
        with one_blas_thread():
            mean, std = process.predict_mean_and_std(self.posterior_, x)
        return self.target_scale_.interval(mean, std, coverage)

    def save(
        self,
        path: str | PathLike[str],
        *,
        columns: list[str] | tuple[str, ...] | None = None,
        target: str | None = None,
    ) -> None:
        """Write as JSON; see ``predictors.save``."""
        save(self, path, columns=columns, target=target)

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as values that JSON can hold."""
        return {
            "params": plain_params(self),
            "input_scale": self.input_scale_.to_state(),
            "target_scale": self.target_scale_.to_state(),
            "theta": self.posterior_.theta.tolist(),
            "inputs": self.posterior_.x.tolist(),
            "targets": self.scaled_targets_.tolist(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Inverse of ``to_state``; the covariance is factored again, by the same code."""
        predictor = cls(**state["params"])
        predictor.input_scale_ = InputScale.from_state(state["input_scale"])
        predictor.target_scale_ = TargetScale.from_state(state["target_scale"])
        x, z = np.array(state["inputs"], float), np.array(state["targets"], float)
        theta = np.array(state["theta"], float)
        n_columns = len(predictor.input_scale_.centre)
        if x.shape != (len(z), n_columns) or theta.shape != (n_columns + 3,):
            raise ValueError(
                f"{n_columns} columns and {len(z)} targets do not fit inputs of shape "
                f"{x.shape} and theta of shape {theta.shape}"
            )
        predictor.n_features_in_ = n_columns
        predictor._set_posterior(theta, x, z)
        return predictor

    def _set_posterior(self, theta: FloatArray, x: FloatArray, z: FloatArray) -> None:
        with one_blas_thread():
            self.posterior_ = process.condition(theta, x, z)
        self.scaled_targets_ = z

    def _scaled(self, X: ArrayLike) -> FloatArray:
        rows = check_new_rows(self, X)
        return self.input_scale_.apply(rows)
