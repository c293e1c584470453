"""A target in a process of its own: what befalls that process costs one encoder.

The processes are real; each takes a second or two to import everything.
"""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from processes import PATIENCE_S, is_running, wait_until

from autodistill.errors import SpaceError, TargetError
from autodistill.models.config import BertConfig
from autodistill.profiler import (
    TARGETS,
    SupervisedTarget,
    Workload,
    get_target,
    measure_all,
)
from autodistill.profiler.choose import TargetOptions, choose_target, target_beside_training
from autodistill.profiler.estimated import RooflineTarget
from autodistill.profiler.timed import TimedTarget

HERE = Path(__file__).parent


@pytest.fixture
def fakes(monkeypatch):
    """The module of targets that die, by a name that a child can import too."""
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("targets_that_die")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "begun.log"


@pytest.fixture
def supervise(fakes, log):
    """A supervised target of the fakes; its process ends with the test."""
    made = []

    def make(what="Troubled", time_limit_s=60.0, **changes):
        target = SupervisedTarget(
            "troubled",
            partial(getattr(fakes, what), log, **changes),
            time_limit_s=time_limit_s,
        )
        made.append(target)
        return target

    yield make
    for target in made:
        target.close()


def encoder(fate, width):
    return BertConfig(fate, width, 1, 8, vocab_size=10, max_position_embeddings=8)


def begun(log):
    """Process and width of each encoder that was begun."""
    return [tuple(map(int, line.split())) for line in log.read_text().splitlines()]


def test_the_target_works_in_one_process_that_stays(supervise, fakes, log):
    target = supervise(together=2)
    assert (target.name, target.device_kind, target.statistic) == ("troubled", "abacus", "median")
    assert target.compiler_version == "beads 1.2"
    configs = [encoder(fakes.FINE, width) for width in (1, 2, 3)]
    events = [(i, one and one.latency_ms) for i, one in target.measure(configs, Workload())]
    assert events == [(0, None), (1, None), (0, 1.0), (1, 2.0), (2, None), (2, 3.0)]
    assert measure_all(target, configs[:1], Workload())[0].latency_ms == 1.0
    (pid,) = {pid for pid, _ in begun(log)}
    assert pid != os.getpid()
    target.close()
    wait_until(lambda: not is_running(pid), "the child outlives its target")
    assert list(target.measure([], Workload())) == []


@pytest.mark.parametrize(
    ("fate", "limit_s", "message", "order"),
    [
        ("HANGS", 1.0, "passed its time limit of 1 s without a result", [1, 2, 3, 4, 3, 5]),
        ("KILLS_ITSELF", 60.0, "died with signal 9, SIGKILL (out of mem", [1, 2, 3, 4, 4, 3, 5]),
        ("LEAVES", 60.0, "ended on its own with exit code 3", [1, 2, 3, 4, 4, 3, 5]),
    ],
)
def test_one_that_takes_its_process_down_is_a_failure(
    supervise, fakes, log, fate, limit_s, message, order
):
    """Beside it another is open; one that died is tried again, alone."""
    target = supervise(time_limit_s=limit_s, together=2)
    fates = [fakes.FINE, fakes.FINE, fakes.FINE, getattr(fakes, fate), fakes.FINE]
    configs = [encoder(fate, width) for width, fate in enumerate(fates, 1)]
    found = measure_all(target, configs, Workload())
    assert [one.latency_ms for one in found] == [1.0, 2.0, 3.0, None, 5.0]
    assert message in found[3].error
    assert [width for _, width in begun(log)] == order
    assert len({pid for pid, _ in begun(log)}) == len(order) - 4  # six, or seven with 4 twice
    assert not is_running(begun(log)[0][0])


def test_one_that_dies_beside_others_only_is_measured(supervise, fakes, log):
    """As when the memory of all that are open is too much, and not its own."""
    target = supervise(together=2)
    fates = [fakes.FINE, fakes.KILLED_ONCE, fakes.FINE]
    configs = [encoder(fate, width) for width, fate in enumerate(fates, 1)]
    found = measure_all(target, configs, Workload())
    assert [one.latency_ms for one in found] == [1.0, 2.0, 3.0]
    assert [width for _, width in begun(log)] == [1, 2, 2, 1, 3]


