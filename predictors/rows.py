"""One row of a latency table: an architecture, its workload, and what was measured.

Units: ``_ms`` milliseconds, ``_s`` seconds, ``_bytes`` bytes; flops are counted
per call. An empty cell (None) is something that was not measured.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from numbers import Integral, Real

import numpy as np

from predictors.errors import TableError

SCHEMA_VERSION = 1
LARGEST = 1e30  # size of a feature: trees take 32-bit numbers, which end at 3e38
STATISTICS = ("median", "compiler_estimate")

Value = bool | int | float | str


@dataclass(frozen=True)
class LatencyRow:
    """One architecture under one workload on one target; valid once built.

    A measured row has ``latency_ms`` and ``statistic``; a failed one has
    ``error`` and no ``latency_ms``. Architecture values are numbers, booleans or
    text on one line, the order of fields being that of the columns.

    Raises:
        TableError: A value is not allowed; the message names the column.
    """

    architecture: Mapping[str, Value]
    target: str
    device_kind: str
    batch_size: int
    sequence_length: int
    dtype: str
    latency_ms: float | None = None
    latency_iqr_ms: float | None = None
    repeats: int | None = None
    statistic: str | None = None
    compile_s: float | None = None
    flops: float | None = None
    bytes_accessed: float | None = None
    peak_memory_bytes: int | None = None
    jax_version: str = ""
    compiler_version: str = ""
    measured_at: str = ""
    schema_version: int = SCHEMA_VERSION
    error: str = ""

    def __post_init__(self) -> None:
        """Bring every value to its plain type, or say which one cannot be."""
        plain = {
            check_field_name(name): _architecture_value(name, value)
            for name, value in self.architecture.items()
        }
        if not plain:
            raise TableError("architecture has no fields; expected at least one")
        object.__setattr__(self, "architecture", plain)
        for name in _TEXTS:
            object.__setattr__(self, name, _one_line(name, getattr(self, name)))
        for name in _COUNTS + _AMOUNTS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _number(name, value, whole=name in _COUNTS))
        self._check_meaning()

    def _check_meaning(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise TableError(
                f"column schema_version is {self.schema_version}; this version reads and writes "
                f"{SCHEMA_VERSION}. Convert the table or use the version that wrote it"
            )
        if not self.target:
            raise TableError("column target is empty; expected the name of the device or compiler")
        for name in ("batch_size", "sequence_length"):
            if not (getattr(self, name) or 0) >= 1:
                raise TableError(f"column {name} must be at least 1; got {getattr(self, name)}")
        if self.error and self.latency_ms is not None:
            raise TableError(
                f"column latency_ms must be empty in a row with an error; got {self.latency_ms}"
            )
        if not self.error and self.latency_ms is None:
            raise TableError("column latency_ms is empty; expected a number, or an error")
        if self.latency_ms is not None and not self.latency_ms > 0:
            raise TableError(f"column latency_ms must be positive; got {self.latency_ms}")
        if self.statistic not in STATISTICS and not (self.error and self.statistic is None):
            raise TableError(
                f"column statistic must be one of {', '.join(STATISTICS)}; got {self.statistic!r}"
            )
        if self.measured_at:
            try:
                datetime.fromisoformat(self.measured_at)
            except ValueError as error:
                raise TableError(
                    f"column measured_at must be an ISO 8601 time; got {self.measured_at!r}"
                ) from error

    @property
    def key(self) -> tuple[object, ...]:
        """What was asked for: equal keys are the same architecture and workload."""
        return (
            tuple(self.architecture.items()), self.batch_size, self.sequence_length, self.dtype
        )  # fmt: skip

    def cells(self) -> list[str]:
        """The row as text, one cell per column; numbers keep every digit."""
        values = [*self.architecture.values(), *(getattr(self, name) for name in PROVENANCE)]
        return ["" if value is None else str(value) for value in values]


PROVENANCE = tuple(field.name for field in fields(LatencyRow) if field.name != "architecture")
_COUNTS = ("batch_size", "sequence_length", "repeats", "peak_memory_bytes", "schema_version")
_AMOUNTS = ("latency_ms", "latency_iqr_ms", "compile_s", "flops", "bytes_accessed")
_TEXTS = (
    "target", "device_kind", "dtype", "jax_version", "compiler_version", "measured_at", "error"
)  # fmt: skip


def parse_row(field_names: tuple[str, ...], cells: list[str]) -> LatencyRow:
    """Inverse of ``LatencyRow.cells``; empty cells of numbers become None."""
    expected = len(field_names) + len(PROVENANCE)
    if len(cells) != expected:
        raise TableError(f"expected {expected} cells; got {len(cells)}")
    architecture = {name: parse_value(cell) for name, cell in zip(field_names, cells, strict=False)}
    values: dict[str, object] = dict(zip(PROVENANCE, cells[len(field_names) :], strict=True))
    for name in (*_COUNTS, *_AMOUNTS, "statistic"):
        values[name] = values[name] or None
    return LatencyRow(architecture, **values)  # type: ignore[arg-type]  # checked when built


def parse_value(cell: str) -> Value:
    """A cell as a boolean (True, False), else an int, else a float, else text.

    Python alone reads ``1_2`` as twelve; in a table it is text.
    """
    if cell in ("True", "False", "true", "false"):
        return cell in ("True", "true")
    if "_" in cell:
        return cell
    for number in (int, float):
        try:
            return number(cell)
        except ValueError:
            continue
    return cell


def is_finite(value: float) -> bool:
    """Whether a number is one that 64-bit numbers can hold."""
    try:
        return math.isfinite(value)
    except OverflowError:  # an int of more than 308 digits
        return False


def shown(value: object) -> str:
    """A value for a message, the middle of a long one left out."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:20]}...{text[-10:]} ({len(text)} characters)"


def check_field_name(name: object) -> str:
    """Return an architecture field's name, or say why it cannot be a column."""
    if not isinstance(name, str) or not name.strip() or any(mark in name for mark in "=\r\n"):
        raise TableError(
            f"an architecture field needs a name on one line without '='; got {name!r}"
        )
    if name in PROVENANCE:
        raise TableError(f"architecture field {name!r} has the name of a fixed column; rename it")
    return name


def _architecture_value(name: str, value: object) -> Value:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        if not is_finite(int(value)):
            raise TableError(f"column {name} must be finite; got {shown(int(value))}")
        return int(value)
    if isinstance(value, Real):
        return _number(name, value, whole=False, least=-math.inf)
    text = _one_line(name, value)
    if not text:
        raise TableError(f"column {name} is empty; every architecture field needs a value")
    plain = parse_value(text)
    return plain if isinstance(plain, str) else _architecture_value(name, plain)


def _number(name: str, value: object, *, whole: bool, least: float = 0) -> float:
    """A finite number of at least ``least``: int if ``whole``, else float."""
    try:
        if isinstance(value, str) and "_" in value:
            raise ValueError("underscores are Python's own")
        number = int(value) if whole and isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        kind = "a whole number" if whole else "a number"
        raise TableError(f"column {name} must be {kind}; got {shown(value)}") from error
    except OverflowError:
        number = math.inf
    if not is_finite(number) or number < least:
        raise TableError(f"column {name} must be finite and at least {least}; got {shown(value)}")
    if not whole:
        return float(number)
    if number != int(number):
        raise TableError(f"column {name} must be a whole number; got {value!r}")
    return int(number)


def _one_line(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TableError(f"column {name} must be text; got {value!r}")
    if name == "error":
        return " ".join(value.split())
    if any(mark in value for mark in "\r\n\0"):
        raise TableError(f"column {name} must be text on one line; got {value!r}")
    return value
