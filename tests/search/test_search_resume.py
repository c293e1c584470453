"""A search that is killed and interrupted ends as one that was left alone.

Latency comes from the compiler's counts, which repeat exactly, and all else is a
function of the seed, so figures and weights are compared for equality.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from autodistill.report.from_study import rows_from_candidates
from autodistill.search.run import MAX_MISSES
from autodistill.study import Candidate, CandidateState, Study

BUDGET = 4  # the fourth student is the first that the surrogates propose
PATIENCE_S = 400


# A process that was started in the background is deaf to Ctrl-C, and so are its children.
COMMAND = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("autodistill.search", run_name="__main__", alter_sys=True)
"""


def start(arguments: list[str]) -> "subprocess.Popen[str]":
    """``python -m autodistill.search`` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "120"},
    )


def finished(process: "subprocess.Popen[str]", code: int = 0) -> str:
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, output
    return output


def states(run_dir: Path) -> list[str]:
    """States of the candidates by number, read beside the search."""
    path = run_dir / "study.sqlite"
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT state FROM candidates ORDER BY number").fetchall()
    except sqlite3.OperationalError:  # the tables are not there yet
        return []
    return [state for (state,) in rows]


def stop_in_training(process: "subprocess.Popen[str]", run_dir: Path, done: int, how: int) -> None:
    """Send a signal when ``done`` candidates are complete and the next is in training."""
    until = time.monotonic() + PATIENCE_S
    while states(run_dir) != ["complete"] * done + ["training"]:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, states(run_dir)
        time.sleep(0.02)
    time.sleep(0.5)  # well into it
    process.send_signal(how)


@dataclass(frozen=True)
class Runs:
    """The same command: left alone; and killed, interrupted, and then left alone."""

    alone: Path
    troubled: Path
    arguments: Callable[..., list[str]]
    after_kill: list[str]
    after_interrupt: list[str]
    report_then: str
    interrupted_output: str
    resumed_output: str


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    root = tmp_path_factory.mktemp("runs")
    alone, troubled = root / "alone", root / "troubled"

    def arguments(run_dir: Path, budget: int = BUDGET) -> list[str]:
        cache = root / f"cache of {run_dir.name}"
        return tiny.arguments(run_dir, budget=budget, cache_dir=cache)

    finished(start(arguments(alone)))

    killed = start(arguments(troubled))
    stop_in_training(killed, troubled, done=1, how=signal.SIGKILL)
    finished(killed, -signal.SIGKILL)
    after_kill = states(troubled)
    interrupted = start(arguments(troubled))
    stop_in_training(interrupted, troubled, done=3, how=signal.SIGINT)
    output = finished(interrupted, 130)
    after_interrupt = states(troubled)
    report = (troubled / "report.html").read_text()
    resumed = finished(start(arguments(troubled)))
    return Runs(alone, troubled, arguments, after_kill, after_interrupt, report, output, resumed)


def candidates(run_dir: Path) -> list[Candidate]:
    with Study.open(run_dir / "study.sqlite", read_only=True) as study:
        return study.candidates()


def test_resume_the_killed_and_the_uninterrupted_search_agree(runs: Runs) -> None:
    assert runs.after_kill == ["complete", "training"]
    one, other = candidates(runs.alone), candidates(runs.troubled)
    assert len(one) == 1 + BUDGET and {c.state for c in one} == {CandidateState.COMPLETE}
    for name in (
        "number",
        "role",
        "architecture",
        "architecture_id",
        "state",
        "parameters",
        "predicted_latency_ms",
        "predicted_latency_std_ms",
        "latency_ms",
        "quality",
        "quality_se",
    ):
        assert [getattr(c, name) for c in one] == [getattr(c, name) for c in other], name
    details = ("agreement", "foretold", "start_quality", "untrained_quality", "losses")
    for name in (*details, "first_latency_ms"):
        assert [c.details[name] for c in one] == [c.details[name] for c in other], name
    assert all(c.details["foretold"] < c.quality for c in one)  # short runs: less token losses


def test_resume_the_front_and_its_students_agree_to_the_last_bit(runs: Runs) -> None:
    front = [row.number for row in rows_from_candidates(candidates(runs.alone)) if row.on_front]
    ids = {c.number: c.architecture_id for c in candidates(runs.alone)}
    folders = sorted(path.name for path in (runs.alone / "students").iterdir())
    assert folders == sorted(ids[number] for number in front)
    assert folders == sorted(path.name for path in (runs.troubled / "students").iterdir())
    for name in folders:
        for file in ("model.safetensors", "2_Dense/model.safetensors"):
            one = load_file(runs.alone / "students" / name / file)
            other = load_file(runs.troubled / "students" / name / file)
            assert one.keys() == other.keys()
            assert all((one[key] == other[key]).all() for key in one)


def test_resume_an_interrupt_writes_up_what_is_done(runs: Runs) -> None:
    assert runs.after_interrupt == ["complete"] * 3 + ["training"]
    assert "stopped; writing up what is done" in runs.interrupted_output
    assert "goes on from here" in runs.interrupted_output
    assert "fidelity" in runs.interrupted_output  # the table
    assert "<html" in runs.report_then and "training" in runs.report_then
    assert "Traceback" not in runs.interrupted_output
    # The student in training is distilled anew, those before it are not.
    lines = [line.split()[:2] for line in runs.resumed_output.splitlines()]
    assert [line for line in lines if line[1:] in (["student"], ["baseline"])] == [
        ["3", "student"],
        ["4", "student"],
    ]


def test_resume_a_finished_search_distils_nothing_and_a_larger_budget_goes_on(
    runs: Runs, command, no_training
) -> None:
    before = candidates(runs.troubled)
    code, out, _ = command(runs.arguments(runs.troubled))
    assert code == 0 and f"{BUDGET} students distilled" in out
    assert no_training == []
    assert [(c.quality, c.latency_ms) for c in candidates(runs.troubled)] == [
        (c.quality, c.latency_ms) for c in before
    ]
    code, _, _ = command(runs.arguments(runs.troubled, budget=BUDGET + 1))
    assert code == 0 and len(no_training) == 1
    after = candidates(runs.troubled)
    assert [c.architecture for c in after[:-1]] == [c.architecture for c in before]
    assert after[-1].state is CandidateState.COMPLETE and after[-1].number == BUDGET + 1


@pytest.mark.slow
def test_resume_a_search_that_gave_up_has_still_given_up(
    tiny, tmp_path: Path, command, no_training, monkeypatch, quick
) -> None:
    """Proposals over a limit are counted in the study, not in the process."""
    from autodistill.search.limits import Limits

    monkeypatch.setattr(Limits, "excess", lambda self, a, **_: [-1.0] * len(a))
    arguments = tiny.arguments(tmp_path / "run", budget=MAX_MISSES, max_latency_ms=0.0661)
    code, out, _ = command(arguments)
    assert code == 0 and "in a row missed a limit; stopping here" in out
    study = candidates(tmp_path / "run")
    assert [c.state for c in study[-MAX_MISSES:]] == [CandidateState.INFEASIBLE] * MAX_MISSES
    assert "over the limit" in str(study[-1].error)
    assert len(no_training) == 1 + sum(c.state == "complete" for c in study[1:])
    assert command(arguments)[0] == 0
    assert candidates(tmp_path / "run") == study
