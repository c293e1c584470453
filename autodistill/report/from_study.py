"""From the study's candidates to the report's rows."""

from collections.abc import Collection, Iterable, Mapping

from autodistill.report.data import ReportRow
from autodistill.report.pareto import mark_front
from autodistill.study import Candidate


def rows_from_candidates(
    candidates: Iterable[Candidate],
    *,
    excluded: Collection[int] = (),
    first_latency_ms: Mapping[str, float] | None = None,
) -> tuple[ReportRow, ...]:
    """One row per candidate, the front marked among all but those ``excluded``.

    ``first_latency_ms`` is by architecture's id. ``agreement`` and
    ``untrained_quality`` come from the candidate's details.
    """
    rows = (
        ReportRow(
            number=candidate.number,
            role=candidate.role,
            architecture=candidate.architecture,
            state=candidate.state.value,
            parameters=candidate.parameters,
            predicted_latency_ms=candidate.predicted_latency_ms,
            first_latency_ms=(first_latency_ms or {}).get(candidate.architecture_id),
            latency_ms=candidate.latency_ms,
            latency_iqr_ms=candidate.latency_iqr_ms,
            quality=candidate.quality,
            quality_se=candidate.quality_se,
            agreement=candidate.details.get("agreement"),
            untrained_quality=candidate.details.get("untrained_quality"),
            error=candidate.error,
        )
        for candidate in candidates
    )
    return mark_front(rows, excluded=excluded)
