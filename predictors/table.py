"""The latency table: one CSV per target, appended row by row.

The header is the architecture fields, then ``rows.PROVENANCE``. A row is one
line, forced to disk before ``append_row`` returns. A last line that was torn by
a crash is left out by reading and cut off by the next append; one that only lacks
its line end is a row like any other. One process writes a table at a
time; ``lock_table`` keeps others out.

Rows are counted from 0, lines of the file from 1.
"""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np

from predictors.csv_lines import csv_lines
from predictors.errors import TableError
from predictors.features import check_columns, encode, feature_columns
from predictors.protocol import FloatArray
from predictors.rows import PROVENANCE, LatencyRow, Value, check_field_name, parse_row
from predictors.table_lock import TableLock as TableLock
from predictors.table_lock import lock_table as lock_table


@dataclass(frozen=True)
class LatencyTable:
    """All rows measured on one target.

    Attributes:
        fields: Names of the architecture fields, in order.
        rows: In the order in which they were measured; failed ones included.
        torn_line: Where its file ended within a line, which is left out: its number.

    Raises:
        TableError: Rows differ in target or in fields, or a column mixes kinds
            of values.
    """

    fields: tuple[str, ...]
    rows: tuple[LatencyRow, ...]
    torn_line: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Refuse rows that do not belong together."""
        for index, row in enumerate(self.rows):
            if tuple(row.architecture) != self.fields:
                raise TableError(
                    f"row {index} has fields {list(row.architecture)}; expected {list(self.fields)}"
                )
            if row.target != self.rows[0].target:
                raise TableError(
                    f"row {index} was measured on target {row.target!r}, row 0 on "
                    f"{self.rows[0].target!r}; keep one table for each target"
                )
        check_columns([row.architecture for row in self.rows])

    @property
    def target(self) -> str | None:
        """The one target of all rows; None without rows."""
        return self.rows[0].target if self.rows else None

    @property
    def measured(self) -> tuple[LatencyRow, ...]:
        """The rows with a latency."""
        return tuple(row for row in self.rows if row.latency_ms is not None)

    @property
    def how(self) -> str:
        """In a word, how its latencies came to be: measured, or a compiler's estimates."""
        estimated = any(row.statistic == "compiler_estimate" for row in self.measured)
        return "estimated (compiler_estimate)" if estimated else "measured"

    def matrix(self) -> tuple[FloatArray, FloatArray, tuple[str, ...]]:
        """Features, latency in ms and column names of the measured rows.

        Numbers stay as they are, booleans become 0 and 1, and a text field
        becomes one 0/1 column ``field=value`` for each of its values, in sorted
        order. Batch size, sequence length and dtype are columns too where they
        vary, as the latency then depends on them.

        Returns:
            X (rows, columns), y (rows,), and the names of the columns.

        Raises:
            TableError: No row was measured, or the measured rows mix kinds of
                device or statistics, which are not comparable.
        """
        rows = self.measured
        if not rows:
            raise TableError(
                f"none of the {len(self.rows)} rows has a latency; measure at least one"
            )
        for name in ("device_kind", "statistic"):
            found = sorted({str(getattr(row, name)) for row in rows})
            if len(found) > 1:
                raise TableError(
                    f"column {name} mixes {', '.join(map(repr, found))}, whose latencies are not "
                    "comparable; keep one table for each"
                )
        features = [workload_features(row) for row in rows]
        varying = [name for name in WORKLOAD if len({feature[name] for feature in features}) > 1]
        kept = [{name: feature[name] for name in (*self.fields, *varying)} for feature in features]
        columns = feature_columns(kept)
        y = np.array([row.latency_ms for row in rows], dtype=float)
        return encode(kept, columns), y, columns


WORKLOAD = ("batch_size", "sequence_length", "dtype")


def workload_features(row: LatencyRow) -> dict[str, Value]:
    """The architecture of a row together with its workload."""
    return {**row.architecture, **{name: getattr(row, name) for name in WORKLOAD}}


def create_table(path: str | PathLike[str], fields: Sequence[str]) -> None:
    """Write the header of a new table.

    Raises:
        TableError: A field cannot be a column, the file exists, or it cannot be
            written.
    """
    header = header_of(fields)
    try:
        with open(path, "xb", buffering=0) as file:
            _write(file, header)
    except FileExistsError as error:
        raise TableError(f"{path} exists already; append to it, or choose another name") from error
    except OSError as error:
        raise _unwritable(path, error) from error


def header_of(fields: Sequence[str]) -> bytes:
    """The first line of a table.

    Raises:
        TableError: A field cannot be a column.
    """
    _check_fields(fields)
    return _line([*fields, *PROVENANCE])


