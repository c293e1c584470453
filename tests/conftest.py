"""Tests run on the CPU, also where libtpu or CUDA is installed; set JAX_PLATFORMS for others."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
