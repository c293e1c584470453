"""The canary: when it is timed, where its rows are, and what they say."""

from dataclasses import replace

import pytest

from autodistill.errors import TargetError
from autodistill.profiler import TableBuilder, Workload
from autodistill.profiler.canary import Drift, canary_path, drift, with_canary
from autodistill.space import Architecture
from predictors.rows import LatencyRow
from predictors.table import read_table

FIELDS = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")


def shape(layers, width=16):
    return Architecture(
        num_hidden_layers=layers, hidden_size=width, num_attention_heads=2, intermediate_size=64
    )


CANARY = shape(1, 32)
SHAPES = [shape(layers) for layers in range(1, 8)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cpu.csv"


@pytest.fixture
def build(path):
    def make(target, **changes):
        options = {"workloads": [Workload()], "canary": CANARY, "canary_every": 3, **changes}
        return TableBuilder(path, FIELDS, target=target, family="bert", vocab_size=100, **options)

    return make


def row(latency_ms, **changes):
    given = {
        "architecture": {"a": 1},
        "target": "t",
        "device_kind": "d",
        "batch_size": 1,
        "sequence_length": 8,
        "dtype": "float32",
        "latency_ms": latency_ms,
        "statistic": "median",
        **changes,
    }
    return LatencyRow(**given)


# -- when --------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 25])
@pytest.mark.parametrize("every", [1, 3, 10])
def test_the_canary_is_first_and_last_and_never_long_silent(count, every):
    order = with_canary(count, every)
    assert [i for i in order if i is not None] == list(range(count))
    assert order[0] is None and order[-1] is None
    silences = "".join("-" if i is None else "x" for i in order).split("-")
    assert max(map(len, silences)) == min(every, count)
    assert "--" not in "".join("-" if i is None else "x" for i in order)


def test_without_rows_there_is_no_canary():
    assert with_canary(0, 3) == []


# -- what its rows say -------------------------------------------------------


def test_drift_is_relative_to_the_median():
    found = drift([row(2.0), row(1.9), row(2.2), row(2.0), row(2.05)])
    assert (found.timings, found.spread) == (5, pytest.approx(0.1))
    assert found.last == pytest.approx(0.025)
    assert str(found) == "canary: 5 timings, spread 10.0%, last +2.5%"


def test_drift_downwards_counts_as_much():
    found = drift([row(2.0), row(2.0), row(1.5)])
    assert (found.spread, found.last) == (0.25, -0.25)
    assert str(found).endswith("spread 25.0%, last -25.0%")


def test_drift_compares_only_what_is_alike():
    """Eight passages take longer, and so does another architecture."""
    one, eight = [row(1.0), row(1.1)], [row(8.0, batch_size=8), row(8.8, batch_size=8)]
    mixed = drift([one[0], eight[0], one[1], eight[1], row(50.0, architecture={"a": 2})])
    assert mixed.timings == 5
    assert mixed.spread == drift(one).spread == drift(eight).spread == pytest.approx(0.05 / 1.05)
    assert mixed.last == 0.0


def test_drift_leaves_failures_out():
    failed = row(None, statistic=None, error="no memory")
    assert drift([failed, row(1.0), failed]) == Drift(1)
    assert str(drift([row(1.0)])) == "canary: 1 timing, spread 0.0%, last +0.0%"
    assert drift([failed]) == drift([]) == Drift(0)
    assert str(Drift(0)) == "canary: not timed"


# -- where its rows are ------------------------------------------------------


def test_its_rows_lie_beside_the_table(build, counting, path):
    target = counting()
    builder = build(target)
    rows = builder.measure(SHAPES)
    assert [Architecture(one.architecture) for one in rows] == SHAPES
    widths = [config.hidden_size for config in target.asked]
    assert widths == [32, 16, 16, 16, 32, 16, 16, 16, 32, 16, 32]
    beside = read_table(canary_path(path))
    assert {Architecture(one.architecture) for one in beside.rows} == {CANARY}
    assert len(beside.rows) == 4 and beside.rows[0].repeats == 20
    assert len(read_table(path).rows) == 7
    assert list(path.parent.glob("*.csv")) == [path]
    assert builder.drift() == Drift(4)


def test_a_canary_that_is_also_asked_for_is_a_row_like_any_other(build, counting, path):
    rows = build(counting()).measure([CANARY])
    assert read_table(path).rows == tuple(rows)
    assert len(read_table(canary_path(path)).rows) == 2


def test_a_new_run_goes_on_with_the_same_sidecar(build, counting, path):
    with pytest.raises(KeyboardInterrupt):
        build(counting(stops_after=6)).measure(SHAPES)
    before = canary_path(path).read_bytes()
    assert len(read_table(canary_path(path)).rows) == 2
    done = len(read_table(path).rows)
    resumed = counting()
    builder = build(resumed)
    builder.measure(SHAPES)
    assert canary_path(path).read_bytes().startswith(before)
    assert [config.hidden_size for config in resumed.asked] == [32, 16, 16, 16, 32]
    assert (done, len(read_table(path).rows), builder.drift().timings) == (4, 7, 4)
    asked = len(resumed.asked)
    builder.measure(SHAPES)
    assert len(resumed.asked) == asked  # nothing to vouch for


def test_its_drift_is_told(build, counting, path):
    class Warming(counting):
        def measure(self, configs, workload):
            for i, one in super().measure(configs, workload):
                heat = 1 + 0.01 * len(self.asked)
                yield i, one and replace(one, latency_ms=one.latency_ms * heat)

    builder = build(Warming())
    builder.measure(SHAPES)
    found = builder.drift()  # measured as the 1st, 5th, 9th and 11th
    assert found.last == pytest.approx(1.11 / 1.07 - 1)
    assert found.spread == pytest.approx(1 - 1.01 / 1.07)


def test_an_estimate_needs_no_canary(build, counting, path):
    target = counting(statistic="compiler_estimate")
    builder = build(target)
    builder.measure(SHAPES)
    assert len(target.asked) == 7
    assert not canary_path(path).exists()
    assert builder.drift() == Drift(0)


def test_a_sidecar_of_another_machine_is_refused(build, counting, path):
    build(counting()).measure(SHAPES[:1])
    path.unlink()
    with pytest.raises(TargetError, match=r"\.canary holds rows with device_kind 'abacus'"):
        build(counting(device_kind="slate"))


def test_a_canary_needs_rows_between_its_timings(build, counting):
    with pytest.raises(TargetError, match="one row between two timings .* got 1 and 0"):
        build(counting(), canary_every=0)
