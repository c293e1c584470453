"""A small search to report on, with numbers that are easy to check by hand."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from autodistill.report.data import (
    ParityPoint,
    ReferenceLine,
    ReportData,
    ReportRow,
    SurrogateScores,
    TeacherRow,
)
from autodistill.report.pareto import mark_front


def architecture(layers: int, hidden: int = 256, **others: int | str) -> dict[str, int | str]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intra_bottleneck_size": 128,
        "num_attention_heads": 4,
        "intermediate_size": 512,
        "num_feedforward_networks": 2,
        "embedding_size": 192,
        "normalization_type": "no_norm",
        "hidden_act": "relu",
    } | others


def make_rows() -> tuple[ReportRow, ...]:
    """Baseline 10 ms / .50; 1 and 2 beat it on both, 3 only on speed, 4 on neither."""
    spec = [
        (0, 12, 10.0, None, 0.50, 0.03),
        (1, 4, 5.0, 5.5, 0.60, 0.04),  # gain .10, se of difference .05: exactly two
        (2, 6, 8.0, 6.0, 0.66, 0.04),  # gain .16: clear
        (3, 2, 2.5, 2.5, 0.40, 0.01),
        (4, 14, 12.0, 12.6, 0.45, 0.01),
    ]
    complete = [
        ReportRow(
            number=number,
            role="candidate" if number else "baseline",
            architecture=architecture(layers),
            state="complete",
            parameters=1_000_000 * layers,
            predicted_latency_ms=predicted,
            latency_ms=latency,
            latency_iqr_ms=0.2,
            quality=quality,
            quality_se=se,
            agreement=quality - 0.1,
            untrained_quality=0.01 * layers,
        )
        for number, layers, latency, predicted, quality, se in spec
    ]
    failed = ReportRow(5, "candidate", architecture(3), "failed", error="loss [was]\nnan")
    over = ReportRow(6, "candidate", architecture(24), "infeasible", latency_ms=30.0)
    pending = ReportRow(7, "candidate", architecture(5), "training", latency_ms=6.0)
    return mark_front([*complete, failed, over, pending])


@pytest.fixture
def report() -> ReportData:
    return ReportData(
        teacher_name="all-MiniLM-L6-v2",
        kind="embedding",
        target="local",
        device_kind="a test machine",
        statistic="median",
        batch_size=1,
        sequence_length=128,
        dtype="float32",
        steps=400,
        seed=0,
        rows=make_rows(),
        teacher=TeacherRow(22_713_216, 18.4, 1.0, 1.0),
        agreement_name="nearest neighbour as the teacher's",
        reference=ReferenceLine("ridge from mean word embeddings", 0.42, 0.41),
        surrogates=(
            SurrogateScores(
                "latency",
                {
                    "gp": {"rmse": 0.61, "mape": 0.052, "spearman": 0.981},
                    "xgb": {"rmse": 0.88, "mape": 0.083, "spearman": float("nan")},
                },
                "gp",
            ),
        ),
        parity=(ParityPoint(1.1, 1.0), ParityPoint(1.8, 2.0)),
        corpus=("4.4 M tokens",),
        seconds=552.0,
        max_latency_ms=20.0,
        max_params=30_000_000,
        created_at="2025-01-01 12:00 UTC",
        facts={"Space": "mobilebert-mini"},
    )


@pytest.fixture
def vary(report: ReportData) -> Callable[..., ReportData]:
    return lambda **changes: replace(report, **changes)
