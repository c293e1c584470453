"""The end of a search: what is measured again, kept and written."""

import io
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from autodistill.distill.flash import FlashSettings
from autodistill.errors import ExportError
from autodistill.profiler import Measurement, TableBuilder, Workload
from autodistill.search.budget import Budget
from autodistill.search.history import history
from autodistill.search.limits import Limits
from autodistill.search.materials import TextSettings
from autodistill.search.progress import Display
from autodistill.search.result import finish, measure_again
from autodistill.search.run import Search
from autodistill.search.settings import SearchSettings
from autodistill.space import SearchSpace
from autodistill.study import CandidateState, Study
from autodistill.teacher import load_teacher
from predictors import load


@dataclass
class Drifting:
    """A target that takes as long as there are layers, and longer at every call."""

    calls: int = 0
    name: str = "drifting"
    device_kind: str = "abacus"
    statistic: str = "median"
    compiler_version: str = "beads 1.2"

    def measure(self, configs, workload):
        self.calls += 1
        for i, config in enumerate(configs):
            yield i, None
            yield i, Measurement(config.num_hidden_layers * self.calls, 0.1, 20)


@pytest.fixture
def settings(tiny, tmp_path: Path) -> SearchSettings:
    return SearchSettings(
        budget=Budget(students=3),
        teacher=load_teacher(tiny.teacher),
        space=SearchSpace.from_yaml(tiny.space),
        target=Drifting(),
        workload=Workload(1, 16),
        limits=Limits(),
        text=TextSettings(),
        flash=FlashSettings(steps=8),
        run_dir=tmp_path,
        cache_dir=tmp_path / "cache",
    )


@pytest.fixture
def study(settings: SearchSettings, tmp_path: Path):
    """A baseline and three students, one of them dominated, and a failure."""
    members = [a for a in settings.space.enumerate() if a != settings.space.baseline]
    one = next(a for a in members if a["num_hidden_layers"] == 1)
    two, slow, failed = [a for a in members if a["num_hidden_layers"] == 2][:3]
    with Study.create(tmp_path / "study.sqlite", identity={}, config={}) as study:
        told = [
            (settings.space.baseline, "baseline", 0.5),
            (one, "candidate", 0.6),
            (two, "candidate", 0.7),
            (slow, "candidate", 0.4),
        ]
        for architecture, role, quality in told:
            latency_ms = float(architecture["num_hidden_layers"])
            study.add(
                architecture.to_dict(),
                architecture.id,
                role=role,
                state=CandidateState.COMPLETE,
                parameters=1000,
                predicted_latency_ms=latency_ms,
                latency_ms=latency_ms,
                quality=quality,
                quality_se=0.01,
                details={"first_latency_ms": latency_ms, "agreement": 0.5, "seconds": 1.0},
            )
        study.add(
            failed.to_dict(), failed.id, state=CandidateState.FAILED, error="the loss [/] was nan"
        )
        for number in range(4):
            folder = tmp_path / "distilled" / str(number)
            folder.mkdir(parents=True)
            (folder / "config.json").write_text(str(number))
        yield study


def end(study: Study, settings: SearchSettings, **options) -> str:
    console = Console(file=io.StringIO(), width=120)
    options = {"seconds": 5.0, "remeasure": True} | options
    finish(
        study,
        settings,
        Display(console),
        settings.space.encode,
        settings.space.columns,
        **options,
    )
    return console.file.getvalue()


def kept(settings: SearchSettings) -> dict[str, str]:
    return {
        folder.name: (folder / "config.json").read_text()
        for folder in (settings.run_dir / "students").iterdir()
    }


def test_result_keeps_the_front_and_only_it(study: Study, settings: SearchSettings) -> None:
    out = end(study, settings)
    ids = {c.number: c.architecture_id for c in study.candidates()}
    assert kept(settings) == {ids[1]: "1", ids[2]: "2"}
    assert "the loss [/] was nan" in out  # as it was, not as markup
    assert "fidelity" in out and str(settings.run_dir / "report.html") in out
    study.update(1, quality=0.8)  # as fast and better than all
    (settings.run_dir / "students" / "half.partial").mkdir()
    (settings.run_dir / "students" / "note.txt").write_text("a person's own")
    end(study, settings)
    names = {path.name for path in (settings.run_dir / "students").iterdir()}
    assert names == {ids[1], "note.txt"}


def test_result_measures_all_students_side_by_side_once(
    study: Study, settings: SearchSettings
) -> None:
    target = settings.target
    target.calls = 3
    end(study, settings)
    complete = [c for c in study.candidates() if c.state is CandidateState.COMPLETE]
    assert target.calls == 4
    assert [c.latency_ms for c in complete] == [
        4.0 * c.architecture["num_hidden_layers"] for c in complete
    ]
    assert study.get_value("teacher_latency_ms") == 8.0
    _, values = history(study)  # what the search saw stays what it was
    np.testing.assert_array_equal(values[:4, 1], [c.details["first_latency_ms"] for c in complete])
    assert np.isnan(values[4]).all()
    end(study, settings)
    assert target.calls == 4  # nothing new to measure


