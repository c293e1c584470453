"""The folder of cached rows: nothing damaged is believed, nothing in use is evicted."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from autodistill.distill import cache_folder
from autodistill.distill.cache_folder import CacheFolder, CacheFullError, Entry, Layout

ROOT = Path(__file__).parents[2]
DTYPE = np.dtype([("values", "<f2", (3, 4)), ("scale", "<f4")])  # 28 bytes, and 4 of checksum
DESCRIBED = 3  # bytes of what describes one to people
BIG = 10_000  # far more than the entries of these tests


def layout(name: str = "entry", rows: int = 5) -> Layout:
    return Layout(name, rows, DTYPE)


def values(rows: int, seed: int = 0) -> np.ndarray:
    found = np.zeros(rows, DTYPE)
    random = np.random.default_rng(seed)
    found["values"] = random.standard_normal((rows, 3, 4))
    found["scale"] = random.standard_normal(rows)
    return found


def filled(folder: CacheFolder, one: Layout, seed: int = 0) -> Entry:
    (entry,) = folder.reserve([one])
    for row, value in enumerate(values(one.rows, seed)):
        entry.write(row, value)
    return entry


def names(folder: CacheFolder) -> set[str]:
    return {path.name for path in folder.path.iterdir() if path.is_dir()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CacheFolder:
    monkeypatch.setattr(cache_folder, "SPARE", 0)
    return CacheFolder(tmp_path / "cache", BIG)


# -- rows --------------------------------------------------------------------


def test_cache_rows_are_there_once_they_are_written(folder) -> None:
    (entry,) = folder.reserve([layout()])
    assert not entry.sound().any()
    expected = values(5)
    entry.write(3, expected[3])
    assert entry.sound().tolist() == [False, False, False, True, False]
    assert entry.rows[3] == expected[3]
    entry.close()
    (again,) = folder.reserve([layout()])
    assert again.sound().tolist() == [False, False, False, True, False]
    assert again.rows[3] == expected[3]


def test_cache_a_row_of_zeros_is_told_from_one_that_is_not_there(folder) -> None:
    (entry,) = folder.reserve([layout()])
    entry.write(1, np.zeros(1, DTYPE)[0])
    assert entry.sound().tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("name", ["rows", "checks"])
def test_cache_a_changed_byte_costs_its_row(folder, name) -> None:
    filled(folder, layout()).close()
    path = folder.path / "entry" / name
    whole = path.read_bytes()
    size = len(whole) // 5
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        (entry,) = folder.reserve([layout()])
        assert np.flatnonzero(~entry.sound()).tolist() == [place // size]
        entry.close()


def test_cache_rows_in_each_others_places_are_not_believed(folder) -> None:
    filled(folder, layout()).close()
    for name in ("rows", "checks"):
        path = folder.path / "entry" / name
        data = np.fromfile(path, np.uint8).reshape(5, -1)
        data[[1, 3]] = data[[3, 1]]
        data.tofile(path)
    (entry,) = folder.reserve([layout()])
    assert np.flatnonzero(~entry.sound()).tolist() == [1, 3]


def test_cache_another_entrys_files_are_not_believed(folder) -> None:
    filled(folder, layout()).close()
    shutil.copytree(folder.path / "entry", folder.path / "other")
    (entry,) = folder.reserve([layout("other")])
    assert not entry.sound().any()


@pytest.mark.parametrize("name", ["rows", "checks", "about.json"])
@pytest.mark.parametrize("damage", ["cut", "longer", "gone", "empty"])
def test_cache_an_entry_of_a_wrong_size_begins_anew(folder, name, damage) -> None:
    filled(folder, layout()).close()
    path = folder.path / "entry" / name
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": whole[:-1], "longer": whole + b"x", "empty": b""}[damage])
    (entry,) = folder.reserve([layout()])
    kept = name == "about.json" and damage != "gone"  # nothing is read from it
    assert entry.sound().all() == kept
    assert len(entry.rows) == 5


@pytest.mark.parametrize("thing", ["file", "link", "link to nothing"])
def test_cache_what_lies_in_an_entrys_place_makes_way(folder, thing, tmp_path) -> None:
    """A link alone; what it leads to is not ours."""
    folder.path.mkdir()
    theirs = tmp_path / "theirs"
    if thing == "file":
        (folder.path / "entry").write_text("in the way")
    else:
        (folder.path / "entry").symlink_to(theirs)
    if thing == "link":
        theirs.mkdir()
        (theirs / "thesis").write_text("text")
    entry = filled(folder, layout())
    assert entry.sound().all() and (folder.path / "entry").is_dir()
    assert theirs.exists() == (thing == "link") and not (folder.path / "entry").is_symlink()
    if thing == "link":
        assert [path.name for path in theirs.iterdir()] == ["thesis"]


def test_cache_a_file_replaced_under_an_open_entry_harms_it_not(folder) -> None:
    entry = filled(folder, layout())
    (folder.path / "entry" / "rows").write_bytes(b"")
    (folder.path / "entry" / "checks").unlink()
    fresh = CacheFolder(folder.path, BIG).reserve([layout()])
    assert not fresh[0].sound().any()
    shutil.rmtree(folder.path)  # as a user may at any time
    entry.write(0, values(5, 1)[0])


# -- room --------------------------------------------------------------------

SIZE = layout().size + DESCRIBED


def test_cache_the_least_recently_opened_are_evicted_first(folder) -> None:
    room = CacheFolder(folder.path, 3 * SIZE)
    for age, name in enumerate(("a", "b", "c")):
        filled(room, layout(name)).close()
        os.utime(room.path / name / "in_use", (age, age))
    room.reserve([layout("a")])[0].close()  # opened again: now b is the oldest
    filled(room, layout("d")).close()
    assert names(room) == {"a", "c", "d"}
    (kept,) = room.reserve([layout("a")])
    assert kept.sound().all()


def test_cache_what_is_in_use_is_not_evicted(folder) -> None:
    room = CacheFolder(folder.path, 2 * SIZE)
    first, second = filled(room, layout("a")), filled(room, layout("b"))
    with pytest.raises(CacheFullError, match="and other runs use much of it now"):
        room.reserve([layout("c")])
    assert names(room) == {"a", "b"} and first.sound().all()
    second.close()
    filled(room, layout("c")).close()
    assert names(room) == {"a", "c"}


def test_cache_a_smaller_limit_does_not_purge_what_a_larger_one_let_in(folder) -> None:
    """A new entry evicts its own size, the oldest first, and again for the next."""
    for age, name in enumerate("abcdef"):
        filled(folder, layout(name)).close()
        os.utime(folder.path / name / "in_use", (age, age))
    small = CacheFolder(folder.path, 2 * SIZE)
    for name in "xy":
        small.reserve([layout(name)])[0].close()
    assert names(folder) == {*"cdef", "x", "y"}
    for one in (layout("x"), layout("c")):
        assert small.reserve([one])[0].sound().all() == (one.name == "c")
    with pytest.raises(CacheFullError, match="the cache may hold 0 MiB"):
        small.reserve([layout("large", rows=20)])
    assert names(folder) == {*"cdef", "x", "y"}


def test_cache_an_entry_of_a_larger_limit_is_not_evicted_for_a_small_one(folder) -> None:
    """Small ones come and go beside it; but not where all that is small is in use."""
    filled(folder, layout("huge", rows=200)).close()
    os.utime(folder.path / "huge" / "in_use", (0, 0))
    small = CacheFolder(folder.path, 2 * SIZE)
    small.reserve([layout("a")])[0].close()
    held = small.reserve([layout("b")])[0]
    assert names(folder) == {"huge", "b"}
    (huge,) = folder.reserve([layout("huge", rows=200)])
    with pytest.raises(CacheFullError, match="other runs use much of it now"):
        small.reserve([layout("c")])
    held.close()
    small.reserve([layout("c")])
    assert names(folder) == {"huge", "c"} and huge.sound().all()


def test_cache_all_or_none(folder) -> None:
    """Where the second does not fit, the first is not made, and nothing is evicted."""
    room = CacheFolder(folder.path, 3 * SIZE)
    filled(room, layout("old")).close()
    with pytest.raises(CacheFullError, match="the cache may hold 0 MiB"):
        room.reserve([layout("a"), layout("b", rows=40)])
    assert names(room) == {"old"}
    (old,) = room.reserve([layout("old")])
    assert old.sound().all()


def test_cache_never_exceeds_its_limit(folder) -> None:
    random = np.random.default_rng(0)
    room = CacheFolder(folder.path, 1500)
    for _ in range(60):
        one = layout(str(random.integers(8)), rows=5)
        room.reserve([one])[0].close()
        size = sum(path.stat().st_size for path in room.path.rglob("*") if path.is_file())
        assert size <= 1500
    assert len(names(room)) >= 5


def test_cache_a_short_disk_is_spared(folder, monkeypatch) -> None:
    """Older entries go, then the disk's last gigabyte is left to others."""
    usage = namedtuple("usage", "total used free")
    filled(folder, layout("old")).close()
    monkeypatch.setattr(cache_folder, "SPARE", 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 1000 + 50))
    with pytest.raises(CacheFullError, match="the disk has 0 MiB free"):
        folder.reserve([layout("large", rows=20)])
    assert names(folder) == {"old"}
    folder.reserve([layout("small")])
    assert names(folder) == {"small"}


