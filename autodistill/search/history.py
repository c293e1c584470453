"""What the study's candidates mean to the search."""

from collections.abc import Sequence

import numpy as np

from autodistill.space import Architecture
from autodistill.study import Candidate, CandidateState, Study

OPEN = (CandidateState.PROPOSED, CandidateState.MEASURED, CandidateState.TRAINING)


def history(study: Study) -> tuple[list[Architecture], np.ndarray]:
    """What a designer is told: architectures and (n, 2) values, NaN where it failed.

    Values are 1 less the quality, as a short run foretells it of a longer one
    (``distill/foretold.py``), and the latency that was measured before the student was
    distilled, so that a continued search proposes what it would have proposed. The
    standard error of a quality is not told as noise: all students are judged on the same
    documents, and most of the error is theirs in common.
    """
    architectures, values = [], []
    candidates = study.candidates()
    known = _foretold(candidates)
    for candidate in candidates:
        if candidate.state in OPEN:
            continue
        architectures.append(Architecture(candidate.architecture))
        if candidate.state is CandidateState.COMPLETE:
            latency_ms = candidate.details.get("first_latency_ms", candidate.latency_ms)
            values.append((1.0 - known[candidate.number], latency_ms))
        else:
            values.append((np.nan, np.nan))
    return architectures, np.array(values, np.float64).reshape(-1, 2)


def _foretold(candidates: Sequence[Candidate]) -> dict[int, float]:
    """By number, of the complete ones; the quality of all where a former version left it out."""
    complete = [one for one in candidates if one.state is CandidateState.COMPLETE]
    if all("foretold" in one.details for one in complete):
        return {one.number: one.details["foretold"] for one in complete}
    return {one.number: one.quality for one in complete if one.quality is not None}


def took_training(candidate: Candidate) -> bool:
    """Whether a candidate, not the baseline, has had its share of the budget."""
    failed_in_training = (
        candidate.state is CandidateState.FAILED and candidate.latency_ms is not None
    )
    return candidate.role != "baseline" and (
        candidate.state is CandidateState.COMPLETE or failed_in_training
    )
