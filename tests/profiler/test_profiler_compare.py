"""Two tables side by side, against figures worked out by hand."""

from dataclasses import replace

import pytest

from autodistill.errors import ArgumentError
from autodistill.profiler.compare import compare_tables
from autodistill.profiler.target import Workload
from autodistill.space import Architecture
from predictors.rows import LatencyRow
from predictors.table import LatencyTable

FIELDS = ("hidden_size", "num_hidden_layers")
ESTIMATED = {"target": "tpu-v4i", "device_kind": "TPU v4i", "statistic": "compiler_estimate"}
TIMED = {"target": "tpu", "device_kind": "TPU v4i", "statistic": "median"}


def row(layers, latency, *, batch=1, **facts):
    facts = {"target": "tpu", "device_kind": "TPU v4i", "statistic": "median", **facts}
    return LatencyRow(
        {"hidden_size": 64, "num_hidden_layers": layers},
        batch_size=batch,
        sequence_length=128,
        dtype="bfloat16",
        latency_ms=latency,
        **facts,
    )


def table(latencies, *, batch=1, **facts):
    return LatencyTable(FIELDS, tuple(row(n, ms, batch=batch, **facts) for n, ms in latencies))


# first, second, ratio, difference, rescaled by 2
#  1      2      2      1/2         0
#  2      4      2      1/2         0
#  4      6      1.5    1/3         1/3
#  5     20      4      3/4         1/2
FIRST = [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0)]
SECOND = [(1, 2.0), (2, 4.0), (3, 6.0), (4, 20.0)]


def test_compare_figures_are_those_worked_out_by_hand():
    found = compare_tables(table(FIRST, **ESTIMATED), table(SECOND, **TIMED))
    (workload,) = found.agreement
    assert workload == Workload(1, 128, "bfloat16")
    figures = found.agreement[workload]
    assert figures.n == 4
    assert figures.ratio == pytest.approx(2.0)
    assert figures.spearman == pytest.approx(1.0)
    assert figures.median_difference == pytest.approx(0.5)
    assert figures.largest_difference == pytest.approx(0.75)
    assert figures.median_rescaled == pytest.approx((0 + 1 / 3) / 2)
    assert figures.largest_rescaled == pytest.approx(0.5)


def test_compare_ranks_by_spearmans_formula():
    # Ranks 1 2 3 4 and 2 1 4 3: 1 - 6 * 4 / (4 * 15) = 0.6.
    second = [(1, 2.0), (2, 1.0), (3, 9.0), (4, 8.0)]
    found = compare_tables(table(FIRST), table(second))
    assert next(iter(found.agreement.values())).spearman == pytest.approx(0.6)


def test_compare_says_what_both_sides_are():
    found = compare_tables(table(FIRST, **ESTIMATED), table(SECOND, **TIMED))
    assert (found.first.target, found.first.statistic) == ("tpu-v4i", "compiler_estimate")
    assert (found.second.target, found.second.statistic) == ("tpu", "median")
    assert (found.first.measured, found.first.failed) == (4, 0)


def test_compare_names_the_worst_ten_by_size_of_difference():
    first = [(n, 10.0 + (-1) ** n * n / 10) for n in range(1, 15)]  # off by n percent
    found = compare_tables(table(first), table([(n, 10.0) for n in range(1, 15)]))
    assert [pair.architecture["num_hidden_layers"] for pair in found.worst] == [*range(14, 4, -1)]
    assert [pair.difference for pair in found.worst[:2]] == pytest.approx([0.14, -0.13])
    assert found.worst[0].architecture == Architecture(hidden_size=64, num_hidden_layers=14)


def test_compare_keeps_workloads_apart():
    """Together, the batch sizes would lend a rank correlation that neither has."""
    first = table(FIRST).rows + table([(1, 40.0), (2, 30.0)], batch=8).rows
    second = table(SECOND).rows + table([(1, 30.0), (2, 40.0)], batch=8).rows
    found = compare_tables(LatencyTable(FIELDS, second), LatencyTable(FIELDS, first))
    figures = {w.batch_size: (a.n, round(a.spearman, 9)) for w, a in found.agreement.items()}
    assert figures == {1: (4, 1.0), 8: (2, -1.0)}


def test_compare_takes_the_newest_row_and_leaves_out_failures():
    failed = replace(row(2, 1.0), latency_ms=None, statistic=None, error="no memory")
    first = LatencyTable(FIELDS, (row(1, 9.0), row(1, 3.0), row(2, 5.0), row(3, 1.0)))
    second = LatencyTable(FIELDS, (row(1, 6.0), failed, row(5, 1.0)))
    found = compare_tables(first, second)
    assert [(pair.first_ms, pair.second_ms) for pair in found.pairs] == [(3.0, 6.0)]
    assert (found.first.measured, found.second.measured, found.second.failed) == (3, 2, 1)


def test_compare_finds_rows_whatever_the_order_of_columns():
    turned = tuple(
        replace(one, architecture=dict(reversed(list(one.architecture.items()))))
        for one in table(SECOND).rows
    )
    found = compare_tables(table(FIRST), LatencyTable(FIELDS[::-1], turned))
    assert len(found.pairs) == 4


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (table([(9, 1.0)]), "build both with the same --samples and --seed"),
        (table(SECOND, batch=8), "the second batch 8 x 128 tokens, bfloat16; measure one of"),
        (LatencyTable(FIELDS, ()), "none of the 0 rows of the second table has a latency"),
        (
            LatencyTable(FIELDS, (row(1, 1.0), row(2, 1.0, device_kind="TPU v9"))),
            "the second table mixes device_kind TPU v4i and TPU v9",
        ),
    ],
)
def test_compare_refuses_what_it_cannot_compare(second, message):
    with pytest.raises(ArgumentError, match=message):
        compare_tables(table(FIRST), second)


def test_compare_says_that_the_fields_differ():
    other = replace(row(1, 1.0), architecture={"depth": 1})
    with pytest.raises(ArgumentError, match=r"their fields differ.*build both from one --space"):
        compare_tables(table(FIRST), LatencyTable(("depth",), (other,)))
