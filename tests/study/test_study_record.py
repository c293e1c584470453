"""The study stores what it is told, refuses what it must, and says why."""

import sqlite3
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from autodistill.errors import StudyError
from autodistill.study import CHANGEABLE, SCHEMA_VERSION, Candidate, CandidateState, Study

IDENTITY = {"seed": 0, "steps": 400, "space": {"layers": [2, 4], "hidden": [64, 128]}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "study.sqlite"


@pytest.fixture
def study(path: Path):
    with Study.create(path, identity=IDENTITY, config={"budget": 8}) as study:
        yield study


def layers(number: int) -> dict[str, int]:
    return {"num_hidden_layers": number, "hidden_size": 64}


def test_study_add_numbers_the_baseline_0_and_candidates_from_1(study: Study) -> None:
    first = study.add(layers(2), "2L")
    baseline = study.add(layers(12), "12L", role="baseline")
    second = study.add(layers(4), "4L", state=CandidateState.MEASURED, latency_ms=1.5)
    assert [first.number, baseline.number, second.number] == [1, 0, 2]
    assert [c.architecture_id for c in study.candidates()] == ["12L", "2L", "4L"]
    assert second.latency_ms == 1.5 and second.state is CandidateState.MEASURED
    assert first.quality is None and first.details == {} and first.state == "proposed"
    assert study.get(2) == second


def test_study_everything_written_is_read_back_after_reopening(study: Study, path: Path) -> None:
    study.add(layers(2), "2L")
    written = study.update(
        1,
        state="complete",
        parameters=np.int64(1234),
        predicted_latency_ms=np.float32(1.5),
        predicted_latency_std_ms=0.25,
        latency_ms=np.float64(1.75),
        latency_iqr_ms=0.125,
        quality=0.5,
        quality_se=0.0625,
        details={"losses": np.array([1.0, 0.5]), "agreement": 0.25, "bad": float("nan")},
        error="odd name \udcff, and \U0001f600",
    )
    study.set_value("reference", {"quality": 0.41, "pair": (1, 2)})
    study.close()
    with Study.open(path) as again:
        assert again.candidates() == [written]
        assert again.identity == IDENTITY and again.config == {"budget": 8}
        assert again.get_value("reference") == {"quality": 0.41, "pair": [1, 2]}
        assert again.get_value("nothing") is None and again.get_value("nothing", 7) == 7
    assert written.parameters == 1234 and type(written.parameters) is int
    assert written.predicted_latency_ms == 1.5 and type(written.predicted_latency_ms) is float
    assert written.details == {"losses": [1.0, 0.5], "agreement": 0.25, "bad": None}
    assert written.error == "odd name \\udcff, and \U0001f600"


def test_study_update_merges_details_and_replaces_the_rest(study: Study) -> None:
    before = study.add(layers(2), "2L", details={"a": 1, "b": 2})
    after = study.update(1, details={"b": 3}, error="x")
    assert after.details == {"a": 1, "b": 3} and after.error == "x"
    assert study.update(1, error=None).error is None
    assert after.created_at == before.created_at and after.updated_at >= before.updated_at


def test_study_true_and_1_are_different_architectures(study: Study) -> None:
    study.add({"bias": True}, "true")
    study.add({"bias": 1}, "one")
    assert [type(c.architecture["bias"]) for c in study.candidates()] == [bool, int]


@pytest.mark.parametrize(
    ("architecture", "identifier"), [(layers(2), "other"), (layers(3), "2L")], ids=["same", "id"]
)
def test_study_the_same_architecture_twice_is_refused(
    study: Study, architecture: dict[str, int], identifier: str
) -> None:
    study.add(layers(2), "2L")
    with pytest.raises(StudyError, match="already candidate 1"):
        study.add(architecture, identifier)
    assert len(study.candidates()) == 1


def test_study_holds_one_baseline(study: Study) -> None:
    study.add(layers(2), "2L", role="baseline")
    with pytest.raises(StudyError, match="has its baseline already"):
        study.add(layers(4), "4L", role="baseline")
    with pytest.raises(StudyError, match='"baseline" or "candidate"; got \'teacher\''):
        study.add(layers(4), "4L", role="teacher")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"speed": 1}, "speed cannot be set; these fields can: state"),
        ({"role": "baseline", "x": 1}, "role, x cannot be set"),
        ({"state": "done"}, "state must be one of proposed, .*; got 'done'"),
        ({"quality": float("nan")}, "quality must be a finite float or None; got nan"),
        ({"latency_ms": float("inf")}, "latency_ms must be a finite"),
        ({"latency_ms": "fast"}, "latency_ms must be a finite number or None; got 'fast'"),
        ({"parameters": 1.5}, "parameters must be a finite int or None; got 1.5"),
        ({"details": {"x": object()}}, "stores JSON values only"),
        ({"state": "complete", "quality": 0.5}, "must have latency_ms"),
        ({"state": "complete", "latency_ms": 0.5}, "must have quality"),
    ],
)
def test_study_a_bad_update_is_refused_whole(
    study: Study, changes: dict[str, object], message: str
) -> None:
    before = study.add(layers(2), "2L")
    with pytest.raises(StudyError, match=message):
        study.update(1, **({"error": "not to be stored"} | changes))
    assert study.get(1) == before


