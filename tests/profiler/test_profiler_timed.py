"""Timing: the interval of a median, how long runs go on, and real encoders."""

from dataclasses import replace
from itertools import groupby
from math import comb

import jax
import numpy as np
import pytest

from autodistill.errors import TargetError
from autodistill.profiler import TARGETS, Measurement, Workload, get_target, timed
from autodistill.profiler.timed import TimedTarget, median_interval

# -- the interval ------------------------------------------------------------


def coverage(n, low):
    """Chance that the median lies between the sample at ``low`` and its mirror."""
    return sum(comb(n, below) for below in range(low + 1, n - low)) / 2**n


@pytest.mark.parametrize("n", [6, 7, 8, 10, 20, 21, 50, 99, 500])
def test_the_interval_is_the_narrowest_that_is_sure(n):
    low, high = median_interval(np.random.default_rng(0).permutation(n).astype(float))
    assert low + high == n - 1  # as many samples below it as above
    assert coverage(n, int(low)) >= 0.95
    assert coverage(n, int(low) + 1) < 0.95


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_interval_of_few_samples_is_as_wide_as_they_are(n):
    assert median_interval(np.arange(n, dtype=float)) == (0.0, n - 1.0)


def test_the_interval_holds_the_median_of_a_skewed_distribution():
    """4,000 sets of twenty; exactly 95.9% of the intervals hold the median, 1."""
    samples = np.random.default_rng(0).lognormal(size=(4000, 20))
    intervals = np.array([median_interval(row) for row in samples])
    held = ((intervals[:, 0] <= 1) & (intervals[:, 1] >= 1)).mean()
    assert coverage(20, 5) == pytest.approx(0.9586, abs=1e-4)
    assert held == pytest.approx(0.9586, abs=0.0125)  # four standard errors of 0.0031


# -- how long runs go on -----------------------------------------------------


class Scripted:
    """A compiled encoder whose runs take what a script says."""

    compile_s, flops, bytes_accessed, peak_memory_bytes = 9.0, 1.0, 2.0, 3

    def __init__(self, name, seconds, log):
        self.name, self.seconds, self.log = name, seconds, log
        self.warmups = 3

    def run(self):
        if self.warmups:
            self.warmups -= 1
            return 100.0
        self.log.append(self.name)
        return next(self.seconds)


@pytest.fixture
def measure_script(monkeypatch):
    """Measure encoders that run as scripted; the order of the runs comes too."""

    def measure(*scripts, **settings):
        log = []
        waiting = [Scripted(i, iter(script), log) for i, script in enumerate(scripts)]
        monkeypatch.setattr(timed, "compile_encoder", lambda config, *_: waiting[config])
        found = TimedTarget(platform="cpu", **settings).measure(range(len(scripts)), Workload())
        return found, log

    return measure


def forever(value):
    while True:
        yield value


def noise(scale):
    rng = np.random.default_rng(0)
    while True:
        yield 1e-3 * rng.lognormal(sigma=scale)


def test_steady_runs_end_at_the_least_number(measure_script):
    (found,), _ = measure_script(forever(2e-3))
    assert found == Measurement(
        latency_ms=2.0,
        latency_iqr_ms=0.0,
        repeats=20,
        compile_s=9.0,
        flops=1.0,
        bytes_accessed=2.0,
        peak_memory_bytes=3,
    )


def test_warm_ups_are_not_counted_nor_is_compiling(measure_script):
    """Each would be thousands of times the latency."""
    (found,), _ = measure_script(noise(0.1))
    assert found.latency_ms == pytest.approx(1.0, rel=0.1)


def test_uneven_runs_go_on_until_the_median_is_known(measure_script):
    (found,), _ = measure_script(noise(0.2), max_seconds=100.0)
    assert found.repeats > 100
    # The interval of the median is then 2% wide at most, and holds 1 ms almost surely.
    assert found.latency_ms == pytest.approx(1.0, rel=0.02)


def test_runs_that_never_settle_end_with_the_time(measure_script):
    (found,), _ = measure_script(noise(3.0), max_seconds=0.5)
    assert 20 <= found.repeats < 500


def test_a_very_slow_encoder_is_run_for_one_turn(measure_script):
    """Twenty runs of five seconds would hold up everything else."""
    (found,), _ = measure_script(forever(5.0), max_seconds=1.0)
    assert found.repeats == 5
    assert found.latency_ms == 5000.0


