"""What a full distillation ends with: the student and its figures."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from autodistill.distill.judge import Judged
from autodistill.distill.student import Student
from autodistill.notation import duration


@dataclass(frozen=True)
class FullResult:
    """A distilled student and its record.

    Attributes:
        student: Ready to be saved.
        judged: On held-out passages.
        start: The same before the first step.
        records: Means of the losses, in order; none of a finished run whose file is gone.
        seconds: Spent in steps, over all sittings.
        compile_s: Spent in compiling, in this one.
        teacher_s: Spent in checking and filling the cache of teacher outputs, in this one.
        tokens_per_s: Padding included.
        flops: Of all steps, counted from the shapes.
        limit_flops_per_s: What matrix products reach on these devices.
        accumulate: Micro-batches at the end.
    """

    student: Student
    judged: Judged
    start: Judged
    records: list[dict[str, Any]]
    seconds: float
    compile_s: float
    teacher_s: float
    tokens_per_s: float
    flops: float
    limit_flops_per_s: float
    accumulate: int

    @property
    def flops_per_s(self) -> float:
        """Achieved, compiling apart."""
        return self.flops / max(self.seconds, 1e-9)

    def to_record(self) -> dict[str, Any]:
        """Figures, for a file."""

        def judged(one: Judged) -> dict[str, float | None]:
            error = one.quality.standard_error
            return {
                "quality": one.quality.value,
                "standard_error": error if np.isfinite(error) else None,
                "agreement": one.agreement,
            }

        return {
            **judged(self.judged),
            "start": judged(self.start),
            "losses": self.records[-1] if self.records else None,
            "seconds": self.seconds,
            "compile_s": self.compile_s,
            "teacher_s": self.teacher_s,
            "tokens_per_s": self.tokens_per_s,
            "flops_per_s": self.flops_per_s,
            "limit_flops_per_s": self.limit_flops_per_s,
            "accumulate": self.accumulate,
        }

    def summary(self) -> list[str]:
        """Lines for people."""
        quality, start = self.judged.quality, self.start.quality
        what = "fidelity" if self.judged.agreement is not None else "masked-token accuracy"
        agreement = self.judged.agreement
        beside = f"; nearest neighbour agreed {agreement:.3f}" if agreement is not None else ""
        share = self.flops_per_s / self.limit_flops_per_s
        teacher = (
            f" after {duration(self.teacher_s)} of the teacher's" if self.teacher_s > 1 else ""
        )
        return [
            f"[bold]quality[/]   {what} {quality.value:.3f} ± {quality.standard_error:.3f} on "
            f"held-out text (at the start {start.value:.3f}){beside}",
            f"[bold]speed[/]     {self.tokens_per_s:,.0f} tokens a second, "
            f"{self.flops_per_s / 1e9:,.1f} GFLOP/s: {100 * share:.0f}% of the "
            f"{self.limit_flops_per_s / 1e9:,.0f} that matrix products reach here; "
            f"{duration(self.seconds)} of training{teacher}",
        ]