def test_study_unknown_number_is_refused(study: Study) -> None:
    with pytest.raises(StudyError, match="has no candidate 5"):
        study.get(5)
    with pytest.raises(StudyError, match="has no candidate 5"):
        study.update(5, error="x")


def test_study_every_field_but_the_fixed_ones_can_change() -> None:
    fixed = {"number", "role", "architecture", "architecture_id", "created_at", "updated_at"}
    assert {field.name for field in fields(Candidate)} - fixed == set(CHANGEABLE)


# Opening


def test_study_open_or_create_goes_on_and_records_the_new_config(path: Path) -> None:
    with Study.open_or_create(path, IDENTITY, {"budget": 8}) as study:
        study.add(layers(2), "2L")
    with Study.open_or_create(path, IDENTITY, {"budget": 16}) as study:
        assert [c.architecture_id for c in study.candidates()] == ["2L"]
        assert study.config == {"budget": 16}


def test_study_identity_compares_values_as_json(path: Path) -> None:
    Study.create(path, identity={"sizes": (1, 2), "seed": np.int64(3)}, config={}).close()
    Study.open_or_create(path, {"sizes": [1, 2], "seed": 3}, {}).close()


def test_study_another_identity_is_refused_naming_each_difference(path: Path) -> None:
    Study.create(path, identity=IDENTITY | {"old": 1}, config={}).close()
    other = {"seed": 1, "steps": 400, "space": {"layers": [2, 6], "hidden": [64, 128]}}
    with pytest.raises(StudyError) as caught:
        Study.open_or_create(path, other, {})
    message = str(caught.value)
    assert "seed: the study has 0, now 1" in message
    assert "space.layers: the study has [2, 4], now [2, 6]" in message
    assert "old: the study has 1, now nothing" in message
    assert "steps" not in message and "hidden" not in message
    assert "another --run-dir" in message
    Study.open(path).close()  # the refusal let go of the lock


def test_study_create_does_not_overwrite(path: Path) -> None:
    Study.create(path, identity=IDENTITY, config={}).close()
    with pytest.raises(StudyError, match="exists already"):
        Study.create(path, identity={}, config={})
    with Study.open(path) as study:
        assert study.identity == IDENTITY


def test_study_open_needs_a_study(path: Path) -> None:
    with pytest.raises(StudyError, match="no study at .*; check --run-dir"):
        Study.open(path)


def test_study_another_schema_version_is_refused_naming_both(path: Path) -> None:
    Study.create(path, identity={}, config={}).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    connection.close()
    with pytest.raises(StudyError, match=f"version 99; .* reads version {SCHEMA_VERSION}"):
        Study.open_or_create(path, {}, {})


def test_study_a_creation_cut_short_is_begun_again(path: Path) -> None:
    path.parent.mkdir()
    path.touch()  # what a kill before the first commit leaves
    with pytest.raises(StudyError, match="damaged or is not a study"):
        Study.open(path)
    Study.open_or_create(path, IDENTITY, {}).close()
    with Study.open(path) as study:
        assert study.identity == IDENTITY


@pytest.mark.parametrize("content", [b"not a database " * 100, b"\x00" * 4096], ids=["text", "nul"])
def test_study_a_file_that_is_no_study_is_refused_and_kept(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    for attempt in (
        lambda: Study.open(path),
        lambda: Study.open_or_create(path, {}, {}),
        lambda: Study.create(path, identity={}, config={}),
    ):
        with pytest.raises(StudyError, match="damaged or is not a study"):
            attempt()
    assert path.read_bytes() == content


def test_study_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()
    with pytest.raises(StudyError, match="no table `meta`"):
        Study.open_or_create(path, {}, {})


def test_study_a_damaged_middle_is_noticed_on_opening(path: Path) -> None:
    with Study.create(path, identity={}, config={}) as study:
        for number in range(200):
            study.add({"n": number, "text": "x" * 400}, str(number))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = b"\xa5" * 8192
    path.write_bytes(content)
    with pytest.raises(StudyError, match="damaged"):
        Study.open(path)


@pytest.mark.parametrize(
    ("column", "value"), [("state", "'asleep'"), ("details", "'{half'")], ids=["state", "json"]
)
def test_study_a_row_that_makes_no_sense_is_named(path: Path, column: str, value: str) -> None:
    with Study.create(path, identity={}, config={}) as study:
        study.add(layers(2), "2L")
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE candidates SET {column} = {value}")
    connection.commit()
    connection.close()
    with Study.open(path) as study, pytest.raises(StudyError, match="damaged"):
        study.candidates()


def test_study_reading_needs_no_lock_and_changes_nothing(study: Study, path: Path) -> None:
    study.add(layers(2), "2L")
    with Study.open(path, read_only=True) as reader:
        assert len(reader.candidates()) == 1
        study.add(layers(4), "4L")
        assert len(reader.candidates()) == 2
        for change in (lambda: reader.update(1, error="x"), lambda: reader.set_value("a", 1)):
            with pytest.raises(StudyError, match="opened for reading only"):
                change()
    assert study.get(1).error is None


def test_study_the_module_loads_without_jax() -> None:
    code = "import sys, autodistill.study; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
