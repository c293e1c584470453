"""How many students beat the baseline, and how many the reference line."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from autodistill.report.data import BASELINE, CANDIDATE, ReferenceLine, ReportRow


@dataclass(frozen=True)
class Margin:
    """How far one student lies from the baseline."""

    number: int
    speedup: float  # baseline latency / its latency; over 1 is faster
    quality_gain: float  # its quality - the baseline's; over 0 is better
    quality_gain_se: float | None  # sqrt(se1**2 + se2**2)

    @property
    def beats(self) -> bool:
        """Better than the baseline on both."""
        return self.speedup > 1 and self.quality_gain > 0

    @property
    def clear(self) -> bool:
        """Beats it by more than two standard errors of the difference.

        Students are judged on the same documents, so their errors go together
        and the independent formula, if anything, overstates the error.
        """
        se = self.quality_gain_se
        return self.beats and se is not None and self.quality_gain > 2 * se


@dataclass(frozen=True)
class BaselineComparison:
    """All complete candidates against the baseline."""

    margins: tuple[Margin, ...]

    @property
    def winners(self) -> tuple[Margin, ...]:
        """Those that beat the baseline on both."""
        return tuple(margin for margin in self.margins if margin.beats)

    @property
    def fastest(self) -> Margin | None:
        """The winner with the largest speed-up."""
        return max(self.winners, key=lambda margin: margin.speedup, default=None)

    @property
    def best(self) -> Margin | None:
        """The winner with the largest gain of quality."""
        return max(self.winners, key=lambda margin: margin.quality_gain, default=None)


def beat_baseline(rows: Iterable[ReportRow]) -> BaselineComparison | None:
    """Compare each complete candidate with the baseline; None without a complete baseline."""
    known = [row for row in rows if _known(row)]
    baseline = next((row for row in known if row.role == BASELINE), None)
    if baseline is None:
        return None
    return BaselineComparison(
        tuple(_margin(row, baseline) for row in known if row.role == CANDIDATE)
    )


def above_reference(
    rows: Iterable[ReportRow], reference: ReferenceLine | None
) -> tuple[ReportRow, ...]:
    """The complete candidates whose quality is over the reference line's."""
    if reference is None:
        return ()
    return tuple(
        row
        for row in rows
        if row.role == CANDIDATE
        and row.complete
        and row.quality is not None
        and row.quality > reference.quality
    )


def mean_relative_error(pairs: Iterable[tuple[float, float]]) -> float | None:
    """Mean of |predicted - measured| / measured over pairs; None if there are none.

    Example:
        >>> round(mean_relative_error([(1.1, 1.0), (1.8, 2.0)]), 6)
        0.1
    """
    errors = [abs(predicted - measured) / measured for predicted, measured in pairs]
    return sum(errors) / len(errors) if errors else None


def _known(row: ReportRow) -> bool:
    return row.complete and bool(row.latency_ms) and row.quality is not None


def _margin(row: ReportRow, baseline: ReportRow) -> Margin:
    assert row.latency_ms and baseline.latency_ms  # by _known
    assert row.quality is not None and baseline.quality is not None
    se = None
    if row.quality_se is not None and baseline.quality_se is not None:
        se = math.hypot(row.quality_se, baseline.quality_se)
    return Margin(
        number=row.number,
        speedup=baseline.latency_ms / row.latency_ms,
        quality_gain=row.quality - baseline.quality,
        quality_gain_se=se,
    )
