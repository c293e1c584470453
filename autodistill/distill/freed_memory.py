"""Freed memory stays with the process, so that no step has to be given it anew.

XLA on CPUs takes the memory of a whole step at its start and frees it at its end:
hundreds of megabytes, which glibc hands back to the system. The next step then begins
with a page fault, and a page to be cleared, for every 4 KB: a fifth of its time.
"""

import ctypes
import platform

# <malloc.h>: what is set, and to what
_KEEP = {
    -8: 1,  # M_ARENA_MAX: no arenas of threads, which cannot hold large blocks
    -4: 0,  # M_MMAP_MAX: no block has a mapping of its own, to be unmapped when freed
    -1: -1,  # M_TRIM_THRESHOLD: never shrink the heap
}


def keep_freed_memory() -> bool:
    """Have glibc keep what this process frees; elsewhere do nothing.

    Call it before jax first computes: threads that have allocated keep their arenas.

    Returns:
        Whether it is so now.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(what, value) for what, value in _KEEP.items())
