"""Where the training rows lay: what is outside was never seen.

Axes: rows = architectures; columns = features of one architecture.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from predictors.errors import ExtrapolationWarning, InputError
from predictors.protocol import BoolArray, FloatArray
from predictors.state import numbers

LEASH = 0.3  # widths of a column's range, see reined_in
SLACK = 1e-9  # of a column's largest size: rounding does not put a row outside


@dataclass(frozen=True)
class ColumnRange:
    """Smallest and largest training value of each column, both (columns,)."""

    lowest: FloatArray
    highest: FloatArray

    @classmethod
    def of(cls, rows: FloatArray) -> "ColumnRange":  # (rows, columns)
        """The range of some rows."""
        return cls(rows.min(axis=0), rows.max(axis=0))

    def outside(self, rows: FloatArray) -> BoolArray:  # (rows, columns) -> same shape
        """Which cells lie outside the range of their column."""
        slack = SLACK * np.maximum(np.abs(self.lowest), np.abs(self.highest))
        return np.asarray((rows < self.lowest - slack) | (rows > self.highest + slack))

    def reined_in(self, rows: FloatArray) -> FloatArray:  # (rows, columns) -> same shape
        """Rows in which a value outside its range counts for less the farther it is.

        With o the way beyond the range, in widths of it (a constant column is one unit
        wide), nothing changes up to o = 1; from there on o becomes ``1 + LEASH *
        log(1 + (o - 1) / LEASH)``, two widths at ten. A trend so is carried on, and
        does not run away.
        """
        width = self.highest - self.lowest
        width = np.where(width > 0, width, 1.0)
        inside = np.clip(rows, self.lowest, self.highest)
        beyond = (rows - inside) / width
        far = np.maximum(np.abs(beyond) - 1, 0)
        counted = np.minimum(np.abs(beyond), 1) + LEASH * np.log1p(far / LEASH)
        return np.asarray(inside + width * np.sign(beyond) * counted)

    def to_state(self) -> dict[str, Any]:
        """The fields as lists."""
        return {"lowest": self.lowest.tolist(), "highest": self.highest.tolist()}

    @classmethod
    def from_state(cls, state: dict[str, Any] | None) -> "ColumnRange | None":
        """Inverse of ``to_state``; files of the first version have none."""
        if state is None:
            return None
        lowest = numbers(state, "lowest", (None,))
        highest = numbers(state, "highest", (len(lowest),))
        if (lowest > highest).any():
            raise ValueError("'lowest' is above 'highest'")
        return cls(lowest, highest)


def rows_outside(predictor: Any, rows: FloatArray) -> BoolArray:  # (rows, columns) -> (rows,)
    """Which checked rows lie outside the range of a fitted predictor.

    Raises:
        InputError: The predictor was loaded from a file that does not say its range.
    """
    if predictor.column_range_ is None:
        raise InputError(
            "this predictor's file is of the first version and does not say which range it was "
            "trained on; fit and save it again to have it checked"
        )
    return np.asarray(predictor.column_range_.outside(rows).any(axis=1))


def outside_message(
    predictor: Any,
    X: FloatArray,
    *,
    row_numbers: Sequence[int] | None = None,
    origin: str = "",
) -> str | None:
    """What there is to say of rows outside a predictor's training range; None if nothing.

    Args:
        predictor: A fitted predictor of this package.
        X: (rows, columns), as for ``predict``.
        row_numbers: What each row is called, in the file it came from; default its index.
        origin: Put before the first row's number, as "table.csv, ".
    """
    seen = predictor.column_range_
    if seen is None:
        return (
            "the predictor's file does not say which range it was trained on; "
            "rows outside it cannot be told. Fit and save it again"
        )
    cells = seen.outside(X)
    if not cells.any():
        return None
    count = int(cells.any(axis=1).sum())
    names = [predictor.column_names_[j] for j in np.flatnonzero(cells.any(axis=0))]
    row = int(np.flatnonzero(cells.any(axis=1))[0])
    column = int(np.flatnonzero(cells[row])[0])
    called = row if row_numbers is None else row_numbers[row]
    others = f" and {len(names) - 1} more columns" if len(names) > 1 else ""
    return (
        f"{count} of {len(X)} rows lie outside the range that the predictor was trained on, in "
        f"{names[0]}{others}: {origin}row {called} has {predictor.column_names_[column]} = "
        f"{X[row, column]:g}, trained on {seen.lowest[column]:g} to {seen.highest[column]:g}. "
        "Predictions there are extrapolated"
    )


def warn_outside(predictor: Any, X: ArrayLike) -> None:
    """One ExtrapolationWarning if any row lies outside the predictor's training range.

    ``predict`` itself never warns: a search asks for thousands of rows and knows its
    space. Whoever predicts for a person calls this once beside it.

    Args:
        predictor: A fitted predictor of this package.
        X: (rows, columns), as for ``predict``.
    """
    message = outside_message(predictor, np.asarray(X, dtype=np.float64))
    if message is not None:
        warnings.warn(message, ExtrapolationWarning, stacklevel=2)
