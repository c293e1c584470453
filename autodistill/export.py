"""Students in Hugging Face's layout: folders that other programs load.

A saved folder is what ``transformers`` calls a checkpoint: ``config.json``,
``model.safetensors`` and the tokenizer. The students of an embedding teacher are
also what sentence-transformers calls a model: ``modules.json`` chains the
encoder, the pooling, a dense layer to the teacher's width and, where the teacher
has it, the normalisation.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save
from tokenizers import models

from autodistill.distill.student import Student
from autodistill.errors import ExportError
from autodistill.models.checkpoint import HEAD_PREFIX, read_options
from autodistill.models.config import BertConfig
from autodistill.teacher import Pooling, Teacher, TeacherKind

POOLING_FOLDER = "1_Pooling"
DENSE_FOLDER = "2_Dense"
NORMALIZE_FOLDER = "3_Normalize"
COPIED_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "special_tokens_map.json")

_POOLING_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
}


def save_student(student: Student, teacher: Teacher, folder: Path) -> None:
    """Write a student, whole or not at all; one that is there already is replaced.

    ``transformers.AutoModel`` loads the folder, ``AutoModelForMaskedLM`` too where
    the student has a head, and ``sentence_transformers.SentenceTransformer`` where
    its teacher is an embedding model; so does ``load_teacher``. None of them finds
    a weight missing or unexpected, with one exception that all checkpoints with a
    head share: ``AutoModel``, which builds the encoder alone, reports the head's
    weights (``cls.*``) as unexpected and, for BERT, those of the pooler as missing.

    ``BertModel`` has a pooler, which students do not train and nothing here serves.
    Without a head it is written as the identity (its output is then the ``tanh`` of
    the first token's state). MobileBERT's pooler needs no weights, and
    ``BertForMaskedLM`` has none.

    Where the teacher's own chain ends in a layer that is not linear, the student's
    dense layer still is: it was fitted to the final vectors.

    Args:
        student: What was distilled.
        teacher: What it was distilled from; gives tokenizer and pooling. The tokenizer
            is that of the student where it has a vocabulary of its own.
        folder: Where to; its parents are made. It must not exist, be empty, or
            hold a checkpoint.

    Raises:
        ExportError: ``folder`` holds something else, or cannot be written.
    """
    folder = Path(folder).resolve()
    partial = folder.with_name(f".{folder.name}.partial")
    replaced = folder.with_name(f".{folder.name}.replaced")
    try:
        _restore(folder, replaced)  # after a run that was killed between two renames
        check_replaceable(folder)
        for leftover in (partial, replaced):
            if leftover.exists():
                shutil.rmtree(leftover)
        partial.mkdir(parents=True)
        try:
            _write_checkpoint(student, partial)
            _write_tokenizer(student, teacher, partial)
            if teacher.kind is TeacherKind.EMBEDDING:
                _write_chain(student, teacher, partial)
            if folder.exists():
                folder.rename(replaced)
            partial.rename(folder)
        except BaseException:
            _restore(folder, replaced)
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise ExportError(
            f"the student cannot be saved in {folder}: {error}. Free disk space or choose a "
            "folder that can be written, then run again"
        ) from error


def _restore(folder: Path, replaced: Path) -> None:
    if replaced.exists() and not folder.exists():
        replaced.rename(folder)


def check_replaceable(folder: Path) -> None:
    """Refuse a folder that holds something else, before anything slow is done for it.

    Raises:
        ExportError: It is there, not empty, and not a checkpoint.
    """
    if not folder.exists():
        return
    is_student = folder.is_dir() and (
        (folder / "config.json").exists() or not any(folder.iterdir())
    )
    if not is_student:
        raise ExportError(
            f"{folder} exists and is not a saved student (it has no config.json), so it is not "
            "replaced; choose another folder or move it away"
        )


def _write_checkpoint(student: Student, folder: Path) -> None:
    config = student.config
    _write_json(folder / "config.json", config.to_hugging_face(masked_lm=student.has_head))
    if student.has_head:
        tensors = {
            name if name.startswith(HEAD_PREFIX) else f"{config.model_type}.{name}": value
            for name, value in student.weights.items()
        }
    else:
        tensors = dict(student.weights)
        if isinstance(config, BertConfig):
            tensors["pooler.dense.weight"] = np.eye(config.hidden_size, dtype=np.float32)
            tensors["pooler.dense.bias"] = np.zeros(config.hidden_size, np.float32)
    _write_tensors(folder / "model.safetensors", tensors)


def _write_tokenizer(student: Student, teacher: Teacher, folder: Path) -> None:
    if teacher.whole is None:
        for name in COPIED_TOKENIZER_FILES:
            if (teacher.folder / name).exists():
                shutil.copyfile(teacher.folder / name, folder / name)
    elif isinstance(teacher.tokenizer.model, models.WordPiece):
        ids = range(teacher.config.vocab_size)
        lines = "".join(f"{teacher.tokenizer.id_to_token(i)}\n" for i in ids)
        (folder / "vocab.txt").write_text(lines, encoding="utf-8")
    if not (folder / "tokenizer.json").exists():
        (folder / "tokenizer.json").write_text(teacher.tokenizer.to_str(), encoding="utf-8")
    longest = student.config.max_position_embeddings
    options = read_options(teacher.folder / "tokenizer_config.json")
    length = _at_most(longest, options.get("model_max_length"))
    if not options or teacher.whole is not None:  # others' options may name other tokens and ids
        options = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{
                f"{role}_token": teacher.tokenizer.id_to_token(token)
                for role, token in asdict(teacher.special).items()
                if token is not None
            },
        }
    options["model_max_length"] = length
    _write_json(folder / "tokenizer_config.json", options)


def _write_chain(student: Student, teacher: Teacher, folder: Path) -> None:
    """The files by which sentence-transformers knows a model."""
    pooling = teacher.pooling or Pooling()
    chain = [("", "Transformer"), (POOLING_FOLDER, "Pooling"), (DENSE_FOLDER, "Dense")]
    if pooling.normalize:
        chain.append((NORMALIZE_FOLDER, "Normalize"))
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(chain)
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n", encoding="utf-8")
    # No prompts: the student regressed vectors of the bare text.
    _write_json(
        folder / "config_sentence_transformers.json",
        {"model_type": "SentenceTransformer", "prompts": {}, "default_prompt_name": None},
    )
    options = read_options(teacher.folder / "sentence_bert_config.json")
    longest = student.config.max_position_embeddings
    _write_json(
        folder / "sentence_bert_config.json",
        {
            "max_seq_length": _at_most(longest, options.get("max_seq_length")),
            # a tokenizer of the student's own says it itself
            "do_lower_case": bool(options.get("do_lower_case")) and teacher.whole is None,
        },
    )
    for path, _ in chain[1:]:
        (folder / path).mkdir()
    hidden, width = student.kernel.shape
    flags = {flag: mode == pooling.mode for mode, flag in _POOLING_FLAGS.items()}
    _write_json(
        folder / POOLING_FOLDER / "config.json",
        {"word_embedding_dimension": hidden, **flags, "pooling_mode_mean_sqrt_len_tokens": False},
    )
    _write_json(
        folder / DENSE_FOLDER / "config.json",
        {
            "in_features": hidden,
            "out_features": width,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )
    _write_tensors(
        folder / DENSE_FOLDER / "model.safetensors",
        {"linear.weight": student.kernel.T, "linear.bias": student.bias},
    )


def _at_most(longest: int, wanted: Any) -> int:
    """The teacher's limit, where it says one and the student has as many positions."""
    return min(longest, wanted) if isinstance(wanted, int) and wanted > 0 else longest


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write_tensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write float32 tensors; safetensors copies memory as it lies, so it must be in order."""
    plain = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    path.write_bytes(save(plain, metadata={"format": "pt"}))
