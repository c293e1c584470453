"""What is shown while a table is built."""

import io
import subprocess
import sys
import time

import numpy as np
import pytest
from rich.console import Console

from autodistill.models.config import BertConfig
from autodistill.profiler import progress as module
from autodistill.profiler.memory import resident_bytes
from autodistill.profiler.progress import Progress

SHAPE, OTHER = BertConfig(1, 32, 2, 64), BertConfig(2, 32, 2, 64)


@pytest.fixture
def plain():
    return Console(file=io.StringIO(), force_terminal=False, width=40)


def test_progress_known_rows_do_not_count_as_work(plain, monkeypatch):
    progress = Progress(plain, known=120, total=500)
    progress.reach(38)  # of the 380 that are left, in 60 s: 342 more take 9 minutes
    monkeypatch.setattr(module.time, "monotonic", lambda: progress.began + 60)
    line = progress.line()
    assert line.startswith("158 of 500 rows, 38.0 rows per minute, 9 min 0 s left"), line


def test_progress_says_what_is_measured_and_what_failed(plain):
    progress = Progress(plain, known=0, total=3)
    progress.begin(SHAPE)
    progress.begin(OTHER)
    assert "no rate yet" in progress.line() and "failed" not in progress.line()
    assert progress.line().endswith("measuring 1L 32h 2a 64f gelu bert and 1 more")
    progress.end(SHAPE, failed=True)
    assert "1 failed" in progress.line()
    assert progress.line().endswith("measuring 2L 32h 2a 64f gelu bert")


def test_progress_without_a_terminal_writes_a_line_now_and_then(plain, monkeypatch):
    """One per LINE_S, however many rows there are; long lines are not broken."""
    monkeypatch.setattr(module, "TICK_S", 0.01)
    monkeypatch.setattr(module, "LINE_S", 0.2)
    with Progress(plain, known=0, total=10_000) as progress:
        until = time.monotonic() + 0.7
        while time.monotonic() < until:
            progress.begin(SHAPE)
            progress.end(SHAPE, failed=False)
            progress.reach(progress.done + 1)
            time.sleep(0.001)
    lines = plain.file.getvalue().splitlines()
    assert 1 <= len(lines) <= 3, lines
    assert all("of 10000 rows" in line and "resident" in line for line in lines)


def test_progress_on_a_terminal_leaves_nothing_behind(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with Progress(console, known=1, total=4) as progress:
        progress.begin(SHAPE)
        progress._live.refresh()
    assert "1 of 4 rows" in console.file.getvalue()
    assert not progress._live.is_started and not progress._thread.is_alive()


def test_memory_counts_what_this_process_holds():
    before = resident_bytes()
    held = np.ones(200_000_000, np.uint8)
    # Other tests' garbage may be freed meanwhile: nine tenths of it must show.
    assert resident_bytes() - before > 0.9 * held.nbytes


def test_memory_counts_children():
    before = resident_bytes()
    code = "x = bytearray(b'1') * 200_000_000; print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        assert resident_bytes() - before > 180_000_000
        child.communicate(b"\n")
    assert resident_bytes() - before < 180_000_000
