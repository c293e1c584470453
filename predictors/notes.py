"""What a command tells beside its result: notes to the user, and names of files in errors."""

import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from predictors.column_range import outside_message
from predictors.errors import TableError
from predictors.protocol import FloatArray, Predictor
from predictors.rows import Value, shown


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Put the name of a file before what is wrong with it."""
    try:
        yield
    except TableError as error:
        raise TableError(f"{path}: {error}") from error


@contextmanager
def noting(*categories: type[Warning]) -> Iterator[None]:
    """Tell the user of warnings of these categories: the first of each, as a note."""
    with warnings.catch_warnings(record=True) as caught:
        for category in categories:
            warnings.simplefilter("always", category)
        yield
    told: set[type[Warning]] = set()
    for warning in caught:
        if not issubclass(warning.category, categories):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
        elif warning.category not in told:
            told.add(warning.category)
            note(str(warning.message))


def note_outside(predictor: Predictor, X: FloatArray, path: str, rows: Sequence[int]) -> None:
    """Tell the user of rows that the predictor has to extrapolate to."""
    message = outside_message(predictor, X, row_numbers=rows, origin=f"{path}, ")
    if message is not None:
        note(message)


def check_device(
    predictor: Predictor,
    name: str,
    path: str,
    devices: Sequence[tuple[str, str]],  # target and device_kind of each row, empty if not told
    rows: Sequence[int],
    *,
    other_allowed: bool,
) -> None:
    """Refuse rows of another target or ``device_kind`` than the predictor's.

    Files before ``device_kind`` was kept in their workload are compared by target alone.

    Raises:
        TableError: There are some; where they are allowed, that is a note.
    """
    learned = (predictor.target_name_, predictor.workload_.get("device_kind"))
    for ours, found in zip(learned, zip(*devices, strict=True), strict=True):
        if not ours or (other := _others(found, ours, rows)) is None:
            continue
        message = f"{name} is a predictor of {ours}; {path} was measured on {other}"
        if not other_allowed:
            raise TableError(
                f"{message}. Leave those rows out, or go on all the same with --other-target"
            )
        note(message)
        return


def check_other_fields(
    known: Collection[str],
    whose: str,
    path: str,
    architectures: Sequence[Mapping[str, Value]],
    rows: Sequence[int],
    *,
    labels_allowed: bool = False,
) -> None:
    """Refuse a field that no known one stands for where it varies, as it may tell latencies apart.

    Args:
        known: Fields that there are columns for.
        whose: Who has them, for messages, such as ``the predictor has``.
        path: The file of the architectures.
        architectures: All with the same fields.
        rows: Their rows in the file.
        labels_allowed: Whether texts may differ in every row, as names of students do.

    Raises:
        TableError: There is one. A constant one, or an allowed label, is a note.
    """
    others = [field for field in architectures[0] if field not in known]
    for field in others:
        values = [architecture[field] for architecture in architectures]
        other = next((index for index, value in enumerate(values) if value != values[0]), None)
        is_label = len(set(values)) == len(values) and any(isinstance(v, str) for v in values)
        if other is not None and not (labels_allowed and is_label):
            raise TableError(
                f"{path}, row {rows[other]}, column {field} is {shown(values[other])} and in row "
                f"{rows[0]} {shown(values[0])}, but {whose} no such column and would not see the "
                "difference. Leave the column out, keep rows of one value, or learn from tables "
                "that have it"
            )
    note_ignored(others, whose, path)


def note_ignored(fields: Sequence[str], whose: str, path: str) -> None:
    """Tell the user of columns that nothing is made of."""
    if fields:
        note(f"{whose} no column {' or '.join(fields)}; those of {path} are not used")


def note_workload(
    predictor: Predictor,
    path: str,
    features: Sequence[Mapping[str, Value]],
    rows: Sequence[int],
) -> None:
    """Tell the user of rows under a workload that the predictor did not learn from."""
    for name, learned in predictor.workload_.items():
        if name in fields_of(predictor) or name == "device_kind":  # see check_device
            continue
        held = [row.get(name, "") for row in features]
        if (other := _others(held, learned, rows)) is not None:
            note(f"the predictor learned from {name} {learned}; {path} holds {name} {other}")


def note(message: str) -> None:
    print(f"note: {message}", file=sys.stderr)


def fields_of(predictor: Predictor) -> set[str]:
    """The fields that the predictor's columns encode."""
    return {name.partition("=")[0] for name in predictor.column_names_}


def _others(values: Sequence[Value], expected: Value, rows: Sequence[int]) -> str | None:
    """The values that are not as expected, and in which rows; empty ones are not told."""
    found = {
        row: value
        for row, value in zip(rows, values, strict=True)
        if value != "" and str(value) != str(expected) and value != expected
    }
    if not found:
        return None
    told = " and ".join(dict.fromkeys(map(str, found.values())))
    where = f" in {len(found)} of {len(rows)} rows, row {next(iter(found))} the first"
    return told if len(found) == len(rows) else told + where
