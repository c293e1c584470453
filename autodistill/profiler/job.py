"""A plan carried out: one target, one table, watched while it goes."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from autodistill.errors import ArgumentError
from autodistill.models.config import EncoderConfig
from autodistill.profiler.baselines import BASELINES
from autodistill.profiler.build import TableBuilder, is_begun
from autodistill.profiler.canary import canary_path
from autodistill.profiler.estimate_time import Trial, estimate_time
from autodistill.profiler.plan import Plan, Row
from autodistill.profiler.progress import Progress
from autodistill.profiler.target import Measurement, Target, Workload
from autodistill.profiler.tpu.parts import terms
from autodistill.profiler.tpu.target import CompiledTarget
from autodistill.space import Architecture
from predictors.rows import LatencyRow
from predictors.table import lock_table

CANARY = "TinyBERT4"  # quick to compile, and every table can hold it


@dataclass(frozen=True)
class Job:
    """What to measure, on what, and where to keep it."""

    target: Target
    plan: Plan
    out: Path
    seed: int = 0

    def rows(self) -> dict[Row, LatencyRow]:
        """What the table holds of the plan; nothing is made where there is none.

        Raises:
            ArgumentError: Its name cannot be that of a file.
            TargetError: The file is no such table, or not of this target, these
                workloads or these fields.
        """
        if self._look() is None or is_begun(self.out, self.plan.fields):
            return {}
        return known_rows(self._builder(canary=None), self.plan)

    @contextmanager
    def opened(self) -> Iterator[TableBuilder]:
        """The table, made if there is none, with everybody else locked out.

        Raises:
            ArgumentError: Its folder cannot be made, or its name cannot be that of a
                file.
            TargetError: As ``rows``; or it cannot be made.
            TableError: Another process builds it.
        """
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError(
                f"the folder {self.out.parent} cannot be made: {error.strerror}; choose another "
                "--out"
            ) from error
        there = self._look()
        if there is not None and stat.S_ISDIR(there.st_mode):
            raise ArgumentError(f"--out {self.out} is a folder; give the name of a CSV file")
        with lock_table(self.out):
            yield self._builder(
                canary=BASELINES[CANARY].row(self.plan.fields, self.plan.vocab_size)
            )

    def measure(self, builder: TableBuilder, progress: Progress) -> None:
        """Measure all rows that the table lacks."""
        builder.target = Watched(self.target, progress)
        for workload in self.plan.workloads:
            known = builder.known(workload)
            there = sum(architecture in known for architecture in self.plan.architectures)
            before = progress.done - there
            reach = partial(_reach, progress, before)
            builder.measure(self.plan.architectures, workload, progress=reach)

    def try_out(self) -> Trial:
        """Measure a few of the rows that the table lacks, and keep nothing."""
        known = self.rows()
        todo = self._by_workload(self.plan.todo(known))
        if isinstance(self.target, CompiledTarget):
            afresh = replace(self.target, cache_dir=None)
            programs = _itself if self.target.whole else terms
            there = self._by_workload(known) if self.target.cache_dir else {}
            return estimate_time(
                afresh, todo, programs=programs, there=there, at_once=afresh.processes
            )
        return estimate_time(self.target, todo)

    def _by_workload(self, rows: Iterable[Row]) -> dict[Workload, list[EncoderConfig]]:
        found: dict[Workload, list[EncoderConfig]] = {}
        for architecture, workload in rows:
            found.setdefault(workload, []).append(self.plan.config(architecture))
        return found

    def _look(self) -> os.stat_result | None:
        """What is there; None where nothing is and a table can be named so."""
        try:
            there = _stat(self.out)
            if there is None:
                _stat(canary_path(self.out))  # the longest name beside it
        except OSError as error:
            raise ArgumentError(
                f"--out {self.out} cannot be used: {error.strerror}; choose another"
            ) from error
        return there

    def _builder(self, *, canary: Architecture | None) -> TableBuilder:
        return TableBuilder(
            self.out,
            self.plan.fields,
            target=self.target,
            workloads=self.plan.workloads,
            config_of=self.plan.config,
            seed=self.seed,
            canary=canary,
        )


def known_rows(builder: TableBuilder, plan: Plan) -> dict[Row, LatencyRow]:
    """The rows of a plan that a table holds."""
    return {
        (architecture, workload): row
        for workload in plan.workloads
        for architecture, row in builder.known(workload).items()
        if architecture in set(plan.architectures)
    }


def _stat(path: Path) -> os.stat_result | None:
    """None where nothing is; other errors are raised."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _itself(config: EncoderConfig) -> tuple[EncoderConfig]:
    """The programs of an encoder that is compiled as one."""
    return (config,)


def _reach(progress: Progress, before: int, done: int) -> None:
    progress.reach(before + done)


@dataclass(frozen=True)
class Watched:
    """A target, with a display that hears of each encoder."""

    target: Target
    progress: Progress

    @property
    def name(self) -> str:
        """Of the target."""
        return self.target.name

    @property
    def device_kind(self) -> str:
        """Of the target."""
        return self.target.device_kind

    @property
    def statistic(self) -> str:
        """Of the target."""
        return self.target.statistic

    @property
    def compiler_version(self) -> str:
        """Of the target."""
        return self.target.compiler_version

    def measure(
        self, configs: Sequence[EncoderConfig], workload: Workload
    ) -> Iterator[tuple[int, Measurement | None]]:
        """As the target does."""
        with closing(self.target.measure(configs, workload)) as events:  # type: ignore[type-var]
            for i, measurement in events:
                if measurement is None:
                    self.progress.begin(configs[i])
                else:
                    self.progress.end(configs[i], failed=measurement.latency_ms is None)
                yield i, measurement
