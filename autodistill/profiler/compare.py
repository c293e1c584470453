"""Two latency tables side by side: how far do their figures lie apart?

The use in mind is a table of estimates (first) against one of timings (second),
but any two tables will do. Rows are matched by architecture and workload; the
newest of repeated rows counts, and failed rows are left out.

For a pair of latencies a (first) and b (second)::

    ratio      = b / a
    difference = (a - b) / b

An estimator that is off by one factor everywhere still ranks architectures
correctly, so two more figures are given: Spearman's rank correlation, and the
differences that are left once all of a are multiplied by the median ratio.

Axes: n = rows in common.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from autodistill.errors import ArgumentError
from autodistill.profiler.target import Workload
from autodistill.space import Architecture
from predictors.metrics import spearman
from predictors.rows import LatencyRow
from predictors.table import LatencyTable

WORST = 10


@dataclass(frozen=True)
class Side:
    """What one table holds.

    Attributes:
        target: As in its ``target`` column.
        device_kind: As in its ``device_kind`` column.
        statistic: ``median`` or ``compiler_estimate``.
        measured: Rows with a latency, the newest of repeated ones.
        failed: Rows without.
    """

    target: str
    device_kind: str
    statistic: str
    measured: int
    failed: int


@dataclass(frozen=True)
class Pair:
    """One architecture under one workload, in both tables."""

    architecture: Architecture
    workload: Workload
    first_ms: float
    second_ms: float

    @property
    def ratio(self) -> float:
        """Second over first."""
        return self.second_ms / self.first_ms

    @property
    def difference(self) -> float:
        """First against second: 0.1 says that the first is 10% above."""
        return (self.first_ms - self.second_ms) / self.second_ms


@dataclass(frozen=True)
class Agreement:
    """Figures over pairs.

    Attributes:
        n: Pairs.
        ratio: Median of second over first.
        spearman: Rank correlation; NaN below two pairs or where a side is constant.
        median_difference: Median of the absolute relative differences.
        largest_difference: The largest of them.
        median_rescaled: Median of those left after rescaling by ``ratio``.
        largest_rescaled: The largest of those.
    """

    n: int
    ratio: float
    spearman: float
    median_difference: float
    largest_difference: float
    median_rescaled: float
    largest_rescaled: float


@dataclass(frozen=True)
class Comparison:
    """Two tables, joined.

    Attributes:
        first: What the first table holds.
        second: What the second holds.
        agreement: Over the pairs of each workload, in order of batch size.
        pairs: All rows in common, the largest absolute difference first.
    """

    first: Side
    second: Side
    agreement: dict[Workload, Agreement]
    pairs: tuple[Pair, ...]

    @property
    def worst(self) -> tuple[Pair, ...]:
        """The pairs that lie furthest apart."""
        return self.pairs[:WORST]


def compare_tables(first: LatencyTable, second: LatencyTable) -> Comparison:
    """Join two tables and say how far they lie apart.

    Raises:
        ArgumentError: A table has no measured row or mixes device kinds or
            statistics, or the tables have no row in common.
    """
    a, b = _newest(first), _newest(second)
    sides = _side("first", a.values()), _side("second", b.values())
    pairs = [
        Pair(architecture, workload, row.latency_ms, other.latency_ms)
        for (architecture, workload), row in a.items()
        if row.latency_ms is not None
        and (other := b.get((architecture, workload))) is not None
        and other.latency_ms is not None
    ]
    if not pairs:
        raise ArgumentError(_nothing_in_common(first, second))
    workloads = sorted({pair.workload for pair in pairs}, key=_by_size)
    return Comparison(
        first=sides[0],
        second=sides[1],
        agreement={w: agreement([p for p in pairs if p.workload == w]) for w in workloads},
        pairs=tuple(sorted(pairs, key=lambda pair: -abs(pair.difference))),
    )


def agreement(pairs: Sequence[Pair]) -> Agreement:
    """The figures over some pairs, at least one."""
    a = np.array([pair.first_ms for pair in pairs])  # (n,)
    b = np.array([pair.second_ms for pair in pairs])  # (n,)
    ratio = float(np.median(b / a))
    differences = np.abs(a - b) / b
    rescaled = np.abs(ratio * a - b) / b
    return Agreement(
        n=len(pairs),
        ratio=ratio,
        spearman=spearman(b, a),
        median_difference=float(np.median(differences)),
        largest_difference=float(differences.max()),
        median_rescaled=float(np.median(rescaled)),
        largest_rescaled=float(rescaled.max()),
    )


def _newest(table: LatencyTable) -> dict[tuple[Architecture, Workload], LatencyRow]:
    return {
        (
            Architecture(row.architecture),
            Workload(row.batch_size, row.sequence_length, row.dtype),
        ): row
        for row in table.rows
    }


def _side(name: str, rows: Collection[LatencyRow]) -> Side:
    measured = [row for row in rows if row.latency_ms is not None]
    if not measured:
        raise ArgumentError(f"none of the {len(rows)} rows of the {name} table has a latency")
    for column in ("device_kind", "statistic"):
        found = sorted({str(getattr(row, column)) for row in measured})
        if len(found) > 1:
            raise ArgumentError(
                f"the {name} table mixes {column} {' and '.join(found)}, which are not "
                "comparable; keep one table for each"
            )
    row = measured[0]
    return Side(
        row.target, row.device_kind, str(row.statistic), len(measured), len(rows) - len(measured)
    )


def _by_size(workload: Workload) -> tuple[int, int, str]:
    return (workload.batch_size, workload.sequence_length, workload.dtype)


def _nothing_in_common(first: LatencyTable, second: LatencyTable) -> str:
    message = "the tables have no measured architecture and workload in common"
    if set(first.fields) != set(second.fields):
        return (
            f"{message}: their fields differ, {list(first.fields)} and {list(second.fields)}; "
            "build both from one --space"
        )
    seen = [
        ", ".join(sorted({str(workload) for _, workload in _newest(table)}))
        for table in (first, second)
    ]
    if seen[0] != seen[1]:
        return (
            f"{message}: the first holds {seen[0]}, the second {seen[1]}; measure one of them "
            "with the --batch-size, --sequence-length and --dtype of the other"
        )
    return f"{message}; build both with the same --samples and --seed"
