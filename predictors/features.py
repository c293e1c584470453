"""Architectures as rows of numbers, for predictors to learn from.

A column is ``field`` (a number, or a boolean as 0/1) or ``field=value`` (1 where
the text field has that value, else 0). Names alone say how to encode, so a
saved predictor needs no more than them.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from predictors.csv_lines import csv_lines
from predictors.errors import TableError
from predictors.protocol import FloatArray
from predictors.rows import LARGEST, Value, is_finite, parse_value, shown


def feature_columns(architectures: Sequence[Mapping[str, Value]]) -> tuple[str, ...]:
    """Column names for these architectures, in the order of their fields."""
    check_columns(architectures)
    columns: list[str] = []
    for field, value in architectures[0].items():
        if isinstance(value, str):
            texts = sorted({str(architecture[field]) for architecture in architectures})
            columns += [f"{field}={text}" for text in texts]
        else:
            columns.append(field)
    return tuple(columns)


def encode(
    architectures: Sequence[Mapping[str, Value]],
    columns: Sequence[str],
    *,
    origin: str = "",
    numbers: Sequence[int] | None = None,
) -> FloatArray:  # (architectures, columns)
    """One row of numbers per architecture; fields without a column are left out.

    Args:
        architectures: Fields and values of each.
        columns: As ``feature_columns`` gives them.
        origin: Where the architectures come from, such as a file, for the message.
        numbers: Their rows there, where they are not all of them.

    Raises:
        TableError: An architecture lacks a field, or has text where a number is
            needed, a number that is not finite or larger than ``LARGEST``, or a text that
            has no column. Row and field are named.
    """
    rows = np.zeros((len(architectures), len(columns)))
    known: dict[str, list[str]] = {}
    for column in columns:
        field, one_hot, text = column.partition("=")
        known.setdefault(field, []).extend([text] if one_hot else [])
    for index, architecture in enumerate(architectures):
        row = _row(origin, index if numbers is None else numbers[index])
        for field, texts in known.items():
            if field not in architecture:
                raise TableError(
                    f"{row} has no field {field!r}; expected the fields {', '.join(known)}"
                )
            value = architecture[field]
            if texts and str(value) not in texts:
                raise TableError(
                    f"{row}, column {field} is {value!r}, which was not among the rows of "
                    f"the fit; expected one of {', '.join(texts)}"
                )
            if not texts and isinstance(value, str):
                raise TableError(f"{row}, column {field} must be a number; got {value!r}")
            _check_finite(row, field, value)
        for position, column in enumerate(columns):
            field, one_hot, text = column.partition("=")
            value = architecture[field]
            rows[index, position] = str(value) == text if one_hot else float(value)
    return rows


def check_columns(
    architectures: Sequence[Mapping[str, Value]],
    *,
    like: Sequence[Mapping[str, Value]] = (),
    origin: str = "",
    others: str = "known ones have",
) -> None:
    """Refuse a field that is a number here, and text or a boolean there, or too large.

    Args:
        architectures: To be checked.
        like: Others that they must agree with, if there are any.
        origin: Where the architectures come from, for the message.
        others: What the message says of ``like``.
    """
    for index, architecture in enumerate(architectures):
        first, whose = (like or architectures)[0], others if like else "row 0 has"
        row = _row(origin, index)
        for field, value in architecture.items():
            expected, found = _kind(first[field]), _kind(value)
            if found != expected:
                raise TableError(
                    f"{row}, column {field} is {found} ({shown(value)}), but {whose} "
                    f"{expected} ({shown(first[field])}); use one kind in a column"
                )
            _check_finite(row, field, value)


def read_architectures(path: str | PathLike[str]) -> list[dict[str, Value]]:
    """Read a CSV of architectures: a header of field names, then one row each.

    Raises:
        TableError: The file cannot be read, has no rows, a bad header, or a row
            with a missing cell.
    """
    return parse_cells(read_cells(path))


def parse_cells(rows: Sequence[Mapping[str, str]]) -> list[dict[str, Value]]:
    """What ``read_cells`` gives, as values."""
    return [{field: parse_value(cell) for field, cell in row.items()} for row in rows]


def read_cells(path: str | PathLike[str]) -> list[dict[str, str]]:
    """As ``read_architectures``, each cell as it is written."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror}") from error
    lines = [cells for _, cells in csv_lines(path, content)]
    if len(lines) < 2:
        raise TableError(f"{path} needs a header and at least one row; got {len(lines)} lines")
    header = lines[0]
    if not all(header) or len(set(header)) != len(header):
        raise TableError(f"{path}: column names must be given and distinct; got {header}")
    for index, line in enumerate(lines[1:]):
        if len(line) != len(header):
            raise TableError(f"{path}, row {index}: expected {len(header)} cells; got {len(line)}")
    return [dict(zip(header, line, strict=True)) for line in lines[1:]]


def _row(origin: str, number: int) -> str:
    return f"{origin}, row {number}" if origin else f"row {number}"


def _check_finite(row: str, field: str, value: Value) -> None:
    if not isinstance(value, str) and not is_finite(value):
        raise TableError(f"{row}, column {field} must be a finite number; got {shown(value)}")
    if not isinstance(value, str) and abs(value) > LARGEST:
        raise TableError(
            f"{row}, column {field} must be at most {LARGEST:g} in size; got {shown(value)}. "
            "Use a larger unit"
        )


def _kind(value: Value) -> str:
    if isinstance(value, str):
        return "text"
    return "a boolean" if isinstance(value, bool) else "a number"
