"""Compile the served program of an encoder, ahead of time."""

import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autodistill.models.config import EncoderConfig
from autodistill.profiler.served import served_program
from autodistill.profiler.target import Workload


@dataclass(frozen=True)
class CompiledEncoder:
    """A program and arguments for it that already lie on the device."""

    program: Any
    arguments: tuple[Any, ...]
    compile_s: float
    flops: float | None
    bytes_accessed: float | None
    peak_memory_bytes: int | None

    def run(self) -> float:
        """Seconds of one call, until its result is there."""
        start = time.perf_counter()
        jax.block_until_ready(self.program(*self.arguments))
        return time.perf_counter() - start


def compile_encoder(
    config: EncoderConfig, workload: Workload, device: jax.Device
) -> CompiledEncoder:
    """Compile ``token ids, mask -> last hidden states`` for one device.

    Weights are arguments of the program, as when a checkpoint is served. They
    are small random numbers: latency does not depend on them, and exact zeros
    or denormals could be treated specially by hardware.

    Raises:
        TargetError: The workload's passages are longer than the encoder's.
    """
    serve, shapes, _ = served_program(config, workload)
    rng = np.random.default_rng(0)

    def filled(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        values = rng.standard_normal(leaf.shape, np.float32) * 0.02
        return jax.device_put(jnp.asarray(values, leaf.dtype), device)

    state = jax.tree.map(filled, shapes)
    shape = (workload.batch_size, workload.sequence_length)
    ids = rng.integers(0, config.vocab_size, shape, np.int32)
    lengths = rng.integers((shape[1] + 1) // 2, shape[1] + 1, shape[0])
    lengths[0] = shape[1]  # a batch is as long as its longest passage
    mask = (np.arange(shape[1]) < lengths[:, None]).astype(np.int32)
    arguments = (state, jax.device_put(ids, device), jax.device_put(mask, device))

    start = time.perf_counter()
    program = jax.jit(serve).lower(*arguments).compile()
    compile_s = time.perf_counter() - start
    cost = program.cost_analysis() or {}
    memory = program.memory_analysis()
    peak = None
    if memory is not None:
        peak = (
            memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        )
    return CompiledEncoder(
        program, arguments, compile_s, cost.get("flops"), cost.get("bytes accessed"), peak
    )
