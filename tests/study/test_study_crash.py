"""A study outlives kill -9, a full disk, a second process, and its own old files."""

import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autodistill.errors import StudyError
from autodistill.study import SCHEMA, CandidateState, Study

FIXTURE = Path(__file__).parent / "fixtures" / "study_v1.sql"
IDENTITY = {"seed": 0, "space": "mobilebert-mini"}

# Writes pairs of equal numbers for ever; after each commit tells its count.
WRITER = """
import sys
from autodistill.study import Study
study = Study.open_or_create(sys.argv[1], {"seed": 0, "space": "mobilebert-mini"}, {})
start = len(study.candidates())
for n in range(start, 100000):
    study.add({"n": n}, str(n), quality=float(n), details={"n": n, "pad": "x" * 20000})
    study.update(n + 1, latency_ms=float(n), quality_se=float(n), details={"m": n})
    print(n + 1, flush=True)
"""


def start_writer(path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )


def test_study_kill_9_loses_at_most_the_change_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    told: set[int] = set()  # numbers whose update had returned before the kill
    for kills, delay in enumerate((0.02, 0.035, 0.05), start=1):
        writer = start_writer(path)
        assert writer.stdout is not None
        first = writer.stdout.readline()  # it runs, and has committed
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        told |= {int(line) for line in [first, *writer.stdout.read().splitlines()]}
        writer.wait()
        writer.stdout.close()
        with Study.open_or_create(path, IDENTITY, {}) as study:
            found = study.candidates()
        assert [c.number for c in found] == list(range(1, len(found) + 1))
        updated = {c.number for c in found if c.latency_ms is not None}
        assert told <= updated
        assert len(found) - len(told) <= kills  # at most one in flight at each kill
        for candidate in found:
            n = candidate.number - 1
            assert candidate.quality == n and candidate.details["n"] == n
            whole = n if candidate.number in updated else None  # all of an update, or none
            assert candidate.latency_ms == candidate.quality_se == whole
            assert candidate.details.get("m") == whole


def test_study_a_half_written_change_is_rolled_back_even_for_a_reader(tmp_path: Path) -> None:
    """Killed inside a transaction that has reached the disk: the journal undoes it."""
    path = tmp_path / "study.sqlite"
    with Study.create(path, identity=IDENTITY, config={}) as study:
        study.add({"n": 1}, "1", details={"pad": "x" * 20000})
    code = (
        "import os, signal, sys\n"
        "from autodistill.study import Study\n"
        "study = Study.open(sys.argv[1])\n"
        "study._connection.execute('PRAGMA cache_size = 1')\n"  # spills before the commit
        "with study._transaction() as connection:\n"
        "    for n in range(200):\n"
        "        connection.execute('INSERT INTO facts VALUES (?, ?)', (str(n), 'y' * 5000))\n"
        "    connection.execute('UPDATE candidates SET quality = 1')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert path.with_name("study.sqlite-journal").exists()
    with Study.open(path, read_only=True) as study:
        assert study.get(1).quality is None and study.get_value("0") is None


def test_study_a_second_process_is_refused_until_the_first_dies(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    writer = start_writer(path)
    assert writer.stdout is not None
    try:
        writer.stdout.readline()
        with pytest.raises(StudyError, match=rf"in use by another process \(pid {writer.pid}\)"):
            Study.open(path)
        with Study.open(path, read_only=True) as reader:
            assert reader.get(1).latency_ms == 0.0
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
    Study.open(path).close()


def test_study_twice_in_one_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    with (
        Study.create(path, identity=IDENTITY, config={}),
        pytest.raises(StudyError, match=f"in use by another process .pid {os.getpid()}"),
    ):
        Study.open_or_create(path, IDENTITY, {})
    study = Study.open(path)
    study.close()
    study.close()


def test_study_a_full_disk_loses_nothing_stored(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    with Study.create(path, identity=IDENTITY, config={}) as study:
        before = study.add({"n": 1}, "1")
        (pages,) = study._connection.execute("PRAGMA page_count").fetchone()
        study._connection.execute(f"PRAGMA max_page_count = {pages}")  # as if the disk were full
        with pytest.raises(StudyError, match=r"disk is full.*intact.*Free disk space") as caught:
            study.update(1, details={"losses": list(range(20000))})
        assert str(path) in str(caught.value)
        assert study.candidates() == [before]
        study._connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
        assert study.update(1, state=CandidateState.FAILED).state == "failed"  # goes on


def test_study_a_file_size_limit_of_the_system_is_explained(tmp_path: Path) -> None:
    """The operating system itself refuses the write; what was stored is still there."""
    path = tmp_path / "study.sqlite"
    with Study.create(path, identity=IDENTITY, config={}) as study:
        study.add({"n": 1}, "1")
    code = (
        "import sys\n"
        "from autodistill.errors import StudyError\n"
        "from autodistill.study import Study\n"
        "try:\n"
        "    Study.open(sys.argv[1]).set_value('big', 'x' * 500_000)\n"
        "except StudyError as error:\n"
        "    sys.exit(f'{error}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "What was stored before is intact" in done.stderr
    with Study.open(path) as study:
        assert len(study.candidates()) == 1 and study.get_value("big") is None


def test_study_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StudyError, match="cannot read or write"):
        Study.create(tmp_path / "file" / "study.sqlite", identity={}, config={})
    (tmp_path / "study.sqlite").mkdir()
    with pytest.raises(StudyError, match="no study at"):
        Study.open_or_create(tmp_path / "study.sqlite", {}, {})


def test_study_an_interrupt_inside_a_change_rolls_it_back(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    with Study.create(path, identity=IDENTITY, config={}) as study:
        study.add({"n": 1}, "1")
        with pytest.raises(KeyboardInterrupt), study._transaction() as connection:
            connection.execute("UPDATE candidates SET quality = 1")
            raise KeyboardInterrupt
        assert study.get(1).quality is None
        assert study.update(1, quality=0.5).quality == 0.5


# The first version of the format: files of it must stay readable.


def test_study_a_file_of_version_1_opens(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(FIXTURE.read_text())
    connection.close()
    with Study.open_or_create(path, IDENTITY, {"budget": 2}) as study:
        baseline, done, failed, over = study.candidates()
        assert baseline.role == "baseline" and baseline.number == 0
        assert done.state is CandidateState.COMPLETE and done.quality == 0.633
        assert done.architecture == {"bias": True, "num_hidden_layers": 4, "rate": 0.5}
        assert done.details == {"agreement": 0.521, "losses": [1.0, 0.5], "seconds": None}
        assert failed.error == "the loss was not finite" and failed.latency_ms is None
        assert over.state is CandidateState.INFEASIBLE
        assert study.get_value("reference") == {"name": "ridge", "quality": 0.412}
        assert study.add({"num_hidden_layers": 9}, "9L").number == 4


def test_study_the_schema_is_that_of_version_1() -> None:
    """A changed schema needs a new SCHEMA_VERSION, and its own fixture."""

    def tables(script: str) -> list[str]:
        connection = sqlite3.connect(":memory:")
        connection.executescript(script)
        rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        connection.close()
        return sorted(re.sub(r"\s+", " ", sql) for (sql,) in rows)

    assert tables(SCHEMA) == tables(FIXTURE.read_text())
