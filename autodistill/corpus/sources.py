"""Text of the user's own, read from files and folders into documents.

What becomes one document:

* a line of a ``.jsonl`` file, whose field ``text`` is read;
* a plain text file of up to 24,000 characters (4,000 English words);
* a stretch of 12,000 to 30,000 characters (2,000 to 5,000 words) of a longer text
  file, such as a novel or a dump. It ends at a blank line where there is one.
  Without this a corpus of one file could not be split by document.

Files are UTF-8, with or without a byte order mark, with any line endings. Files
ending in ``.gz`` are unpacked while they are read. A document that an earlier one
equals is dropped, so that held-out text is no copy of training text.
"""

import gzip
import hashlib
import json
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO, cast

from autodistill.corpus.document import Document
from autodistill.errors import CorpusError

SUFFIXES = (".txt", ".md", ".rst", ".text", ".tokens", ".jsonl", ".gz")

# Characters: a long file is cut at the first blank line after the one, at the first line end
# after the other; a rest shorter than the first joins the document before it.
_CUT_AT_BLANK = 12_000
_CUT_ANYWHERE = 18_000

_GZIP_RATIO = 3.0  # English text shrinks to about a third


def read_documents(paths: Sequence[str | os.PathLike[str]]) -> Iterator[Document]:
    """Read text files and folders, in the given order, folders by sorted name.

    In a folder, and in its subfolders, files ending in ``SUFFIXES`` are read, and
    empty ones among them passed over. A file named directly is read whatever its
    ending, and must hold text.

    Args:
        paths: Files and folders.

    Returns:
        An iterator that reads as it goes, in memory for one document (for one line,
        where a line is longer). Document names are the file's path from the named
        folder on, then ``#`` and the line or the part.

    Raises:
        CorpusError: At once, a path is missing or is neither file nor folder, or a
            folder holds no text files. While reading, a file is unreadable, not
            UTF-8 text, damaged, or empty, or a line of a ``.jsonl`` is no object
            with a string ``text``; or all files are empty.
    """
    return _unique(_files(paths))


def fingerprint(paths: Sequence[str | os.PathLike[str]]) -> str:
    """Identify the text under ``paths`` by the files' paths, sizes and times of change.

    Raises:
        CorpusError: As ``read_documents`` does at once.
    """
    digest = hashlib.sha256()
    for path, name, _ in _files(paths):
        status = path.stat()
        record = [os.fspath(path.resolve()), name, status.st_size, status.st_mtime_ns]
        digest.update(json.dumps(record).encode())
    return f"files {digest.hexdigest()}"


def expected_characters(paths: Sequence[str | os.PathLike[str]]) -> float:
    """Guess how much text ``paths`` hold from the files' sizes, for a progress bar."""
    return sum(
        path.stat().st_size * (_GZIP_RATIO if _is_packed(path) else 1.0)
        for path, _, _ in _files(paths)
    )


def _files(paths: Sequence[str | os.PathLike[str]]) -> list[tuple[Path, str, bool]]:
    """List (file, document name, whether it was named directly)."""
    if isinstance(paths, (str, os.PathLike)):
        raise TypeError(f"paths must be a sequence of paths; got the single path {paths!r}")
    files: list[tuple[Path, str, bool]] = []
    for path in map(Path, paths):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            raise CorpusError(f"expected text at {path}; there is no such file or folder") from None
        except OSError as error:
            raise _unreadable(path, error) from error
        if stat.S_ISDIR(mode):
            files.extend(_folder_files(path))
        elif stat.S_ISREG(mode):
            files.append((path, path.name, True))
        else:
            raise CorpusError(
                f"expected a file or a folder; {path} is neither. Save the text to a file first"
            )
    if not files:
        raise CorpusError("expected at least one file or folder of text; got an empty list")
    return files


def _folder_files(root: Path) -> list[tuple[Path, str, bool]]:
    """List the text files of one folder, sorted by path."""

    def fail(error: OSError) -> None:
        raise _unreadable(Path(error.filename or root), error) from error

    found: list[Path] = []
    for folder, folders, names in os.walk(root, onerror=fail):
        folders.sort()
        found.extend(
            Path(folder, name) for name in sorted(names) if name.lower().endswith(SUFFIXES)
        )
    if not found:
        raise CorpusError(
            f"expected files ending in {', '.join(SUFFIXES)} under {root}; found none. "
            "Name a file directly to read it whatever its ending"
        )
    base = root.resolve().name
    return [(path, f"{base}/{path.relative_to(root).as_posix()}", False) for path in found]


