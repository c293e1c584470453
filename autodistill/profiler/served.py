"""The program that is served: token ids and mask in, last hidden states out.

Weights are arguments, as when a checkpoint is served. Under ``bfloat16`` the
matrices are bfloat16 and the vectors (biases, scales) stay float32: they are added
in float32 anyway, and each one converted is a kernel of its own on a TPU.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.experimental.layout import Format, Layout

from autodistill.errors import TargetError
from autodistill.models.config import EncoderConfig
from autodistill.models.encoder import Encoder
from autodistill.profiler.target import Workload


def served_program(
    config: EncoderConfig, workload: Workload
) -> tuple[Any, nnx.State, jax.ShapeDtypeStruct]:
    """``serve(weights, ids, mask)``, the shapes of its weights, and that of ids and mask.

    Raises:
        TargetError: The workload's passages are longer than the encoder's.
    """
    if workload.sequence_length > config.max_position_embeddings:
        raise TargetError(
            f"the encoder has {config.max_position_embeddings} positions; it cannot serve "
            f"passages of {workload.sequence_length} tokens: choose a shorter sequence length"
        )
    dtype = jnp.dtype(workload.dtype)
    definition, weights = split_module(Encoder(config, nnx.Rngs(0)), dtype)
    ids = jax.ShapeDtypeStruct((workload.batch_size, workload.sequence_length), jnp.int32)

    def serve(weights: nnx.State, ids: jax.Array, mask: jax.Array) -> jax.Array:
        return nnx.merge(definition, weights)(ids, mask).astype(dtype)

    return serve, weights, ids


def split_module(module: nnx.Module, dtype: Any) -> tuple[nnx.GraphDef, nnx.State]:
    """A module without values: its structure, and shapes with the dtypes of serving."""
    definition, shapes = nnx.split(module)

    def served(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, dtype if len(leaf.shape) > 1 else jnp.float32)

    return definition, jax.tree.map(served, shapes)


def lower_for(
    device: jax.Device, function: Callable[..., jax.Array], shapes: tuple[Any, ...]
) -> jax.stages.Lowered:
    """A program for one device, its word table stored row by row.

    A TPU would store a table of odd width column by column, to save padding, and turn
    it around as a whole at every call to look up a few rows.
    """
    sharding = jax.sharding.SingleDeviceSharding(device)
    by_row = Format(Layout((0, 1)), sharding)

    def placed(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    def stored(path: Any, _: Any) -> Any:
        return by_row if "word_embeddings" in jax.tree_util.keystr(path) else sharding

    formats = jax.tree.map_with_path(stored, shapes)
    return jax.jit(function, in_shardings=formats).lower(*jax.tree.map(placed, shapes))
