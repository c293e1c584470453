"""Memory that is freed comes back without page faults, and training starts with jemalloc."""

import json
import os
import platform
import runpy
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from autodistill.distill import allocator

GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is asked")
JEMALLOC = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or allocator._jemalloc() is None,
    reason=f"jemalloc is not installed ({allocator.INSTALL})",
)
# Blocks as XLA takes them; what is written to for the first time costs a fault per page.
BLOCKS = """
import ctypes, resource
from autodistill.distill.allocator import keep_freed_memory, runs_jemalloc
assert runs_jemalloc() == {jemalloc}
libc = ctypes.CDLL(None)
libc.aligned_alloc.restype = ctypes.c_void_p
libc.aligned_alloc.argtypes = ctypes.c_size_t, ctypes.c_size_t
libc.free.argtypes = (ctypes.c_void_p,)
size = 64 * 2**20
if {jemalloc}:  # the arena of large blocks is there before it is told to keep them
    libc.free(libc.aligned_alloc(64, size))
if {keep}:
    assert keep_freed_memory()
for _ in range(40):  # small blocks may at first be cut from those that were freed
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.aligned_alloc(64, size)
    ctypes.memset(block, 1, size)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
# A program that is started again says how it runs; so does a program that it starts.
PROGRAM = """
import json, os, subprocess, sys
from autodistill.distill.allocator import restart_with_jemalloc, runs_jemalloc
if __name__ == "__main__":
    restart_with_jemalloc()
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    child = json.loads(subprocess.check_output([sys.executable, "-c", code]))
    jemalloc = runs_jemalloc()
    print(json.dumps(dict(jemalloc=jemalloc, arguments=sys.argv[1:], pid=os.getpid(), child=child)))
"""


def faults(*, keep: bool, jemalloc: bool) -> int:
    """Page faults of a block that is taken again, in a process of its own: nothing undoes it."""
    code = [sys.executable, "-c", BLOCKS.format(keep=keep, jemalloc=jemalloc)]
    more = {"LD_PRELOAD": allocator._jemalloc() or ""} if jemalloc else {}
    run = subprocess.run(code, capture_output=True, text=True, check=True, env=bare() | more)
    return int(run.stdout)


def bare() -> dict[str, str]:
    """The environment of these tests with the system's allocator."""
    names = {"LD_PRELOAD", "MALLOC_CONF", allocator.BEFORE, allocator.CHOICE}
    return {name: value for name, value in os.environ.items() if name not in names}


@pytest.fixture(autouse=True)
def nothing_preloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_PRELOAD", "MALLOC_CONF", allocator.BEFORE, allocator.CHOICE):
        monkeypatch.delenv(name, raising=False)


@GLIBC
def test_a_large_block_costs_no_page_faults_when_it_is_taken_again():
    assert faults(keep=False, jemalloc=False) > 1000  # 16,384 pages of 4 KB, fewer if larger
    assert faults(keep=True, jemalloc=False) < 100


@JEMALLOC
def test_neither_does_it_from_jemalloc():
    assert faults(keep=False, jemalloc=True) > 1000
    assert faults(keep=True, jemalloc=True) < 100


