"""Tests run on the CPU, also where libtpu or CUDA is installed; set JAX_PLATFORMS for others."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
for name in ("COLUMNS", "LINES"):  # pytest-xdist tells its workers of a terminal that is not theirs
    os.environ.pop(name, None)
