"""Timing in turns: the interval of a median, how long runs go on, and what is held."""

import weakref
from itertools import groupby
from math import comb

import numpy as np
import pytest

from autodistill.errors import TargetError
from autodistill.profiler import Measurement
from autodistill.profiler.heartbeat import beats_to
from autodistill.profiler.rolling import TimingSettings, interleaved, median_interval

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

FACTS = Measurement(None, compile_s=9.0, flops=1.0, bytes_accessed=2.0, peak_memory_bytes=3)


class Scripted:
    """A program whose runs take what a script says."""

    facts = FACTS

    def __init__(self, name, seconds, log):
        self.name, self.seconds, self.log = name, iter(seconds), log

    def run(self):
        self.log.append(self.name)
        return next(self.seconds)


def settings(**changes):
    """Turns of five runs of a millisecond, and no least number of them."""
    return TimingSettings(**{"min_rounds": 1, "burst_seconds": 4.5e-3, **changes})


def measure_script(*scripts, **changes):
    """Time programs that run as scripted; the order of the runs comes too."""
    log = []
    events = interleaved(lambda i: Scripted(i, scripts[i], log), len(scripts), settings(**changes))
    found = {i: one for i, one in events if one is not None}
    return [found[i] for i in range(len(scripts))], log


def forever(value):
    while True:
        yield value


def noise(scale):
    rng = np.random.default_rng(0)
    while True:
        yield 1e-3 * rng.lognormal(sigma=scale)


def test_steady_runs_end_at_the_least_number():
    (found,), _ = measure_script(forever(1e-3), min_rounds=4)
    assert found == Measurement(
        latency_ms=1.0,
        latency_iqr_ms=0.0,
        repeats=20,
        compile_s=9.0,
        flops=1.0,
        bytes_accessed=2.0,
        peak_memory_bytes=3,
    )


def test_the_first_call_of_a_turn_is_not_counted():
    """It would be thousands of times the latency."""
    script = [0.1 if i % 6 == 0 else 1e-3 + 1e-7 * i for i in range(600)]
    (found,), log = measure_script(script, min_rounds=6)
    assert found.latency_ms == pytest.approx(1.0, rel=0.1)
    assert found.latency_iqr_ms < 0.1
    assert len(log) == 36


def test_uneven_runs_go_on_until_the_median_is_known():
    (found,), _ = measure_script(noise(0.2), max_seconds=100.0)
    assert found.repeats > 100
    # The interval of the median is then 2% wide at most, and holds 1 ms almost surely.
    assert found.latency_ms == pytest.approx(1.0, rel=0.02)


def test_runs_of_one_turn_that_are_alike_do_not_pass_for_many():
    """The same turns, of one run and of five that are equal: as many of them are needed."""
    needed = []
    for runs, burst_seconds in ((1, 0.0), (5, 4.5e-3)):
        values = np.random.default_rng(0).choice([1.0e-3, 1.05e-3], p=[0.55, 0.45], size=2000)
        script = np.repeat(values, runs + 1).tolist()  # one run of each turn is not timed
        (found,), log = measure_script(script, max_seconds=100.0, burst_seconds=burst_seconds)
        assert found.repeats * (runs + 1) == len(log) * runs
        needed.append(found.repeats / runs)
    assert needed[0] == needed[1] > 50


def test_runs_that_never_settle_end_with_the_time():
    (found,), _ = measure_script(noise(3.0), max_seconds=0.5)
    assert 20 <= found.repeats < 500


def test_a_very_slow_encoder_is_run_three_times():
    """Twenty runs of five seconds would hold up everything else."""
    (found,), log = measure_script(forever(5.0), max_seconds=1.0, min_rounds=6)
    assert found.repeats == 3
    assert found.latency_ms == 5000.0
    assert len(log) == 6  # a turn each


def test_each_run_of_a_slow_encoder_is_a_turn():
    (found,), log = measure_script(forever(0.125), max_seconds=1.0, min_rounds=6)
    assert found.repeats == 8
    assert len(log) == 16


