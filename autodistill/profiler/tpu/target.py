"""TPUs as latency targets, without one: each encoder's cost from the TPU compiler.

An estimate, and labelled so everywhere: the compiler's cycles of its own scheduled
program over the chip's clock. Nothing is run.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from autodistill.models.config import EncoderConfig
from autodistill.profiler.machine import usable_cores
from autodistill.profiler.target import Measurement, Workload
from autodistill.profiler.tpu.chips import Chip
from autodistill.profiler.tpu.cost import ProgramCost, check_installed, environment
from autodistill.profiler.tpu.parts import Part, terms
from autodistill.profiler.workers import Lost, WorkerSettings, run_tasks


@dataclass(frozen=True)
class Task:
    """A program to compile, in a worker process."""

    part: Part
    workload: Workload
    chip: Chip
    prefetch: bool
    cache_dir: Path | None


def compile_task(task: Task) -> ProgramCost:
    """What a worker does; the compiler is loaded here and nowhere else."""
    from autodistill.profiler.tpu.compiler import compile_part

    return compile_part(
        task.part, task.workload, task.chip, prefetch=task.prefetch, cache_dir=task.cache_dir
    )


@dataclass(frozen=True)
class CompiledTarget:
    """A TPU generation.

    Attributes:
        chip: Which.
        whole: Compile each encoder as one program, all layers unrolled, with the
            compiler's prefetching; slow. By default it is a sum of shared parts.
        processes: That compile at once.
        time_limit_s: For one program.
        cache_dir: Where costs are kept by a digest of the program they are of, for
            other tables and for a build that goes on; not kept, if None.
    """

    chip: Chip
    whole: bool = False
    processes: int = field(default_factory=usable_cores)
    time_limit_s: float = 300.0
    cache_dir: Path | None = None
    statistic: str = field(default="compiler_estimate", init=False)

    @property
    def name(self) -> str:
        """As in a table."""
        return self.chip.name

    @property
    def device_kind(self) -> str:
        """The chip, and how its cost is put together: the two are not comparable."""
        used, had = self.chip.cores
        method = "whole program" if self.whole else "sum of parts, no prefetch"
        return (
            f"{self.chip.name}, {used} of {had} cores, {self.chip.clock_hz / 1e6:.0f} MHz, {method}"
        )

    @cached_property
    def compiler_version(self) -> str:
        """libtpu and its version.

        Raises:
            TargetError: It is not installed.
        """
        return f"libtpu {check_installed()}"

    def measure(
        self, configs: Sequence[EncoderConfig], workload: Workload
    ) -> Iterator[tuple[int, Measurement | None]]:
        """Compile all programs that the encoders consist of, each once.

        Raises:
            TargetError: libtpu is not installed, does not know the chip, or writes
                programs that are not understood; no encoder is at fault.
        """
        check_installed()
        sums = [{Part("encoder", c): 1} if self.whole else terms(c) for c in configs]
        parts = list(dict.fromkeys(part for factors in sums for part in factors))
        users: dict[Part, list[int]] = defaultdict(list)
        for i, factors in enumerate(sums):
            for part in factors:
                users[part].append(i)
        missing = [len(factors) for factors in sums]
        known: dict[Part, ProgramCost | Lost] = {}
        begun: set[int] = set()
        tasks = [Task(p, workload, self.chip, self.whole, self.cache_dir) for p in parts]
        for index, cost in run_tasks(compile_task, tasks, self._settings()):
            known[parts[index]] = cost
            for i in users[parts[index]]:
                if i not in begun:
                    begun.add(i)
                    yield i, None
                missing[i] -= 1
                if not missing[i]:
                    yield i, self._sum({p: (f, known[p]) for p, f in sums[i].items()})

    def _settings(self) -> WorkerSettings:
        return WorkerSettings(
            processes=self.processes, time_limit_s=self.time_limit_s, environment=environment()
        )

    def _sum(self, terms: dict[Part, tuple[int, ProgramCost | Lost]]) -> Measurement:
        costs = []
        for factor, cost in terms.values():
            if isinstance(cost, Lost):
                return Measurement(None, error=cost.reason)
            costs.append((factor, cost))

        def total(name: str) -> float:
            return sum(factor * getattr(cost, name) for factor, cost in costs)

        memory = total("argument_bytes") + total("output_bytes")
        return Measurement(
            latency_ms=total("cycles") / self.chip.clock_hz * 1e3,
            compile_s=sum(cost.compile_s for _, cost in costs),
            flops=total("flops"),
            bytes_accessed=total("bytes_accessed"),
            peak_memory_bytes=int(memory) + max(cost.temporary_bytes for _, cost in costs),
        )
