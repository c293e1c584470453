"""Tables of known devices: checked one by one, and against each other.

Axes:  rows = architectures of one device;  columns = features of one architecture.
"""

from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike

from predictors.errors import InputError
from predictors.gp import GPPredictor
from predictors.inputs import check_training_rows
from predictors.protocol import FloatArray

Table = tuple[FloatArray, FloatArray]  # X (rows, columns) and y (rows,)


def check_tables(
    sources: Mapping[str, tuple[ArrayLike, ArrayLike]], *, log_target: bool
) -> tuple[dict[str, Table], tuple[str, ...]]:
    """Finite tables by the names of their devices, and the names of their columns.

    Raises:
        InputError: No device, two of one name, a table of fewer than two rows or
            that is no pair, a bad cell, or columns that differ between devices; the
            message names the device.
    """
    if not isinstance(sources, Mapping) or not sources:
        raise InputError(
            "fit_sources needs at least one device, as {name: (X, y)}; "
            "without known devices call fit alone"
        )
    tables: dict[str, Table] = {}
    columns: tuple[str, ...] = ()
    for name, table in sources.items():
        if str(name) in tables:
            other = next(key for key in sources if str(key) == str(name))
            raise InputError(
                f"two sources are called {str(name)!r}, by the keys {other!r} and {name!r}. Give "
                "each device a name of its own"
            )
        names, checked = _check_table(str(name), table, log_target=log_target)
        if tables:
            first = next(iter(tables))
            if len(names) != len(columns):
                raise InputError(
                    f"source {str(name)!r} has {len(names)} columns; {first!r} has {len(columns)}. "
                    "Give every device the same columns"
                )
            refuse_other_names(f"source {str(name)!r} has", names, f"{first!r} has", columns)
        columns, tables[str(name)] = names, checked
    return tables, columns


def refuse_other_names(
    ours: str, names: tuple[str, ...], theirs: str, expected: tuple[str, ...]
) -> None:
    """Raise InputError where one of as many names is another; it says whose, ``ours`` first."""
    for name, other in zip(names, expected, strict=True):
        if name != other:
            raise InputError(
                f"{ours} a column {name!r} where {theirs} {other!r}. "
                "Give every device the same columns"
            )


def _check_table(name: str, table: Any, *, log_target: bool) -> tuple[tuple[str, ...], Table]:
    checker = GPPredictor(log_target=log_target)
    if not isinstance(table, tuple | list) or len(table) != 2:
        got = f"{len(table)} values" if isinstance(table, tuple | list) else type(table).__name__
        raise InputError(f"source {name!r} must be a pair (X, y); got {got}")
    try:
        X, y = table
        rows, targets = check_training_rows(checker, X, y)
    except (TypeError, ValueError) as error:
        raise InputError(f"source {name!r}: {error}") from error
    return checker.column_names_, (rows, targets)
