"""Compile the served program of an encoder, ahead of time."""

import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental.layout import Format, Layout

from autodistill.models.config import EncoderConfig
from autodistill.profiler.served import lower_for, served_program
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
    serve, shapes, ids_shape = served_program(config, workload)
    start = time.perf_counter()
    program = lower_for(device, serve, (shapes, ids_shape, ids_shape)).compile()
    compile_s = time.perf_counter() - start
    rng = np.random.default_rng(0)

    def filled(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        values = rng.standard_normal(leaf.shape, np.float32) * np.float32(0.02)
        return values.astype(leaf.dtype)

    batch, length = ids_shape.shape
    ids = rng.integers(0, config.vocab_size, (batch, length), np.int32)
    lengths = rng.integers((length + 1) // 2, length + 1, batch)
    lengths[0] = length  # a batch is as long as its longest passage
    mask = (np.arange(length) < lengths[:, None]).astype(np.int32)
    values = (jax.tree.map(filled, shapes), ids, mask)
    arguments = jax.tree.map(_placed, values, program.input_formats[0])
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


def _placed(value: np.ndarray, place: Format) -> jax.Array:
    """On the device, as the program reads it.

    Only a layout that is not row by row is asked for: jax compiles a program, which it
    keeps, for each shape that is put into a layout.
    """
    layout, by_row = place.layout, tuple(range(value.ndim))
    other = isinstance(layout, Layout) and (layout.major_to_minor != by_row or layout.tiling)
    return jax.device_put(value, place if other else place.sharding)
