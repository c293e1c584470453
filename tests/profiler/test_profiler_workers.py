"""Tasks in processes: results, and what becomes of those that take a process down."""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import is_running, wait_until

from autodistill.errors import TargetError
from autodistill.profiler.workers import Lost, WorkerSettings, run_tasks


@pytest.fixture
def tasks(monkeypatch):
    """The module of task functions, under a name that a fresh process can import."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("tasks_that_die")


def test_every_task_has_its_own_result(tasks):
    found = dict(run_tasks(tasks.square, [3, 4, 5], WorkerSettings(processes=2)))
    assert found == {0: 9, 1: 16, 2: 25}


def test_no_task_needs_no_process(tasks):
    assert list(run_tasks(tasks.square, [], WorkerSettings())) == []


def test_variables_are_there_in_the_process_and_gone_here(tasks, monkeypatch):
    monkeypatch.delenv("OF_THE_WORKER", raising=False)
    settings = WorkerSettings(environment={"OF_THE_WORKER": "yes"})
    assert dict(run_tasks(tasks.environment, ["OF_THE_WORKER"], settings)) == {0: "yes"}
    assert "OF_THE_WORKER" not in os.environ


@pytest.mark.parametrize(
    ("function", "settings", "reason"),
    [
        ("hang_at_two", WorkerSettings(time_limit_s=2), "passed its time limit of 2 s"),
        ("killed_at_two", WorkerSettings(), "was killed, as when memory runs out"),
        ("exit_at_two", WorkerSettings(), "ended with exit code 3"),
        ("raise_at_two", WorkerSettings(), "ValueError: two lines"),
    ],
)
def test_a_task_that_fails_is_lost_and_the_others_are_not(tasks, function, settings, reason):
    found = dict(run_tasks(getattr(tasks, function), [1, 2, 3], settings))
    assert (found[0], found[2]) == (1, 3)
    assert isinstance(found[1], Lost)
    assert reason in found[1].reason


def test_a_task_whose_process_died_is_run_once_more_alone(tasks, tmp_path):
    todo = [(str(tmp_path), number) for number in (1, 2, 3, 4)]
    found = run_tasks(tasks.killed_once, todo, WorkerSettings(processes=2))
    results = [(index, *result) for index, result in found]
    assert sorted((index, number) for index, number, _ in results) == [(i, i + 1) for i in range(4)]
    index, _, in_company = results[-1]
    assert index == 1 and not in_company


def test_processes_end_with_a_parent_that_was_killed(tasks, tmp_path):
    """Also one that hangs in its task."""
    mark = tmp_path / "pid"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "if __name__ == '__main__':\n"
        "    import tasks_that_die\n"
        "    from autodistill.profiler.workers import WorkerSettings, run_tasks\n"
        "    list(run_tasks(tasks_that_die.hang_with_pid, [sys.argv[2]], WorkerSettings()))\n"
    )
    path = tmp_path / "parent.py"
    path.write_text(script)
    command = [sys.executable, str(path), str(Path(__file__).parent), str(mark)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as parent:
        wait_until(lambda: mark.exists() and mark.read_text(), "it began no task")
        child = int(mark.read_text())
        parent.kill()
    wait_until(lambda: not is_running(child), "it outlived its parent")


def test_an_error_that_the_user_can_mend_ends_everything(tasks):
    with pytest.raises(TargetError, match="^libtpu cannot compile for v99:1x1$"):
        dict(run_tasks(tasks.refuse_at_two, [1, 2, 3], WorkerSettings()))


def test_an_idle_process_that_is_killed_is_replaced(tasks):
    results = run_tasks(tasks.process, list(range(3)), WorkerSettings())
    _, first = next(results)
    os.kill(first, signal.SIGKILL)  # between two tasks
    time.sleep(0.5)  # until the pipe is closed
    assert first not in {pid for _, pid in results}


def test_processes_that_cannot_start_are_an_error(tasks):
    with pytest.raises(TargetError, match="keep ending without a task, the last with exit code 7"):
        dict(run_tasks(tasks.DiesAtStart(), [1], WorkerSettings()))


def test_a_process_that_has_grown_is_replaced(tasks):
    small = WorkerSettings(memory_limit_bytes=1)
    assert len(set(dict(run_tasks(tasks.process, [0, 1, 2], small)).values())) == 3
    assert len(set(dict(run_tasks(tasks.process, [0, 1, 2], WorkerSettings())).values())) == 1


def test_stopping_early_ends_the_processes(tasks):
    results = run_tasks(tasks.process, list(range(100)), WorkerSettings())
    _, pid = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
