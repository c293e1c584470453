"""A folder of cached rows, bounded in size, that processes share and that may be damaged.

An entry is a file of equal rows, under a name that says all that decides them. Each
row has a checksum over its bytes, its number and the entry's name. So a row that is
half written, damaged or another entry's is one that is not there, and a process that
is killed leaves an entry from which the next goes on.

The folder's lock is held while entries are opened, made and evicted: moments. An
entry's ``in_use`` is locked, shared, as long as a process has the entry open; what is
evicted, the least recently opened first, is never in use. ``writing`` is locked by
the one process that fills the entry. Locks are the system's, and end with a process.

All sizes are in bytes.
"""

import fcntl
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from autodistill.locks import locked_file

GIB = 2**30
LIMIT = 20 * GIB  # of the folder, if not given
SPARE = GIB  # left free on the disk for others


class CacheFullError(Exception):
    """Entries cannot be kept; the message is the reason, for people."""


@dataclass(frozen=True)
class Layout:
    """What an entry is.

    Attributes:
        name: Of its folder; says all that decides the rows.
        rows: How many.
        dtype: Of a row.
        about: For people who look into the folder.
    """

    name: str
    rows: int
    dtype: np.dtype
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def size(self) -> int:
        """Rows and checksums."""
        return self.rows * (self.dtype.itemsize + 4)


