"""How long a table will take: three of its rows measured, the others scaled.

The smallest, the median and the largest architecture by multiply-adds are
measured, under every workload that has rows to do. The seconds of the others
are read off the straight lines between the three.

Where encoders share programs, and each program is compiled once, the seconds that
the three took are multiplied by how many programs all have over how many the three
have. Fewer programs than are compiled side by side take as long as so many.
"""

import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from autodistill.models.config import EncoderConfig
from autodistill.profiler.target import Measurement, Target, Workload
from autodistill.space.cost import encoder_cost
from autodistill.space.families import OPTIONAL_FIELDS, REQUIRED_FIELDS


@dataclass(frozen=True)
class Trial:
    """What measuring three encoders told.

    Attributes:
        seconds: Estimate for all that is to do.
        measured: What was measured, in order of size.
        failed: How many of these have no latency.
    """

    seconds: float
    measured: tuple[tuple[EncoderConfig, Workload, Measurement], ...]

    @property
    def failed(self) -> int:
        """How many of these have no latency."""
        return sum(measurement.latency_ms is None for _, _, measurement in self.measured)


def estimate_time(
    target: Target,
    todo: Mapping[Workload, Sequence[EncoderConfig]],
    *,
    programs: Callable[[EncoderConfig], Collection[Hashable]] | None = None,
    there: Mapping[Workload, Sequence[EncoderConfig]] | None = None,
    at_once: int = 1,
) -> Trial:
    """Measure up to three encoders of each workload, and scale.

    Args:
        target: Where to measure; nothing is written anywhere.
        todo: What is to do, by workload.
        programs: What an encoder needs that others may need too, where the target
            compiles each such thing once.
        there: Encoders whose programs are compiled already, by workload.
        at_once: How many of these it compiles side by side.
    """
    seconds = 0.0
    measured: list[tuple[EncoderConfig, Workload, Measurement]] = []
    for workload, configs in todo.items():
        if not configs:
            continue
        sizes = [multiply_adds(config) for config in configs]
        chosen = [configs[i] for i in three_of(sizes)]
        passed, spent, found = _clock(target, chosen, workload)
        if programs is None:
            seconds += scaled([multiply_adds(config) for config in chosen], spent, sizes)
        else:
            compiled = _distinct(programs, (there or {}).get(workload, ()))
            left = len(_distinct(programs, configs) - compiled)
            tried = len(_distinct(programs, chosen))
            seconds += passed * (max(at_once, left) if left else 0) / max(at_once, tried)
        measured += [(c, workload, m) for c, m in zip(chosen, found, strict=True)]
    return Trial(seconds, tuple(measured))


def three_of(sizes: Sequence[float]) -> list[int]:
    """Positions of the smallest, the median and the largest; fewer if there are.

    Example:
        >>> three_of([5, 1, 9, 7, 3])
        [1, 0, 2]
    """
    order = sorted(range(len(sizes)), key=lambda i: sizes[i])
    return list(dict.fromkeys((order[0], order[(len(order) - 1) // 2], order[-1])))


def scaled(
    known: Sequence[float],  # sizes, ascending
    seconds: Sequence[float],  # of these
    sizes: Sequence[float],  # of all
) -> float:
    """Seconds of all, read off the straight lines between the known.

    Example:
        >>> scaled([1, 2, 4], [10, 20, 30], [1, 3, 4])
        65.0
    """
    return float(np.interp(sizes, known, seconds).sum())


def multiply_adds(config: EncoderConfig) -> int:
    """Per token, as ``space.cost`` counts them."""
    family = config.model_type
    fields = (*REQUIRED_FIELDS[family], *OPTIONAL_FIELDS[family])
    architecture = {name: getattr(config, name) for name in fields}
    return encoder_cost(architecture, family=family, vocab_size=config.vocab_size).multiply_adds


def _distinct(
    programs: Callable[[EncoderConfig], Collection[Hashable]], configs: Sequence[EncoderConfig]
) -> set[Hashable]:
    return {program for config in configs for program in programs(config)}


def _clock(
    target: Target, configs: Sequence[EncoderConfig], workload: Workload
) -> tuple[float, list[float], list[Measurement]]:
    """Seconds in all, those of each encoder, and what was measured.

    A target that takes turns among its encoders works on all of them from the
    first second to the last: their seconds are shrunk to what really passed
    since the first was begun.
    """
    began: dict[int, float] = {}
    ended: dict[int, float] = {}
    found: dict[int, Measurement] = {}
    start = time.monotonic()
    with closing(target.measure(configs, workload)) as events:  # type: ignore[type-var]
        for i, measurement in events:
            now = time.monotonic()
            if measurement is None:
                began.setdefault(i, now)
            else:
                ended[i], found[i] = now, measurement
    each = [ended[i] - began[i] for i in range(len(configs))]
    end = max(ended.values())
    shrink = min(1.0, (end - min(began.values())) / max(sum(each), 1e-9))
    shrunk = [seconds * shrink for seconds in each]
    return end - start, shrunk, [found[i] for i in range(len(configs))]
