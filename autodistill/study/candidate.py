"""One candidate of a search, and how far it has come."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any


class CandidateState(StrEnum):
    """How far a candidate has come. INFEASIBLE, FAILED and COMPLETE are final."""

    PROPOSED = "proposed"
    MEASURED = "measured"  # its latency is known
    TRAINING = "training"
    COMPLETE = "complete"  # distilled: latency and quality are known
    FAILED = "failed"  # `error` says why
    INFEASIBLE = "infeasible"  # measured over a hard limit, so not distilled


@dataclass(frozen=True)
class Candidate:
    """One architecture of the search; ``None`` is "not known (yet)"."""

    number: int  # 0 is the baseline; candidates count from 1 in order of proposal
    role: str  # "baseline" or "candidate"
    architecture: dict[str, int | float | str | bool]
    architecture_id: str
    state: CandidateState
    parameters: int | None
    predicted_latency_ms: float | None
    predicted_latency_std_ms: float | None
    latency_ms: float | None
    latency_iqr_ms: float | None
    quality: float | None
    quality_se: float | None
    details: dict[str, Any]  # anything else, JSON: agreement, losses, seconds, ...
    error: str | None
    created_at: str  # ISO 8601, UTC
    updated_at: str


COLUMNS = tuple(field.name for field in fields(Candidate))
INTEGERS = ("number", "parameters")
NUMBERS = COLUMNS[COLUMNS.index("predicted_latency_ms") : COLUMNS.index("quality_se") + 1]
CHANGEABLE = ("state", "parameters", *NUMBERS, "details", "error")
