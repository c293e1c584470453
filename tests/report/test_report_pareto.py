"""The front against brute force over its definition."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from autodistill.report.data import ReportData
from autodistill.report.pareto import mark_front, pareto_front


def brute_force(latency: NDArray[np.float64], quality: NDArray[np.float64]) -> list[bool]:
    """The definition, pair by pair."""
    points = list(zip(latency, quality, strict=True))

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        finite = np.isfinite(a).all()
        return bool(finite and a[0] <= b[0] and a[1] >= b[1] and (a[0] < b[0] or a[1] > b[1]))

    return [bool(np.isfinite(p).all()) and not any(beats(q, p) for q in points) for p in points]


@pytest.mark.parametrize("seed", range(60))
def test_report_front_is_that_of_brute_force(seed: int) -> None:
    """Few distinct values, so that ties and equal points abound; some NaN and infinite."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 25))
    latency = rng.integers(1, 6, n).astype(float)
    quality = rng.integers(-3, 3, n).astype(float)
    for values in (latency, quality):
        values[rng.random(n) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
    assert pareto_front(latency, quality).tolist() == brute_force(latency, quality)


def test_report_front_of_a_known_circle() -> None:
    """On the upper left quarter of a circle every point is on the front; inside none."""
    angle = np.linspace(0, np.pi / 2, 20)
    latency = np.concatenate([2 - np.cos(angle), 2 - 0.9 * np.cos(angle)])
    quality = np.concatenate([np.sin(angle), 0.9 * np.sin(angle) - 0.2])
    assert pareto_front(latency, quality).tolist() == [True] * 20 + [False] * 20


def test_report_front_of_nothing_is_nothing() -> None:
    assert pareto_front([], []).tolist() == []
    assert mark_front([]) == ()


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]]), (1.0, 1.0)])
def test_report_front_refuses_other_shapes(a: object, b: object) -> None:
    with pytest.raises(ValueError, match="vectors of one length"):
        pareto_front(a, b)  # type: ignore[arg-type]


def test_report_front_holds_complete_rows_only(report: ReportData) -> None:
    assert [row.number for row in report.rows if row.on_front] == [1, 2, 3]
    best = replace(report.rows[5], latency_ms=0.1, quality=0.99)  # failed, so out
    assert not mark_front([*report.rows, best])[-1].on_front