def test_median_and_quartiles_are_numpys(measure_script):
    runs = [float(value) for value in np.random.default_rng(0).lognormal(size=400)]
    (found,), log = measure_script(iter(runs), max_seconds=1e9, precision=1e9)
    assert len(log) == 24  # four turns, each with a run that is not timed
    timed_runs = [1e3 * run for i, run in enumerate(runs[:24]) if i % 6]
    assert found.latency_ms == pytest.approx(np.median(timed_runs))
    spread = np.subtract(*np.percentile(timed_runs, [75, 25]))
    assert found.latency_iqr_ms == pytest.approx(spread)


def test_encoders_take_turns(measure_script):
    found, log = measure_script(forever(1e-3), forever(2e-3), noise(0.3), min_repeats=40)
    assert [m.latency_ms for m in found[:2]] == [1.0, 2.0]
    turns = [name for name, _ in groupby(log)]
    first = log[: 3 * 48]  # eight rounds of six runs each
    assert all(first.count(name) == 48 for name in (0, 1, 2))
    assert len(turns) >= 16  # and not one encoder after the other


# -- real encoders -----------------------------------------------------------

QUICK = TimedTarget("cpu", "cpu", min_repeats=10, max_seconds=0.3)


def test_a_real_encoder_is_timed(tiny, short):
    (found,) = QUICK.measure([tiny], short)
    assert found.error == ""
    assert found.latency_ms > 0
    assert found.latency_iqr_ms >= 0
    assert found.repeats >= 10
    # Compiling takes a tenth of a second or more, a run of it well below a millisecond.
    assert found.compile_s > found.latency_ms / 1e3
    assert found.flops > 0
    assert found.bytes_accessed > 0
    assert found.peak_memory_bytes > 0


def test_a_much_larger_encoder_takes_much_longer(tiny):
    """A hundred times the multiply-adds: four times the latency on any machine."""
    large = replace(tiny, num_hidden_layers=4, hidden_size=256, intermediate_size=1024)
    small, big = QUICK.measure([tiny, large], Workload(batch_size=8, sequence_length=16))
    assert big.flops > 100 * small.flops
    assert big.latency_ms > 4 * small.latency_ms


def test_an_encoder_that_fails_does_not_spoil_the_others(tiny, impossible, short):
    first, failed, last = QUICK.measure([tiny, impossible, tiny], short)
    assert failed.latency_ms is None
    assert "MemoryError: Unable to allocate" in failed.error
    assert first.latency_ms > 0
    assert last.latency_ms > 0


def test_an_error_without_words_is_still_an_error():
    assert Measurement.failed(MemoryError()).error == "MemoryError:"
    long = Measurement.failed(RuntimeError("one\n  two" + "x" * 900)).error
    assert long.startswith("RuntimeError: one two")
    assert len(long) == 300
    assert Measurement.failed(MemoryError()).latency_ms is None


# -- targets by name ---------------------------------------------------------


def test_an_unknown_target_lists_the_known():
    with pytest.raises(TargetError, match="unknown target 'abacus'; known are") as caught:
        get_target("abacus")
    assert all(name in str(caught.value) for name in TARGETS)


@pytest.mark.parametrize("name", ["local", "cpu", "cpu-roofline"])
def test_targets_that_every_machine_has(name):
    target = get_target(name)
    assert target.name == name
    assert target.statistic == ("compiler_estimate" if name == "cpu-roofline" else "median")
    assert target.device_kind


def test_a_cpu_is_named_with_its_cores():
    assert get_target("cpu").device_kind.endswith(" cores")


@pytest.mark.parametrize("name", ["gpu", "tpu"])
def test_a_target_that_is_absent_says_what_there_is(name):
    if name in {device.platform for device in jax.devices()}:
        pytest.skip(f"this machine has a {name}")
    with pytest.raises(TargetError, match=f"target '{name}': jax sees no {name} device here, only"):
        get_target(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "must be positive; got 0 and 128"),
        ({"sequence_length": -1}, "must be positive; got 1 and -1"),
        ({"dtype": "float64"}, "dtype must be one of float32, bfloat16; got 'float64'"),
    ],
)
def test_a_workload_that_cannot_be_served_is_refused(arguments, message):
    with pytest.raises(TargetError, match=message):
        Workload(**arguments)


def test_a_workload_in_words():
    assert str(Workload(8, 64, "bfloat16")) == "batch 8 x 64 tokens, bfloat16"
