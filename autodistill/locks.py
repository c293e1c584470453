"""Locks on files, among processes: the system's, which end with their process."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO


class HeldError(Exception):
    """Another process has the lock.

    Attributes:
        owner: Its pid as text, or ``unknown``.
    """

    def __init__(self, owner: str) -> None:
        super().__init__(f"held by process {owner}")
        self.owner = owner


def locked_file(path: Path, how: int) -> IO[bytes]:
    """An open file with a lock, made where it is not; the lock ends when it is closed.

    Args:
        path: In a folder that is there.
        how: As ``fcntl.flock`` takes it.

    Raises:
        BlockingIOError: Another has it, and ``how`` has ``LOCK_NB``.
        OSError: The file cannot be opened or locked.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, how)
    except OSError:
        file.close()
        raise
    return file


def own_file(path: Path) -> IO[bytes]:
    """``locked_file`` for this process alone, at once or not at all.

    Raises:
        HeldError: Another process has it.
        OSError: The file cannot be opened or locked.
    """
    try:
        return locked_file(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = path.read_text(encoding="utf-8", errors="replace").strip()
        raise HeldError(owner or "unknown") from None


def sign(file: IO[bytes]) -> None:
    """Note this process in a file that it owns, for the ``HeldError`` of others."""
    with suppress(OSError):  # it serves a message alone
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), str(os.getpid()).encode())
