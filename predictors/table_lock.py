"""One process at a time writes a table: a lock that dies with its holder.

The lock is the operating system's (``flock``; ``msvcrt.locking`` on Windows) on a
file beside the table, ``<table>.lock``, which holds the holder's process id for the
message to the next one. A killed process leaves that file, but no lock.

The lock is advisory: it keeps out those who ask for it. Readers need not.
"""

import errno
import os
import sys
from contextlib import suppress
from os import PathLike
from typing import Self

from predictors.errors import TableError

_ATTEMPTS = 100  # to lock a file that others keep making and removing


class TableLock:
    """Held from when it is made until ``release``, or until the process ends.

    A child that was forked keeps its parent's lock alive; one that was spawned
    does not.

    Args:
        path: The table, which need not exist yet; links to one table share a lock.

    Raises:
        TableError: Another process, or this one, holds the lock, or the folder or
            its file system takes none.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._file = os.path.realpath(path) + ".lock"
        try:
            self._descriptor: int | None = _acquire(self._file)
        except OSError as error:
            raise TableError(
                f"cannot lock table {path}: {error.strerror}. Check that its folder exists and "
                "may be written, and that its file system has locks"
            ) from error
        if self._descriptor is None:
            raise TableError(
                f"{path} is being written by another process (pid {_holder(self._file)}); "
                "wait for it or choose another file"
            )

    def release(self) -> None:
        """Let others write; does nothing the second time."""
        if self._descriptor is None:
            return
        if sys.platform != "win32":  # which removes no open file
            with suppress(OSError):
                os.unlink(self._file)  # while still locked: nobody else holds this file
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lock_table(path: str | PathLike[str]) -> TableLock:
    """Keep other writers out of a table, as in ``with lock_table(path): ...``.

    Raises:
        TableError: As ``TableLock``.
    """
    return TableLock(path)


def _acquire(file: str) -> int | None:
    """A descriptor that holds the lock, or None where somebody else does."""
    for _ in range(_ATTEMPTS):
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(descriptor):
                os.close(descriptor)
                return None
            if _is_still_there(descriptor, file):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, b"%d\n" % os.getpid())
                return descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it between our open and our lock
    return None


def _is_still_there(descriptor: int, file: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


def _holder(file: str) -> str:
    try:
        with open(file, encoding="ascii", errors="replace") as opened:
            return opened.read().strip() or "unknown"
    except OSError:
        return "unknown"


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # a byte behind the text, which others may so still read

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                return False
            raise
        os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise
        return True
