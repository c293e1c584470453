"""The facts that a report shows, as plain frozen records.

Latencies are in milliseconds and minimised; quality is maximised. ``None`` is
"not known"; it is shown as a dash and takes part in no comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

BASELINE = "baseline"
CANDIDATE = "candidate"
COMPLETE = "complete"

QUALITY_NAMES = {"embedding": "fidelity", "masked_lm": "masked-token accuracy"}
STATISTICS = ("median", "compiler_estimate")


@dataclass(frozen=True)
class ReportRow:
    """One student: proposed, and as far as it got, measured and distilled."""

    number: int
    role: str  # BASELINE or CANDIDATE
    architecture: Mapping[str, int | float | str | bool]
    state: str  # a CandidateState's value: "complete", "failed", "infeasible", ...
    parameters: int | None = None
    predicted_latency_ms: float | None = None  # before it was measured
    first_latency_ms: float | None = None  # when it was proposed, before it was distilled
    latency_ms: float | None = None  # in the end, side by side with the others
    latency_iqr_ms: float | None = None
    quality: float | None = None
    quality_se: float | None = None
    agreement: float | None = None
    untrained_quality: float | None = None  # the same shape before any training
    on_front: bool = False
    error: str | None = None

    def __post_init__(self) -> None:
        if self.role not in (BASELINE, CANDIDATE):
            raise ValueError(f'role must be "{BASELINE}" or "{CANDIDATE}"; got {self.role!r}')

    @property
    def complete(self) -> bool:
        """Distilled, so that it may be compared and be on the front."""
        return self.state == COMPLETE

    @property
    def latency_error(self) -> float | None:
        """(predicted - measured) / measured, or None if either is not known."""
        if self.predicted_latency_ms is None or not self.latency_ms:
            return None
        return self.predicted_latency_ms / self.latency_ms - 1


@dataclass(frozen=True)
class ReferenceLine:
    """What needs no student: one worse than this is not worth serving."""

    name: str
    quality: float
    agreement: float | None = None


@dataclass(frozen=True)
class TeacherRow:
    """The teacher, on the same target and workload where that was measured."""

    parameters: int | None
    latency_ms: float | None = None
    quality: float | None = None
    agreement: float | None = None


@dataclass(frozen=True)
class SurrogateScores:
    """Cross-validated errors of the models that predict one objective."""

    objective: str  # "latency" or "quality"
    scores: Mapping[str, Mapping[str, float]]  # {"gp": {"rmse", "mape" (a fraction), "spearman"}}
    serving: str | None  # which of `scores` the search used


@dataclass(frozen=True)
class ParityPoint:
    """One row of the latency table: predicted by a model that had not seen it."""

    predicted_ms: float
    measured_ms: float


@dataclass(frozen=True)
class ReportData:
    """One search, ready to be shown."""

    teacher_name: str
    kind: str  # "masked_lm" or "embedding"
    target: str
    device_kind: str
    statistic: str  # "median" of timed runs, or "compiler_estimate", which is no timing
    batch_size: int
    sequence_length: int
    dtype: str
    steps: int
    seed: int
    rows: tuple[ReportRow, ...]
    teacher: TeacherRow
    agreement_name: str | None = None
    reference: ReferenceLine | None = None
    surrogates: tuple[SurrogateScores, ...] = ()
    parity: tuple[ParityPoint, ...] = ()
    corpus: tuple[str, ...] = ()
    seconds: float | None = None
    max_latency_ms: float | None = None
    max_params: int | None = None
    created_at: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)  # anything else worth a line

    def __post_init__(self) -> None:
        if self.kind not in QUALITY_NAMES:
            raise ValueError(f"kind must be one of {tuple(QUALITY_NAMES)}; got {self.kind!r}")
        if self.statistic not in STATISTICS:
            raise ValueError(f"statistic must be one of {STATISTICS}; got {self.statistic!r}")
        if sum(row.role == BASELINE for row in self.rows) > 1:
            raise ValueError("rows must hold one baseline at most")

    @property
    def quality_name(self) -> str:
        """What quality means for this kind of teacher."""
        return QUALITY_NAMES[self.kind]

    @property
    def timed(self) -> bool:
        """Whether latencies were timed on the device, not estimated by its compiler."""
        return self.statistic == "median"

    @property
    def baseline(self) -> ReportRow | None:
        """The baseline's row, complete or not."""
        return next((row for row in self.rows if row.role == BASELINE), None)
