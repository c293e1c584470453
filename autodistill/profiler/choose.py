"""A target by name, with the options of a command line, in processes of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax

from autodistill.errors import ArgumentError
from autodistill.profiler.rolling import TimingSettings
from autodistill.profiler.supervised import SupervisedTarget
from autodistill.profiler.target import DTYPES, Target
from autodistill.profiler.targets import TARGETS, get_target
from autodistill.profiler.tpu.target import CompiledTarget


@dataclass(frozen=True)
class TargetOptions:
    """What a command line says of a target; None leaves the target's own value.

    Attributes:
        precision: Of a timed median, relative.
        max_seconds: Timed seconds of each encoder at most.
        time_limit_s: Of each encoder; one that takes longer has failed.
        processes: That compile side by side.
        cache_dir: Where a target that compiles keeps what it learnt; None for nowhere.
        whole_programs: Compile each encoder as one program instead of shared parts.
    """

    precision: float | None = None
    max_seconds: float | None = None
    time_limit_s: float = 300.0
    processes: int | None = None
    cache_dir: Path | None = None
    whole_programs: bool = False

    def __post_init__(self) -> None:
        for name in ("precision", "max_seconds", "time_limit_s", "processes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ArgumentError(f"{flag(name)} must be positive; got {value}")


def choose_target(name: str, options: TargetOptions) -> Target:
    """The target of this name; what measures is apart from this process.

    Raises:
        TargetError: Unknown name, or the TPU compiler is needed and not installed.
        ArgumentError: An option that this target does not have.
    """
    if name not in TARGETS:
        get_target(name)  # says what is known
    bare = TARGETS[name][1]()
    if options.whole_programs and not isinstance(bare, CompiledTarget):
        raise ArgumentError(
            f"--whole-programs has no meaning for target {name}, which has no shared parts"
        )
    if isinstance(getattr(bare, "timing", None), TimingSettings):
        _refuse(name, options, ("processes",), "compiles one encoder at a time")
        make = partial(timed_target, name, options.precision, options.max_seconds)
        return SupervisedTarget(name, make, time_limit_s=options.time_limit_s)
    estimates = bare.statistic == "compiler_estimate"
    why = "estimates and times nothing" if estimates else "says itself how long it times"
    _refuse(name, options, ("precision", "max_seconds"), why)
    if isinstance(bare, CompiledTarget):  # has processes of its own
        target = replace(
            bare,
            time_limit_s=options.time_limit_s,
            cache_dir=options.cache_dir,
            whole=options.whole_programs,
        )
        target.compiler_version  # noqa: B018 - raises where it is not installed
        return replace(target, processes=options.processes) if options.processes else target
    _refuse(name, options, ("processes",), "compiles one encoder at a time")
    make = partial(quiet_target, name)
    return SupervisedTarget(name, make, time_limit_s=options.time_limit_s)


@contextmanager
def target_beside_training(name: str, cache_dir: Path) -> Iterator[Target]:
    """The target for a process that also trains, until the end of the block.

    What is timed on a CPU is timed in another process: in one that has trained students,
    encoders take a fifth to a third longer than where they are served. An accelerator is
    timed in this process, which holds the memory of it.

    Args:
        name: Of the target.
        cache_dir: Where a target that compiles keeps what it learnt.

    Raises:
        TargetError: Unknown name, or no such device here.
    """
    target = get_target(name)
    device = getattr(target, "device", None)
    if isinstance(target, CompiledTarget):
        target = replace(target, cache_dir=cache_dir)
    elif hasattr(target, "timing") and (device is None or device.platform == "cpu"):
        target = choose_target(name, TargetOptions())
    try:
        yield target
    finally:
        close_target(target)


def close_target(target: Target) -> None:
    """End the processes of a target that has some."""
    if isinstance(target, SupervisedTarget):
        target.close()


def check_dtype(name: str, dtype: str) -> None:
    """Refuse a dtype that a target cannot serve, before anything is written.

    Raises:
        ArgumentError: The target has no such dtype.
    """
    served = getattr(TARGETS[name][1](), "dtypes", DTYPES)
    if dtype in DTYPES and dtype not in served:
        raise ArgumentError(
            f"target {name} serves {' and '.join(served)} alone; got --dtype {dtype}: "
            f"choose --dtype {served[0]}, or another target"
        )


def quiet_target(name: str) -> Target:
    """A target, in the process that measures; other devices are left alone on a CPU."""
    if "cpu" in name.split("-"):
        jax.config.update("jax_platforms", "cpu")
    return get_target(name)


def timed_target(name: str, precision: float | None, max_seconds: float | None) -> Target:
    """As ``quiet_target``, with some settings of a timed target changed."""
    target = quiet_target(name)
    changes = {"precision": precision, "max_seconds": max_seconds}
    given = {key: value for key, value in changes.items() if value is not None}
    timing = replace(target.timing, **given)  # type: ignore[attr-defined]
    return replace(target, timing=timing)  # type: ignore[type-var]


def flag(name: str) -> str:
    """An option as it is written on the command line."""
    return "--" + name.replace("_", "-")


def _refuse(name: str, options: TargetOptions, forbidden: tuple[str, ...], why: str) -> None:
    for option in forbidden:
        if getattr(options, option) is not None:
            raise ArgumentError(f"{flag(option)} has no meaning for target {name}, which {why}")
