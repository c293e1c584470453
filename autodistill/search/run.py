"""The loop: measure, propose, distil, look again; and hand back what was found.

The study holds all state. A run that is killed loses the student in training;
the same command goes on with that student, and ends as if it had not been
killed wherever measurements repeat (``--target cpu-roofline``).
"""

import time
from collections.abc import Sequence

import jax
import numpy as np
import yaml
from rich.markup import escape

from autodistill.distill.allocator import advice
from autodistill.distill.flash import Distilled
from autodistill.distill.own_pieces import own_pieces
from autodistill.errors import SearchError, StudyError, TrainingError
from autodistill.export import save_student
from autodistill.profiler import TableBuilder
from autodistill.search.designer import BayesianSearch
from autodistill.search.history import OPEN, history, took_training
from autodistill.search.latency import LatencyModel, fit_latency, profile_sample
from autodistill.search.limits import smallest, student_parameters
from autodistill.search.materials import Materials, make_materials, tokenised
from autodistill.search.progress import Display
from autodistill.search.result import finish
from autodistill.search.settings import SearchSettings
from autodistill.search.table import open_table
from autodistill.space import Architecture
from autodistill.space.cost import FEATURES, encoder_features
from autodistill.space.families import encoder_config
from autodistill.study import Candidate, CandidateState, Study

MAX_LOOKS = 8  # measurements in search of one within the limits, before any training
MAX_MISSES = 20  # proposals in a row over a limit before the search gives up

SECONDS_TO_MEASURE_AGAIN = 3.0  # of each student, at the end


