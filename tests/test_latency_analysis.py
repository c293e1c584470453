"""The latency analysis recovers what was put into synthetic tables."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from autodistill.profiler.sampling import stratified_sample
from autodistill.space import Architecture, SearchSpace
from predictors import LatencyRow, LatencyTable

# Scripts, which belong to no package.
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
analysis = importlib.import_module("latency_analysis")
page_of = importlib.import_module("latency_page")
SPACE = SearchSpace.preset("mobilebert")
POWERS = {"num_hidden_layers": 1.0, "hidden_size": 0.25, "intermediate_size": -0.5}


def power_law_ms(a: Architecture) -> float:
    product = float(np.prod([float(a[field]) ** power for field, power in POWERS.items()]))
    return product * (1.5 if a["normalization_type"] == "layer_norm" else 1.0)


def table(target: str, count: int, *, device_kind: str = "chip", sign: int = 1) -> LatencyTable:
    sample = [Architecture(SPACE.baseline), *stratified_sample(SPACE, count, seed=0)]
    rows = [
        LatencyRow(
            a, target, device_kind, 1, 128, "float32",
            latency_ms=power_law_ms(a) ** sign, statistic="median", flops=power_law_ms(a),
        )
        for a in dict.fromkeys(sample)
    ]  # fmt: skip
    return LatencyTable(tuple(rows[0].architecture), tuple(rows))


def test_latency_analysis_recovers_a_power_law() -> None:
    sample = stratified_sample(SPACE, 150, seed=0)
    effects = analysis.field_effects(sample, np.array([power_law_ms(a) for a in sample]))
    assert effects["r_squared"] == pytest.approx(1)
    for field, effect in effects["fields"].items():
        if "elasticity" in effect:  # exact up to rounding, as the law holds without noise
            assert effect["elasticity"] == pytest.approx(POWERS.get(field, 0), abs=1e-9)
    ratio = {f: effects["fields"][f]["ratios"] for f in ("normalization_type", "hidden_act")}
    assert ratio["normalization_type"]["layer_norm / no_norm"]["ratio"] == pytest.approx(1.5)
    assert ratio["hidden_act"]["gelu / relu"]["ratio"] == pytest.approx(1)


def test_latency_analysis_shares_of_a_factorial_are_those_of_its_variance() -> None:
    # Columns of a full factorial are uncorrelated: a share is b^2 var(x) / var(y).
    levels = np.stack(np.meshgrid([0, 1], [0, 1, 2], [0, 1]), axis=-1).reshape(-1, 3).astype(float)
    y = levels @ [1.0, -2.0, 0.0]
    expected = np.array([1.0, 4.0, 0.0]) * levels.var(axis=0) / y.var()
    shares = analysis.variance_shares(levels, y, [[0], [1], [2]])
    np.testing.assert_allclose(shares, expected, atol=1e-12)


def test_latency_analysis_equal_columns_share_alike() -> None:
    x = np.random.default_rng(0).normal(size=50)
    shares = analysis.variance_shares(np.column_stack([x, x]), 3 * x, [[0], [1]])
    np.testing.assert_allclose(shares, [0.5, 0.5], atol=1e-9)


def test_latency_analysis_standard_errors_are_those_of_many_draws() -> None:
    # HC3 is a little large on average; 15% is its bias at 60 rows and the spread of 400 draws.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    spread = 0.1 + np.abs(x[:, 0])  # unequal variances
    fits = [analysis.regression(x, x @ [1, 2] + spread * rng.normal(size=60)) for _ in range(400)]
    slopes, errors = np.array([f[0] for f in fits]), np.array([f[1] for f in fits])
    np.testing.assert_allclose(np.sqrt((errors**2).mean(0)), slopes.std(0), rtol=0.15)


def test_latency_analysis_of_whole_tables() -> None:
    # Latency grows as the layers, weakly with widths: at constant weights shallow wins.
    tables = {
        "slow.csv": table("slow", 120),
        "mirrored.csv": table("mirrored", 120, sign=-1),
        "short.csv": table("short", 20),
        "empty.csv": LatencyTable(("num_hidden_layers",), ()),
    }
    result = analysis.analyse(tables, seed=0, draws=4000)
    slow, mirrored = result["sections"]
    assert [s["name"] for s in (slow, mirrored)] == ["slow, batch 1", "mirrored, batch 1"]
    assert result["skipped"] == [
        "empty.csv (no rows measured)",
        "short, batch 1 (21 rows measured, 100 needed)",
    ]
    assert slow["ranks"]["flops"] == pytest.approx(1)
    assert mirrored["ranks"]["flops"] == pytest.approx(-1)
    assert slow["ranks"]["bytes_accessed"] is None
    layers = slow["size"]["predicted"]["layers"]
    assert layers["4-8"]["median"] < layers["9-16"]["median"] < layers["17-24"]["median"]
    assert "wider and shallower wins" in slow["finding"]
    assert result["agreement"]["spearman"][0] == pytest.approx([1, -1])
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert "| slow, batch 1 |" in analysis.page(result)


def test_latency_analysis_without_mobilebert_compares_no_sizes() -> None:
    sample = [a for a in stratified_sample(SPACE, 110, seed=0) if a != SPACE.baseline]
    size = analysis.size_comparison(sample, np.ones(len(sample)), [], seed=0)
    assert analysis.finding("chip, batch 1", size) == (
        "chip, batch 1: no comparison, as MobileBERT is not measured here."
    )


@pytest.mark.parametrize(
    ("shallow", "deep", "expected"),
    [
        (0.5, 1.1, "wider and shallower wins"),
        (1.2, 0.8, "thinner and deeper wins"),
        (0.7, 0.8, "both win, wider and shallower more"),
        (0.98, 1.02, "neither wins"),
        (None, None, "neither wins"),
    ],
)
def test_latency_analysis_verdict(shallow: float | None, deep: float | None, expected: str) -> None:
    assert page_of.verdict(shallow, deep) == expected


def test_latency_analysis_refuses_mixed_devices() -> None:
    first, second = (table("one", 3, device_kind=kind).rows for kind in ("a", "b"))
    with pytest.raises(ValueError, match="expected one device_kind in a table; got a, b"):
        analysis.sections(LatencyTable(tuple(first[0].architecture), (*first, *second)))
