"""How a process that trains on CPUs comes by its memory.

XLA takes the memory of a whole step at its start and frees it at its end: hundreds of
megabytes, which allocators hand back to the system. The next step then begins with a
page fault, and a page to be cleared, for every 4 KB. So what is freed is kept.

In between, every product and parallel loop takes small aligned blocks for itself, from
all threads: thousands in a step. glibc searches long for these, under one lock unless
threads have arenas of their own, which then cannot hold a step's memory. That is, of
a step of many small layers, an eighth to a quarter (``benchmarks/training_allocator.py``).
jemalloc has neither fault, and takes up to a fifth more memory. A program must start with
it; so where it is installed, Python is started again. Whether jax will run on a GPU, which
this has nothing to do with, is not known by then.

References:
    [Evans2006] Evans. A Scalable Concurrent malloc(3) Implementation for FreeBSD.
    https://jemalloc.net
"""

import ctypes
import errno
import os
import platform
import sys
import threading
from collections.abc import Callable

INSTALL = "apt-get install libjemalloc2"
CHOICE = "AUTODISTILL_JEMALLOC"  # 0 in the environment: do not start again
BEFORE = "AUTODISTILL_LD_PRELOAD"  # what LD_PRELOAD was before Python was started again
ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc", "tbbmalloc")  # in names of libraries
# <malloc.h>: what is set, and to what
_GLIBC = {
    -8: 1,  # M_ARENA_MAX: no arenas of threads, which cannot hold large blocks
    -4: 0,  # M_MMAP_MAX: no block has a mapping of its own, to be unmapped when freed
    -1: -1,  # M_TRIM_THRESHOLD: never shrink the heap
}


def restart_with_jemalloc() -> None:
    """Start this program again with jemalloc, where it is installed.

    Call it first of all in a program's ``__main__``: nothing before it is kept. It returns
    where there is nothing to be won, under a debugger or in a program that has begun other
    threads, such as a notebook, and in the program that was started again. What that one
    starts in its turn gets the environment that this one had.
    """
    if BEFORE in os.environ:
        before = os.environ.pop(BEFORE)
        if before:
            os.environ["LD_PRELOAD"] = before
        else:
            os.environ.pop("LD_PRELOAD", None)
        return
    alone = threading.active_count() == 1 and sys.gettrace() is None and sys.executable
    if alone and (environment := jemalloc_environment()):
        environment[BEFORE] = os.environ.get("LD_PRELOAD", "")
        arguments = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, arguments, os.environ | environment)


def jemalloc_environment() -> dict[str, str]:
    """What the environment must hold for a program to start with jemalloc.

    Empty where it is not installed or was refused (``AUTODISTILL_JEMALLOC=0``), where the
    platform is another, and where an allocator is preloaded already. It comes after what the
    user preloads, so that a tool that must be first is.
    """
    if not _could_run_jemalloc() or (library := _jemalloc()) is None:
        return {}
    return {"LD_PRELOAD": ":".join(filter(None, [os.environ.get("LD_PRELOAD"), library]))}


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
        chosen = "MALLOC_CONF" in os.environ  # by the user, and stays
        return not chosen and _never_decay(program.mallctl)
    if _preloads_allocator():
        return False
    return all(program.mallopt(what, value) for what, value in _GLIBC.items())


def runs_jemalloc() -> bool:
    """Whether this process allocates by jemalloc."""
    return hasattr(ctypes.CDLL(None), "mallctl")


def advice(backend: str) -> str | None:
    """What would make training on this backend of jax faster, in words; None: nothing."""
    if backend != "cpu" or not _could_run_jemalloc():
        return None
    library = _jemalloc()
    if library is None:
        return f"{INSTALL}: with jemalloc, training on CPUs takes up to a quarter less time"
    return f"{library} is installed, but this program does not run with it"


def _could_run_jemalloc() -> bool:
    """Whether there may be a program with it, and this is none."""
    refused = os.environ.get(CHOICE) == "0"
    return _has_glibc() and not refused and not runs_jemalloc() and not _preloads_allocator()


def _preloads_allocator() -> bool:
    preloaded = os.environ.get("LD_PRELOAD", "")
    return any(name in preloaded for name in ALLOCATORS)


def _has_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def _jemalloc() -> str | None:
    """Its library: of Python's own prefix, as conda has it, or where Linux systems keep theirs.

    Elsewhere the user preloads it. ``ctypes.util.find_library`` knows more places, but runs a
    compiler and a linker where there is none.
    """
    system = ("/usr/local/lib", f"/usr/lib/{platform.machine()}-linux-gnu", "/usr/lib64")
    for folder in (f"{sys.prefix}/lib", *system):
        library = f"{folder}/libjemalloc.so.2"
        named = not set(library) & set(" :")  # LD_PRELOAD is split at these
        if named and os.path.exists(library):
            return library
    return None


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
            # One that is not used yet cannot be set; it will take what "arenas" says.
            done &= not failed or (arenas != "arenas" and failed == errno.EFAULT)
    return done
