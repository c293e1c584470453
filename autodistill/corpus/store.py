"""Tokens on disk: every document encoded once, then mapped into memory.

A store is a folder of three files, named by the hash of what it was made from:

* ``tokens.bin``: the token ids of all documents, one after another, little-endian
  uint16 where the vocabulary fits, else uint32;
* ``documents.npz``: where each document starts, its name, and its side of the
  split;
* ``summary.json``: counts for display, and the checksums of the other two.

A folder appears under its name only when it is whole. One that has since been
damaged is made again.

Axes:  documents = those with at least one token;  tokens = of all documents.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from autodistill.corpus.document import Document
from autodistill.errors import CorpusError

FORMAT_VERSION = 1

_BATCH_CHARACTERS = 1_000_000  # encoded at once: enough to busy all cores, small in memory

Progress = Callable[[str, float], None]


@dataclasses.dataclass(frozen=True)
class SourceCount:
    """What was read from one source, a package or a file."""

    documents: int
    characters: int
    tokens: int


@dataclasses.dataclass(frozen=True)
class CorpusSummary:
    """What a corpus holds, for display.

    Attributes:
        sources: Source name to counts, in the order first read.
        train_documents, train_tokens: The training side.
        held_out_documents, held_out_tokens: The other side.
    """

    sources: dict[str, SourceCount]
    train_documents: int
    train_tokens: int
    held_out_documents: int
    held_out_tokens: int

    @property
    def documents(self) -> int:
        """Documents on both sides."""
        return self.train_documents + self.held_out_documents

    @property
    def tokens(self) -> int:
        """Tokens on both sides."""
        return self.train_tokens + self.held_out_tokens

    @property
    def characters(self) -> int:
        """Characters that were read."""
        return sum(count.characters for count in self.sources.values())

    def describe(self, most: int = 12) -> str:
        """Write a table, one line per source: the ``most`` largest, the rest as one line."""
        ranked = sorted(self.sources.items(), key=lambda item: -item[1].tokens)
        rows = [(name, c.documents, c.characters, c.tokens) for name, c in ranked[:most]]
        rest = [count for _, count in ranked[most:]]
        if rest:
            rows.append(
                (
                    f"{len(rest)} others",
                    sum(c.documents for c in rest),
                    sum(c.characters for c in rest),
                    sum(c.tokens for c in rest),
                )
            )
        rows.append(("all", self.documents, self.characters, self.tokens))
        width = max(len("source"), *(len(name) for name, *_ in rows))
        lines = [f"{'source':<{width}} {'documents':>10} {'characters':>13} {'tokens':>13}"]
        lines += [f"{n:<{width}} {d:>10,} {c:>13,} {t:>13,}" for n, d, c, t in rows]
        lines.append(
            f"held out: {self.held_out_documents:,} documents, {self.held_out_tokens:,} tokens"
        )
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True, eq=False)
class TokenStore:
    """An encoded corpus, mapped from disk and read-only.

    Attributes:
        tokens: (tokens,) uint16 or uint32, without special tokens.
        offsets: (documents + 1,) int64; document ``i`` is
            ``tokens[offsets[i]:offsets[i + 1]]``, and is never empty.
        held_out: (documents,) bool, the side of the split.
        names: One name per document.
        summary: Counts for display.
        folder: Where the files are.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    held_out: np.ndarray
    names: tuple[str, ...]
    summary: CorpusSummary
    folder: Path

    def document_tokens(self, document: int) -> np.ndarray:
        """Return the token ids of one document, (length,)."""
        return self.tokens[self.offsets[document] : self.offsets[document + 1]]


