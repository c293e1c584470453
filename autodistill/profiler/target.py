"""What a latency target is: something that says how long an encoder takes.

A new kind of target (a simulator, another runtime, a remote machine) is one class in one
file with the members of ``Target``, and a line in ``targets.TARGETS`` that names it::

    class Remote:
        name, statistic = "remote", "median"
        device_kind, compiler_version = "board 7", "firmware 1.2"

        def measure(self, configs, workload):
            for i, config in enumerate(configs):
                yield i, None
                yield i, Measurement(ask_the_board(config, workload), repeats=20)

    TARGETS["remote"] = ("timed on the board", Remote)

The command runs it in a process of its own, so it may crash or hang. What it may have
besides: ``timing``, a ``rolling.TimingSettings`` of a frozen dataclass, which
``--precision`` and ``--max-seconds`` then set; ``dtypes``, where it serves not all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from autodistill.errors import TargetError
from autodistill.models.config import EncoderConfig

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Workload:
    """What is served: a batch of token ids in, last hidden states out."""

    batch_size: int = 1
    sequence_length: int = 128
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.sequence_length < 1:
            raise TargetError(
                "batch size and sequence length must be positive; "
                f"got {self.batch_size} and {self.sequence_length}"
            )
        if self.dtype not in DTYPES:
            raise TargetError(f"dtype must be one of {', '.join(DTYPES)}; got {self.dtype!r}")

    def __str__(self) -> str:
        return f"batch {self.batch_size} x {self.sequence_length} tokens, {self.dtype}"


@dataclass(frozen=True)
class Measurement:
    """The cost of one encoder under one workload.

    Attributes:
        latency_ms: Median over ``repeats`` runs, or the compiler's estimate.
        latency_iqr_ms: Spread between the quartiles of the runs.
        repeats: Number of timed runs; 0 for an estimate.
        compile_s: Seconds to trace and compile, apart from any run.
        flops: Floating-point operations of one call, by the compiler's count.
        bytes_accessed: Bytes that one call reads and writes, likewise.
        peak_memory_bytes: Weights, inputs, outputs and temporaries together.
        error: Why there is no latency; then ``latency_ms`` is None.
    """

    latency_ms: float | None
    latency_iqr_ms: float | None = None
    repeats: int = 0
    compile_s: float | None = None
    flops: float | None = None
    bytes_accessed: float | None = None
    peak_memory_bytes: int | None = None
    error: str = ""

    @classmethod
    def failed(cls, error: Exception) -> "Measurement":
        """What there is to say of an encoder that could not be compiled or run."""
        return cls(None, error=" ".join(f"{type(error).__name__}: {error}".split())[:300])


class Target(Protocol):
    """Measures encoders. Members of one target are comparable with each other."""

    @property
    def name(self) -> str:
        """As in the table's ``target`` column."""

    @property
    def device_kind(self) -> str:
        """The machine itself; rows of different kinds are not comparable."""

    @property
    def statistic(self) -> str:
        """``median`` of timed runs, or ``compiler_estimate``."""

    @property
    def compiler_version(self) -> str:
        """What compiled the programs, with its version, as in the table."""

    def measure(
        self, configs: Sequence[EncoderConfig], workload: Workload
    ) -> Iterator[tuple[int, Measurement | None]]:
        """Measure encoders, in any order, each told as soon as it is known.

        Yields:
            ``(index, None)`` when work on that encoder begins, and ``(index,
            measurement)`` once when it is done; one that fails is a measurement
            with ``error``.
        """


def measure_all(
    target: Target, configs: Sequence[EncoderConfig], workload: Workload
) -> list[Measurement]:
    """One measurement per encoder, in the order given."""
    found = {i: one for i, one in target.measure(configs, workload) if one is not None}
    return [found[i] for i in range(len(configs))]
