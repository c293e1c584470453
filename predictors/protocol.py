"""What every predictor offers: the seam between estimators and their users.

Axes: rows = architectures; columns = features of one architecture.
"""

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from predictors.column_range import ColumnRange

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class Predictor(Protocol):
    """A regressor with a mean, a standard deviation and a plain-text form.

    A fitted predictor also carries ``n_features_in_``, ``n_rows_`` (rows it was
    given), ``column_names_``, ``column_range_`` (None after loading a file of the
    first version), ``target_name_``, ``workload_`` (what its rows had in common, empty
    where nobody told) and ``training_error_``: the RMSE of its
    held-out predictions of its own training rows, on the modelled scale (log y
    where ``log_target``, y otherwise).
    """

    kind: str
    log_target: bool
    n_features_in_: int
    n_rows_: int
    column_names_: tuple[str, ...]
    column_range_: "ColumnRange | None"
    target_name_: str | None
    workload_: Mapping[str, int | str]
    training_error_: float

    def fit(self, X: ArrayLike, y: ArrayLike) -> "Predictor":
        """Learn from X, (rows, columns), and y, (rows,)."""
        ...

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
        """Median of y for each row, (rows,), and its standard deviation if asked."""
        ...

    def predict_interval(
        self, X: ArrayLike, coverage: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """Central interval that holds a new measurement with this probability."""
        ...

    def is_outside(self, X: ArrayLike) -> BoolArray:
        """Whether each row has a value outside the range of the training rows, (rows,)."""
        ...

    def save(
        self,
        path: str | PathLike[str],
        *,
        columns: list[str] | tuple[str, ...] | None = None,
        target: str | None = None,
        workload: Mapping[str, int | str] | None = None,
    ) -> None:
        """Write the fitted predictor as JSON."""
        ...

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as values that JSON can hold."""
        ...
