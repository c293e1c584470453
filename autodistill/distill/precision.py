"""Which numbers a training step multiplies.

Weights, the optimiser's state and every loss are float32. In bfloat16 run the products of
layers and the states between them: half of the bytes, and on devices that know it a
multiple of the speed. The gradient of a matrix is summed in float32 and rounded to
bfloat16 once; gradients of several micro-batches are then added in float32.
"""

from pathlib import Path
from typing import Any, TypeVar

import jax

from autodistill.errors import ArgumentError

ParamsT = TypeVar("ParamsT")

CPU_INFO = Path("/proc/cpuinfo")
DTYPES = ("float32", "bfloat16")
TABLE = "_embeddings"  # what names of tables have in them
NATIVE = {"avx512_bf16", "amx_bf16"}  # what Linux calls products of bfloat16


def check_dtype(dtype: str) -> None:
    """Refuse what is neither.

    Raises:
        ArgumentError: It is neither float32 nor bfloat16.
    """
    if dtype not in DTYPES:
        raise ArgumentError(f"--dtype must be float32 or bfloat16; got {dtype}")


def best_dtype() -> str:
    """bfloat16 where all devices multiply it natively, else float32."""
    device = jax.devices()[0]
    match device.platform:
        case "tpu":
            return "bfloat16"
        case "gpu" | "cuda" | "rocm":
            capability = str(getattr(device, "compute_capability", "0")).split(".")[0]
            recent = not capability.isdigit() or int(capability) >= 8  # NVIDIA's Ampere
            return "bfloat16" if recent else "float32"
        case _:
            return "bfloat16" if NATIVE & cpu_flags() else "float32"


def cpu_flags() -> set[str]:
    """What the processor can do, by Linux's names; nothing elsewhere."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split(":", 1)[1].split()) for line in lines if "flags" in line), set())


def as_multiplied(params: ParamsT, dtype: str) -> ParamsT:
    """Parameters as a step multiplies them, in any nesting of dictionaries.

    Matrices in this dtype; vectors as they are, and tables too, whose rows, and the
    gradients of these, are summed up in float32.
    """

    def one(path: Any, leaf: Any) -> Any:
        is_table = TABLE in jax.tree_util.keystr(path)
        return leaf if leaf.ndim < 2 or is_table else leaf.astype(dtype)

    return jax.tree.map_with_path(one, params)
