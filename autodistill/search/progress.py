"""What a person sees while a search runs: a line per stage, a bar with time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int, int], None]


class Display:
    """Prints to one console; bars where it is a terminal, lines where it is not."""

    def __init__(self, console: Console) -> None:
        self.console = console
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

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """A bar for one stage; call what it gives with (done, in all)."""
        task: TaskID = self._progress.add_task(description, total=total)

        def advance(done: int, total: int) -> None:
            self._progress.update(task, completed=done, total=total)

        try:
            yield advance
        finally:
            self._progress.remove_task(task)
