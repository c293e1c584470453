"""Time many programs in turns, some of them open at once.

Timing one program after the other gives each its own moment of the machine: a
slow second falls on one of them alone. Timing all of them in rounds needs all
of them in memory. The window here is between the two: between one round and
the next at most one more program is prepared, which takes seconds, so that the
turns of each lie seconds apart, and no more than ``in_flight`` are held at a time.

Each turn is a short burst after an un-timed call, so that a program finds its weights
where they are when it is served steadily, and not where the others left them. Runs
of one turn resemble each other more than turns do, on a shared machine several times, so
many short turns tell more than few long ones in the same time, and how well a
median is known is judged by the medians of the turns. All turns of a program have
equally many runs, or the fast moments would have more of them.

References:
    [Conover1999] Practical Nonparametric Statistics, section 3.2: the interval
    of a median from order statistics.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from scipy.stats import binom

from autodistill.errors import TargetError
from autodistill.profiler.heartbeat import beat
from autodistill.profiler.target import Measurement

LEAST_RUNS = 3  # of any program, however slow


class Runnable(Protocol):
    """A program that is ready to be run, with its arguments."""

    @property
    def facts(self) -> Measurement:
        """All that is known before it is timed; ``latency_ms`` is None."""

    def run(self) -> float:
        """Seconds of one call, until its result is there."""


@dataclass(frozen=True)
class TimingSettings:
    """When a program has been timed well enough.

    Attributes:
        min_repeats: Timed runs at least, unless ``max_seconds`` is up before.
        min_rounds: Turns at least, likewise; they spread the runs over time.
        max_seconds: Timed seconds after which no turn of a program begins, once it
            has had ``LEAST_RUNS``.
        burst_seconds: The first turn of a program goes on for this long, and for one
            timed run at least; the others have as many runs.
        precision: Stop when the 95% interval of the median of the turns' medians is
            this narrow, relative to it.
        in_flight: Programs that are held at once.
        seed: Fixes the order within the rounds.

    Raises:
        TargetError: A number is out of its range.
    """

    min_repeats: int = 20
    min_rounds: int = 6
    max_seconds: float = 3.0
    burst_seconds: float = 0.02
    precision: float = 0.02
    in_flight: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("min_repeats", "min_rounds", "in_flight"):
            if getattr(self, name) < 1:
                raise TargetError(f"{name} must be at least 1; got {getattr(self, name)}")
        for name in ("max_seconds", "burst_seconds", "precision"):
            if not getattr(self, name) >= 0:
                raise TargetError(f"{name} must not be negative; got {getattr(self, name)}")


def interleaved(
    prepare: Callable[[int], Runnable],
    count: int,
    settings: TimingSettings,
    *,
    failures: tuple[type[Exception], ...] = (MemoryError,),
) -> Iterator[tuple[int, Measurement | None]]:
    """Time ``count`` programs; each is told as soon as it is known and then let go.

    One that fails beside others may have failed for their memory: it is put aside, and
    prepared again once they are done. While it is open, no other is.

    Args:
        prepare: Makes the program of an index; called in order, once for each that
            is not put aside.
        count: Number of programs.
        settings: When one is settled, and how many are held at once.
        failures: Errors of preparing or running a program that end this program
            alone, if it meets one alone; others end everything.

    Yields:
        ``(index, None)`` before the program of that index is prepared for the first
        time, and ``(index, measurement)`` once when it is settled or has failed.
    """
    rng = np.random.default_rng(settings.seed)
    open_: dict[int, _Timing] = {}
    aside: deque[int] = deque()
    alone: int | None = None  # was put aside, and is open again
    upcoming = 0
    while open_ or aside or upcoming < count:
        index = None
        if aside:
            if not open_:
                index = alone = aside.popleft()
        elif upcoming < count and len(open_) < settings.in_flight and alone not in open_:
            index, upcoming = upcoming, upcoming + 1
            yield index, None
        if index is not None:
            failed = None
            try:
                open_[index] = _Timing(prepare(index))
            except failures as error:
                failed = Measurement.failed(error)
            if failed is not None and open_:
                aside.append(index)
            elif failed is not None:
                yield index, failed
        for index in map(int, rng.permutation(sorted(open_))):
            found = None
            try:
                open_[index].turn(settings)
                found = open_[index].summary() if open_[index].is_settled(settings) else None
            except failures as error:
                if len(open_) == 1:
                    found = Measurement.failed(error)
                else:
                    aside.append(index)
            beat()
            if found is not None or index in aside:
                del open_[index]  # frees its memory before anything else happens
            if found is not None:
                yield index, found


def median_interval(samples: np.ndarray) -> tuple[float, float]:
    """An interval of the median, at 95% or more, by order statistics [Conover1999].

    Needs no assumption on the distribution: the number of samples below the median
    is binomial. Fewer than six samples cannot give 95%; the interval is then as
    wide as they are.
    """
    ordered = np.sort(samples)
    low = max(int(binom.ppf(0.025, len(ordered), 0.5)) - 1, 0)
    return float(ordered[low]), float(ordered[-1 - low])


@dataclass
class _Timing:
    """A program with the seconds of its runs so far, and the median of each turn."""

    runnable: Runnable
    seconds: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    total: float = 0.0

    def turn(self, settings: TimingSettings) -> None:
        """One call that brings its weights back into the caches, then timed ones."""
        self.runnable.run()
        burst = [self.runnable.run()]
        if self.medians:
            runs = len(self.seconds) // len(self.medians)
            burst += [self.runnable.run() for _ in range(runs - 1)]
        else:
            while sum(burst) < settings.burst_seconds:
                burst.append(self.runnable.run())
        self.seconds += burst
        self.medians.append(float(np.median(burst)))
        self.total += sum(burst)

    def is_settled(self, settings: TimingSettings) -> bool:
        """Whether the median is known well enough, or the time is up."""
        if self.total >= settings.max_seconds:
            return len(self.seconds) >= LEAST_RUNS
        if len(self.seconds) < settings.min_repeats or len(self.medians) < settings.min_rounds:
            return False
        medians = np.array(self.medians)
        low, high = median_interval(medians)
        return high - low <= settings.precision * float(np.median(medians))

    def summary(self) -> Measurement:
        """Median, spread between the quartiles and number of the runs."""
        quartiles = np.percentile(np.array(self.seconds) * 1e3, [25, 50, 75])
        return replace(
            self.runnable.facts,
            latency_ms=float(quartiles[1]),
            latency_iqr_ms=float(quartiles[2] - quartiles[0]),
            repeats=len(self.seconds),
        )
