"""What a person sees while one model is trained: a bar with time left, and losses."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINES = 10  # of losses, and of what the teacher has read, that stay


class TrainingProgress:
    """A bar where there is a terminal; a tenth of the way, a line of losses, everywhere.

    Args:
        console: Where to.
        steps: In all.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self.console, self.steps = console, steps
        self._begun, self._lines, self._read = False, 0, 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=600.0,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("training", total=steps)

    def __enter__(self) -> "TrainingProgress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def teacher(self, done: int, total: int) -> None:
        """Texts that the teacher has read, and how many it reads."""
        self._progress.update(
            self._task, completed=done, total=total, description="teacher reads the text"
        )
        tenth = done * LINES // total
        if tenth > self._read and not self.console.is_terminal:
            self.console.print(f"  teacher has read {done:,} of {total:,} texts", highlight=False)
        self._read = tenth

    def __call__(self, record: Mapping[str, Any]) -> None:
        """A record of the trainer's."""
        step = int(record["step"])
        if not self._begun:  # steps of an earlier sitting say nothing of the speed
            self._progress.reset(self._task, completed=step, total=self.steps)
            self._begun = True
        self._progress.update(
            self._task,
            completed=step,
            description=f"{record['phase']}, loss {record['loss']:.4g}",
        )
        tenth = step * LINES // self.steps
        if tenth > self._lines:
            self._lines = tenth
            self.console.print(loss_line(record, self.steps), highlight=False, soft_wrap=True)


def loss_line(record: Mapping[str, Any], steps: int) -> str:
    """One record as a line.

    Example:
        >>> loss_line({"step": 5, "phase": "joint", "loss": 2.0, "soft": 4.0}, 10)
        '  step 5 of 10, joint: loss 2 (soft 4)'
    """
    parts = [
        f"{name} {value:.4g}"
        for name, value in record.items()
        if name not in ("step", "phase", "loss")
    ]
    inside = f" ({', '.join(parts)})" if parts else ""
    return (
        f"  step {record['step']:,} of {steps:,}, {record['phase']}: "
        f"loss {record['loss']:.4g}{inside}"
    )
