"""Files that are there whole or not at all, also after a crash or a power cut."""

import os
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file beside ``path``, force it to disk, and rename it to ``path``.

    Raises:
        OSError: It cannot be written; what was there before is kept.
    """
    draft = draft_of(path)
    try:
        draft.write_bytes(content if isinstance(content, bytes) else content.encode())
        force(draft)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    force(path.parent)


def draft_of(path: Path) -> Path:
    """Where this process writes what will be ``path``; one killed meanwhile leaves it."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def is_draft_of(path: Path, of: Path) -> bool:
    """Whether a file is what a process, killed since, was to write ``of`` from."""
    return path.parent == of.parent and path.match(f".{of.name}.*.tmp")


def force(path: Path) -> None:
    """Have what is written to a file, or which files a folder has, reach the disk."""
    try:
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError:
        if not path.is_dir():  # some may not be read, some file systems know no fsync of them
            raise
