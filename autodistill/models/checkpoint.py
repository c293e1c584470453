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
from autodistill.models.product import unfolded_transpose

Weights = Mapping[str, np.ndarray]
Arrays = Weights | Mapping[str, jax.Array]
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
    make: Callable[[nnx.Rngs], ModuleT],
    weights: Arrays,
    *,
    prefix: str = "",
) -> ModuleT:
    """A module whose parameters are ``weights``, each in its dtype; no random number is drawn.

    Args:
        make: The module's constructor, of ``rngs`` alone.
        weights: Arrays by checkpoint name, traced ones too; names the module lacks are
            ignored.
        prefix: What the module's names begin with in the checkpoint.

    Raises:
        TeacherError: A parameter is missing or has another shape.
    """
    definition, state = nnx.split(make(nnx.Rngs(0)))
    leaves = []
    for path, leaf in nnx.to_flat_state(state):
        name = prefix + _checkpoint_name(path)
        if name not in weights:
            raise TeacherError(f"the checkpoint lacks the weight {name!r}")
        value = weights[name]
        expected = leaf.shape[::-1] if _is_transposed(path) else leaf.shape
        if value.shape != expected:
            raise TeacherError(
                f"the weight {name!r} must have shape {expected} by config.json; "
                f"the checkpoint holds {value.shape}"
            )
        value = unfolded_transpose(value) if _is_transposed(path) else value
        leaves.append((path, leaf.replace(jnp.asarray(value))))
    return nnx.merge(definition, nnx.from_flat_state(leaves))


def weights_of(module: nnx.Module) -> dict[str, np.ndarray]:
    """A module's parameters as float32 arrays by checkpoint name."""
    weights = {}
    for path, leaf in nnx.to_flat_state(nnx.state(module, nnx.Param)):
        value = np.asarray(leaf[...], np.float32)
        weights[_checkpoint_name(path)] = value.T if _is_transposed(path) else value
    return weights


def build_encoder(config: EncoderConfig, weights: Arrays) -> Encoder:
    """The encoder of a checkpoint."""
    return build(lambda rngs: Encoder(config, rngs), weights)


def build_head(config: EncoderConfig, weights: Arrays) -> MaskedLMHead:
    """The masked-LM head of a checkpoint."""
    return build(lambda _: MaskedLMHead(config), weights, prefix=HEAD_PREFIX)


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


def read_options(path: Path) -> dict[str, Any]:
    """As ``read_json``, but the file need not be there: then nothing is set."""
    return read_json(path) if path.exists() else {}


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """All tensors of a checkpoint folder, float32, without the family's prefix.

    Reads ``model.safetensors``, or else the shards that
    ``model.safetensors.index.json`` lists.

    Raises:
        TeacherError: No safetensors file, or one that is damaged, cut short or with
            values that are not finite.
    """
    index = folder / "model.safetensors.index.json"
    whole = folder / "model.safetensors"
    shards = [whole] if whole.exists() or not index.exists() else _listed_shards(index)
    weights: dict[str, np.ndarray] = {}
    for path in shards:
        weights |= {_plain_name(name): value for name, value in read_tensors(path).items()}
    return weights


def _listed_shards(index: Path) -> list[Path]:
    listed = read_json(index).get("weight_map")
    names = set(listed.values()) if isinstance(listed, dict) else set()
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise TeacherError(
            f"{index} must map each weight to a file beside it, under 'weight_map'; "
            "download or copy it again"
        )
    return [index.parent / name for name in sorted(names)]


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of one safetensors file, as float32.

    Raises:
        TeacherError: Missing, damaged, cut short, or with values that are not finite.
    """
    if not path.exists():
        hint = ""
        if (path.parent / "pytorch_model.bin").exists():
            hint = "; pytorch_model.bin is a pickle, which is not read: convert it first"
        raise TeacherError(f"{path} is missing{hint}")
    try:
        # The flax reader knows bfloat16, which numpy's does not.
        with safe_open(path, framework="flax") as file:
            tensors = {
                name: np.asarray(file.get_tensor(name), np.float32)
                for name in file.keys()  # noqa: SIM118 - not a mapping
                if not name.endswith("position_ids")
            }
    except (SafetensorError, OSError) as error:
        raise TeacherError(
            f"{path} is not a complete safetensors file ({error}); download or copy it again"
        ) from error
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise TeacherError(
                f"{path}: {name} holds values that are not finite (NaN, or beyond float32); "
                "download or copy it again, or choose another checkpoint"
            )
    return tensors


def _plain_name(name: str) -> str:
    """Without the family's prefix, and with today's names for a layer norm's weights."""
    for prefix in ("bert.", "mobilebert."):
        name = name.removeprefix(prefix)
    # Checkpoints converted from TensorFlow, bert-base-uncased among them.
    for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def count_parameters(weights: Weights | Mapping[str, tuple[int, ...]]) -> int:
    """Number of scalars in arrays or shapes."""
    shapes = (getattr(value, "shape", value) for value in weights.values())
    return int(sum(np.prod(shape, dtype=np.int64) for shape in shapes))


def parameter_count(module: nnx.Module) -> int:
    """Number of scalars in a module's parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))
