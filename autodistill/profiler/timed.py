"""Time encoders on a device that jax sees.

Compilation is apart from the runs, weights and inputs lie on the device, and
each run ends when its result is there. Several encoders are timed in
interleaved rounds, so that a slow moment of the machine falls on all of them
and not on one. Runs go on until the median is known well enough.

References:
    [Conover1999] Practical Nonparametric Statistics, section 3.2: the interval
    of a median from order statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import jax
import numpy as np
from scipy.stats import binom

from autodistill.errors import TargetError
from autodistill.models.config import EncoderConfig
from autodistill.profiler.compiled import CompiledEncoder, compile_encoder
from autodistill.profiler.target import Measurement, Workload

BURST = 5  # timed runs per turn


def median_interval(samples: np.ndarray) -> tuple[float, float]:
    """An interval of the median, at 95% or more, by order statistics [Conover1999].

    Needs no assumption on the distribution: the number of samples below the median
    is binomial. Fewer than six samples cannot give 95%; the interval is then as
    wide as they are.
    """
    ordered = np.sort(samples)
    low = max(int(binom.ppf(0.025, len(ordered), 0.5)) - 1, 0)
    return float(ordered[low]), float(ordered[-1 - low])


@dataclass(frozen=True)
class TimedTarget:
    """A device of this process.

    Attributes:
        name: As in the table.
        platform: jax's name of the platform (``cpu``, ``gpu``, ``tpu``), or None
            for the default one.
        min_repeats: Timed runs at least, unless ``max_seconds`` is up before.
        max_seconds: Timed seconds per encoder at most.
        precision: Stop when the 95% interval of the median is this narrow,
            relative to the median.
    """

    name: str = "local"
    platform: str | None = None
    min_repeats: int = 20
    max_seconds: float = 1.0
    precision: float = 0.02
    statistic: str = field(default="median", init=False)

    @cached_property
    def device(self) -> jax.Device:
        """The device that is timed."""
        try:
            return jax.devices(self.platform)[0]
        except RuntimeError as error:
            seen = sorted({device.platform for device in jax.devices()})
            raise TargetError(
                f"target {self.name!r}: jax sees no {self.platform} device here, only "
                f"{', '.join(seen)}; choose another --target or install jax for that device"
            ) from error

    @cached_property
    def device_kind(self) -> str:
        """The chip's name; a CPU's as the operating system tells it."""
        if self.device.platform == "cpu":
            return f"{_cpu_model()}, {_usable_cores()} cores"
        return self.device.device_kind

    def measure(self, configs: Sequence[EncoderConfig], workload: Workload) -> list[Measurement]:
        """Time several encoders in interleaved rounds."""
        device = self.device
        compiled: dict[int, CompiledEncoder] = {}
        failed: dict[int, Measurement] = {}
        for i, config in enumerate(configs):
            try:
                compiled[i] = compile_encoder(config, workload, device)
                for _ in range(3):
                    compiled[i].run()
            except (jax.errors.JaxRuntimeError, MemoryError) as error:
                compiled.pop(i, None)
                failed[i] = Measurement.failed(error)
        samples = self._rounds(compiled)
        return [
            failed[i] if i in failed else _summary(compiled[i], np.array(samples[i]))
            for i in range(len(configs))
        ]

    def _rounds(self, compiled: dict[int, CompiledEncoder]) -> dict[int, list[float]]:
        """Seconds of each run; the order within a round is shuffled.

        Each turn is a burst, so that an encoder finds its weights where they are
        when it is served steadily, and not where the others left them.
        """
        samples: dict[int, list[float]] = {i: [] for i in compiled}
        open_ = set(compiled)
        rng = np.random.default_rng(0)
        while open_:
            for i in rng.permutation(sorted(open_)):
                compiled[i].run()  # brings its weights back into the caches
                samples[i].extend(compiled[i].run() for _ in range(BURST))
                if self._is_settled(samples[i]):
                    open_.discard(i)
        return samples

    def _is_settled(self, runs: list[float]) -> bool:
        if sum(runs) >= self.max_seconds:
            return True
        if len(runs) < self.min_repeats or len(runs) % 10:  # sorting each time costs too much
            return False
        low, high = median_interval(np.array(runs))
        return high - low <= self.precision * float(np.median(runs))


def _summary(compiled: CompiledEncoder, seconds: np.ndarray) -> Measurement:
    quartiles = np.percentile(seconds * 1e3, [25, 50, 75])
    return Measurement(
        latency_ms=float(quartiles[1]),
        latency_iqr_ms=float(quartiles[2] - quartiles[0]),
        repeats=len(seconds),
        compile_s=compiled.compile_s,
        flops=compiled.flops,
        bytes_accessed=compiled.bytes_accessed,
        peak_memory_bytes=compiled.peak_memory_bytes,
    )


def _cpu_model() -> str:
    """The processor's name as the operating system tells it."""
    import platform
    from pathlib import Path

    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _usable_cores() -> int:
    import os

    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