def prepare(
    documents: Callable[[], Iterable[Document]],
    tokenizer: Tokenizer,
    *,
    cache_dir: str | os.PathLike[str],
    cache_key: str,
    held_out_fraction: float = 0.1,
    expected_characters: float | None = None,
    progress: Progress | None = None,
) -> TokenStore:
    """Encode a corpus, or map the one encoded before.

    A document's side of the split follows from its name alone, so adding
    documents moves no other. Where chance leaves one side empty, the document
    nearest to the boundary goes there.

    Args:
        documents: Called only if the corpus is not in the cache.
        tokenizer: Left as it is; a copy without truncation and padding is used,
            and text that spells a special token is encoded as plain text.
        cache_dir: Holds one folder per corpus; made if missing.
        cache_key: Identifies the documents: ``builtin_fingerprint()`` or
            ``fingerprint(paths)``.
        held_out_fraction: The share of documents held out, between 0 and 1.
        expected_characters: The denominator of ``progress``, where ``documents``
            returns an iterator. Without it, or a list, the share stays 0 till the end.
        progress: Called with a message and the share done, between 0 and 1.

    Returns:
        The corpus, its tokens memory-mapped.

    Raises:
        CorpusError: The documents hold no text, or fewer than two of them do, or
            the cache cannot be written.
        ValueError: ``held_out_fraction`` is not between 0 and 1.
    """
    if not 0.0 < held_out_fraction < 1.0:
        raise ValueError(f"held_out_fraction must lie between 0 and 1; got {held_out_fraction}")
    encoder = _plain_copy(tokenizer)
    folder = Path(cache_dir) / _folder_name(cache_key, encoder, held_out_fraction)
    store = _open(folder)
    if store is None:
        store = _make(folder, documents, encoder, held_out_fraction, expected_characters, progress)
    if progress is not None:
        progress(f"{store.summary.tokens:,} tokens ready", 1.0)
    return store


def _make(
    folder: Path,
    documents: Callable[[], Iterable[Document]],
    encoder: Tokenizer,
    held_out_fraction: float,
    expected_characters: float | None,
    progress: Progress | None,
) -> TokenStore:
    """Build a store beside its place, and move it there when it is whole."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    try:
        _build(building, documents(), encoder, held_out_fraction, expected_characters, progress)
        return _publish(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _plain_copy(tokenizer: Tokenizer) -> Tokenizer:
    """Copy a tokenizer so that it encodes text whole and as nothing but text."""
    encoder = Tokenizer.from_str(tokenizer.to_str())
    encoder.no_truncation()
    encoder.no_padding()
    encoder.encode_special_tokens = True  # "[MASK]" in the text is three plain words
    return encoder


def _folder_name(cache_key: str, encoder: Tokenizer, held_out_fraction: float) -> str:
    parts = [str(FORMAT_VERSION), cache_key, repr(float(held_out_fraction)), encoder.to_str()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _split_position(name: str) -> float:
    """Place a document in [0, 1) by its name, alike on every machine."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


