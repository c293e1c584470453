"""Tests run on the CPU, also where libtpu or CUDA is installed; set JAX_PLATFORMS for others.

What one test has compiled, the others load, in processes of their own too: the suite takes
half the time. Compiling is still most of it, so LLVM is asked for plain code, which it
makes in two thirds of the time; set XLA_FLAGS (to nothing, say) for what users run.
"""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
for name in ("COLUMNS", "LINES"):  # pytest-xdist tells its workers of a terminal that is not theirs
    os.environ.pop(name, None)
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # else it is pytest-xdist's, or the caller's
    folder = tempfile.mkdtemp(prefix="autodistill-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
