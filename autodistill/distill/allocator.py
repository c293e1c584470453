"""How a process that trains on CPUs comes by its memory.

XLA takes the memory of a whole step at its start and frees it at its end: hundreds of
megabytes, which allocators hand back to the system. The next step then begins with a
page fault, and a page to be cleared, for every 4 KB. So what is freed is kept.

In between, every product and parallel loop takes small aligned blocks for itself, from
all threads: thousands in a step. glibc searches long for these, under one lock unless
threads have arenas of their own, which then cannot hold a step's memory. That is up to
a third of a small student's step. jemalloc has neither fault, but a program must start
with it; so where it is installed, Python is started again.

References:
    [Evans2006] Evans. A Scalable Concurrent malloc(3) Implementation for FreeBSD.
    https://jemalloc.net
"""

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from ctypes.util import find_library
from pathlib import Path

INSTALL = "apt-get install libjemalloc2"
BEFORE = "AUTODISTILL_LD_PRELOAD"  # what LD_PRELOAD was before Python was started again
ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc", "tbbmalloc")  # in names of libraries
# <malloc.h>: what is set, and to what
_GLIBC = {
    -8: 1,  # M_ARENA_MAX: no arenas of threads, which cannot hold large blocks
    -4: 0,  # M_MMAP_MAX: no block has a mapping of its own, to be unmapped when freed
    -1: -1,  # M_TRIM_THRESHOLD: never shrink the heap
}


def restart_with_jemalloc() -> None:
    """Start this program again with jemalloc, where it is installed and was not preloaded.

    Call it first of all in a program's ``__main__``: nothing before it is kept. It returns
    where there is nothing to be won, and in the program that was started again, whose own
    programs then get the environment that this one had.
    """
    if BEFORE in os.environ:
        before = os.environ.pop(BEFORE)
        if before:
            os.environ["LD_PRELOAD"] = before
        else:
            os.environ.pop("LD_PRELOAD", None)
        return
    if environment := jemalloc_environment():
        environment[BEFORE] = os.environ.get("LD_PRELOAD", "")
        arguments = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, arguments, os.environ | environment)


def jemalloc_environment() -> dict[str, str]:
    """What the environment must hold for a program to start with jemalloc.

    Empty where it is not installed, where the platform is another, and where an allocator
    is preloaded already: that is the user's choice.
    """
    library = _jemalloc() if _has_glibc() and not _preloads_allocator() else None
    if library is None:
        return {}
    return {"LD_PRELOAD": ":".join(filter(None, [library, os.environ.get("LD_PRELOAD")]))}


def keep_freed_memory() -> bool:
    """Have the allocator keep what this process frees; one that is not known does as it does.

    Call it before jax first computes: threads that have allocated keep their arenas.

    Returns:
        Whether it is so now.
    """
    if not _has_glibc():
        return False
    program = ctypes.CDLL(None)
    if runs_jemalloc():
        return _never_decay(program.mallctl)
    return all(program.mallopt(what, value) for what, value in _GLIBC.items())


def runs_jemalloc() -> bool:
    """Whether this process allocates by jemalloc."""
    return hasattr(ctypes.CDLL(None), "mallctl")


def advice(backend: str) -> str | None:
    """What would make training on this backend of jax faster, in words; None: nothing."""
    if backend != "cpu" or not _has_glibc() or runs_jemalloc() or _jemalloc() is not None:
        return None
    if _preloads_allocator():
        return None
    return f"{INSTALL}: with jemalloc, training on CPUs is up to 1.5 times as fast"


def _preloads_allocator() -> bool:
    preloaded = os.environ.get("LD_PRELOAD", "")
    return any(name in preloaded for name in ALLOCATORS)


def _has_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def _jemalloc() -> str | None:
    """Its library, of Python's own prefix, as conda has it, or of the system."""
    beside = Path(sys.prefix) / "lib" / "libjemalloc.so.2"
    return str(beside) if beside.exists() else find_library("jemalloc")


def _never_decay(mallctl: Callable[..., int]) -> bool:
    """Keep dirty pages for ever, in the arenas that there are and in those to come."""
    count, size = ctypes.c_uint(), ctypes.c_size_t(ctypes.sizeof(ctypes.c_uint))
    if mallctl(
        b"arenas.narenas", ctypes.byref(count), ctypes.byref(size), None, ctypes.c_size_t(0)
    ):
        return False
    never = ctypes.c_ssize_t(-1)
    done = True
    for arenas in ("arenas", *(f"arena.{i}" for i in range(count.value))):
        for pages in ("dirty", "muzzy"):
            failed = mallctl(
                f"{arenas}.{pages}_decay_ms".encode(),
                None,
                None,
                ctypes.byref(never),
                ctypes.c_size_t(ctypes.sizeof(never)),
            )
            # an arena that is not used yet cannot be set, and takes what "arenas" says
            done &= not failed or arenas != "arenas"
    return done