def _split(names: list[str], held_out_fraction: float) -> np.ndarray:  # (documents,) bool
    """Hold out the documents placed below the fraction, at least one and not all."""
    if len(names) < 2:
        raise CorpusError(
            "expected at least 2 documents with text, one to train on and one to hold out; "
            f"got {len(names)}. Add files, or longer ones (from about 5,000 words a file is "
            "read as several documents)"
        )
    position = np.array([_split_position(name) for name in names])
    held_out = position < held_out_fraction
    if not held_out.any():
        held_out[np.argmin(position)] = True
    if held_out.all():
        held_out[np.argmax(position)] = False
    return held_out


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Group documents so that a group holds about ``_BATCH_CHARACTERS``."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _build(
    folder: Path,
    documents: Iterable[Document],
    encoder: Tokenizer,
    held_out_fraction: float,
    expected_characters: float | None,
    progress: Progress | None,
) -> None:
    """Write the three files of a store into an empty folder."""
    if expected_characters is None and isinstance(documents, Sized):
        expected_characters = sum(len(document.text) for document in documents)
    dtype = _dtype(encoder)
    names: list[str] = []
    lengths: list[int] = []
    counts: dict[str, list[int]] = {}  # source -> documents, characters, tokens
    done = 0
    tokens_digest = hashlib.sha256()
    try:
        with (folder / "tokens.bin").open("wb") as stream:
            for batch in _batches(documents):
                encodings = encoder.encode_batch_fast(
                    [document.text for document in batch], add_special_tokens=False
                )
                for document, encoding in zip(batch, encodings, strict=True):
                    done += len(document.text)
                    ids = np.asarray(encoding.ids, dtype)
                    if not ids.size:
                        continue
                    data = ids.tobytes()
                    stream.write(data)
                    tokens_digest.update(data)
                    names.append(document.name)
                    lengths.append(ids.size)
                    count = counts.setdefault(document.source, [0, 0, 0])
                    count[0] += 1
                    count[1] += len(document.text)
                    count[2] += ids.size
                if progress is not None:
                    share = min(done / expected_characters, 0.99) if expected_characters else 0.0
                    progress(f"{sum(lengths):,} tokens", share)
    except OSError as error:
        raise _unwritable(folder, error) from error
    held_out = _split(names, held_out_fraction)
    length = np.array(lengths, np.int64)
    summary = {
        "format_version": FORMAT_VERSION,
        "dtype": dtype.name,
        "sources": {source: dataclasses.asdict(SourceCount(*c)) for source, c in counts.items()},
        "train_documents": int((~held_out).sum()),
        "train_tokens": int(length[~held_out].sum()),
        "held_out_documents": int(held_out.sum()),
        "held_out_tokens": int(length[held_out].sum()),
        "tokens_sha256": tokens_digest.hexdigest(),
    }
    try:
        np.savez(
            folder / "documents.npz",
            offsets=np.concatenate([[0], np.cumsum(length)]).astype(np.int64),
            held_out=held_out,
            names=np.frombuffer(json.dumps(names).encode(), np.uint8),
        )
        summary["documents_sha256"] = _file_sha256(folder / "documents.npz")
        summary["summary_sha256"] = _summary_sha256(summary)
        (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise _unwritable(folder, error) from error


def _publish(building: Path, folder: Path) -> TokenStore:
    """Give a finished folder its name, or use the equal one that another process made first."""
    if folder.exists() and _open(folder) is None:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        building.rename(folder)
    except OSError as error:
        if not folder.exists():
            raise _unwritable(folder.parent, error) from error
    store = _open(folder)
    if store is None:
        raise CorpusError(
            f"expected the corpus just written to {folder} to read back; it does not. "
            "Check the disk, or choose another cache folder"
        )
    return store


def _open(folder: Path) -> TokenStore | None:
    """Map a store, or return None where a file is missing, cut or altered."""
    try:
        summary = json.loads((folder / "summary.json").read_text("utf-8"))
        if (
            summary["summary_sha256"] != _summary_sha256(summary)
            or summary["format_version"] != FORMAT_VERSION
            or summary["documents_sha256"] != _file_sha256(folder / "documents.npz")
            or summary["tokens_sha256"] != _file_sha256(folder / "tokens.bin")
        ):
            return None
        with np.load(folder / "documents.npz", allow_pickle=False) as archive:
            offsets, held_out = archive["offsets"], archive["held_out"]
            names = tuple(json.loads(archive["names"].tobytes()))
        tokens = np.memmap(folder / "tokens.bin", dtype=_stored(summary["dtype"]), mode="r")
        counts = {name: SourceCount(**count) for name, count in summary["sources"].items()}
        sides = ("train_documents", "train_tokens", "held_out_documents", "held_out_tokens")
        return TokenStore(
            tokens=tokens,
            offsets=offsets,
            held_out=held_out,
            names=names,
            summary=CorpusSummary(counts, *(summary[side] for side in sides)),
            folder=folder,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _dtype(encoder: Tokenizer) -> np.dtype:
    """Choose the smallest type that holds every id of the vocabulary."""
    largest = max(encoder.get_vocab(with_added_tokens=True).values(), default=0)
    return _stored("uint16" if largest <= np.iinfo(np.uint16).max else "uint32")


def _stored(name: str) -> np.dtype:
    return np.dtype(name).newbyteorder("<")


def _file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _summary_sha256(summary: dict[str, Any]) -> str:
    rest = {key: value for key, value in summary.items() if key != "summary_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _unwritable(folder: Path, error: OSError) -> CorpusError:
    return CorpusError(
        f"expected to write the encoded corpus to {folder}; the system says: "
        f"{error.strerror or error}. Choose another cache folder"
    )
