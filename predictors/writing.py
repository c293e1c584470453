"""Files to be written: whole or not at all, through links, and into devices as they are."""

import errno
import os
import stat
import uuid
from os import PathLike
from pathlib import Path


def write_whole(path: str | PathLike[str], text: str) -> None:
    """Write a new file beside the one that ``path`` leads to, force it to disk, rename it.

    A link stays a link, to the new file. What is there and is no file, such as
    ``/dev/null`` or a pipe, is never replaced: the text is written to it.

    Raises:
        OSError: The file cannot be written; what was there before is kept.
    """
    if _is_special(path):
        with open(path, "w", encoding="utf-8") as device:
            device.write(text)
        return
    real = Path(os.path.realpath(path))
    # A name of its own, and short: the file's may be as long as names can be.
    temporary = real.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, real)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | PathLike[str], *, in_place: bool) -> None:
    """Refuse a path that no file could be written to, before work is done for it.

    Args:
        path: Where something is to be written.
        in_place: Whether a file that is there will be overwritten, not replaced.

    Raises:
        OSError: It is a folder, its own folder is missing, or one may not write there.
    """
    if _is_special(path) or (in_place and os.path.exists(path)):
        _check_access(Path(path), os.W_OK)
        return
    real = Path(os.path.realpath(path))
    os.stat(real.parent)
    _check_access(real.parent, os.W_OK | os.X_OK)


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
