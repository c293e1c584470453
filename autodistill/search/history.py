"""What the study's candidates mean to the search."""

import numpy as np

from autodistill.space import Architecture
from autodistill.study import Candidate, CandidateState, Study

OPEN = (CandidateState.PROPOSED, CandidateState.MEASURED, CandidateState.TRAINING)


def history(study: Study) -> tuple[list[Architecture], np.ndarray]:
    """What a designer is told: architectures and (n, 2) values, NaN where it failed.

    The latency is the one that was measured before the student was distilled, so
    that a continued search proposes what it would have proposed. The standard error of
    a quality is not told as noise: all students are judged on the same documents, and
    most of the error is theirs in common.
    """
    architectures, values = [], []
    for candidate in study.candidates():
        if candidate.state in OPEN:
            continue
        architectures.append(Architecture(candidate.architecture))
        if candidate.state is CandidateState.COMPLETE:
            assert candidate.quality is not None, "a complete candidate has a quality"
            latency_ms = candidate.details.get("first_latency_ms", candidate.latency_ms)
            values.append((1.0 - candidate.quality, latency_ms))
        else:
            values.append((np.nan, np.nan))
    return architectures, np.array(values, np.float64).reshape(-1, 2)


def took_training(candidate: Candidate) -> bool:
    """Whether a candidate, not the baseline, has had its share of the budget."""
    failed_in_training = (
        candidate.state is CandidateState.FAILED and candidate.latency_ms is not None
    )
    return candidate.role != "baseline" and (
        candidate.state is CandidateState.COMPLETE or failed_in_training
    )