def _unique(files: list[tuple[Path, str, bool]]) -> Iterator[Document]:
    """Read the files in turn, passing over documents already read."""
    seen: set[bytes] = set()
    for path, name, direct in files:
        empty = True
        for document in _read_file(path, name):
            empty = False
            digest = hashlib.blake2b(document.text.encode(), digest_size=16).digest()
            if digest not in seen:
                seen.add(digest)
                yield document
        if empty and direct:
            raise CorpusError(f"expected text in {path}; the file is empty")
    if not seen:
        raise CorpusError(f"expected text; all {len(files)} files are empty. Name other files")


def _read_file(path: Path, name: str) -> Iterator[Document]:
    """Yield the documents of one file, turning every failure into a CorpusError."""
    source = name.split("/")[0]  # the file or the folder that was named
    unpacked = path.with_suffix("") if _is_packed(path) else path
    lined = unpacked.suffix.lower() == ".jsonl"
    try:
        with _open_text(path) as stream:
            lines = _without_nul(path, stream)
            if lined:
                yield from _json_documents(path, name, source, lines)
            else:
                yield from _text_documents(name, source, lines)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"expected UTF-8 text in {path}; it does not decode ({error.reason}). "
            "Convert it to UTF-8, or leave it out"
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorpusError(
            f"expected whole gzip data in {path}; it is damaged or cut short ({error}). "
            "Fetch or pack it again"
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _open_text(path: Path) -> TextIO:
    if _is_packed(path):
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig"))
    return path.open(encoding="utf-8-sig")


def _without_nul(path: Path, lines: Iterable[str]) -> Iterator[str]:
    """Pass lines on; a NUL character, which no text holds, ends it all."""
    for line in lines:
        if "\0" in line:
            raise CorpusError(
                f"expected text in {path}; it holds NUL characters, so it is binary (or UTF-16). "
                "Convert it to UTF-8 text, or leave it out"
            )
        yield line


def _json_documents(path: Path, name: str, source: str, lines: Iterable[str]) -> Iterator[Document]:
    """Yield one document per line; blank lines and empty texts are passed over."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise CorpusError(
                f"expected a JSON object in {where}; got bad JSON: {error}"
            ) from error
        except RecursionError as error:
            raise CorpusError(
                f"expected a JSON object in {where}; it is nested too deep"
            ) from error
        if not isinstance(record, dict):
            raise CorpusError(
                f"expected a JSON object with a field 'text' in {where}; "
                f"got {type(record).__name__}"
            )
        text = record.get("text")
        if not isinstance(text, str):
            fields = ", ".join(map(repr, record)) or "no fields"
            got = f"'text' of type {type(text).__name__}" if "text" in record else fields
            raise CorpusError(
                f"expected a field 'text' with a string in {where}; got {got}. "
                "Rename the field that holds the text"
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CorpusError(
                f"expected Unicode text in {where}; it holds half of a surrogate pair"
            ) from error
        if text.strip():
            yield Document(f"{name}#{number}", text, source)


def _text_documents(name: str, source: str, lines: Iterable[str]) -> Iterator[Document]:
    """Yield the file as one document, or as parts where it is long."""
    number = 0
    previous = ""
    for part in _parts(lines):
        if previous and len(part) >= _CUT_AT_BLANK:
            yield Document(f"{name}#{number}", previous, source)
            number, previous = number + 1, part
        else:
            previous += part
    if previous.strip():
        yield Document(f"{name}#{number}", previous, source)


def _parts(lines: Iterable[str]) -> Iterator[str]:
    """Yield stretches long enough to be documents, and then the rest."""
    part: list[str] = []
    length = 0
    for line in lines:
        for piece in _pieces(line):
            part.append(piece)
            length += len(piece)
            if length >= (_CUT_ANYWHERE if piece.strip() else _CUT_AT_BLANK):
                yield "".join(part)
                part, length = [], 0
    if part:
        yield "".join(part)


def _pieces(line: str) -> Iterator[str]:
    """Cut a line that is itself as long as a document, at spaces: some dumps are one line."""
    start = 0
    while len(line) - start > _CUT_AT_BLANK:
        space = line.rfind(" ", start, start + _CUT_AT_BLANK)
        end = space + 1 if space > start else start + _CUT_AT_BLANK
        yield line[start:end]
        start = end
    yield line[start:]


def _unreadable(path: Path, error: OSError) -> CorpusError:
    return CorpusError(
        f"expected to read {path}; the system says: {error.strerror or error}. "
        "Check its permissions"
    )
