"""A target that needs no quiet machine: the compiler's own counts, as a time.

The served program is compiled for this machine's CPU; its floating-point
operations and the bytes it touches are divided by fixed rates, the larger of
the two times standing for the program (the roofline of [Williams2009]). The
same program always gives the same figure, on a busy machine too, so that runs
can be repeated exactly. It is an estimate and is labelled so everywhere.

References:
    [Williams2009] Williams, Waterman, Patterson. Roofline: an insightful visual
    performance model for multicore architectures. CACM 52(4).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import jax
import jaxlib

from autodistill.models.config import EncoderConfig
from autodistill.profiler.compiled import compile_encoder
from autodistill.profiler.target import Measurement, Workload


@dataclass(frozen=True)
class RooflineTarget:
    """FLOPs and bytes of the compiled program over nominal rates.

    The default rates are those of a small CPU server, two cores with AVX-512.
    """

    name: str = "cpu-roofline"
    flops_per_s: float = 1.5e11
    bytes_per_s: float = 2e10
    statistic: str = field(default="compiler_estimate", init=False)

    @property
    def device_kind(self) -> str:
        """The rates: estimates at others are not comparable."""
        flops, memory = self.flops_per_s / 1e9, self.bytes_per_s / 1e9
        return f"nominal CPU, {flops:g} GFLOP/s, {memory:g} GB/s"

    @property
    def compiler_version(self) -> str:
        """jaxlib's version: another one may count otherwise."""
        return f"jaxlib {jaxlib.__version__}"

    def measure(
        self, configs: Sequence[EncoderConfig], workload: Workload
    ) -> Iterator[tuple[int, Measurement | None]]:
        """Estimate each encoder from its compiled program; nothing is run."""
        for i, config in enumerate(configs):
            yield i, None
            yield i, self._estimate(config, workload)

    def _estimate(self, config: EncoderConfig, workload: Workload) -> Measurement:
        try:
            compiled = compile_encoder(config, workload, jax.devices("cpu")[0])
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            return Measurement.failed(error)
        if compiled.flops is None or compiled.bytes_accessed is None:
            return Measurement(None, error="the compiler gave no count of flops and bytes")
        seconds = max(compiled.flops / self.flops_per_s, compiled.bytes_accessed / self.bytes_per_s)
        return Measurement(
            latency_ms=seconds * 1e3,
            compile_s=compiled.compile_s,
            flops=compiled.flops,
            bytes_accessed=compiled.bytes_accessed,
            peak_memory_bytes=compiled.peak_memory_bytes,
        )
