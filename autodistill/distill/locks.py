"""Locks on files, among processes: the system's, which end with their process."""

import fcntl
from pathlib import Path
from typing import IO


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
