"""Files to be written: whole or not at all, through links, and into devices as they are."""

import errno
import os
import stat
import uuid
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from predictors.errors import TableError


def write_whole(path: str | PathLike[str], text: str) -> None:
    """Write a new file beside the one that ``path`` leads to, force it to disk, rename it.

    A link stays a link, to the new file. What is there and is no file, such as
    ``/dev/null`` or a pipe, is never replaced: the text is written to it.

    Raises:
        OSError: The file cannot be written; what was there before is kept.
    """
    if _is_special(path):
        with open(path, "w", encoding="utf-8", newline="") as device:
            device.write(text)
        return
    real = Path(os.path.realpath(path))
    # A name of its own, and short: the file's may be as long as names can be.
    temporary = real.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, real)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | PathLike[str]) -> None:
    """Refuse a path that no file could be written to, before work is done for it.

    Raises:
        OSError: It is a folder, its own folder is missing, or one may not write there.
    """
    if _is_special(path):
        _check_access(Path(path), os.W_OK)
        return
    real = Path(os.path.realpath(path))
    os.stat(real.parent)
    _check_access(real.parent, os.W_OK | os.X_OK)


def refuse_loss(
    option: str, path: str | PathLike[str], kept: Mapping[str, Sequence[str | PathLike[str]]]
) -> None:
    """Refuse to write a file that is one of those to be kept, by whatever name or link.

    What is there and is no file, such as ``/dev/null``, cannot be lost.

    Args:
        option: What asks for the file, such as ``--out``, for the message.
        path: Where it will be written; ``check_writable`` has found no fault with it.
        kept: What the command reads, by what it reads it as, such as ``the table``.

    Raises:
        TableError: It is one of them.
    """
    if _is_special(path):
        return
    for argument, files in kept.items():
        for file in files:
            if _is_same(path, file):
                called = "" if os.fspath(file) == os.fspath(path) else f" ({file})"
                raise TableError(
                    f"{option} {path} is read as {argument} too{called}, which would be lost. "
                    f"Give {option} another name"
                )


def _is_same(one: str | PathLike[str], other: str | PathLike[str]) -> bool:
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(one, other)  # hard links
    except OSError:  # one of them is not there
        return False


def _is_special(path: str | PathLike[str]) -> bool:
    """Whether something is there that is neither a file nor a folder."""
    if not os.fspath(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file in it", str(path))
    return not stat.S_ISREG(mode)


def _check_access(path: Path, mode: int) -> None:
    if not os.access(path, mode):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
