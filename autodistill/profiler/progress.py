"""What a person sees while a table is built: one bar, or a line every ten seconds."""

import threading
import time

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from autodistill.models.config import EncoderConfig
from autodistill.notation import duration
from autodistill.profiler.memory import resident_bytes
from autodistill.profiler.table_fields import family_fields, row_of_config
from autodistill.profiler.words import short_row, size

TICK_S = 0.5  # between looks at the memory
LINE_S = 10.0  # between lines where there is no terminal


class Progress:
    """Counts rows, and watches the clock and the memory.

    A thread looks at the memory, as a row may take minutes; it also keeps the
    display moving.

    Args:
        console: Where to write.
        known: Rows that were there already; they take no time.
        total: Rows in all, those included.
    """

    def __init__(self, console: Console, *, known: int, total: int) -> None:
        self.console, self.known, self.total = console, known, total
        self.done = self.failed = 0
        self.peak_bytes = self.resident_bytes = resident_bytes()
        self.began = self._told = time.monotonic()
        self._current: dict[EncoderConfig, None] = {}  # in order of their beginning
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._live = Live(console=console, transient=True, get_renderable=self._bar)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        if self._live.is_started:
            self._live.stop()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def begin(self, config: EncoderConfig) -> None:
        """Work on an encoder begins."""
        with self._lock:
            self._current[config] = None

    def end(self, config: EncoderConfig, *, failed: bool) -> None:
        """An encoder is measured, or has failed."""
        with self._lock:
            self._current.pop(config, None)
            self.failed += failed

    def reach(self, done: int) -> None:
        """So many new rows are in the table."""
        self.done = done

    def line(self) -> str:
        """All that there is to say, in one line."""
        elapsed, current = self.elapsed_s, self._measuring()
        rate = f"{60 * self.done / elapsed:.1f} rows per minute" if self.done else "no rate yet"
        left = (self.total - self.known - self.done) * elapsed / max(self.done, 1)
        parts = (
            f"{self.known + self.done} of {self.total} rows",
            f"{self.failed} failed" if self.failed else "",
            rate,
            f"{duration(left)} left" if self.done else "",
            f"{size(self.resident_bytes)} resident" if self.resident_bytes else "",
            f"measuring {current}" if current else "",
        )
        return ", ".join(part for part in parts if part)

    def _measuring(self) -> str:
        with self._lock:
            current = list(self._current)
        more = f" and {len(current) - 1} more" if len(current) > 1 else ""
        if not current:
            return ""
        row = row_of_config(current[0], family_fields(current[0].model_type))
        return short_row(row) + more

    def _watch(self) -> None:
        while not self._end.wait(TICK_S):
            self.resident_bytes = resident_bytes()
            self.peak_bytes = max(self.peak_bytes, self.resident_bytes)
            if not self.console.is_terminal and time.monotonic() - self._told >= LINE_S:
                self._told = time.monotonic()
                self.console.print(self.line(), highlight=False, soft_wrap=True, markup=False)

    def _bar(self) -> Table:
        table = Table.grid(padding=(0, 1))
        bar = ProgressBar(self.total, self.known + self.done, width=24)
        table.add_row(bar, escape(self.line()))
        return table
