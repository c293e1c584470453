"""What all predictors are as scikit-learn estimators, whatever they learn."""

from abc import abstractmethod
from collections.abc import Mapping
from os import PathLike
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state

from predictors.column_range import ColumnRange, rows_outside
from predictors.document import save
from predictors.inputs import check_new_rows
from predictors.protocol import BoolArray, FloatArray


class PredictorBase(RegressorMixin, BaseEstimator):
    """The public methods that need nothing of what was learned but ``_predict``."""

    random_state: int | np.random.RandomState | None
    n_features_in_: int
    n_rows_: int
    column_names_: tuple[str, ...]
    column_range_: ColumnRange | None
    target_name_: str | None
    workload_: Mapping[str, int | str]
    training_error_: float

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
        return self._predict(check_new_rows(self, X), return_std)

    @abstractmethod
    def _predict(
        self, rows: FloatArray, return_std: bool
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """What ``predict`` says of checked rows."""

    def is_outside(self, X: ArrayLike) -> BoolArray:
        """Whether each row has a value outside the range of the training rows, (rows,).

        Those of a new device are the rows of all tables, known devices' included.
        """
        return rows_outside(self, check_new_rows(self, X))

    def save(
        self,
        path: str | PathLike[str],
        *,
        columns: list[str] | tuple[str, ...] | None = None,
        target: str | None = None,
        workload: Mapping[str, int | str] | None = None,
    ) -> None:
        """Write as JSON, known devices included; see ``predictors.save``."""
        save(self, path, columns=columns, target=target, workload=workload)

    def _whole_seed(self) -> int:
        """``random_state`` as a number that parts can share, drawn where it is none."""
        seed = self.random_state
        if seed is None or isinstance(seed, np.random.RandomState):
            return int(check_random_state(seed).randint(2**31 - 1))
        return int(seed)