def test_a_device_that_one_has_spoilt_fails_that_one_alone(supervise, fakes, log):
    """After CUDA's illegal address, say, all that a process does fails."""
    target = supervise("Poisoned")
    fates = [fakes.FINE, fakes.POISONS, fakes.FINE, fakes.FINE]
    configs = [encoder(fate, width) for width, fate in enumerate(fates, 1)]
    found = measure_all(target, configs, Workload())
    assert [one.latency_ms for one in found] == [1.0, None, 3.0, 4.0]
    assert found[1].error == "RuntimeError: ILLEGAL_ADDRESS"
    by_process = {}
    for pid, width in begun(log):
        by_process.setdefault(pid, []).append(width)
    # the first may have gone on before it was ended
    first, alone, rest = by_process.values()
    assert (first[:2], alone, rest) == ([1, 2], [2], [3, 4])


def test_one_that_works_is_not_silent_between_its_events(supervise, fakes):
    """Two programs in turns say nothing for two seconds but that a turn is over."""
    target = supervise("TakesTurns", time_limit_s=1.0)
    start = time.monotonic()
    found = measure_all(target, [encoder(fakes.FINE, width) for width in (1, 2)], Workload())
    assert time.monotonic() - start > 2.0
    assert [one.latency_ms for one in found] == [pytest.approx(100.0)] * 2


@pytest.mark.parametrize("limit_s", [float("inf"), 1e7])
def test_a_limit_may_be_longer_than_the_system_can_wait(supervise, fakes, limit_s):
    target = supervise(time_limit_s=limit_s)
    assert measure_all(target, [encoder(fakes.FINE, 7)], Workload())[0].latency_ms == 7.0


def test_each_may_fail_in_its_own_way(supervise, fakes, log):
    target = supervise()
    fates = [fakes.KILLS_ITSELF, fakes.LEAVES, fakes.FINE]
    found = measure_all(target, [encoder(fate, fate) for fate in fates], Workload())
    assert [one.latency_ms for one in found] == [None, None, fakes.FINE]
    assert "signal 9" in found[0].error and "exit code 3" in found[1].error
    assert len(begun(log)) == 3


def test_an_error_of_the_target_is_raised_as_it_is(supervise, fakes, log):
    with pytest.raises(TargetError, match="^target 'absent': jax sees no such device here$"):
        SupervisedTarget("absent", fakes.absent).device_kind  # noqa: B018
    target = supervise()
    with pytest.raises(SpaceError, match="^no such shape$"):
        measure_all(target, [encoder(fakes.REFUSES, 1)], Workload())
    with pytest.raises(RuntimeError, match="(?s)in the process that measures.*ZeroDivisionError"):
        measure_all(target, [encoder(fakes.BREAKS, 1)], Workload())
    assert measure_all(target, [encoder(fakes.FINE, 7)], Workload())[0].latency_ms == 7.0


def test_a_process_that_cannot_even_begin_is_an_error(supervise, fakes):
    target = SupervisedTarget("broken", fakes.dies_at_start)
    with pytest.raises(TargetError, match="while it started, it died with signal 11, SIGSEGV"):
        target.statistic  # noqa: B018
    with pytest.raises(TargetError, match="twice in a row, before it began an encoder, it died"):
        measure_all(supervise("DiesIdle"), [encoder(fakes.FINE, 1)], Workload())


def test_a_device_that_changed_is_refused(supervise, fakes):
    target = supervise(device_kind="moody")
    with pytest.raises(TargetError, match="its latencies would not be comparable"):
        measure_all(target, [encoder(fakes.LEAVES, 1), encoder(fakes.FINE, 1)], Workload())


