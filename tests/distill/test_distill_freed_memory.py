"""Memory that is freed comes back without page faults."""

import platform
import subprocess
import sys

import pytest

# Blocks as XLA takes them; what is written to for the first time costs a fault per page.
BLOCKS = """
import ctypes, resource
from autodistill.distill.freed_memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.aligned_alloc.restype = ctypes.c_void_p
libc.aligned_alloc.argtypes = ctypes.c_size_t, ctypes.c_size_t
libc.free.argtypes = (ctypes.c_void_p,)
size = 64 * 2**20
for _ in range(40):  # small blocks may at first be cut from those that were freed
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.aligned_alloc(64, size)
    ctypes.memset(block, 1, size)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is asked")
def test_a_large_block_costs_no_page_faults_when_it_is_taken_again():
    def faults(keep: bool) -> int:
        """In a process of its own, as nothing undoes it."""
        code = [sys.executable, "-c", BLOCKS.format(keep=keep)]
        return int(subprocess.run(code, capture_output=True, text=True, check=True).stdout)

    assert faults(keep=False) > 1000  # 16,384 pages of 4 KB, fewer where they are larger
    assert faults(keep=True) < 100
