"""What a search found, in sentences."""

from statistics import median

from autodistill.report.compare import Margin, above_reference, beat_baseline, mean_relative_error
from autodistill.report.data import CANDIDATE, ReportData, ReportRow
from autodistill.report.words import latency_note, percent, plural, share

NOTABLE_CHANGE = 1.05  # of latencies while a search ran


def sentences(data: ReportData) -> list[str]:
    """The findings, most important first; each stands alone."""
    students = finished(data)
    found = [_done(data, students)]
    if students:
        found += [*_against_baseline(data), *_against_reference(data, students)]
    found += [*_against_untrained(data), *_predictions(data), latency_note(data)]
    return found


def finished(data: ReportData) -> list[ReportRow]:
    """The complete candidates: the students of this search."""
    return [row for row in data.rows if row.role == CANDIDATE and row.complete]


def predicted_and_measured(data: ReportData) -> list[tuple[float, float]]:
    """(predicted, measured) of every row that has both, complete or not."""
    return [
        (row.predicted_latency_ms, row.latency_ms)
        for row in data.rows
        if row.predicted_latency_ms is not None and row.latency_ms
    ]


def _done(data: ReportData, students: list[ReportRow]) -> str:
    candidates = [row for row in data.rows if row.role == CANDIDATE]
    states = [row.state for row in candidates]
    failed, infeasible = states.count("failed"), states.count("infeasible")
    unfinished = len(candidates) - len(students) - failed - infeasible
    parts = [
        f"{plural(failed, 'candidate')} failed" if failed else "",
        f"{infeasible} over a limit and not distilled" if infeasible else "",
        f"{unfinished} not finished" if unfinished else "",
    ]
    rest = "".join(f"; {part}" for part in parts if part)
    if students:
        return f"{plural(len(students), 'student')} distilled, {data.steps} steps each{rest}."
    if not data.rows:
        return "Nothing was measured or distilled yet."
    baseline = data.baseline
    only = " but the baseline" if baseline is not None and baseline.complete else ""
    return f"No student{only} was distilled yet: there is nothing to compare{rest}."


def _against_baseline(data: ReportData) -> list[str]:
    comparison = beat_baseline(data.rows)
    if comparison is None:
        return ["The baseline was not distilled, so students cannot be compared with it."]
    winners, total = comparison.winners, len(comparison.margins)
    name = data.quality_name
    if comparison.fastest is None or comparison.best is None:
        return [
            f"None of {plural(total, 'student')} beats the baseline on both {name} and latency."
        ]
    verb = "beats" if len(winners) == 1 else "beat"
    lead = f"{len(winners)} of {plural(total, 'student')} {verb} the baseline on both {name} and"
    if comparison.fastest is comparison.best:
        margins = f"{_gain(comparison.best, name)} and {_speed(comparison.best)}"
        text = f"{lead} latency; the best, student {comparison.best.number}, by {margins}."
    else:
        fastest, best = comparison.fastest, comparison.best
        text = (
            f"{lead} latency: by up to {_gain(best, name)} (student {best.number}, "
            f"{_speed(best)}) and up to {_speed(fastest)} (student {fastest.number}, "
            f"{_gain(fastest, name)})."
        )
    clear = sum(margin.clear for margin in winners)
    which = "all" if clear == len(winners) else str(clear or "none")
    return [f"{text[:-1]}; {which} of them by more than two standard errors of {name}."]


def _against_reference(data: ReportData, students: list[ReportRow]) -> list[str]:
    if data.reference is None:
        return []
    above = len(above_reference(data.rows, data.reference))
    verb = "lies" if above == 1 else "lie"
    return [
        f"{above} of {plural(len(students), 'student')} {verb} above the reference line "
        f"({data.reference.name}, {data.quality_name} {share(data.reference.quality)})."
    ]


def _against_untrained(data: ReportData) -> list[str]:
    pairs = [
        (row.untrained_quality, row.quality)
        for row in data.rows
        if row.complete and row.untrained_quality is not None and row.quality is not None
    ]
    if not pairs:
        return []
    untrained, trained = max(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    return [
        f"Untrained, the same shapes reach {data.quality_name} {share(untrained)} at most; "
        f"distilled, {share(trained)} at least."
    ]


def _predictions(data: ReportData) -> list[str]:
    pairs = predicted_and_measured(data)
    error = mean_relative_error(pairs)
    if error is None:
        return []
    against = "what was then measured" if data.timed else "the compiler's estimate"
    text = (
        f"Predicted latency differs from {against} by {percent(error)} on average "
        f"({plural(len(pairs), 'architecture')})"
    )
    return [f"{text}{_drift(data)}."]


def _drift(data: ReportData) -> str:
    """By how much the same students' latencies changed while the search ran, if that matters."""
    rows = [row for row in data.rows if row.complete and row.first_latency_ms and row.latency_ms]
    if not rows or not data.timed:
        return ""
    change = median(row.latency_ms / row.first_latency_ms for row in rows)  # type: ignore[operator]
    pairs = [
        (row.predicted_latency_ms, row.first_latency_ms)
        for row in rows
        if row.predicted_latency_ms is not None and row.first_latency_ms
    ]
    error = mean_relative_error(pairs)
    if max(change, 1 / change) < NOTABLE_CHANGE or error is None:
        return ""
    return (
        f"; from what was measured when they were proposed, by {percent(error)}: in the end they "
        f"took {change:.2f} times as long (median)"
    )


def _gain(margin: Margin, name: str) -> str:
    return f"{share(margin.quality_gain, margin.quality_gain_se, signed=True)} {name}"


def _speed(margin: Margin) -> str:
    return f"{margin.speedup:.2f}x the speed"
