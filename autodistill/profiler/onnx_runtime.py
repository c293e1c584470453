"""Time encoders under ONNX Runtime on this machine's CPU.

An encoder with random weights is exported (``onnx_graph.py``), its graph optimised
by ONNX Runtime, its output compared once with jax's, and then timed in turns with
others (``rolling.py``). Inputs and output are bound, so that a run copies nothing.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from autodistill.errors import TargetError
from autodistill.models.config import EncoderConfig
from autodistill.models.encoder import Encoder
from autodistill.profiler.machine import cpu_kind, usable_cores
from autodistill.profiler.onnx_graph import (
    HIDDEN,
    IDS,
    MASK,
    export_encoder,
    load_converter,
    require_packages,
)
from autodistill.profiler.rolling import TimingSettings, interleaved
from autodistill.profiler.served import served_program
from autodistill.profiler.target import Measurement, Workload

if TYPE_CHECKING:
    import onnxruntime

# Largest difference from jax, relative to the largest output. Both sum in float32 in
# their own order: MobileBERT and BERT come within 1e-6. A wrong graph is off by 1e-3 or more.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class OnnxRuntimeTarget:
    """ONNX Runtime's CPU provider, on all usable cores.

    Attributes:
        name: As in the table.
        timing: How often encoders are run, and how many are held at once.
        dtypes: Of the weights, all that it serves.
    """

    dtypes: ClassVar[tuple[str, ...]] = ("float32",)

    name: str = "onnx-cpu"
    timing: TimingSettings = field(default_factory=TimingSettings)
    statistic: str = field(default="median", init=False)

    @cached_property
    def device_kind(self) -> str:
        """The processor's name and cores.

        Raises:
            TargetError: A package that is needed is not installed.
        """
        require_packages("onnxruntime")
        return cpu_kind()

    @cached_property
    def compiler_version(self) -> str:
        """Of what runs the graphs and of what made them."""
        require_packages("onnxruntime")
        return f"onnxruntime {version('onnxruntime')}, jax2onnx {version('jax2onnx')}"

    def measure(
        self, configs: Sequence[EncoderConfig], workload: Workload
    ) -> Iterator[tuple[int, Measurement | None]]:
        """Time encoders in turns; one whose graph disagrees with jax has failed.

        Raises:
            TargetError: At once, where the dtype is not float32, passages are longer
                than an encoder's, or a package that is needed is not installed.
        """
        if workload.dtype not in self.dtypes:
            raise TargetError(
                f"target {self.name!r} serves float32 alone; got dtype {workload.dtype!r}: "
                "choose --dtype float32, or another target"
            )
        for config in configs:
            if workload.sequence_length > config.max_position_embeddings:
                raise TargetError(
                    f"the encoder has {config.max_position_embeddings} positions; it cannot "
                    f"serve passages of {workload.sequence_length} tokens: choose a shorter "
                    "sequence length"
                )
        require_packages("onnxruntime")
        return interleaved(
            lambda i: prepare_session(configs[i], workload),
            len(configs),
            self.timing,
            failures=(OnnxFailure, jax.errors.JaxRuntimeError, MemoryError),
        )


class OnnxFailure(RuntimeError):
    """One encoder cannot be exported, loaded or run, or comes out wrong."""


@dataclass(frozen=True)
class OnnxSession:
    """A session whose inputs and output are bound."""

    session: "onnxruntime.InferenceSession"
    binding: "onnxruntime.IOBinding"
    facts: Measurement

    def run(self) -> float:
        """Seconds of one call."""
        start = time.perf_counter()
        try:
            self.session.run_with_iobinding(self.binding)
        except Exception as error:  # ONNX Runtime's errors have no other base
            raise OnnxFailure(str(error)) from error
        return time.perf_counter() - start

    def output(self) -> np.ndarray:  # (B, L, C)
        """Of the last call."""
        return self.binding.copy_outputs_to_cpu()[0]


def prepare_session(config: EncoderConfig, workload: Workload) -> OnnxSession:
    """Export an encoder, load it, and see that it computes what jax does.

    Raises:
        OnnxFailure: One of the three failed.
        TargetError: A package that is needed is not installed.
    """
    require_packages("onnxruntime")
    with jax.default_device(jax.devices("cpu")[0]):
        encoder = random_encoder(config)
        ids, mask = random_tokens(config, workload)
        session, seconds = _load(encoder, workload)
        width = (workload.batch_size, workload.sequence_length, config.hidden_size)
        facts = Measurement(None, compile_s=seconds, flops=_flops(config, workload))
        ready = OnnxSession(session, _bound(session, ids, mask, width), facts)
        expected = np.asarray(nnx.jit(_serve)(encoder, jnp.asarray(ids), jnp.asarray(mask)))
    ready.run()
    _compare(ready.output(), expected)
    return ready


def random_encoder(config: EncoderConfig) -> Encoder:
    """An encoder whose random weights keep every part of it visible in the output.

    Scales lie near one and products keep the size of what they multiply by half;
    with weights that are all small, the output would hardly depend on the blocks.
    """
    definition, abstract = nnx.split(Encoder(config, nnx.Rngs(0)))
    rng = np.random.default_rng(0)

    def filled(path: tuple[object, ...], shape: tuple[int, ...]) -> jax.Array:
        noise = rng.standard_normal(shape, np.float32)
        kind = path[-1]
        if kind == "scale":
            values = 1 + 0.02 * noise
        elif kind == "kernel":
            values = 0.5 * shape[0] ** -0.5 * noise
        else:
            values = (0.5 if kind == "embedding" else 0.02) * noise
        return jnp.asarray(values, jnp.float32)

    leaves = [
        (path, leaf.replace(filled(path, leaf.shape))) for path, leaf in nnx.to_flat_state(abstract)
    ]
    return nnx.merge(definition, nnx.from_flat_state(leaves))


def random_tokens(config: EncoderConfig, workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask, int32 (B, L); passages fill half of the length or more."""
    rng = np.random.default_rng(0)
    shape = (workload.batch_size, workload.sequence_length)
    ids = rng.integers(0, config.vocab_size, shape, np.int32)
    lengths = rng.integers((shape[1] + 1) // 2, shape[1] + 1, shape[0])
    lengths[0] = shape[1]  # a batch is as long as its longest passage
    return ids, (np.arange(shape[1]) < lengths[:, None]).astype(np.int32)


def _load(encoder: Encoder, workload: Workload) -> "tuple[onnxruntime.InferenceSession, float]":
    """A session, and the seconds to export and load."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 3  # errors; they are raised as well
    load_converter()  # once, and not in the seconds of an encoder
    start = time.perf_counter()
    try:
        model = export_encoder(
            encoder, batch_size=workload.batch_size, sequence_length=workload.sequence_length
        )
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except (TargetError, MemoryError):
        raise
    except Exception as error:  # neither package's errors have another base
        raise OnnxFailure(f"{type(error).__name__}: {error}") from error
    return session, time.perf_counter() - start


def _bound(
    session: "onnxruntime.InferenceSession",
    ids: np.ndarray,
    mask: np.ndarray,
    output_shape: tuple[int, int, int],
) -> "onnxruntime.IOBinding":
    import onnxruntime

    try:
        binding = session.io_binding()
        for name, array in ((IDS, ids), (MASK, mask)):
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
        output = onnxruntime.OrtValue.ortvalue_from_shape_and_type(output_shape, np.float32)
        binding.bind_ortvalue_output(HIDDEN, output)
    except Exception as error:  # ONNX Runtime's errors have no other base
        raise OnnxFailure(f"{type(error).__name__}: {error}") from error
    return binding


def _serve(encoder: Encoder, ids: jax.Array, mask: jax.Array) -> jax.Array:
    return encoder(ids, mask, scan=True)  # compiles in the time of one block


def _flops(config: EncoderConfig, workload: Workload) -> float | None:
    """XLA's count for the served program before any optimisation."""
    serve, weights, ids = served_program(config, workload)
    return (jax.jit(serve).lower(weights, ids, ids).cost_analysis() or {}).get("flops")


def _compare(found: np.ndarray, expected: np.ndarray) -> None:
    """Raise OnnxFailure where the outputs are not the same but for rounding."""
    difference, largest = np.abs(found - expected).max(), np.abs(expected).max()
    if not difference <= TOLERANCE * largest:  # NaN is different too
        raise OnnxFailure(
            f"ONNX Runtime's output differs from jax's by {difference:.2g}, where outputs are "
            f"up to {largest:.2g}; expected rounding alone: the exported graph is wrong"
        )
