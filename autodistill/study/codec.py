"""Values to and from the columns of a study's table.

Nothing measured is ``None``. Numbers that are not finite are refused in the
columns, and become null within JSON.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autodistill.errors import StudyError
from autodistill.study.candidate import (
    CHANGEABLE,
    COLUMNS,
    INTEGERS,
    NUMBERS,
    Candidate,
    CandidateState,
)


def damaged(path: Path, why: str) -> StudyError:
    return StudyError(
        f"{path} is damaged or is not a study: {why}. "
        "Put a copy back, or move it away or choose another --run-dir to start afresh"
    )


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(changes.keys() - set(CHANGEABLE))
    if unknown:
        raise StudyError(
            f"a candidate's {', '.join(unknown)} cannot be set; "
            f"these fields can: {', '.join(CHANGEABLE)}"
        )
    return dict(changes)


def to_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Plain SQLite values: NumPy numbers would silently be stored as bytes."""
    row = dict(record)
    row["architecture"] = to_json(row["architecture"])
    row["details"] = to_json(dict(row["details"]))
    if row["error"] is not None:  # SQLite takes no lone surrogates, as in odd file names
        row["error"] = str(row["error"]).encode("utf-8", "backslashreplace").decode()
    try:
        row["state"] = CandidateState(row["state"]).value
    except ValueError:
        states = ", ".join(CandidateState)
        raise StudyError(f"state must be one of {states}; got {row['state']!r}") from None
    for name in (*INTEGERS, *NUMBERS):
        if row[name] is not None:
            row[name] = _number(name, row[name], int if name in INTEGERS else float)
    if row["state"] == CandidateState.COMPLETE:
        for name in ("latency_ms", "quality"):
            if row[name] is None:
                raise StudyError(f"a complete candidate must have {name}; got None")
    return row


def _number(name: str, value: Any, kind: type[int] | type[float]) -> int | float:
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise StudyError(f"{name} must be a finite number or None; got {value!r}") from None
    if not math.isfinite(number) or number != value:
        raise StudyError(f"{name} must be a finite {kind.__name__} or None; got {value!r}")
    return number


def _plain(value: Any) -> Any:
    """JSON's own types; NumPy scalars and arrays unpacked, not finite becomes None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def to_json(value: Any) -> str:
    """One text per value: keys sorted, so that equal architectures are equal texts."""
    try:
        return json.dumps(_plain(value), sort_keys=True, allow_nan=False)
    except TypeError as error:
        raise StudyError(f"a study stores JSON values only: {error}") from None


def from_json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise damaged(path, f"not JSON: {error}") from error


def from_row(path: Path, row: tuple[Any, ...]) -> Candidate:
    values = dict(zip(COLUMNS, row, strict=True))
    for name in ("architecture", "details"):
        values[name] = from_json(path, values[name])
    try:
        values["state"] = CandidateState(values["state"])
    except ValueError as error:
        raise damaged(path, str(error)) from error
    return Candidate(**values)
