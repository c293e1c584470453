"""The TPU compiler on a machine without a TPU, and the cost it gives each operation.

libtpu compiles for a described topology; nothing is run. The compiled program is
scheduled, and each operation on it carries the compiler's estimate of its cycles.
Their sum is the program's cost, as a TPU core runs one operation after the other.

Weights are compiled to be read where they are used: of the prefetches that the
compiler would start ahead of time it allows itself 40 at once, by a ranking over
the whole program. With them a program's cost is lower, by up to a quarter, but no longer a
sum over its layers, which alone makes thousands of architectures affordable;
``prefetch`` compiles with them.

Only for processes that had ``cost.environment`` from their start.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.experimental import topologies

from autodistill.errors import TargetError
from autodistill.models.config import MobileBertConfig
from autodistill.models.mobilebert import FeedForward, MobileBertEmbeddings
from autodistill.profiler.served import lower_for, served_program, split_module
from autodistill.profiler.target import Workload
from autodistill.profiler.tpu.chips import Chip
from autodistill.profiler.tpu.cost import CostCache, ProgramCost, check_installed
from autodistill.profiler.tpu.parts import Part

# One option for each generation of the compiler's memories; all chips accept all.
IN_PLACE = {
    f"xla_{memory}_max_outstanding_prefetches": "0"
    for memory in ("tpu_cmem", "vf_vmem", "gf_vmem", "zf_vmem", "msa")
}
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_LOOP = re.compile(r" while\(")


@cache
def described_device(topology: str) -> Any:
    """One device of a described host; libtpu is loaded by the first call.

    Raises:
        TargetError: libtpu does not know the topology.
    """
    try:
        with _silent():
            description = topologies.get_topology_desc(
                platform="tpu", topology_name=topology, chips_per_host_bounds=(1, 1, 1)
            )
    except Exception as error:
        raise TargetError(f"libtpu cannot compile for {topology}: {error}") from error
    return description.devices[0]


@contextmanager
def _silent() -> Iterator[None]:
    """No standard error: libtpu complains there that it finds no TPU."""
    ours = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(ours, 2)
        os.close(ours)


def compile_part(
    part: Part,
    workload: Workload,
    chip: Chip,
    *,
    prefetch: bool = False,
    cache_dir: Path | None = None,
) -> ProgramCost:
    """Compile a part and read its cost, or read it from the cache.

    Args:
        part: What to compile.
        workload: Its batch, length and dtype.
        chip: What for.
        prefetch: Let the compiler prefetch weights, as it does by itself.
        cache_dir: Where costs are kept, if anywhere.

    Raises:
        jax.errors.JaxRuntimeError: The compiler refuses it; for example it needs
            more memory than there is.
        TargetError: libtpu is absent, or its program is not understood.
    """
    options = {} if prefetch else IN_PLACE
    described_device(chip.topology)  # the first loads libtpu, which is no part's time
    start = time.perf_counter()
    lowered = _lower(part, workload, chip)
    cache = CostCache(cache_dir) if cache_dir else None
    digest = _digest(lowered.as_text(), chip, options) if cache else ""
    known = cache.get(digest) if cache else None
    if known is not None:
        return known
    program = lowered.compile(compiler_options=dict(options))
    cost = _cost(program, time.perf_counter() - start)
    if cache:
        cache.put(digest, cost)
    return cost


def _lower(part: Part, workload: Workload, chip: Chip) -> jax.stages.Lowered:
    function, arguments = _PROGRAMS[part.kind](part, workload)
    return lower_for(described_device(chip.topology), function, arguments)


def _digest(program: str, chip: Chip, options: dict[str, str]) -> str:
    parts = (check_installed(), jax.__version__, chip.topology, sorted(options.items()), program)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _encoder(part: Part, workload: Workload) -> tuple[Any, tuple[Any, ...]]:
    serve, weights, ids = served_program(part.config, workload)
    return serve, (weights, ids, ids)


def _networks(part: Part, workload: Workload) -> tuple[Any, tuple[Any, ...]]:
    config, dtype = part.config, jnp.dtype(workload.dtype)
    assert isinstance(config, MobileBertConfig)
    chain = nnx.List([FeedForward(config) for _ in range(config.num_hidden_layers)])
    definition, weights = split_module(chain, dtype)
    shape = (workload.batch_size, workload.sequence_length, config.attention_width)

    def run(weights: nnx.State, x: jax.Array) -> jax.Array:
        for network in nnx.merge(definition, weights):
            x = network(x)
        return x

    return run, (weights, jax.ShapeDtypeStruct(shape, dtype))


def _embeddings(part: Part, workload: Workload) -> tuple[Any, tuple[Any, ...]]:
    config = part.config
    assert isinstance(config, MobileBertConfig)
    module = MobileBertEmbeddings(config, nnx.Rngs(0))
    definition, weights = split_module(module, jnp.dtype(workload.dtype))
    ids = jax.ShapeDtypeStruct((workload.batch_size, workload.sequence_length), jnp.int32)
    return (lambda weights, ids: nnx.merge(definition, weights)(ids, None)), (weights, ids)


_PROGRAMS = {"encoder": _encoder, "networks": _networks, "embeddings": _embeddings}


def _cost(program: Any, compile_s: float) -> ProgramCost:
    counts = program.cost_analysis() or {}
    memory = program.memory_analysis()
    return ProgramCost(
        cycles=scheduled_cycles(program.as_text()),
        flops=counts.get("flops", 0.0),
        bytes_accessed=counts.get("bytes accessed", 0.0),
        argument_bytes=memory.argument_size_in_bytes,
        output_bytes=memory.output_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        compile_s=compile_s,
    )


def scheduled_cycles(text: str) -> int:
    """Sum of the cycles on a scheduled program's main computation.

    Raises:
        TargetError: It has none, or a loop, whose body would count once only.
    """
    entry = text[text.find("\nENTRY ") + 1 :]
    if _LOOP.search(entry):
        raise TargetError("the compiled program has a loop; its cycles cannot be summed")
    cycles = [int(number) for number in _CYCLES.findall(entry)]
    if not cycles:
        raise TargetError(
            "the compiled program carries no estimated cycles; this version of libtpu is not "
            "understood"
        )
    return sum(cycles)