@JEMALLOC
@pytest.mark.parametrize("before", [None, "libm.so.6"])
def test_a_program_starts_again_with_jemalloc_and_its_own_programs_do_not(
    tmp_path: Path, before: str | None
):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = bare() if before is None else {**bare(), "LD_PRELOAD": before}
    with subprocess.Popen(
        [sys.executable, program, "--name", "two words"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.read())
    assert said["jemalloc"]
    assert said["arguments"] == ["--name", "two words"]
    assert said["pid"] == process.pid  # signals still find it
    assert said["child"].get("LD_PRELOAD") == before
    assert allocator.BEFORE not in said["child"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What would have been started, by a program that nothing keeps from it."""
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(os, "execve", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(allocator, "_has_glibc", lambda: True)
    monkeypatch.setattr(allocator, "_jemalloc", lambda: "libjemalloc.so.2")
    monkeypatch.setattr(allocator, "runs_jemalloc", lambda: False)
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(sys, "gettrace", lambda: None)
    return calls


@pytest.mark.parametrize("name", sorted(allocator.ALLOCATORS))
def test_an_allocator_that_the_user_preloads_stays(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr(allocator, "_jemalloc", lambda: "libjemalloc.so.2")
    monkeypatch.setenv("LD_PRELOAD", f"/opt/lib{name}.so")
    assert allocator.jemalloc_environment() == {}
    assert allocator.advice("cpu") is None


@GLIBC
def test_what_the_user_preloads_beside_it_stays_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(allocator, "_jemalloc", lambda: "libjemalloc.so.2")
    monkeypatch.setenv("LD_PRELOAD", "/opt/libtrace.so")
    assert allocator.jemalloc_environment() == {"LD_PRELOAD": "/opt/libtrace.so:libjemalloc.so.2"}


@pytest.mark.parametrize(
    ("library", "glibc"), [(None, True), ("libjemalloc.so.2", False)], ids=["absent", "other libc"]
)
def test_without_it_nothing_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
    started: list[tuple[object, ...]],
    library: str | None,
    glibc: bool,
):
    monkeypatch.setattr(allocator, "_jemalloc", lambda: library)
    monkeypatch.setattr(allocator, "_has_glibc", lambda: glibc)
    allocator.restart_with_jemalloc()
    assert not started


PLACES = ["/opt/env/lib", "/usr/local/lib", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"]


@pytest.mark.parametrize("first", range(5))
def test_the_library_is_of_the_first_folder_that_has_it(
    monkeypatch: pytest.MonkeyPatch, first: int
):
    there = [f"{folder}/libjemalloc.so.2" for folder in PLACES[first:]]
    monkeypatch.setattr(sys, "prefix", "/opt/env")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(os.path, "exists", lambda path: path in there)
    assert allocator._jemalloc() == (there[0] if there else None)


@pytest.mark.parametrize("prefix", ["/my env", "/a:b"])
def test_a_folder_that_cannot_be_preloaded_from_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, prefix: str
):
    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.setattr(os.path, "exists", lambda path: path.startswith((prefix, "/usr/lib64")))
    assert allocator._jemalloc() == "/usr/lib64/libjemalloc.so.2"


@GLIBC
def test_advice_is_given_where_it_helps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(allocator, "runs_jemalloc", lambda: False)
    monkeypatch.setattr(allocator, "_jemalloc", lambda: None)
    assert allocator.INSTALL in (allocator.advice("cpu") or "")
    assert allocator.advice("gpu") is None
    monkeypatch.setattr(allocator, "_jemalloc", lambda: "libjemalloc.so.2")
    assert "does not run with it" in (allocator.advice("cpu") or "")
    monkeypatch.setattr(allocator, "runs_jemalloc", lambda: True)
    assert allocator.advice("cpu") is None


@pytest.mark.parametrize(
    "why", ["refused", "it runs already", "a debugger", "a notebook's threads", "no executable"]
)
def test_it_is_not_started_again_where_that_would_harm(
    monkeypatch: pytest.MonkeyPatch, started: list[tuple[object, ...]], why: str
):
    allocator.restart_with_jemalloc()
    assert len(started) == 1  # as nothing keeps it
    match why:
        case "refused":
            monkeypatch.setenv(allocator.CHOICE, "0")
        case "it runs already":
            monkeypatch.setattr(allocator, "runs_jemalloc", lambda: True)
        case "a debugger":
            monkeypatch.setattr(sys, "gettrace", lambda: print)
        case "a notebook's threads":
            monkeypatch.setattr(threading, "active_count", lambda: 5)
        case "no executable":
            monkeypatch.setattr(sys, "executable", "")
    allocator.restart_with_jemalloc()
    assert len(started) == 1


@pytest.mark.parametrize(
    ("module", "restarts"),
    [
        ("autodistill.distill", True),
        ("autodistill.search", True),
        ("autodistill.teacher", True),
        ("autodistill.profiler", False),  # it times encoders as they will be served
    ],
)
def test_the_commands_that_train_start_again(
    monkeypatch: pytest.MonkeyPatch,
    started: list[tuple[object, ...]],
    module: str,
    restarts: bool,
):
    # a command that goes on in this process leaves its allocator alone
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: False)
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    monkeypatch.delitem(sys.modules, f"{module}.__main__", raising=False)
    with pytest.raises(SystemExit):
        runpy.run_module(module, run_name="__main__")
    assert bool(started) == restarts


@JEMALLOC
def test_settings_of_the_user_stay():
    code = "from autodistill.distill.allocator import keep_freed_memory; print(keep_freed_memory())"
    environment = bare() | {"LD_PRELOAD": allocator._jemalloc() or ""}
    for more, kept in (({}, "True"), ({"MALLOC_CONF": "dirty_decay_ms:5000"}, "False")):
        said = subprocess.check_output(
            [sys.executable, "-c", code], text=True, env=environment | more
        )
        assert said.strip() == kept


@GLIBC
def test_a_preloaded_library_that_does_not_exist_does_no_harm(tmp_path: Path):
    """The loader says so, and the program runs on with glibc's allocator."""
    program = tmp_path / "program.py"
    missing = (
        "from autodistill.distill import allocator\nallocator._jemalloc = lambda: '/no/such.so'"
    )
    program.write_text(missing + PROGRAM)
    run = subprocess.run(
        [sys.executable, program], env=bare(), capture_output=True, text=True, check=True
    )
    assert not json.loads(run.stdout)["jemalloc"]
    assert "/no/such.so" in run.stderr
