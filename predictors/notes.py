"""What a command tells beside its result: notes to the user, and names of files in errors."""

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from predictors.column_range import outside_message
from predictors.errors import TableError
from predictors.protocol import FloatArray, Predictor
from predictors.rows import Value


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


def note_target(
    predictor: Predictor,
    name: str,
    path: str,
    targets: Sequence[str],  # of each row, empty where it is not told
    rows: Sequence[int],
) -> None:
    """Tell the user of rows that were measured on another target than the predictor's."""
    ours = predictor.target_name_
    if ours and (other := _others(targets, ours, rows)) is not None:
        note(f"{name} is a predictor of {ours}; {path} was measured on {other}")


def note_workload(
    predictor: Predictor,
    path: str,
    features: Sequence[Mapping[str, Value]],
    rows: Sequence[int],
) -> None:
    """Tell the user of rows under a workload that the predictor did not learn from."""
    for name, learned in predictor.workload_.items():
        if name in fields_of(predictor):
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
