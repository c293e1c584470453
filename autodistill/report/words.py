"""Numbers, architectures and phrases as both outputs write them."""

from collections.abc import Iterable

from autodistill import notation
from autodistill.report.data import COMPLETE, ReportData, ReportRow

DASH = "–"


def shared_fields(rows: Iterable[ReportRow]) -> dict[str, int | float | str | bool]:
    """Fields that have one value in all rows: said once, not in every line.

    Empty with fewer than two rows, so that a lone row still says all.
    """
    architectures = [row.architecture for row in rows]
    if len(architectures) < 2:
        return {}
    first, *others = architectures
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }


def in_order(rows: Iterable[ReportRow]) -> list[ReportRow]:
    """Complete rows from fast to slow, then the others by number."""
    return sorted(rows, key=lambda row: (not row.complete, _latency(row), row.number))


def count(number: int | None) -> str:
    """A count of parameters: ``3.2M``, ``812k``."""
    if number is None:
        return DASH
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            scaled = number / size
            return f"{scaled:.1f}{unit}" if scaled < 100 and unit != "k" else f"{scaled:.0f}{unit}"
    return str(number)


def milliseconds(value: float | None) -> str:
    """Three significant digits, without a unit: ``0.561``, ``12.3``, ``1234``."""
    if value is None:
        return DASH
    for limit, digits in ((10.0, 2), (100.0, 1)):
        if 1 <= value < limit:
            return f"{value:.{digits}f}"
    return f"{value:.3f}" if value < 1 else f"{value:.0f}"


def percent(value: float | None, *, signed: bool = False) -> str:
    """A fraction as a percentage with one decimal."""
    if value is None:
        return DASH
    return f"{100 * value:+.1f}%" if signed else f"{100 * value:.1f}%"


def share(value: float | None, error: float | None = None, *, signed: bool = False) -> str:
    """A quality, and its standard error where known: ``0.753 ± 0.004``."""
    if value is None:
        return DASH
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text if error is None else f"{text} ± {error:.3f}"


def duration(seconds: float | None) -> str:
    """``48 s``, ``9 min 12 s``, ``2 h 5 min``."""
    return DASH if seconds is None else notation.duration(seconds)


def plural(number: int, noun: str) -> str:
    """``1 student``, ``2 students``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def latency_word(data: ReportData) -> str:
    """How the latencies were come by, in a word or two: never "measured" if estimated."""
    return "measured" if data.timed else "compiler's estimate"


def latency_title(data: ReportData) -> str:
    """The quantity, for headings and axes."""
    return "measured latency" if data.timed else "compiler's estimate of latency"


def latency_note(data: ReportData) -> str:
    """The same as a sentence."""
    workload = f"batch {data.batch_size}, {data.sequence_length} tokens, {data.dtype}"
    if data.timed:
        return f"Latency is the median of timed runs on {data.device_kind} ({workload})."
    return (
        f"Latency is the compiler's estimate for {data.device_kind} ({workload}), "
        "not a timing: nothing ran on the device."
    )


def reason(row: ReportRow) -> str:
    """Why a row is not complete, on one line; empty if it is."""
    if row.complete:
        return ""
    why = " ".join((row.error or "").split())
    if row.state == "infeasible":
        return f"over a limit, not distilled{': ' + why if why else ''}"
    if row.state == "failed":
        return f"failed: {why or 'no reason recorded'}"
    return f"not finished ({row.state})"


def short_reason(row: ReportRow) -> str:
    """The same in a word or two."""
    return {COMPLETE: "", "infeasible": "over limit", "failed": "failed"}.get(row.state, row.state)


def _latency(row: ReportRow) -> float:
    return float("inf") if row.latency_ms is None else row.latency_ms