class Entry:
    """An open entry: it is not evicted before it is closed, or the process ends.

    Attributes:
        layout: What it is.
        rows: (rows,) of the layout's dtype, memory-mapped, read only.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        """Open what ``CacheFolder.reserve`` has made."""
        self.layout = layout
        self._in_use = locked_file(folder / "in_use", fcntl.LOCK_SH)
        self._writing = (folder / "writing").open("ab")
        self._rows_file = (folder / "rows").open("r+b", buffering=0)
        self._checks_file = (folder / "checks").open("r+b", buffering=0)
        self.rows: np.ndarray = np.memmap(
            self._rows_file, dtype=layout.dtype, mode="r", shape=(layout.rows,)
        )
        self._name = zlib.crc32(layout.name.encode())
        os.utime(folder / "in_use")

    def sound(self) -> np.ndarray:  # (rows,) bool
        """Which rows are there, whole; reads all of them."""
        kept = np.frombuffer(os.pread(self._checks_file.fileno(), 4 * self.layout.rows, 0), "<u4")
        size = (self.layout.rows, self.layout.dtype.itemsize)
        raw = np.memmap(self._rows_file, dtype=np.uint8, mode="r", shape=size)
        found = (self._check(i, row) for i, row in enumerate(raw))
        return np.fromiter(found, "<u4", self.layout.rows) == kept

    def write(self, row: int, values: np.ndarray) -> None:
        """Put one row, of the layout's dtype, in its place.

        Raises:
            OSError: The disk refuses.
        """
        data = values.tobytes()
        _write_at(self._rows_file, data, row * len(data))
        check = np.array(self._check(row, data), "<u4")
        _write_at(self._checks_file, check.tobytes(), 4 * row)

    @contextmanager
    def writing(self, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Be the one that writes; ``on_wait`` is called if another process does."""
        try:
            fcntl.flock(self._writing, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(self._writing, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._writing, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let it be evicted; ``rows`` can still be read."""
        for file in (self._in_use, self._writing, self._rows_file, self._checks_file):
            file.close()

    def _check(self, row: int, data: Any) -> int:
        """Never 0, which is what a fresh file holds."""
        return zlib.crc32(data, zlib.crc32(row.to_bytes(8, "little"), self._name)) or 1


class CacheFolder:
    """The folder.

    Args:
        path: Made when it is needed. What else lies in it is left alone.
        limit: Of all entries together, when one is made. Where another's larger limit has
            filled it further, a new entry evicts no more than its own size.
    """

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path, self.limit = Path(path), limit

    def reserve(self, layouts: Sequence[Layout]) -> list[Entry]:
        """Open these entries, making room for those that are not there.

        All or none: where they do not fit, nothing is evicted.

        Args:
            layouts: Of different names.

        Raises:
            CacheFullError: They exceed the limit, alone or because what could be evicted
                is in use, or the disk is short or refuses.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with locked_file(self.path / ".lock", fcntl.LOCK_EX):
                return self._reserved(layouts)
        except OSError as error:
            raise CacheFullError(error.strerror or str(error)) from error

    def _reserved(self, layouts: Sequence[Layout]) -> list[Entry]:
        there = [one for one in layouts if _is_there(self.path / one.name, one)]
        missing = [one for one in layouts if one not in there]
        entries = [Entry(self.path / one.name, one) for one in there]
        try:
            for one in missing:  # of a wrong size, or no folder
                _remove(self.path / one.name)
            self._make_room(sum(one.size + len(_described(one)) for one in missing))
            for one in missing:
                _allocate(self.path / one.name, one)
        except (CacheFullError, OSError):
            for entry in entries:
                entry.close()
            for one in missing:
                _remove(self.path / one.name)
            raise
        opened = {entry.layout.name: entry for entry in entries}
        return [opened.get(one.name) or Entry(self.path / one.name, one) for one in layouts]

    def _make_room(self, needed: int) -> None:
        """Evict until ``needed`` more fit; nothing, where they would not even then.

        What lies beyond the limit is there under a larger one, and not to be undone: then
        no more than ``needed`` is evicted for the limit's sake, less where all entries
        that are left are larger.
        """
        if not needed:
            return
        if needed > self.limit:
            raise CacheFullError(self._reason(True, needed))
        sizes = {folder: _size(folder) for folder in self._entries()}
        total = sum(sizes.values())
        over_limit = needed - max(self.limit - total, 0)
        over_disk = needed + SPARE - shutil.disk_usage(self.path).free
        most = needed if total > self.limit else total
        freed = spared = 0
        locks: dict[Path, IO[bytes]] = {}
        try:
            for folder in sorted(sizes, key=_last_opened):
                if freed >= max(over_limit, over_disk):
                    break
                try:
                    lock = locked_file(folder / "in_use", fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                if freed >= over_disk and freed + sizes[folder] > most:
                    lock.close()
                    spared += sizes[folder]
                    continue
                locks[folder] = lock
                freed += sizes[folder]
            short_disk = freed < over_disk
            if short_disk or freed + spared < over_limit:
                raise CacheFullError(self._reason(not short_disk, needed))
            for folder in locks:
                shutil.rmtree(folder)
        finally:
            for lock in locks.values():
                lock.close()

    def _reason(self, limit: bool, needed: int) -> str:
        if limit:
            others = "" if needed > self.limit else ", and other runs use much of it now"
            return f"the cache may hold {gib(self.limit)}{others}"
        free = shutil.disk_usage(self.path).free
        return f"the disk has {gib(free)} free, of which {gib(SPARE)} are left to others"

    def _entries(self) -> list[Path]:
        return [marker.parent for marker in self.path.glob("*/about.json")]


def gib(size: int) -> str:
    """A size for people.

    Example:
        >>> gib(3 * 2**29), gib(5 * 2**20)
        ('1.5 GiB', '5 MiB')
    """
    return f"{size / GIB:,.1f} GiB" if size >= GIB else f"{size / 2**20:,.0f} MiB"


def _is_there(folder: Path, layout: Layout) -> bool:
    sizes = {"rows": layout.rows * layout.dtype.itemsize, "checks": 4 * layout.rows}
    marked = (folder / "about.json").exists()
    try:
        return marked and all((folder / n).stat().st_size == size for n, size in sizes.items())
    except OSError:
        return False


def _remove(path: Path) -> None:
    """What lies there, if anything: an entry's folder, or a file or link in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _allocate(folder: Path, layout: Layout) -> None:
    """Files of an entry, all zeros, their blocks reserved on the disk where it can do so."""
    folder.mkdir()
    (folder / "about.json").write_bytes(_described(layout))
    (folder / "in_use").touch()
    for name, size in (("checks", 4), ("rows", layout.dtype.itemsize)):
        with (folder / name).open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, layout.rows * size)
            else:
                file.truncate(layout.rows * size)


def _described(layout: Layout) -> bytes:
    return (json.dumps(dict(layout.about), indent=2) + "\n").encode()


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def _last_opened(folder: Path) -> float:
    try:
        return (folder / "in_use").stat().st_mtime
    except OSError:
        return 0.0


def _write_at(file: IO[bytes], data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file.fileno(), view, offset)
        view, offset = view[written:], offset + written