def test_cache_what_is_not_ours_is_left_alone(folder) -> None:
    (folder.path / "thesis").mkdir(parents=True)
    (folder.path / "thesis" / "text").write_bytes(b"x" * BIG)
    room = CacheFolder(folder.path, SIZE)
    filled(room, layout("a")).close()
    filled(room, layout("b")).close()
    assert names(room) == {"thesis", "b"}


def test_cache_a_disk_that_refuses_is_a_reason(folder, tmp_path, file_size_limit) -> None:
    with file_size_limit(100), pytest.raises(CacheFullError, match="File too large"):
        folder.reserve([layout()])
    assert names(folder) == set()
    vast = CacheFolder(folder.path, 2**60)
    with pytest.raises(CacheFullError, match="No space left|File too large|the disk has"):
        vast.reserve([layout(rows=2**50)])
    assert names(folder) == set()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheFullError, match="exists"):
        CacheFolder(tmp_path / "file", BIG).reserve([layout()])


# -- processes ---------------------------------------------------------------

HOLDING = """
import sys, time
sys.path.insert(0, {tests!r})
import test_distill_cache_folder as here

entry = here.filled(here.CacheFolder({folder!r}, here.BIG), here.layout("a"))
with entry.writing():
    print("held", flush=True)
    time.sleep(100)
"""


def test_cache_a_killed_process_holds_nothing(folder) -> None:
    """While it lives, its entry is neither evicted nor written by another."""
    code = HOLDING.format(tests=str(Path(__file__).parent), folder=str(folder.path))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        room = CacheFolder(folder.path, SIZE)
        with pytest.raises(CacheFullError, match="other runs use"):
            room.reserve([layout("b")])
        (entry,) = room.reserve([layout("a")])
        waited = []

        def write() -> None:
            with entry.writing(lambda: waited.append(True)):
                waited.append(False)

        thread = threading.Thread(target=write)
        thread.start()
        while not waited:
            thread.join(0.01)
        assert waited == [True]
        process.send_signal(signal.SIGKILL)
        process.wait()
        thread.join(60)
        assert waited == [True, False] and entry.sound().all()
        entry.close()
        filled(room, layout("b"))
        assert names(room) == {"b"}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
