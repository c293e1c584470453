"""The lock of a table, against real other processes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import predictors
from predictors import TableError
from predictors.table import lock_table

HOLD = """
import sys
from predictors.table import lock_table
with lock_table(sys.argv[1]):
    exec(sys.argv[2])
    print("held", flush=True)
    sys.stdin.readline()
"""
TRY = """
import sys
from predictors.errors import TableError
from predictors.table import lock_table
try:
    lock_table(sys.argv[1])
except TableError as error:
    print(error)
"""
ROOT = Path(predictors.__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cpu.csv"


@pytest.fixture
def hold(path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts another process that holds the lock until a line comes to its input."""
    started = []

    def start(inside: str = "") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), inside],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            pipe.close()


def test_a_second_process_is_told_who_writes(hold, path):
    other = hold()
    with pytest.raises(TableError) as caught:
        lock_table(path)
    assert str(caught.value) == (
        f"{path} is being written by another process (pid {other.pid}); wait for it or choose "
        "another file"
    )


def test_a_killed_holder_leaves_no_lock(hold, path):
    other = hold()
    other.kill()
    other.wait()
    assert Path(f"{path}.lock").exists()  # the file stays, the lock does not
    with lock_table(path):
        assert Path(f"{path}.lock").read_text() == f"{os.getpid()}\n"


def test_released_it_is_free_and_leaves_no_file(hold, path):
    other = hold()
    other.communicate("\n", timeout=30)
    with lock_table(path):
        pass
    assert os.listdir(path.parent) == []


def test_our_own_lock_keeps_others_out(path):
    with lock_table(path):
        done = subprocess.run(
            [sys.executable, "-c", TRY, str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    assert f"(pid {os.getpid()})" in done.stdout


def test_one_process_cannot_lock_twice(path):
    with lock_table(path) as lock:
        with pytest.raises(TableError, match=f"pid {os.getpid()}"):
            lock_table(path)
        lock.release()
        lock_table(path).release()


def test_links_to_one_table_share_its_lock(path):
    link = path.with_name("link.csv")
    path.touch()
    link.symlink_to(path)
    with lock_table(path), pytest.raises(TableError, match="link.csv is being written"):
        lock_table(link)


def test_an_error_inside_releases(path):
    with pytest.raises(RuntimeError, match="inside"), lock_table(path):
        raise RuntimeError("inside")
    lock_table(path).release()


def test_a_child_of_a_killed_holder_does_not_hold_on(hold, path):
    other = hold(
        "import subprocess\nchild = subprocess.Popen([sys.executable, '-c', 'input()'],"
        " stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\n"
    )
    other.kill()
    other.wait()
    lock_table(path).release()


def test_a_removed_file_is_not_taken_for_the_lock(path, monkeypatch):
    """The holder removes the file between our open and our lock: we must try again."""
    from predictors import table_lock

    first = lock_table(path)
    real = table_lock._lock
    calls = []

    def late(descriptor):
        if not calls:
            first.release()
        calls.append(descriptor)
        return real(descriptor)

    monkeypatch.setattr(table_lock, "_lock", late)
    with lock_table(path):
        assert len(calls) == 2
        monkeypatch.setattr(table_lock, "_lock", real)
        with pytest.raises(TableError, match="being written"):
            lock_table(path)


def test_no_folder_is_named(tmp_path):
    with pytest.raises(TableError, match="cannot lock table .*folder exists"):
        lock_table(tmp_path / "nowhere" / "cpu.csv")
