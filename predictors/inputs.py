"""Checks on the rows that a predictor is given, with errors that name the cell."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from predictors.column_range import ColumnRange
from predictors.errors import InputError
from predictors.protocol import FloatArray
from predictors.rows import LARGEST, shown


def check_training_rows(
    estimator: Any, X: ArrayLike, y: ArrayLike, *, least_rows: int = 2
) -> tuple[FloatArray, FloatArray]:
    """Return X, (rows, columns), and y, (rows,), as finite float64 arrays.

    Sets ``n_features_in_``, ``n_rows_``, ``column_names_``, ``column_range_``,
    ``target_name_`` and ``workload_`` on the estimator. Columns of a data frame keep
    their names; those of an array are called x0, x1, ...

    Raises:
        InputError: A cell is text, NaN, infinite or larger than ``LARGEST``, y is
            missing, or y has a value of zero or less although the estimator models
            log(y).
        ValueError: The shapes do not fit, or fewer than ``least_rows`` rows came.
    """
    if y is None:
        raise InputError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None"
        )
    with _naming_text("X", X):
        rows = validate_data(
            estimator, X, dtype=np.float64, ensure_all_finite=False, ensure_min_samples=least_rows
        )
    with _naming_text("y", y):
        targets = column_or_1d(y, dtype=np.float64, warn=True, input_name="y")
    check_consistent_length(rows, targets)
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        names = default_names(rows.shape[1])
    _refuse_non_finite(rows, names)
    bad = np.flatnonzero(~np.isfinite(targets))
    if bad.size:
        raise InputError(
            f"y must be finite; row {bad[0]} is {_name(targets[bad[0]])}. "
            "Leave failed measurements out of the fit"
        )
    if estimator.log_target:
        bad = np.flatnonzero(targets <= 0)
        if bad.size:
            raise InputError(
                f"log_target=True models log(y), so y must be positive; row {bad[0]} is "
                f"{targets[bad[0]]}. Remove the row or use log_target=False"
            )
    estimator.column_names_ = tuple(map(str, names))
    estimator.column_range_ = ColumnRange.of(rows)
    estimator.target_name_ = None
    estimator.workload_ = {}
    estimator.n_rows_ = len(rows)
    return rows, targets


def check_new_rows(estimator: Any, X: ArrayLike) -> FloatArray:
    """Return X, (rows, columns), as finite float64 with the columns of the fit.

    Raises:
        NotFittedError: ``fit`` was not called.
        InputError: A cell is text, NaN, infinite or larger than ``LARGEST``.
        ValueError: The number of columns differs from that of the fit, or the names
            of a data frame's do.
    """
    check_is_fitted(estimator)
    _refuse_other_names(estimator, X)
    with _naming_text("X", X):
        rows = validate_data(estimator, X, dtype=np.float64, ensure_all_finite=False, reset=False)
    _refuse_non_finite(rows, getattr(estimator, "column_names_", ()))
    return np.asarray(rows)


def _refuse_other_names(estimator: Any, X: ArrayLike) -> None:
    """Names that came with a file or with ``save`` hold for data frames, as those of a fit do."""
    names = getattr(X, "columns", None)
    if names is None or hasattr(estimator, "feature_names_in_"):
        return  # plain rows, or scikit-learn compares them
    given, known = tuple(map(str, names)), tuple(estimator.column_names_)
    if given != known and known != default_names(len(known)):
        raise InputError(
            f"X has the columns {', '.join(given)}; the predictor was saved with "
            f"{', '.join(known)}. Give these, in this order"
        )


@contextmanager
def _naming_text(name: str, values: Any) -> Iterator[None]:
    """Say in which cell the text stands that is no number."""
    try:
        yield
    except ValueError as error:
        cell = _first_text(values) if "could not convert" in str(error) else None
        if cell is None:  # something else is wrong, such as a column that is not known
            raise
        raise InputError(
            f"{name} must hold numbers; {cell}. Give text as columns of 0 and 1, as "
            "predictors.encode does"
        ) from error


def _first_text(values: Any) -> str | None:
    try:
        cells = np.asarray(values, dtype=object)
    except ValueError:  # rows of several lengths
        return None
    for place in np.ndindex(cells.shape):
        value = cells[place]
        if isinstance(value, str) and len(place) in (1, 2):
            try:
                float(value)
            except ValueError:
                names = tuple(map(str, getattr(values, "columns", ())))
                return f"{_cell(*place, names=names)} is {shown(value)}"
    return None


def _refuse_non_finite(rows: FloatArray, names: Sequence[str]) -> None:
    bad = np.argwhere(~(np.abs(rows) <= LARGEST))
    if bad.size:
        row, column = bad[0]
        where, value = _cell(row, column, names=names), rows[row, column]
        if np.isfinite(value):
            raise InputError(
                f"X must be at most {LARGEST:g} in size; {where} is {value:g}. "
                "Divide the column by a constant"
            )
        raise InputError(
            f"X must be finite; {where} is {_name(value)}. Remove the row or fill in the value"
        )


def _cell(row: int, column: int | None = None, *, names: Sequence[str]) -> str:
    """Where a cell is, with its column's name if that was given one."""
    if column is None:
        return f"row {row}"
    known = column < len(names) and names[column] != f"x{column}"
    return f"row {row}, column {column}" + (f" ({names[column]})" if known else "")


def _name(value: float) -> str:
    return "NaN" if np.isnan(value) else str(value)


def default_names(n_columns: int) -> tuple[str, ...]:
    """What columns without names are called."""
    return tuple(f"x{index}" for index in range(n_columns))
