"""A teacher cut to a part of its words, for students with a smaller vocabulary of their own.

A student's tokens are matched with the teacher's by their text. The cut teacher
has the student's tokenizer and the rows of its own word table at these tokens. So
it reads the pieces that the student reads, position by position, and its head
scores the words that are kept: a softmax over them is its distribution,
renormalised. Teacher and student then have one vocabulary, and nothing else that
works with them need know.

A word that is split into more pieces, or into an unknown one, is not what the
teacher was trained on: ``distill/own_pieces.py`` says what that costs.

Axes: V = the teacher's tokens, v = the student's; w = word-embedding width.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models

from autodistill.corpus import SpecialTokens
from autodistill.errors import TeacherError
from autodistill.models.checkpoint import HEAD_PREFIX, build_encoder, build_head
from autodistill.teacher.model import Teacher

VOCABULARY_AXES = {
    "embeddings.word_embeddings.weight": 0,  # (V, w)
    f"{HEAD_PREFIX}bias": 0,  # (V,)
    f"{HEAD_PREFIX}decoder.weight": 0,  # (V, w), the word table again
    f"{HEAD_PREFIX}decoder.bias": 0,  # (V,)
    f"{HEAD_PREFIX}dense.weight": 1,  # (hidden - w, V), of MobileBERT
}
MOST_NAMED = 5  # of the tokens that are wrong
ADVICE = "python -m autodistill.teacher vocabulary makes one from a text"


def restrict(teacher: Teacher, tokenizer: Tokenizer) -> Teacher:
    """The teacher with the vocabulary of this tokenizer, which must be a part of its own.

    Args:
        teacher: Left as it is; the result refers to it as ``whole``.
        tokenizer: The student's.

    Raises:
        TeacherError: A token that the teacher lacks, or a special one that the
            tokenizer lacks; no word besides; ids that leave numbers out; texts framed
            otherwise than the teacher's.
    """
    ids = tokenizer.get_vocab(with_added_tokens=True)
    if sorted(ids.values()) != list(range(len(ids))):
        raise TeacherError(
            f"the ids of the {len(ids):,} tokens must be 0 to {len(ids) - 1:,}, each once; the "
            f"lowest is {min(ids.values()):,}, the highest {max(ids.values()):,}"
        )
    tokens = sorted(ids, key=ids.__getitem__)
    _check_tokens(teacher, tokens)
    _check_reading(teacher, tokenizer, ids)
    own = teacher.tokenizer.get_vocab(with_added_tokens=True)
    rows = np.array([own[token] for token in tokens])  # (v,)
    special = SpecialTokens(**{role: ids[token] for role, token in _special(teacher).items()})
    size = teacher.config.vocab_size
    weights = dict(teacher.weights)
    for name, axis in VOCABULARY_AXES.items():
        if name in weights and weights[name].shape[axis] == size:
            weights[name] = np.take(weights[name], rows, axis)
    config = replace(teacher.config, vocab_size=len(tokens), pad_token_id=special.pad)
    digest = hashlib.sha256(f"{teacher.fingerprint} {tokenizer.to_str()}".encode())
    return replace(
        teacher,
        fingerprint=digest.hexdigest()[:16],
        config=config,
        weights=weights,
        encoder=build_encoder(config, weights),
        head=build_head(config, weights) if teacher.head is not None else None,
        tokenizer=tokenizer,
        special=special,
        notes=(*teacher.notes, f"students keep {len(tokens):,} of the teacher's {size:,} tokens"),
        whole=teacher,
    )


def restrict_to_file(teacher: Teacher, path: str | Path) -> Teacher:
    """As ``restrict``, to a vocabulary on disk.

    Args:
        teacher: Left as it is.
        path: A ``vocab.txt`` of one token a line, for a WordPiece teacher, whose
            tokenizer stays as it is in all but its tokens; a ``tokenizer.json``; or a
            folder with either, of which ``tokenizer.json`` is read where both are there.

    Raises:
        TeacherError: It is missing or none of these, or ``restrict`` refuses it.
    """
    file = _find(Path(path))
    try:
        if file.suffix == ".txt":
            tokenizer = _with_tokens(teacher, _read_tokens(file))
        else:
            tokenizer = _read_tokenizer(file)
        return restrict(teacher, tokenizer)
    except TeacherError as error:
        raise TeacherError(f"--vocabulary {file}: {error}") from error


def _find(path: Path) -> Path:
    expected = "a vocab.txt (one token a line), a tokenizer.json, or a folder with either"
    if not os.path.exists(path):
        raise TeacherError(f"--vocabulary takes {expected}; {path} is not there")
    files = [path / "tokenizer.json", path / "vocab.txt"] if path.is_dir() else [path]
    for file in files:
        if os.path.isfile(file) and file.suffix in (".txt", ".json"):
            return file
    got = "a folder with neither" if path.is_dir() else "no file that ends in .txt or .json"
    raise TeacherError(f"--vocabulary takes {expected}; {path} is {got}")


def _read_tokens(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TeacherError(f"cannot be read as UTF-8 text ({error})") from error
    seen: dict[str, int] = {}
    for number, token in enumerate(map(str.rstrip, lines), start=1):
        if not token:
            raise TeacherError(f"line {number} is blank; each line must hold one token")
        if token in seen:
            raise TeacherError(
                f"{token!r} is on line {seen[token]} and again on line {number}; each token must "
                "stand there once"
            )
        seen[token] = number
    return list(seen)


def _read_tokenizer(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise TeacherError(f"cannot be read by the tokenizers library ({error})") from error


def _with_tokens(teacher: Teacher, tokens: Sequence[str]) -> Tokenizer:
    """The teacher's tokenizer with other tokens, numbered in this order."""
    if not isinstance(teacher.tokenizer.model, models.WordPiece):
        kind = type(teacher.tokenizer.model).__name__
        raise TeacherError(
            f"a list of tokens makes a tokenizer for WordPiece alone; {teacher.name} reads with "
            f"{kind}: give a tokenizer.json"
        )
    _check_tokens(teacher, tokens)
    ids = {token: i for i, token in enumerate(tokens)}
    raw = json.loads(teacher.tokenizer.to_str())
    raw["model"]["vocab"] = ids
    raw["added_tokens"] = [
        {**added, "id": ids[added["content"]]}
        for added in raw["added_tokens"]
        if added["content"] in ids
    ]
    if raw["padding"]:
        raw["padding"]["pad_id"] = ids[_special(teacher)["pad"]]
    try:
        _renumber(raw["post_processor"], ids)
    except KeyError as error:
        raise TeacherError(
            f"the teacher frames its texts with {error.args[0]!r}, which is not among the tokens; "
            "add it"
        ) from error
    return Tokenizer.from_str(json.dumps(raw))


