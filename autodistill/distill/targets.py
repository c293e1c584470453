"""Where each phase of a run has the teacher's outputs from: its step, or a cache.

A phase's texts and what its terms read are known before it begins, so the teacher can
run over them once. Phases whose outputs do not fit have it run at every step; the
longest is served first. Entries are of the whole set of a phase's texts: other runs share
those of phases that go over all of the text, and else of phases of the very same steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autodistill.distill.batches import Batches, NumberedTexts
from autodistill.distill.cache_folder import LIMIT, CacheFolder, CacheFullError, gib
from autodistill.distill.kept import FORMAT, Kept, Progress, fill, layouts, reserve
from autodistill.distill.quantities import Quantity
from autodistill.distill.recipe import Planned
from autodistill.errors import ArgumentError, TeacherError
from autodistill.teacher import Teacher


@dataclass(frozen=True)
class CacheSettings:
    """How a run keeps the teacher's outputs.

    Attributes:
        folder: Of the cache.
        limit: Bytes that all its entries may take.
        classes: Of the teacher's distributions over words, the likeliest that are kept.
        copies: Ways in which tokens of a passage are hidden, one pass after the other.
    """

    folder: Path
    limit: int = LIMIT
    classes: int = 64
    copies: int = 4

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ArgumentError(f"--soft-targets must be at least 1; got {self.classes}")
        if self.copies < 1:
            raise ArgumentError(f"--mask-copies must be at least 1; got {self.copies}")


@dataclass(frozen=True)
class PhaseTargets:
    """Where one phase has them from.

    Attributes:
        name: The phase's.
        begin: Steps before it.
        steps: Of it.
        quantities: What is kept; None where the teacher runs at every step.
        kept: On disk; None also where the phase is over.
        why: Why the teacher runs, if it was to be otherwise.
    """

    name: str
    begin: int
    steps: int
    quantities: tuple[Quantity, ...] | None = None
    kept: Kept | None = None
    why: str = ""


@dataclass(frozen=True)
class Targets:
    """Where a run has the teacher's outputs from.

    Attributes:
        batches: Of the run.
        phases: In order.
    """

    batches: Batches
    phases: tuple[PhaseTargets, ...]

    @property
    def all_kept(self) -> bool:
        """Whether no step runs the teacher."""
        return all(phase.quantities is not None for phase in self.phases)

    def batch_at(self, step: int) -> dict[str, np.ndarray]:
        """The batch of a step, with what is kept for it."""
        numbers = self.batches.numbers(step, step + 1)
        batch = self.batches.numbered(numbers)
        phase = next(one for one in self.phases if step < one.begin + one.steps)
        if phase.kept is not None:
            texts = phase.kept.texts
            assert isinstance(texts, NumberedTexts), "of this run"
            batch |= phase.kept.gather(texts.rows(numbers))
        return batch

    def record(self) -> dict[str, Any]:
        """What of all this decides the targets, for the identity of a run."""
        kept = [
            None if phase.quantities is None else [quantity.name for quantity in phase.quantities]
            for phase in self.phases
        ]
        return {"kept": kept, "format": FORMAT, "mask_copies": self.batches.copies}

    def describe(self) -> list[str]:
        """A line for each phase."""
        lines = []
        for one in self.phases:
            if one.quantities is None:
                why = f": {one.why}" if one.why else ""
                lines.append(f"{one.name}: the teacher runs at every step{why}")
            if one.kept is None:
                continue
            texts = len(one.kept.texts)
            times = one.steps * self.batches.size / texts
            names = (
                ", ".join(quantity.name for quantity in one.quantities or ()) or "nothing is read"
            )
            lines.append(
                f"{one.name}: the teacher runs once over {texts:,} texts, each read {times:.1f} "
                f"times; {gib(one.kept.size)} ({names})"
            )
        return lines

    def fill(
        self, *, progress: Progress | None = None, on_wait: Callable[[], None] = lambda: None
    ) -> None:
        """Run the teacher for what is to be kept and is not there.

        Args:
            progress: Called with texts done and texts in all, over all phases.
            on_wait: Called where another process does it, which is waited for.

        Raises:
            TeacherError: The disk refuses.
        """
        groups: dict[str, list[Kept]] = {}
        for phase in self.phases:
            if phase.kept is not None:
                groups.setdefault(phase.kept.texts.digest, []).append(phase.kept)
        before, total = 0, sum(len(group[0].texts) for group in groups.values())
        for group in groups.values():
            further = _further(progress, before, total) if progress else None
            fill(group, progress=further, on_wait=on_wait)
            before += len(group[0].texts)

    def close(self) -> None:
        """Let what is kept be evicted."""
        for phase in self.phases:
            if phase.kept is not None:
                phase.kept.close()


def make_targets(
    teacher: Teacher,
    planned: Sequence[Planned],
    batches: Batches,
    settings: CacheSettings | None,
    *,
    begun: dict[str, Any] | None = None,
    done: int = 0,
) -> Targets:
    """Decide where each phase has them from, and reserve their place; runs no teacher.

    Args:
        teacher: Its outputs.
        planned: The phases.
        batches: Of the run; their copies are set here.
        settings: Of the cache; None for none.
        begun: ``Targets.record`` of an earlier sitting, which this one must go on with.
        done: Steps of earlier sittings; phases that end there read nothing more.

    Raises:
        TeacherError: What an earlier sitting kept can no longer be kept.
    """
    phases = _phases(planned)
    if settings is None:
        return Targets(batches, phases)
    kept_before = begun.get("kept") if begun else None
    if kept_before is not None and len(kept_before) != len(phases):
        kept_before = None  # another run, which the caller will refuse
    static = replace(batches, copies=settings.copies if batches.special else None)
    found: dict[int, PhaseTargets] = {}
    folder = CacheFolder(settings.folder, settings.limit)
    for i in sorted(range(len(phases)), key=lambda i: -phases[i].steps):
        one, quantities = phases[i], _reads(planned[i], settings.classes)
        if kept_before is not None and kept_before[i] is None:
            found[i] = replace(one, why="as when this run began")
            continue
        one = replace(one, quantities=tuple(quantities))
        if begun and one.begin + one.steps <= done:
            found[i] = one
            continue
        texts = NumberedTexts(static, static.all_numbers(one.begin, one.begin + one.steps))
        wanted = layouts(teacher, texts, quantities)
        try:
            found[i] = replace(one, kept=reserve(teacher, texts, wanted, folder))
        except CacheFullError as error:
            needed = gib(sum(layout.size for layout in wanted.values()))
            why = f"its outputs need {needed}, and {error} ({settings.folder})"
            if kept_before is not None:
                raise TeacherError(
                    f"this run began with the teacher's outputs on disk and must go on with them, "
                    f"but of the phase {one.name} {why}; free some space, raise --cache-gib, or "
                    "begin anew in another --out"
                ) from error
            found[i] = replace(one, quantities=None, why=why)
    chosen = tuple(found[i] for i in range(len(phases)))
    any_kept = any(phase.quantities is not None for phase in chosen)
    return Targets(static if any_kept else batches, chosen)


def _further(progress: Progress, before: int, total: int) -> Progress:
    """Progress of one group of texts as that of all, ``before`` of which are done."""
    return lambda done, _: progress(before + done, total)


def _phases(planned: Sequence[Planned]) -> tuple[PhaseTargets, ...]:
    begins = np.cumsum([0, *(one.steps for one in planned)])
    return tuple(
        PhaseTargets(one.name, int(begin), one.steps)
        for one, begin in zip(planned, begins, strict=False)
    )


def _reads(one: Planned, classes: int) -> list[Quantity]:
    """What the terms of a phase read, by name."""
    found = set().union(*(term.reads(one.layers, classes) for _, term in one.stage.terms))
    return sorted(found, key=lambda quantity: quantity.name)
