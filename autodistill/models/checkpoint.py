"""Weights in and out: a module's parameters by their Hugging Face names.

Modules carry the attribute names of Hugging Face's, so that a parameter's path
becomes its checkpoint name by one rule: the last part ``kernel`` (transposed),
``scale`` and ``embedding`` are all called ``weight`` there.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open

from autodistill.errors import TeacherError
from autodistill.models.config import EncoderConfig
from autodistill.models.encoder import Encoder
from autodistill.models.heads import MaskedLMHead

Weights = Mapping[str, np.ndarray]
ModuleT = TypeVar("ModuleT", bound=nnx.Module)

HEAD_PREFIX = "cls.predictions."

_LEAF_NAMES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}


def _checkpoint_name(path: tuple[Any, ...]) -> str:
    return ".".join([*(str(part) for part in path[:-1]), _LEAF_NAMES[str(path[-1])]])


def _is_transposed(path: tuple[Any, ...]) -> bool:
    return path[-1] == "kernel"


def weight_shapes(make: Callable[[nnx.Rngs], nnx.Module]) -> dict[str, tuple[int, ...]]:
    """Checkpoint names and shapes of a module's parameters, computing nothing."""
    state = nnx.state(make(nnx.Rngs(0)))
    shapes = {}
    for path, leaf in nnx.to_flat_state(state):
        shape = leaf.shape
        shapes[_checkpoint_name(path)] = shape[::-1] if _is_transposed(path) else shape
    return shapes


def build(
    make: Callable[[nnx.Rngs], ModuleT], weights: Weights, *, dtype: Any = jnp.float32
) -> ModuleT:
    """A module whose parameters are ``weights``; no random number is drawn.

    Args:
        make: The module's constructor, of ``rngs`` alone.
        weights: Arrays by checkpoint name; names the module lacks are ignored.
        dtype: Of the parameters.

    Raises:
        TeacherError: A parameter is missing or has another shape.
    """
    definition, state = nnx.split(make(nnx.Rngs(0)))
    leaves = []
    for path, leaf in nnx.to_flat_state(state):
        name = _checkpoint_name(path)
        if name not in weights:
            raise TeacherError(f"the checkpoint lacks the weight {name!r}")
        value = weights[name].T if _is_transposed(path) else weights[name]
        if value.shape != leaf.shape:
            raise TeacherError(
                f"the weight {name!r} must have shape {leaf.shape} by config.json; "
                f"the checkpoint holds {value.shape}"
            )
        leaves.append((path, leaf.replace(jnp.asarray(value, dtype))))
    return nnx.merge(definition, nnx.from_flat_state(leaves))


def weights_of(module: nnx.Module) -> dict[str, np.ndarray]:
    """A module's parameters as float32 arrays by checkpoint name."""
    weights = {}
    for path, leaf in nnx.to_flat_state(nnx.state(module, nnx.Param)):
        value = np.asarray(leaf[...], np.float32)
        weights[_checkpoint_name(path)] = value.T if _is_transposed(path) else value
    return weights


def build_encoder(config: EncoderConfig, weights: Weights, *, dtype: Any = jnp.float32) -> Encoder:
    """The encoder of a checkpoint."""
    return build(lambda rngs: Encoder(config, rngs), weights, dtype=dtype)


def build_head(config: EncoderConfig, weights: Weights) -> MaskedLMHead:
    """The masked-LM head of a checkpoint."""
    inner = {
        name.removeprefix(HEAD_PREFIX): value
        for name, value in weights.items()
        if name.startswith(HEAD_PREFIX)
    }
    return build(lambda rngs: MaskedLMHead(config, rngs), inner)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        TeacherError: Missing, unreadable, or not a JSON object.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TeacherError(f"{path} is missing: a Hugging Face checkpoint folder has one") from None
    except (OSError, ValueError) as error:
        raise TeacherError(f"{path} cannot be read as JSON ({error}); is it complete?") from error
    if not isinstance(raw, dict):
        raise TeacherError(f"{path} must hold a JSON object; got {type(raw).__name__}")
    return raw


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """All tensors of a checkpoint folder, float32, without the family's prefix.

    Reads ``model.safetensors``, or the shards that
    ``model.safetensors.index.json`` lists.

    Raises:
        TeacherError: No safetensors file, or one that is damaged or cut short.
    """
    index = folder / "model.safetensors.index.json"
    if index.exists():
        shards = sorted(set(read_json(index).get("weight_map", {}).values()))
    else:
        shards = ["model.safetensors"]
    weights: dict[str, np.ndarray] = {}
    for shard in shards:
        path = folder / shard
        if not path.exists():
            hint = ""
            if (folder / "pytorch_model.bin").exists():
                hint = "; pytorch_model.bin is a pickle, which is not read: convert it first"
            raise TeacherError(f"{path} is missing{hint}")
        weights |= _read_shard(path)
    return weights


def _read_shard(path: Path) -> dict[str, np.ndarray]:
    try:
        # The flax reader knows bfloat16, which numpy's does not.
        with safe_open(path, framework="flax") as file:
            return {
                _without_prefix(name): np.asarray(file.get_tensor(name), np.float32)
                for name in file.keys()  # noqa: SIM118 - not a mapping
                if not name.endswith("position_ids")
            }
    except (SafetensorError, OSError) as error:
        raise TeacherError(
            f"{path} is not a complete safetensors file ({error}); download or copy it again"
        ) from error


def _without_prefix(name: str) -> str:
    for prefix in ("bert.", "mobilebert."):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def count_parameters(weights: Weights | Mapping[str, tuple[int, ...]]) -> int:
    """Number of scalars in arrays or shapes."""
    shapes = (getattr(value, "shape", value) for value in weights.values())
    return int(sum(np.prod(shape, dtype=np.int64) for shape in shapes))


def parameter_bytes(module: nnx.Module) -> int:
    """Size of a module's parameters in memory."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))
