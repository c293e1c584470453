"""The end of a search: measure again, pick the front, write students and report."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.markup import escape
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_predict

from autodistill.errors import ExportError
from autodistill.models.config import EncoderConfig
from autodistill.profiler import Measurement, TableBuilder
from autodistill.report.data import (
    ParityPoint,
    ReferenceLine,
    ReportData,
    SurrogateScores,
    TeacherRow,
)
from autodistill.report.from_study import rows_from_candidates
from autodistill.report.html import write_html
from autodistill.report.terminal import render
from autodistill.search.latency import Describe, LatencyModel, fit_latency
from autodistill.search.progress import Display
from autodistill.search.settings import SearchSettings
from autodistill.search.surrogates import Surrogate, fit_surrogate
from autodistill.search.table import open_table
from autodistill.space import Architecture
from autodistill.space.families import encoder_config
from autodistill.study import CandidateState, Study
from autodistill.teacher import TeacherKind
from predictors import save
from predictors.table import read_table


def finish(
    study: Study,
    settings: SearchSettings,
    display: Display,
    describe: Describe,
    columns: Sequence[str],
    *,
    seconds: float,
    remeasure: bool,
) -> None:
    """Write students, predictors and report from what the study holds.

    Args:
        study: Open for writing.
        settings: Of the search.
        display: Where the table is printed.
        describe: What the latency model sees of architectures.
        columns: Names of it.
        seconds: How long the search has taken, over all its commands.
        remeasure: Measure all finished students once more, interleaved, so that
            their latencies are comparable whatever the machine did meanwhile.
    """
    if remeasure:
        measure_again(study, settings, display)
    study.set_value("seconds", seconds)
    report = make_report(study, settings, describe, columns, seconds=seconds)
    keep_front(study, settings, report)
    path = settings.run_dir / "report.html"
    write_html(report, path)
    render(report, display.console)
    students = settings.run_dir / "students"
    display.say(escape(f"\nreport    {path}\nstudents  {students}"))


def measure_again(study: Study, settings: SearchSettings, display: Display) -> None:
    """Final latency of every finished student and of the teacher, in one interleaved run."""
    complete = [c for c in study.candidates() if c.state is CandidateState.COMPLETE]
    key = [c.number for c in complete]
    if not complete or study.get_value("measured_again") == key:
        return
    configs: list[EncoderConfig] = [
        encoder_config(
            Architecture(c.architecture),
            family=str(settings.space.family),
            vocab_size=settings.teacher.config.vocab_size,
        )
        for c in complete
    ]
    # A teacher with fewer positions than the workload cannot be served under it.
    teacher = settings.teacher.config
    is_served = settings.workload.sequence_length <= teacher.max_position_embeddings
    configs += [teacher] if is_served else []
    found: dict[int, Measurement] = {}
    with display.bar("measuring all students once more, side by side") as advance:
        for i, measurement in settings.target.measure(configs, settings.workload):
            if measurement is not None:
                found[i] = measurement
                advance(len(found), len(configs))
    measurements = [found[i] for i in range(len(configs))]
    for candidate, measurement in zip(complete, measurements, strict=False):
        if measurement.latency_ms is not None:
            study.update(
                candidate.number,
                latency_ms=measurement.latency_ms,
                latency_iqr_ms=measurement.latency_iqr_ms,
            )
    study.set_value("teacher_latency_ms", measurements[-1].latency_ms if is_served else None)
    study.set_value("measured_again", key)


def make_report(
    study: Study,
    settings: SearchSettings,
    describe: Describe,
    columns: Sequence[str],
    *,
    seconds: float,
) -> ReportData:
    """Everything that the table and the page show; also saves the latency predictor."""
    teacher = settings.teacher
    reference = study.get_value("reference")
    line = study.get_value("teacher")
    embedding = teacher.kind is TeacherKind.EMBEDDING
    surrogates, parity = _surrogates(study, settings, describe, columns)
    corpus = study.get_value("corpus", "")
    facts = {"space": f"{settings.space.name}, {settings.space.size:,} architectures"}
    over = _over_limits(study, settings)
    if over:
        facts["over a limit in the end, not handed back"] = "; ".join(
            f"{'baseline' if number == 0 else f'student {number}'} {why}"
            for number, why in over.items()
        )
    return ReportData(
        teacher_name=teacher.name,
        kind=teacher.kind.value,
        target=settings.target.name,
        device_kind=settings.target.device_kind,
        statistic=settings.target.statistic,
        **asdict(settings.workload),
        steps=settings.flash.steps,
        seed=settings.seed,
        rows=rows_from_candidates(
            study.candidates(), excluded=over, first_latency_ms=_first_latencies(settings)
        ),
        teacher=TeacherRow(
            teacher.parameters,
            study.get_value("teacher_latency_ms"),
            line["quality"] if line else None,
            line["agreement"] if line else None,
        ),
        agreement_name="neighbour agreement" if embedding else None,
        reference=ReferenceLine(**reference) if reference else None,
        surrogates=surrogates,
        parity=parity,
        corpus=tuple(corpus.splitlines()),
        seconds=seconds,
        max_latency_ms=settings.limits.max_latency_ms,
        max_params=settings.limits.max_params,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        facts=facts,
    )


def _over_limits(study: Study, settings: SearchSettings) -> dict[int, str]:
    """Finished students that the final measurement finds over a hard limit, and why."""
    return {
        candidate.number: why
        for candidate in study.candidates()
        if candidate.state is CandidateState.COMPLETE
        and (why := settings.limits.why_over(candidate.latency_ms, candidate.parameters))
    }


def _first_latencies(settings: SearchSettings) -> dict[str, float]:
    """By architecture's id, as the table has them: measured before anything was distilled."""
    path = settings.run_dir / "latency.csv"
    rows = read_table(path).measured if path.exists() else []
    return {
        Architecture(row.architecture).id: row.latency_ms
        for row in rows
        if row.latency_ms is not None
    }