def test_median_and_quartiles_are_numpys():
    runs = [float(value) for value in np.random.default_rng(0).lognormal(size=400)]
    (found,), log = measure_script(runs, max_seconds=1e9, precision=1e9)
    assert len(log) == 40  # twenty turns, each with a run that is not timed
    timed_runs = [1e3 * run for i, run in enumerate(runs[:40]) if i % 2]
    assert found.latency_ms == pytest.approx(np.median(timed_runs))
    spread = np.subtract(*np.percentile(timed_runs, [75, 25]))
    assert found.latency_iqr_ms == pytest.approx(spread)


def test_encoders_take_turns():
    found, log = measure_script(
        forever(1e-3), forever(1.1e-3), forever(1.05e-3), min_repeats=40, min_rounds=8
    )
    assert [m.latency_ms for m in found] == pytest.approx([1.0, 1.1, 1.05])
    turns = [name for name, _ in groupby(log)]
    both = log[log.index(2) : len(log) - log[::-1].index(0)]  # while first and last are open
    assert {both.count(name) // 6 for name in (0, 2)} <= {5, 6, 7}
    assert len(turns) >= 16  # and not one encoder after the other


def test_a_fast_encoder_has_long_bursts_and_several_turns():
    """A tenth of a millisecond: 0.02 s are 200 runs (201 by rounding), six turns of them."""
    (found,), log = measure_script(forever(1e-4), min_rounds=6, burst_seconds=0.02)
    assert found.repeats in (1200, 1206)
    assert len(log) == found.repeats + 6


def test_a_program_that_is_slow_for_a_while_is_known_by_its_other_turns():
    """Two turns fall into a slow moment, which the median of six does not see."""
    script = [2e-3] * 22 + [1e-3] * 1000  # two turns of ten runs of 2 ms, each after one not timed
    (found,), _ = measure_script(script, min_rounds=6, burst_seconds=0.02, precision=10.0)
    assert found.latency_ms == 1.0


def test_slow_moments_have_as_many_runs_as_fast_ones():
    """Half of the turns are twice as slow: the median lies between the two, not in the fast."""
    script = [1e-3] * 21 + ([2e-3] * 21 + [1e-3] * 21) * 20
    (found,), log = measure_script(script, min_rounds=20, burst_seconds=0.0195, max_seconds=0.59)
    assert found.latency_ms == 1.5
    assert found.repeats == 400 and len(log) == 420


# -- what is held, and in what order -----------------------------------------


class Watched:
    """Programs of 1 ms, some of which cannot be prepared or run; counts those alive."""

    def __init__(self, no_prepare=(), no_run=()):
        self.no_prepare, self.no_run = no_prepare, no_run
        self.alive = weakref.WeakSet()
        self.most = 0
        self.log = []
        self.prepared = []

    def prepare(self, i):
        self.prepared.append(i)
        if i in self.no_prepare:
            raise MemoryError(f"no room for {i}")
        program = Scripted(i, self.script(i), self.log)
        self.alive.add(program)
        self.most = max(self.most, len(self.alive))
        return program

    def script(self, i):
        yield from [1e-3] * (8 if i in self.no_run else 1000)
        raise MemoryError(f"{i} broke")

    def events(self, count, **changes):
        return interleaved(self.prepare, count, settings(**changes))


@pytest.mark.parametrize("in_flight", [1, 3, 50])
def test_no_more_are_held_than_the_window_is_wide(in_flight):
    watched = Watched()
    found = [i for i, one in watched.events(20, in_flight=in_flight) if one is not None]
    assert sorted(found) == list(range(20))
    assert watched.most <= in_flight
    assert watched.most == in_flight or in_flight == 50
    assert not watched.alive


def test_one_that_is_done_is_let_go_before_it_is_told():
    watched = Watched()
    for i, one in watched.events(8):
        if one is not None:
            assert i not in {program.name for program in watched.alive}


def test_an_encoder_is_begun_before_it_is_prepared_and_one_at_a_time():
    watched = Watched(no_prepare={2})
    begun, told = [], []
    for i, one in watched.events(6):
        if one is None:
            assert list(dict.fromkeys(watched.prepared)) == begun
            begun.append(i)
        else:
            assert i in begun
            told.append(i)
    assert begun == list(range(6))
    assert watched.prepared == [0, 1, 2, 2, 3, 4, 5]  # 2 again, alone
    assert sorted(told) == list(range(6))


def test_between_two_preparations_each_open_one_has_a_turn():
    """So its turns are as far apart as the compilations, and not all at once."""
    watched = Watched()
    rounds = []
    for i, one in watched.events(4, min_rounds=9):
        if one is None:
            rounds.append([watched.log.count(k) // 6 for k in range(i)])
    assert rounds == [[], [1], [2, 1], [3, 2, 1]]


def test_a_program_that_fails_ends_alone():
    watched = Watched(no_prepare={0, 3}, no_run={1})
    found = {i: one for i, one in watched.events(5) if one is not None}
    assert found[0].error == "MemoryError: no room for 0"
    assert found[1].error == "MemoryError: 1 broke"
    assert found[3].error == "MemoryError: no room for 3"
    assert [i for i, one in found.items() if one.latency_ms == 1.0] == [2, 4]
    assert not watched.alive


class Crowded(Watched):
    """Room for three programs; a fourth cannot be prepared, or not be run."""

    def __init__(self, fails):
        super().__init__()
        self.fails = fails

    def prepare(self, i):
        if self.fails == "prepared" and len(self.alive) == 3:
            self.prepared.append(i)
            raise MemoryError("no room beside three others")
        return super().prepare(i)

    def script(self, i):
        for _ in range(1000):
            if self.fails == "run" and len(self.alive) == 4:
                raise MemoryError("no room beside three others")
            yield 1e-3


@pytest.mark.parametrize("fails", ["prepared", "run"])
def test_a_program_that_fails_beside_others_is_tried_again_alone(fails):
    watched = Crowded(fails)
    found, begun = {}, []
    for i, one in watched.events(12, in_flight=4, min_rounds=9):
        if one is None:
            begun.append(i)
        else:
            found[i] = one
    assert begun == sorted(found) == list(range(12))
    assert {one.latency_ms for one in found.values()} == {1.0}
    assert len(watched.prepared) > 12


def test_a_program_that_fails_alone_is_tried_once():
    watched = Watched(no_prepare={0}, no_run={1})
    assert len([one for _, one in watched.events(2, in_flight=1) if one is not None]) == 2
    assert watched.prepared == [0, 1]


def test_each_turn_is_a_beat():
    heard = []
    with beats_to(lambda: heard.append(1)):
        _, log = measure_script(forever(1e-3), forever(1e-3), min_rounds=4)
    assert len(heard) == len(log) / 6 == 8  # four turns each


def test_other_errors_end_everything():
    def prepare(i):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(interleaved(prepare, 2, settings()))
    found = [one for _, one in interleaved(prepare, 2, settings(), failures=(ArithmeticError,))]
    assert [one.error for one in found if one] == ["ZeroDivisionError:"] * 2


def test_the_order_of_turns_is_random_and_repeats_with_its_seed():
    def order(seed):
        watched = Watched()
        list(watched.events(4, min_rounds=20, seed=seed))
        return [name for name, _ in groupby(watched.log)]

    assert order(0) == order(0)
    assert order(0) != order(1)
    middle = order(0)[10:58]  # all four are open, in no fixed order
    assert len({tuple(middle[k : k + 4]) for k in range(0, 48, 4)}) > 3


def test_nothing_to_time_is_no_event():
    assert list(interleaved(lambda i: pytest.fail("asked"), 0, settings())) == []


@pytest.mark.parametrize(
    "changes", [{"in_flight": 0}, {"min_repeats": 0}, {"min_rounds": -1}, {"precision": -0.1}]
)
def test_settings_out_of_range_are_refused(changes):
    (name,) = changes
    with pytest.raises(TargetError, match=f"{name} must"):
        TimingSettings(**changes)
