"""A canary: one architecture that is timed again and again while a table is built.

Its latency should not change; where it does, the machine did. Its rows lie in a
table of their own beside the table they vouch for.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predictors.rows import LatencyRow


def canary_path(table: Path) -> Path:
    """Where the canary's rows of a table are: ``cpu.csv.canary`` for ``cpu.csv``.

    Example:
        >>> canary_path(Path("tables/cpu.csv")).name
        'cpu.csv.canary'
    """
    return table.with_name(table.name + ".canary")


def with_canary(count: int, every: int) -> list[int | None]:
    """The order of ``count`` measurements with the canary (None) among them.

    First, after every ``every`` of them, and last; nothing where nothing is measured.

    Example:
        >>> with_canary(5, every=2)
        [None, 0, 1, None, 2, 3, None, 4, None]
    """
    order: list[int | None] = []
    for index in range(count):
        order += [None, index] if index % every == 0 else [index]
    return [*order, None] if order else []


@dataclass(frozen=True)
class Drift:
    """How far the canary's timings strayed.

    Attributes:
        timings: How many there are.
        spread: Largest distance of one from the median of its kind, relative to it.
        last: The last one less the median of its kind, relative to it.
    """

    timings: int
    spread: float = 0.0
    last: float = 0.0

    def __str__(self) -> str:
        if not self.timings:
            return "canary: not timed"
        timings = "1 timing" if self.timings == 1 else f"{self.timings} timings"
        return f"canary: {timings}, spread {self.spread:.1%}, last {self.last:+.1%}"


def drift(rows: Sequence[LatencyRow]) -> Drift:
    """The drift over a canary's rows, in the order in which they were measured.

    Rows of one architecture and workload are compared with each other; failed
    ones are left out.
    """
    kinds: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for row in rows:
        if row.latency_ms is not None:
            kinds[row.key].append(row.latency_ms)
    medians = {key: float(np.median(latencies)) for key, latencies in kinds.items()}
    deviations = [
        row.latency_ms / medians[row.key] - 1 for row in rows if row.latency_ms is not None
    ]
    if not deviations:
        return Drift(0)
    return Drift(len(deviations), max(map(abs, deviations)), deviations[-1])
