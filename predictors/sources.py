"""Latency tables as devices: what each of them measured, under one workload.

The same chip at another batch size orders architectures anew, so each workload
of a table counts as a device of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from predictors.errors import TableError
from predictors.features import check_columns, encode, feature_columns
from predictors.protocol import FloatArray
from predictors.rows import LatencyRow, Value
from predictors.table import LatencyTable, read_table

Matrix = tuple[FloatArray, FloatArray]  # X (rows, columns) and y (rows,)


@dataclass(frozen=True)
class Device:
    """The measured rows of one target under one workload.

    Attributes:
        name: Target and workload, as in ``tpu-v4i, batch 1 x 128, bfloat16``.
        architectures: One mapping of fields to values for each row.
        latency_ms: Latency of each, (rows,).
    """

    name: str
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
    workloads: dict[str, list[LatencyRow]] = {}
    for row in table.measured:
        workloads.setdefault(_name(row), []).append(row)
    return [
        Device(
            name,
            tuple(row.architecture for row in rows),
            np.array([row.latency_ms for row in rows], dtype=float),
        )
        for name, rows in workloads.items()
    ]


def read_sources(paths: Sequence[str | PathLike[str]]) -> list[Device]:
    """The devices of several tables, all with the same architecture fields.

    Raises:
        TableError: A table cannot be used, two of them hold the same device, or
            they differ in their fields.
    """
    origin: dict[str, str] = {}
    devices: list[Device] = []
    for path in paths:
        try:
            found = devices_of(read_table(path))
        except TableError as error:
            raise error if str(path) in str(error) else TableError(f"{path}: {error}") from error
        for device in found:
            if device.name in origin:
                raise TableError(
                    f"{origin[device.name]} and {path} both hold {device.name}; give each device "
                    "once"
                )
            if devices and set(device.fields) != set(devices[0].fields):
                raise TableError(
                    f"{path} has the architecture fields {', '.join(device.fields)}; "
                    f"{origin[devices[0].name]} has {', '.join(devices[0].fields)}. Use tables of "
                    "one kind of encoder"
                )
            origin[device.name] = str(path)
            devices.append(device)
    return devices


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


def _name(row: LatencyRow) -> str:
    return f"{row.target}, batch {row.batch_size} x {row.sequence_length}, {row.dtype}"
