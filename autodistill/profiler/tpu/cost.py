"""The cost of a compiled TPU program, as plain data, and where it is kept.

Nothing here loads jax or libtpu: a build has the compiler in its workers only.
"""

import importlib.util
import json
import os
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from autodistill.errors import TargetError


@dataclass(frozen=True)
class ProgramCost:
    """What the compiler says of one program.

    Attributes:
        cycles: Sum over the operations of the scheduled program.
        flops: Floating-point operations.
        bytes_accessed: Read and written, by operation.
        argument_bytes: Weights and inputs, padded as they lie on the device.
        output_bytes: Likewise.
        temporary_bytes: At most in use at once, beyond those two.
        compile_s: Seconds to trace and compile.
    """

    cycles: int
    flops: float
    bytes_accessed: float
    argument_bytes: int
    output_bytes: int
    temporary_bytes: int
    compile_s: float


class CostCache:
    """Costs by a digest of the program that they are of: a hit is the same program.

    One small file each; killed or concurrent writers leave whole files only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, digest: str) -> ProgramCost | None:
        """The cost kept under a digest, if there is a readable one."""
        try:
            return ProgramCost(**json.loads((self._folder / f"{digest}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def put(self, digest: str, cost: ProgramCost) -> None:
        """Keep a cost; a disk that is full or read-only costs only the reuse."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft = self._folder / f".{digest}.{os.getpid()}"
            draft.write_text(json.dumps(asdict(cost)))
            draft.replace(self._folder / f"{digest}.json")
        except OSError:
            return


def check_installed() -> str:
    """The version of libtpu.

    Raises:
        TargetError: It is not installed.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise TargetError(
            "the TPU compiler (libtpu) is not installed: run "
            'pip install "autodistill-nas[tpu]"; no TPU is needed'
        )
    return version("libtpu")


def environment() -> dict[str, str]:
    """Variables under which libtpu compiles without looking for a TPU, and quietly.

    Flags of the shell, which would change costs, and stay in the cache, are not heard.
    The one that is set changes none: libtpu emits code in threads of small stacks, which an
    attention of 8 heads in a bottleneck of 64 overflows on tpu7x.
    """
    return {
        "LIBTPU_INIT_ARGS": "--fibers_default_thread_stack_size=1048576",
        "XLA_FLAGS": "",
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_MIN_LOG_LEVEL": "3",
        "TPU_STDERR_LOG_LEVEL": "3",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
