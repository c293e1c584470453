"""A build that is killed: what it reported is on disk, and nothing is measured twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from autodistill.profiler.canary import canary_path
from autodistill.space import Architecture
from predictors.table import read_table

PATIENCE_S = 240.0
COUNT = 16

BUILD = """
import sys
from pathlib import Path
from autodistill.profiler import SupervisedTarget, TableBuilder, Workload
from autodistill.profiler.rolling import TimingSettings
from autodistill.profiler.timed import TimedTarget
from autodistill.space import Architecture
from functools import partial

path, process, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
timing = TimingSettings(min_rounds=3, max_seconds=0.1)
make = partial(TimedTarget, "cpu", "cpu", timing)
target = make() if process == "own" else SupervisedTarget("cpu", make)
shapes = [
    Architecture(num_hidden_layers=1, hidden_size=width, num_attention_heads=1,
                 intermediate_size=16)
    for width in range(8, 8 + count)
]
workload = Workload(1, 8)
builder = TableBuilder(path, shapes[0].to_dict(), target=target, workloads=[workload],
                       family="bert", vocab_size=20, canary=shapes[0], canary_every=5)
builder.measure(shapes, progress=lambda done: print(done, flush=True))
"""


def start(path, process):
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(path), process, str(COUNT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )


@pytest.mark.parametrize("process", ["child", pytest.param("own", marks=pytest.mark.slow)])
def test_a_build_that_is_killed_goes_on_where_it_was(tmp_path, process):
    path = tmp_path / "cpu.csv"
    killed = start(path, process)
    reported = [int(killed.stdout.readline()) for _ in range(3)]  # so far it surely comes
    time.sleep(random.Random(os.urandom(8)).uniform(0.0, 1.5))
    killed.send_signal(signal.SIGKILL)
    rest, _ = killed.communicate(timeout=PATIENCE_S)
    reported += [int(line) for line in rest.splitlines()]
    assert reported == list(range(1, len(reported) + 1))
    before = [file.read_bytes() for file in (path, canary_path(path))]
    there = len(read_table(path).rows)
    assert there in (len(reported), len(reported) + 1)  # the last may be on disk, not yet told
    timings = len(read_table(canary_path(path)).rows)  # none, where the canary was still running

    resumed = start(path, process)
    out, _ = resumed.communicate(timeout=PATIENCE_S)
    assert resumed.returncode == 0
    assert [int(line) for line in out.splitlines()] == list(range(there, COUNT + 1))
    for file, content in zip((path, canary_path(path)), before, strict=True):
        whole = content[: content.rfind(b"\n") + 1]  # all but a line that was being written
        assert file.read_bytes().startswith(whole)
    rows = read_table(path).rows
    assert len(rows) == COUNT
    assert set(Counter(Architecture(row.architecture) for row in rows).values()) == {1}
    assert all(row.latency_ms > 0 and row.repeats >= 5 for row in rows)
    assert len(read_table(canary_path(path)).rows) > timings