def append_row(path: str | PathLike[str], row: LatencyRow) -> None:
    """Add one row, on disk when this returns; makes the table if there is none.

    A torn last line is cut off first. Rows that are there stay untouched,
    whatever goes wrong.

    Raises:
        TableError: The table has other columns, another target or other kinds of
            values, or the file cannot be written.
    """
    header = _line([*row.architecture, *PROVENANCE])
    try:
        present = Path(path).read_bytes() if Path(path).exists() else b""
        if header.startswith(present):  # new, empty, or torn within the header
            kept, added = 0, header
        else:
            whole = _whole_lines(path, present)
            _check_belongs(path, whole, row)
            kept = min(len(whole), len(present))
            added = whole[kept:]  # the line end that a whole last line may lack
        with open(path, "r+b" if present else "wb", buffering=0) as file:
            file.truncate(kept)
            file.seek(kept)
            try:
                _write(file, added + _line(row.cells()))
            except OSError:
                file.truncate(kept)
                raise
    except OSError as error:
        raise _unwritable(path, error) from error


def read_table(path: str | PathLike[str]) -> LatencyTable:
    """Read and check a whole table; a torn last line is left out, see ``torn_line``.

    Raises:
        TableError: The file cannot be read, its header is not that of a latency
            table, a cell is bad (named by line and column), or targets mix.
    """
    try:
        present = Path(path).read_bytes()
    except OSError as error:
        raise TableError(f"cannot read table {path}: {error.strerror}") from error
    whole = _whole_lines(path, present)
    fields, lines = _split(path, whole)
    rows = _parse(path, fields, lines)
    try:
        return LatencyTable(
            fields, rows, whole.count(b"\n") + 1 if len(whole) < len(present) else None
        )
    except TableError as error:
        raise TableError(f"{path}: {error}") from error


def _check_belongs(path: str | PathLike[str], content: bytes, row: LatencyRow) -> None:
    """Refuse a row of other fields, kinds of values or target than the first row."""
    fields, lines = _split(path, content)
    if fields != tuple(row.architecture):
        raise TableError(
            f"{path} has the architecture fields {list(fields)}; the new row has "
            f"{list(row.architecture)}. Nothing was written; use another table"
        )
    if not lines:
        return
    try:
        LatencyTable(fields, (*_parse(path, fields, lines[:1]), row))
    except TableError as error:
        raise TableError(f"nothing was written to {path}, as with its row 0: {error}") from error


def _whole_lines(path: str | PathLike[str], content: bytes) -> bytes:
    """The content without a torn last line, each line ended."""
    end = content.rfind(b"\n") + 1
    tail = content[end:]
    if not tail:
        return content
    if not end:  # one line, the header: judged by _split
        return content + b"\n"
    fields, _ = _split(path, content[:end])
    try:
        [cells] = csv.reader([tail.decode("utf-8")], strict=True)
        measured = parse_row(fields, cells).latency_ms is not None
    except (TableError, UnicodeDecodeError, csv.Error):
        measured = False
    # A failed row may have lost part of its error: it is tried again instead.
    return content + b"\n" if measured else content[:end]


def _split(
    path: str | PathLike[str], content: bytes
) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    """Architecture fields, and the cells of each row with its line number."""
    lines = csv_lines(path, content)
    header = lines[0][1] if lines else []
    fields = tuple(header[: -len(PROVENANCE)])
    if tuple(header[-len(PROVENANCE) :]) != PROVENANCE or not fields:
        raise TableError(
            f"{path} is not a latency table: expected a header of architecture fields followed "
            f"by {','.join(PROVENANCE)}; got {','.join(header) or 'nothing'}"
        )
    try:
        _check_fields(fields)
    except TableError as error:
        raise TableError(f"{path}, line 1: {error}") from error
    return fields, lines[1:]


def _parse(
    path: str | PathLike[str], fields: tuple[str, ...], lines: list[tuple[int, list[str]]]
) -> tuple[LatencyRow, ...]:
    rows = []
    for number, cells in lines:
        try:
            rows.append(parse_row(fields, cells))
        except TableError as error:
            raise TableError(f"{path}, line {number}: {error}") from error
    return tuple(rows)


def _check_fields(fields: Sequence[str]) -> None:
    for name in fields:
        check_field_name(name)
    if not fields or len(set(fields)) != len(fields):
        raise TableError(f"architecture fields must be named and distinct; got {list(fields)}")


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8")


def _write(file: io.FileIO, content: bytes) -> None:
    """Write all of it and force it to disk; unbuffered, so nothing is left for close."""
    while content:
        content = content[file.write(content) :]
    os.fsync(file.fileno())


def _unwritable(path: str | PathLike[str], error: OSError) -> TableError:
    return TableError(
        f"cannot write table {path}: {error.strerror}. Check that the folder exists, may be "
        "written and has space; rows already there are kept"
    )