def test_history_is_led_by_what_is_foretold_where_all_students_have_it(study: Study) -> None:
    complete = [c for c in study.candidates() if c.state is CandidateState.COMPLETE]
    qualities = [c.quality for c in complete]
    for i, candidate in enumerate(complete):
        _, values = history(study)  # students of a former version have none
        np.testing.assert_allclose(1 - values[:4, 0], qualities)
        study.update(candidate.number, details={"foretold": 0.1 * i})
    _, values = history(study)
    np.testing.assert_allclose(1 - values[:4, 0], [0.0, 0.1, 0.2, 0.3])
    assert np.isnan(values[4]).all()


def test_result_of_an_interrupt_measures_nothing(study: Study, settings: SearchSettings) -> None:
    end(study, settings, remeasure=False)
    assert settings.target.calls == 0
    assert (settings.run_dir / "report.html").exists() and len(kept(settings)) == 2


def test_result_a_teacher_that_cannot_be_served_so_has_no_latency(
    study: Study, settings: SearchSettings
) -> None:
    """It has 128 positions; students have 512."""
    settings = replace(settings, workload=Workload(1, 256))
    measure_again(study, settings, Display(Console(quiet=True)))
    assert settings.target.calls == 1 and study.get_value("teacher_latency_ms") is None
    assert study.get(1).latency_ms == 1.0


def test_result_a_failed_measurement_leaves_the_first(
    study: Study, settings: SearchSettings, monkeypatch
) -> None:
    failing = [(i, Measurement(None, error="busy")) for i in range(5)]
    monkeypatch.setattr(Drifting, "measure", lambda *_: iter(failing))
    measure_again(study, settings, Display(Console(quiet=True)))
    assert study.get(2).latency_ms == 2.0


def test_result_nothing_done_is_written_up_too(settings: SearchSettings, tmp_path: Path) -> None:
    with Study.create(tmp_path / "study.sqlite", identity={}, config={}) as study:
        end(study, settings)
    assert "<html" in (tmp_path / "report.html").read_text()
    assert kept(settings) == {} and settings.target.calls == 0


def test_result_time_adds_up_over_commands(settings: SearchSettings) -> None:
    with Study.create(
        settings.run_dir / "study.sqlite", identity=settings.identity(), config={}
    ) as study:
        study.set_value("seconds", 5.0)
    began = time.monotonic() - 7.0
    search = Search(settings, Display(Console(file=io.StringIO())), began=began)
    with search.study:
        search._finish(remeasure=False)
        assert 12.0 <= search.study.get_value("seconds") < 60.0


def test_result_a_student_over_the_limit_in_the_end_is_not_handed_back(
    study: Study, settings: SearchSettings
) -> None:
    end(study, settings, remeasure=True)
    front = [
        c
        for c in study.candidates()
        if (settings.run_dir / "students" / c.architecture_id).exists()
    ]
    slowest = max(front, key=lambda c: c.latency_ms or 0)
    limits = Limits(max_latency_ms=float(slowest.latency_ms or 0) * 0.999)
    end(study, replace(settings, limits=limits), remeasure=False)
    assert not (settings.run_dir / "students" / slowest.architecture_id).exists()
    assert "not handed back" in (settings.run_dir / "report.html").read_text()


def measure_table(settings: SearchSettings) -> None:
    """Eight architectures, as a search measures them before it distils."""
    builder = TableBuilder(
        settings.run_dir / "latency.csv",
        settings.space.fields,
        family="mobilebert",
        target=settings.target,
        workloads=[settings.workload],
        vocab_size=146,
    )
    builder.measure(settings.space.sample_distinct(8, np.random.default_rng(0)))


def test_result_saves_both_predictors_of_a_table(study: Study, settings: SearchSettings) -> None:
    measure_table(settings)
    end(study, settings)
    for name, target in (("latency", "drifting"), ("quality", "1 - quality")):
        predictor = load(settings.run_dir / "predictors" / f"{name}.json")
        assert predictor.column_names_ == settings.space.columns
        assert predictor.target_name_ == target


def test_result_the_kept_quality_predictor_is_of_what_was_measured(
    study: Study, settings: SearchSettings
) -> None:
    """Foretold qualities, which only lead the search, are far from measured ones here."""
    measure_table(settings)
    for candidate in study.candidates():
        if candidate.state is CandidateState.COMPLETE:
            study.update(candidate.number, details={**candidate.details, "foretold": -2.0})
    end(study, settings)
    predictor = load(settings.run_dir / "predictors" / "quality.json")
    predicted = 1 - predictor.predict(settings.space.encode(list(settings.space.enumerate())))
    assert (predicted > 0.0).all() and (predicted < 1.0).all()  # measured: 0.4 to 0.7


def test_result_a_student_that_is_gone_is_explained(study: Study, settings: SearchSettings) -> None:
    (settings.run_dir / "distilled" / "2" / "config.json").unlink()
    (settings.run_dir / "distilled" / "2").rmdir()
    with pytest.raises(ExportError, match="students cannot be written to"):
        end(study, settings)