def test_measuring_that_was_given_up_does_not_disturb_the_next(supervise, fakes, log):
    target = supervise(together=2)
    events = target.measure([encoder(fakes.FINE, width) for width in (1, 2)], Workload())
    assert next(events) == (0, None)
    wait_until(log.exists, "it never went on")
    other = measure_all(target, [encoder(fakes.FINE, 9)], Workload())
    assert other[0].latency_ms == 9.0
    events.close()
    assert measure_all(target, [encoder(fakes.FINE, 8)], Workload())[0].latency_ms == 8.0
    assert len({pid for pid, _ in begun(log)}) == 2  # closing the first left the second alone


def test_a_limit_must_be_positive(fakes):
    with pytest.raises(TargetError, match="time_limit_s must be positive; got 0"):
        SupervisedTarget("troubled", fakes.absent, time_limit_s=0)


def test_a_target_by_name_is_the_same_in_its_own_process(tiny, short, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")  # looking for others takes a while
    target, alone = choose_target("cpu-roofline", TargetOptions()), get_target("cpu-roofline")
    try:
        assert target.name == alone.name
        assert target.device_kind == alone.device_kind
        assert target.statistic == alone.statistic
        assert target.compiler_version == alone.compiler_version
        (there,), (here,) = (measure_all(one, [tiny], short) for one in (target, alone))
        assert there.latency_ms == here.latency_ms
    finally:
        target.close()
    with pytest.raises(TargetError, match="unknown target 'abacus'; known are"):
        choose_target("abacus", TargetOptions())


@pytest.mark.parametrize("name", ["cpu", "local", "onnx-cpu"])
def test_beside_training_a_cpu_is_timed_in_another_process(name, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    if name == "onnx-cpu":
        pytest.importorskip("onnxruntime")
    with target_beside_training(name, tmp_path) as target:
        assert isinstance(target, SupervisedTarget)
        assert target.device_kind == get_target(name).device_kind
        assert len(multiprocessing.active_children()) == 1
    assert not multiprocessing.active_children()


def test_beside_training_other_targets_stay_in_this_process(tmp_path, monkeypatch):
    with target_beside_training("cpu-roofline", tmp_path) as target:
        assert isinstance(target, RooflineTarget)
    # the memory of an accelerator belongs to the process that trains on it
    accelerator = TimedTarget("gpu", "gpu")
    vars(accelerator)["device"] = SimpleNamespace(platform="gpu", device_kind="a GPU")
    monkeypatch.setitem(TARGETS, "gpu", ("timed", lambda: accelerator))
    with target_beside_training("gpu", tmp_path) as target:
        assert target is accelerator
    with (
        pytest.raises(TargetError, match="unknown target 'abacus'; known are"),
        target_beside_training("abacus", tmp_path),
    ):
        pass


# -- the parent ends ---------------------------------------------------------

COMMAND = """
import signal, sys
from functools import partial
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, sys.argv[1])
import targets_that_die as fakes
from autodistill.models.config import BertConfig
from autodistill.profiler import SupervisedTarget, Workload, measure_all
target = SupervisedTarget("troubled", partial(fakes.Troubled, Path(sys.argv[2])))
config = BertConfig(int(sys.argv[3]), 1, 1, 8, vocab_size=10, max_position_embeddings=8)
try:
    measure_all(target, [config], Workload())
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, None])
def test_the_child_ends_with_its_parent_and_in_silence(fakes, log, how):
    """Ctrl-C goes to the whole group, a kill to the parent alone; or it is just done."""
    fate = fakes.FINE if how is None else fakes.HANGS
    parent = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(HERE), str(log), str(fate)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: log.exists() and log.read_text().endswith("\n"), "nothing was begun")
    ((child, _),) = begun(log)
    if how == signal.SIGINT:
        os.killpg(parent.pid, how)
    elif how == signal.SIGKILL:
        parent.send_signal(how)
    out, err = parent.communicate(timeout=PATIENCE_S)
    wait_until(lambda: not is_running(child), "the child outlives its parent")
    assert "Traceback" not in err
    assert out == ("stopped\n" if how == signal.SIGINT else "")
    assert parent.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 0)