def _surrogates(
    study: Study, settings: SearchSettings, describe: Describe, columns: Sequence[str]
) -> tuple[tuple[SurrogateScores, ...], tuple[ParityPoint, ...]]:
    """Cross-validated errors, and out-of-fold predictions of the latency table."""
    path = settings.run_dir / "latency.csv"
    if not path.exists() or len(read_table(path).measured) < 6:
        return (), ()
    builder = open_table(settings)
    model = fit_latency(builder, describe, seed=settings.seed)
    model.save(
        settings.run_dir / "predictors" / "latency.json",
        columns=columns,
        target=settings.target.name,
        workload={
            **asdict(settings.workload),
            "statistic": settings.target.statistic,
            "device_kind": settings.target.device_kind,
        },
    )
    found = [_scores("latency", model.surrogate)]
    quality = _quality_surrogate(study, settings, describe)
    if quality is not None:
        found.append(_scores("quality", quality))
        save(
            quality.predictor,
            settings.run_dir / "predictors" / "quality.json",
            columns=list(columns),
            target="1 - quality",
        )
    return tuple(found), _parity(builder, model, describe, settings.seed)


def _quality_surrogate(
    study: Study, settings: SearchSettings, describe: Describe
) -> Surrogate | None:
    pairs = [
        (Architecture(one.architecture), 1.0 - one.quality)
        for one in study.candidates()
        if one.state is CandidateState.COMPLETE and one.quality is not None
    ]
    if len(pairs) < 3:
        return None
    architectures, values = zip(*pairs, strict=True)
    return fit_surrogate(describe(architectures), np.array(values), seed=settings.seed)


def _scores(objective: str, surrogate: Surrogate) -> SurrogateScores:
    scores: dict[str, Mapping[str, float]] = {
        name: {k: v for k, v in asdict(score).items() if v is not None}
        for name, score in surrogate.scores.items()
    }
    return SurrogateScores(objective, scores, surrogate.name if scores else None)


def _parity(
    builder: TableBuilder, model: LatencyModel, describe: Describe, seed: int
) -> tuple[ParityPoint, ...]:
    rows = builder.rows().measured
    x = describe([Architecture(row.architecture) for row in rows])
    y = np.array([row.latency_ms for row in rows])
    folds = KFold(min(5, len(y)), shuffle=True, random_state=seed)
    predicted = cross_val_predict(clone(model.surrogate.predictor), x, y, cv=folds)
    return tuple(ParityPoint(float(p), float(m)) for p, m in zip(predicted, y, strict=True))


def keep_front(study: Study, settings: SearchSettings, report: ReportData) -> None:
    """Lay the Pareto students out under ``students/``, named by architecture.

    Raises:
        ExportError: A folder cannot be written.
    """
    target = settings.run_dir / "students"
    wanted = {row.number for row in report.rows if row.on_front}
    ids = {c.number: c.architecture_id for c in study.candidates()}
    try:
        target.mkdir(exist_ok=True)
        for folder in target.iterdir():
            if folder.is_dir() and folder.name not in {ids[n] for n in wanted}:
                shutil.rmtree(folder)
        for number in wanted:
            _copy(settings.run_dir / "distilled" / str(number), target / ids[number])
    except OSError as error:
        raise ExportError(
            f"students cannot be written to {target}: {error.strerror or error}; free some space "
            "and run the same command again: nothing is distilled twice"
        ) from error


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        temporary = target.with_name(target.name + ".partial")
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(source, temporary)
        temporary.rename(target)
