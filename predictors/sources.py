"""Latency tables as devices: what each of them measured, under one workload.

The same chip at another batch size orders architectures anew, so each workload
of a table counts as a device of its own. So does each ``device_kind``: ``cpu`` and
``gpu`` are targets of many machines.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike

import numpy as np

from predictors.errors import TableError
from predictors.features import check_columns, encode, feature_columns
from predictors.protocol import FloatArray
from predictors.rows import LatencyRow, Value
from predictors.table import LatencyTable, read_table

Identity = tuple[str, str, int, int, str]
Matrix = tuple[FloatArray, FloatArray]  # X (rows, columns) and y (rows,)


@dataclass(frozen=True)
class Device:
    """The measured rows of one target under one workload.

    Attributes:
        name: Target and workload, as in ``tpu-v4i, batch 1 x 128, bfloat16``; with
            ``device_kind`` where the target does not say it, as in ``cpu (AMD EPYC,
            2 cores), batch 1 x 128, float32``.
        identity: Target, ``device_kind``, batch size, sequence length and dtype.
        architectures: One mapping of fields to values for each row.
        latency_ms: Latency of each, (rows,).
    """

    name: str
    identity: Identity
    architectures: tuple[Mapping[str, Value], ...]
    latency_ms: FloatArray

    @property
    def fields(self) -> tuple[str, ...]:
        """The architecture fields, in the order of the table."""
        return tuple(self.architectures[0])


def devices_of(table: LatencyTable) -> list[Device]:
    """One device for each workload of a table, in the order of the rows.

    Raises:
        TableError: No row was measured, or rows of one table are not comparable.
    """
    table.matrix()  # refuses tables without measured rows, and mixed kinds of device
    found: dict[Identity, list[LatencyRow]] = {}
    for row in table.measured:
        found.setdefault(_identity(row), []).append(row)
    return [
        Device(
            _name(identity),
            identity,
            tuple(row.architecture for row in rows),
            np.array([row.latency_ms for row in rows], dtype=float),
        )
        for identity, rows in found.items()
    ]


def read_sources(paths: Sequence[str | PathLike[str]]) -> list[Device]:
    """The devices of several tables, as ``join_sources`` gives them.

    Raises:
        TableError: A table cannot be read, or as of ``join_sources``.
    """
    return join_sources([(str(path), read_table(path)) for path in paths])


def join_sources(tables: Sequence[tuple[str, LatencyTable]]) -> list[Device]:
    """The devices of several tables, all with the same architecture fields.

    Those that would have one name are given their ``device_kind`` in it.

    Args:
        tables: Each with its path, for messages.

    Raises:
        TableError: A table cannot be used, two of them hold the same device, or
            they differ in their fields or in the kinds of their values.
    """
    origin: dict[Identity, str] = {}
    devices: list[Device] = []
    for path, table in tables:
        try:
            found = devices_of(table)
        except TableError as error:
            raise TableError(f"{path}: {error}") from error
        _check_like_first(path, table, *tables[0])
        for device in found:
            if device.identity in origin:
                raise TableError(
                    f"{origin[device.identity]} and {path} both hold {device.name}; give each "
                    "device once"
                )
            origin[device.identity] = path
            devices.append(device)
    names = Counter(device.name for device in devices)
    return [
        replace(device, name=_name(device.identity, in_full=True))
        if names[device.name] > 1
        else device
        for device in devices
    ]


def _check_like_first(path: str, table: LatencyTable, first: str, expected: LatencyTable) -> None:
    """Refuse other fields or kinds of values than the first table has, failed rows included."""
    if set(table.fields) != set(expected.fields):
        raise TableError(
            f"{path} has the architecture fields {', '.join(table.fields)}; "
            f"{first} has {', '.join(expected.fields)}. Use tables of one kind of encoder"
        )
    check_columns(
        [row.architecture for row in table.rows],
        like=[expected.rows[0].architecture],
        origin=path,
        others=f"{first} has",
    )


def shared_columns(*groups: tuple[str, Sequence[Mapping[str, Value]]]) -> tuple[str, ...]:
    """Columns that hold all these architectures; their fields are those of the first group.

    Args:
        *groups: Where some architectures come from, such as a file, and they themselves.

    Raises:
        TableError: An architecture lacks a field, or one column mixes kinds of
            values; the message says where it comes from, and its row there.
    """
    fields = list(groups[0][1][0])
    kept: list[Mapping[str, Value]] = []
    for origin, architectures in groups:
        for index, architecture in enumerate(architectures):
            if missing := [field for field in fields if field not in architecture]:
                raise TableError(f"{origin}, row {index} lacks the field {missing[0]!r}")
        found = [{field: row[field] for field in fields} for row in architectures]
        check_columns(found, like=kept, origin=origin)
        kept += found
    return feature_columns(kept)


def matrices(devices: Sequence[Device], columns: Sequence[str]) -> dict[str, Matrix]:
    """What ``TransferPredictor.fit_sources`` takes."""
    return {
        device.name: (encode(device.architectures, columns), device.latency_ms)
        for device in devices
    }


def _identity(row: LatencyRow) -> Identity:
    return row.target, row.device_kind, row.batch_size, row.sequence_length, row.dtype


def _name(identity: Identity, *, in_full: bool = False) -> str:
    target, kind, batch_size, sequence_length, dtype = identity
    is_said = not kind or kind == target or kind.startswith(f"{target},")
    machine = f"{target} ({kind})" if in_full or not is_said else target
    return f"{machine}, batch {batch_size} x {sequence_length}, {dtype}"
