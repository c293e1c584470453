"""The targets by name."""

from collections.abc import Callable
from functools import partial

from autodistill.errors import TargetError
from autodistill.profiler.estimated import RooflineTarget
from autodistill.profiler.target import Target
from autodistill.profiler.timed import TimedTarget
from autodistill.profiler.tpu.chips import CHIPS
from autodistill.profiler.tpu.target import CompiledTarget


def _onnx_cpu() -> Target:
    from autodistill.profiler.onnx_runtime import OnnxRuntimeTarget  # which not everyone needs

    return OnnxRuntimeTarget()


TARGETS: dict[str, tuple[str, Callable[[], Target]]] = {
    "local": ("timed on jax's default device here", TimedTarget),
    "cpu": ("timed on this machine's CPU", lambda: TimedTarget("cpu", "cpu")),
    "gpu": ("timed on a GPU that jax sees", lambda: TimedTarget("gpu", "gpu")),
    "tpu": ("timed on a TPU that jax sees", lambda: TimedTarget("tpu", "tpu")),
    "onnx-cpu": ("timed under ONNX Runtime on this machine's CPU", _onnx_cpu),
    "cpu-roofline": (
        "estimated from the compiled program's flops and bytes; repeats exactly",
        RooflineTarget,
    ),
    **{
        name: (
            f"compiler_estimate for {name}, by the TPU compiler; no TPU is needed",
            partial(CompiledTarget, chip),
        )
        for name, chip in CHIPS.items()
    },
}


def get_target(name: str) -> Target:
    """The target of this name, its device present.

    Raises:
        TargetError: Unknown name, or no such device here.
    """
    if name not in TARGETS:
        known = "\n".join(f"  {key}: {what}" for key, (what, _) in TARGETS.items())
        raise TargetError(f"unknown target {name!r}; known are\n{known}")
    target = TARGETS[name][1]()
    target.device_kind  # noqa: B018 - raises where the device is absent
    return target