def _renumber(post_processor: dict[str, Any] | None, ids: dict[str, int]) -> None:
    """Give the tokens that frame a text their new ids, in the tokenizer's JSON."""
    parts = post_processor or {}
    for part in parts.get("processors", []):
        _renumber(part, ids)
    for token in parts.get("special_tokens", {}).values():  # of TemplateProcessing
        token["ids"] = [ids[name] for name in token["tokens"]]
    for role in {"cls", "sep"} & set(parts):  # of BertProcessing
        parts[role] = [parts[role][0], ids[parts[role][0]]]


def _special(teacher: Teacher) -> dict[str, str]:
    """The special tokens that the teacher has, by their role."""
    names, roles = _names(teacher.tokenizer), asdict(teacher.special).items()
    return {role: names[i] for role, i in roles if i is not None}


def _check_tokens(teacher: Teacher, tokens: Sequence[str]) -> None:
    own = teacher.tokenizer.get_vocab(with_added_tokens=True)
    if unknown := [token for token in tokens if token not in own]:
        raise TeacherError(
            "a student's tokens must be a part of its teacher's; "
            f"{_named(unknown)}, of {len(tokens):,}, {'is' if len(unknown) == 1 else 'are'} not: "
            f"leave out what the teacher does not have ({ADVICE})"
        )
    special = _special(teacher).values()
    if missing := [token for token in special if token not in set(tokens)]:
        raise TeacherError(
            f"the teacher's special tokens {' '.join(special)} must be there; "
            f"{_named(missing)} {'is' if len(missing) == 1 else 'are'} missing: add what is missing"
        )
    if not set(tokens) - set(special):
        raise TeacherError(
            f"it has the special tokens {' '.join(special)} alone; add words ({ADVICE})"
        )


def _check_reading(teacher: Teacher, tokenizer: Tokenizer, ids: dict[str, int]) -> None:
    """Texts must begin and end as the teacher's do, and have the same unknown word."""
    own, theirs = _names(tokenizer), _names(teacher.tokenizer)
    expected = [theirs[i] for i in _framing(teacher.tokenizer)]
    if _framing(tokenizer) != [ids.get(token) for token in expected]:
        got = [own.get(i, "?") for i in _framing(tokenizer)]
        raise TeacherError(
            f"an empty text must be read as {' '.join(expected) or 'nothing'}, as the teacher "
            f"does; got {' '.join(got) or 'nothing'}, of ids {_framing(tokenizer)}: its "
            "post_processor must frame texts as the teacher's does"
        )
    unknown, of_teacher = (
        json.loads(one.to_str())["model"].get("unk_token") for one in (tokenizer, teacher.tokenizer)
    )
    if unknown is not None and unknown != of_teacher:
        raise TeacherError(f"its unk_token must be the teacher's, {of_teacher!r}; got {unknown!r}")


def _names(tokenizer: Tokenizer) -> dict[int, str]:
    return {i: token for token, i in tokenizer.get_vocab(with_added_tokens=True).items()}


def _framing(tokenizer: Tokenizer) -> list[int]:
    bare = Tokenizer.from_str(tokenizer.to_str())
    bare.no_padding()
    bare.no_truncation()
    return list(bare.encode("").ids)


def _named(tokens: Iterable[str]) -> str:
    """The first few in full, the rest as a number."""
    tokens = list(tokens)
    named = ", ".join(map(repr, tokens[:MOST_NAMED]))
    rest = len(tokens) - MOST_NAMED
    return f"{named} and {rest:,} more" if rest > 0 else named
