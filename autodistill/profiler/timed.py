"""Time encoders on a device that jax sees.

Compilation is apart from the runs, weights and inputs lie on the device, and
each run ends when its result is there. How often each is run, and in what
order, is in ``rolling.py``.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import jax
import jaxlib

from autodistill.errors import TargetError
from autodistill.models.config import EncoderConfig
from autodistill.profiler.compiled import CompiledEncoder, compile_encoder
from autodistill.profiler.machine import cpu_kind
from autodistill.profiler.rolling import TimingSettings, interleaved
from autodistill.profiler.target import Measurement, Workload

_NO_DEVICE = (RuntimeError, AssertionError)  # jax's, the second where it lacks the plugin


@dataclass(frozen=True)
class TimedTarget:
    """A device of this process.

    Attributes:
        name: As in the table.
        platform: jax's name of the platform (``cpu``, ``gpu``, ``tpu``), or None
            for the default one.
        timing: How often encoders are run, and how many are held at once.
    """

    name: str = "local"
    platform: str | None = None
    timing: TimingSettings = field(default_factory=TimingSettings)
    statistic: str = field(default="median", init=False)

    @cached_property
    def device(self) -> jax.Device:
        """The device that is timed."""
        try:
            return jax.devices(self.platform)[0]
        except _NO_DEVICE as error:
            raise TargetError(
                f"target {self.name!r}: jax sees no {self.platform or 'default'} device here, "
                f"{_what_is_seen()}; choose another --target or install jax for that device"
            ) from error

    @cached_property
    def device_kind(self) -> str:
        """The chip's name; a CPU's as the operating system tells it."""
        if self.device.platform == "cpu":
            return cpu_kind()
        return self.device.device_kind

    @cached_property
    def compiler_version(self) -> str:
        """jaxlib's version, and the device's own compiler where it has one."""
        version = f"jaxlib {jaxlib.__version__}"
        if self.device.platform == "cpu":
            return version
        return " ".join(f"{version}, {self.device.client.platform_version}".split())

    def measure(
        self, configs: Sequence[EncoderConfig], workload: Workload
    ) -> Iterator[tuple[int, Measurement | None]]:
        """Time encoders in turns, some of them open at once."""
        device = self.device
        return interleaved(
            lambda i: _Compiled(compile_encoder(configs[i], workload, device)),
            len(configs),
            self.timing,
            failures=(jax.errors.JaxRuntimeError, MemoryError),
        )


def _what_is_seen() -> str:
    """The other platforms, or why there are none."""
    try:
        return "only " + ", ".join(sorted({device.platform for device in jax.devices()}))
    except _NO_DEVICE:
        return f"and no other, as JAX_PLATFORMS is {os.environ.get('JAX_PLATFORMS')!r}: unset that"


@dataclass(frozen=True)
class _Compiled:
    """A compiled encoder as something to be timed."""

    encoder: CompiledEncoder

    @property
    def facts(self) -> Measurement:
        return Measurement(
            None,
            compile_s=self.encoder.compile_s,
            flops=self.encoder.flops,
            bytes_accessed=self.encoder.bytes_accessed,
            peak_memory_bytes=self.encoder.peak_memory_bytes,
        )

    def run(self) -> float:
        return self.encoder.run()