class Search:
    """One search in one run folder. Objectives, minimised: 1 - foretold quality, latency in ms."""

    def __init__(
        self, settings: SearchSettings, display: Display, *, began: float | None = None
    ) -> None:
        """``began``: when the command started, by ``time.monotonic``; now, if not given."""
        self.settings, self.display = settings, display
        self.began = time.monotonic() if began is None else began
        self.space, self.teacher = settings.space, settings.teacher
        settings.limits.check_parameters(self.space, self.teacher)
        self.study = _open_study(settings)
        self.seconds_before = float(self.study.get_value("seconds", 0.0))

    def run(self) -> None:
        """All stages, from wherever the study stands; a report at the end in any case.

        Raises:
            AutoDistillError: Something the user can mend; what is done is kept.
            KeyboardInterrupt: After the report of what is done was written.
        """
        with self.study:
            try:
                self._search()
                self._finish(remeasure=True)
            except KeyboardInterrupt:
                self.display.say("\nstopped; writing up what is done")
                self._finish(remeasure=False)
                raise

    def _search(self) -> None:
        settings, say = self.settings, self.display.say
        say(
            f"[bold]teacher[/]   {escape(self.teacher.name)}: {self.teacher.kind.words}, "
            f"{self.teacher.parameters / 1e6:.1f}M parameters"
        )
        for note in self.teacher.notes:
            say(f"          {escape(note)}")
        if self.teacher.whole is not None:
            for line in self._own_pieces():
                say(f"          {escape(line)}")
        store = tokenised(self.teacher, settings.text, settings.cache_dir, self.display)
        summary = store.summary
        say(
            f"[bold]corpus[/]    {summary.tokens / 1e6:.2f}M tokens of {len(summary.sources)} "
            f"sources; {summary.held_out_documents:,} of {summary.documents:,} documents held out"
        )
        say(f"[bold]space[/]     {escape(self.space.name)}: {self.space.size:,} architectures")
        if faster := advice(jax.default_backend()):
            say(f"[bold]faster[/]    {faster}")
        builder = open_table(settings)
        model = self._profile(builder)
        materials = self._materials(store)
        self._distil_all(builder, model, materials)

    def _own_pieces(self) -> list[str]:
        """What the students' vocabulary costs the teacher, measured once for a run folder."""
        if (lines := self.study.get_value("own_pieces")) is None:
            text = self.settings.text
            with self.display.bar("teacher reads some text in the students' pieces"):
                documents, length = text.documents(), text.passage_length
                lines = own_pieces(self.teacher, documents, sequence_length=length).describe()
            self.study.set_value("own_pieces", lines)
        return lines

    # -- latency ---------------------------------------------------------------

    def _profile(self, builder: TableBuilder) -> LatencyModel:
        """The first table; refuses a latency limit that nothing meets."""
        settings = self.settings
        first = [self._baseline(), smallest(self.space, self.teacher)]
        sample = profile_sample(self.space, settings.samples, seed=settings.seed, first=first)
        with self.display.bar(f"measuring latency on {settings.target.name}") as advance:
            rows = builder.measure(sample, progress=lambda done: advance(done, len(sample)))
        model = fit_latency(builder, self._describe, seed=settings.seed)
        measured = [row.latency_ms for row in rows if row.latency_ms is not None]
        kind = "measured" if settings.target.statistic == "median" else "estimated"
        self.display.say(
            f"[bold]latency[/]   {len(measured)} architectures {kind} on "
            f"{settings.target.device_kind}, {settings.workload}: {min(measured):.2f} to "
            f"{max(measured):.2f} ms; {_cross_validation(model)}"
        )
        if self.study.candidates() or settings.limits.max_latency_ms is None:
            return model
        return self._look_for_feasible(builder, model)

    def _look_for_feasible(self, builder: TableBuilder, model: LatencyModel) -> LatencyModel:
        """Before any training: measure the most hopeful until one meets the limits."""
        settings = self.settings
        for _ in range(MAX_LOOKS):
            hopeful = settings.limits.most_hopeful(
                self.space, self.teacher, model, builder.rows(), seed=settings.seed
            )
            if hopeful is None:
                break
            builder.measure([hopeful])
            model = fit_latency(builder, self._describe, seed=settings.seed)
        settings.limits.check_latency(self.space, self.teacher, builder.rows())
        return model

    def _describe(self, architectures: Sequence[Architecture]) -> np.ndarray:
        return np.hstack([self.space.encode(architectures), self._knowledge(architectures)])

    def _knowledge(self, architectures: Sequence[Architecture]) -> np.ndarray:
        assert self.space.family is not None, "students are built from a space of encoders"
        return encoder_features(
            architectures, family=self.space.family, vocab_size=self.teacher.config.vocab_size
        )

    def _baseline(self) -> Architecture:
        if self.space.baseline is None:
            raise SearchError(f"the space {self.space.name!r} names no baseline; add one to it")
        return self.space.baseline

    # -- materials -------------------------------------------------------------

    def _materials(self, store: object) -> Materials:
        settings = self.settings
        materials = make_materials(
            self.teacher,
            store,  # type: ignore[arg-type]
            settings.text,
            settings.flash,
            cache_dir=settings.cache_dir,
            display=self.display,
        )
        self.study.set_value("corpus", materials.corpus_text)
        self.study.set_value("reference", materials.reference.to_dict())
        self.study.set_value("teacher", materials.teacher_line.to_dict())
        passages = materials.distiller.passages
        self.display.say(
            f"[bold]reference[/] {materials.reference.name}: "
            f"{materials.reference.quality:.3f}; {len(passages):,} passages to learn from, "
            f"{len(materials.distiller.held_out.passages):,} to be judged on"
        )
        return materials

    # -- candidates ------------------------------------------------------------

    def _distil_all(self, builder: TableBuilder, model: LatencyModel, materials: Materials) -> None:
        budget = self.settings.budget
        if not self.study.candidates():
            self._add(self._baseline(), model, builder, role="baseline")
        with self.display.bar("students", budget.students) as advance:
            while True:
                spent = sum(map(took_training, self.study.candidates()))
                advance(spent, budget.students or spent + 1)
                candidate = self._open_candidate()
                is_baseline = candidate is not None and candidate.role == "baseline"
                elapsed = time.monotonic() - self.began
                if not is_baseline and budget.is_spent(spent, elapsed, self._expected_s()):
                    return
                if candidate is None and (misses := self._misses()) >= MAX_MISSES:
                    self.display.say(f"{misses} proposals in a row missed a limit; stopping here")
                    return
                if candidate is None:
                    candidate = self._propose(model, builder)
                if candidate is None:
                    return
                fits = self._measure(candidate, builder)
                model = fit_latency(builder, self._describe, seed=self.settings.seed)
                if fits:
                    self._distil(candidate.number, materials)

    def _open_candidate(self) -> Candidate | None:
        """One that an earlier, killed run left behind."""
        return next((c for c in self.study.candidates() if c.state in OPEN), None)

    def _misses(self) -> int:
        """Proposals since the last one that was fit to be distilled."""
        misses = 0
        for candidate in reversed(self.study.candidates()):
            unmeasured = candidate.state is CandidateState.FAILED and candidate.latency_ms is None
            if candidate.state is not CandidateState.INFEASIBLE and not unmeasured:
                break
            misses += 1
        return misses

    def _expected_s(self) -> float:
        """Seconds that one more student and then the end will take; 0 before the first."""
        seconds = [c.details["seconds"] for c in self.study.candidates() if "seconds" in c.details]
        if not seconds:
            return 0.0
        return float(np.mean(seconds)) + SECONDS_TO_MEASURE_AGAIN * (len(seconds) + 2)

    def _propose(self, model: LatencyModel, builder: TableBuilder) -> Candidate | None:
        settings = self.settings
        search = BayesianSearch(
            self.space,
            n_objectives=2,
            seed=settings.seed,
            features=self._knowledge,
            known={1: model},
            excess=lambda architectures: settings.limits.excess(
                architectures, space=self.space, teacher=self.teacher, model=model
            ),
            n_initial=settings.n_initial,
        )
        architectures, values = history(self.study)
        search.tell(architectures, values)
        if search.is_exhausted:
            self.display.say(f"all {self.space.size} architectures of the space are evaluated")
            return None
        return self._add(search.ask(1)[0], model, builder, role="candidate")

    def _add(
        self, architecture: Architecture, model: LatencyModel, builder: TableBuilder, *, role: str
    ) -> Candidate:
        """Enter one, with what a model that has not seen it predicts."""
        if architecture in builder.known():
            model = fit_latency(
                builder, self._describe, seed=self.settings.seed, without=architecture
            )
        mean, std = model([architecture])
        return self.study.add(
            architecture.to_dict(),
            architecture.id,
            role=role,
            parameters=student_parameters(architecture, self.space, self.teacher),
            predicted_latency_ms=float(mean[0]),
            predicted_latency_std_ms=float(std[0]),
        )

    def _measure(self, candidate: Candidate, builder: TableBuilder) -> bool:
        """Measure one before it is distilled; whether it is within the limits."""
        row = builder.measure([Architecture(candidate.architecture)])[0]
        if row.latency_ms is None:
            self.study.update(
                candidate.number, state=CandidateState.FAILED, error=f"latency: {row.error}"
            )
            return False
        reason = None
        if candidate.role != "baseline":  # what others are compared with may be over
            reason = self.settings.limits.why_over(row.latency_ms, candidate.parameters)
        self.study.update(
            candidate.number,
            state=CandidateState.INFEASIBLE if reason else CandidateState.MEASURED,
            latency_ms=row.latency_ms,
            latency_iqr_ms=row.latency_iqr_ms,
            details={"first_latency_ms": row.latency_ms},
            error=reason,
        )
        if reason:
            self.display.say(f"  {candidate.number:>3}  {reason}; not distilled")
        return reason is None

    def _distil(self, number: int, materials: Materials) -> None:
        candidate = self.study.update(number, state=CandidateState.TRAINING)
        architecture = Architecture(candidate.architecture)
        assert self.space.family is not None, "students are built from a space of encoders"
        config = encoder_config(
            architecture,
            family=self.space.family,
            vocab_size=self.teacher.config.vocab_size,
            pad_token_id=self.teacher.special.pad,
        )
        name = "baseline" if candidate.role == "baseline" else f"student {number}"
        try:
            with self.display.bar(f"distilling {name}", materials.distiller.settings.steps) as bar:
                result = materials.distiller.distil(config, progress=bar)
        except (
            TrainingError,
            jax.errors.JaxRuntimeError,
            np.linalg.LinAlgError,
            MemoryError,
        ) as error:
            why = f"{type(error).__name__}: {str(error)[:300]}"
            self.study.update(number, state=CandidateState.FAILED, error=why)
            self.display.say(f"  {number:>3}  failed: {escape(why)}")
            return
        finally:
            jax.clear_caches()  # each architecture has programs of its own: bounds the memory
        save_student(
            result.student, self.teacher, self.settings.run_dir / "distilled" / str(number)
        )
        self._complete(number, result)

    def _complete(self, number: int, result: Distilled) -> None:
        quality = result.judged.quality
        candidate = self.study.update(
            number,
            state=CandidateState.COMPLETE,
            quality=quality.value,
            quality_se=quality.standard_error if np.isfinite(quality.standard_error) else None,
            details={
                "foretold": result.foretold,
                "agreement": result.judged.agreement,
                "start_quality": result.start.quality.value,
                "untrained_quality": result.untrained.quality.value,
                "losses": result.losses,
                "seconds": result.seconds,
                "compile_s": result.compile_s,
                "tokens_per_s": result.tokens_per_s,
            },
        )
        role = "baseline" if candidate.role == "baseline" else "student"
        self.display.say(
            f"  {number:>3}  {role:<9} {candidate.latency_ms:7.2f} ms   quality "
            f"{quality.value:.3f} ± {quality.standard_error:.3f}   "
            f"(start {result.start.quality.value:.3f}, {result.seconds:.0f} s)"
        )

    # -- the end ---------------------------------------------------------------

    def _finish(self, *, remeasure: bool) -> None:
        finish(
            self.study,
            self.settings,
            self.display,
            self._describe,
            self.columns,
            seconds=self.seconds_before + time.monotonic() - self.began,
            remeasure=remeasure,
        )

    @property
    def columns(self) -> list[str]:
        """Names of what the latency model sees."""
        return [*self.space.columns, *FEATURES]


def _open_study(settings: SearchSettings) -> Study:
    """The study of the run folder, new or continued."""
    folder = settings.run_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        study = Study.open_or_create(
            folder / "study.sqlite", settings.identity(), settings.config()
        )
        text = yaml.safe_dump(settings.config(), sort_keys=False, allow_unicode=True)
        try:
            (folder / "config.yaml").write_text(text, encoding="utf-8")
        except OSError:
            study.close()
            raise
    except OSError as error:
        raise StudyError(
            f"the run folder {folder} cannot be written: {error.strerror or error}; choose another "
            "--run-dir or free some space"
        ) from error
    return study


def _cross_validation(model: LatencyModel) -> str:
    scores = model.surrogate.scores
    if not scores:
        return "too few for cross-validation"
    parts = [f"{name} {100 * (score.mape or 0):.1f}%" for name, score in scores.items()]
    return f"cross-validated error {', '.join(parts)}; {model.surrogate.name} serves"
