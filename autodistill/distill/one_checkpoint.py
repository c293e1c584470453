"""One checkpoint on disk, and which of a run's folder can be gone on from.

It is written beside the others and then renamed (by orbax). It holds a checksum of every
array, so that one which the disk has damaged is never mistaken for a whole one.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from autodistill.errors import TrainingError

FORMAT = 2

Tree = Any


@dataclass(frozen=True)
class Place:
    """Where a run stands.

    Attributes:
        step: Steps done, over all phases.
        accumulate: Micro-batches per step, which lack of memory may have raised.
        seconds: Spent in steps, compiling apart.
        logged: The step of the last record of losses; 0 before the first.
    """

    step: int
    accumulate: int
    seconds: float
    logged: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """What is read again, whole.

    Attributes:
        place: Where the run stood.
        params: All parameters by name.
        optimiser: Leaves of what else the phase needed, in their order.
    """

    place: Place
    params: dict[str, np.ndarray]
    optimiser: list[np.ndarray]


def composite(place: Place, params: Tree, optimiser: Tree) -> ocp.args.Composite:
    """What orbax is to write: all arrays, and a description with their checksums.

    Args:
        place: Where the run stands.
        params: All parameters by name.
        optimiser: What else the phase in progress needs.
    """
    leaves = _by_number(optimiser)
    sums = {"params": _sums(params), "optimiser": _sums(leaves)}
    meta = {**vars(place), **sums}
    return ocp.args.Composite(
        params=ocp.args.StandardSave(params),
        optimiser=ocp.args.StandardSave(leaves),
        meta=ocp.args.JsonSave({"format": FORMAT, **meta, "sum": _sum_of_text(meta)}),
    )


def steps_kept(folder: Path) -> list[int]:
    """Of the checkpoints in a run's folder."""
    kept = folder / "checkpoints"
    return [int(one.name) for one in kept.glob("*") if one.name.isdigit()]


def newest_whole(folder: Path) -> tuple[Checkpoint | None, dict[int, str]]:
    """The newest checkpoint of a run that is whole, and what is wrong with newer ones.

    Raises:
        TrainingError: There are some, and none is whole.
    """
    bad: dict[int, str] = {}
    for step in sorted(steps_kept(folder), reverse=True):
        try:
            return _read(folder / "checkpoints" / str(step)), bad
        except MemoryError:
            raise
        except _UnreadableError as error:
            bad[step] = str(error)
        except Exception as error:  # orbax raises bare ones
            bad[step] = f"is damaged ({type(error).__name__})"
    if bad:
        reasons = ", ".join(f"that of step {step} {why}" for step, why in bad.items())
        raise TrainingError(
            f"{folder} has no checkpoint to go on from: {reasons}; choose another --out, or delete "
            "this folder and begin anew"
        )
    return None, bad


class _UnreadableError(Exception):
    """A checkpoint cannot be used; the message is the reason, after its name."""


def _read(folder: Path) -> Checkpoint:
    """The checkpoint of a folder, on the host.

    Raises:
        _UnreadableError: It is not what was saved, or of another version.
        Exception: Of any kind, of orbax's.
    """
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        meta = dict(reader.restore(folder, ocp.args.Composite(meta=ocp.args.JsonRestore())).meta)
        if meta.pop("format", None) != FORMAT:
            raise _UnreadableError("was written by another version")
        if meta.pop("sum", None) != _sum_of_text(meta):
            raise _UnreadableError("is damaged (its description is not what was written)")
        sums = {"params": meta.pop("params"), "optimiser": meta.pop("optimiser")}
        wanted = {
            item: ocp.args.StandardRestore(
                {name: np.empty(shape, dtype) for name, (dtype, shape, _) in leaves.items()}
            )
            for item, leaves in sums.items()
        }
        found = reader.restore(folder, ocp.args.Composite(**wanted))
    for item, leaves in sums.items():
        for name, now in _sums(found[item]).items():
            if now != leaves[name]:
                raise _UnreadableError(f"is damaged ({name} of {item} is not what was written)")
    optimiser = [found.optimiser[name] for name in sorted(found.optimiser)]
    return Checkpoint(Place(**meta), dict(found.params), optimiser)


def _sums(leaves: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Of each array, its dtype, its shape and a checksum of its bytes."""
    found = {}
    for name, leaf in leaves.items():
        values = np.asarray(leaf)
        data = np.ascontiguousarray(values).view(np.uint8)
        found[name] = [str(values.dtype), list(values.shape), zlib.crc32(data.data)]
    return found


def _sum_of_text(meta: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(meta, sort_keys=True).encode())


def _by_number(tree: Tree) -> dict[str, Any]:
    """The leaves alone: optax's classes do not outlive a change of its version."""
    return {f"{i:05d}": leaf for i, leaf in enumerate(jax.tree.leaves(tree))}
