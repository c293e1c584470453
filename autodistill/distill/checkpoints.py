"""The state of a training run on disk: checkpoints, and the losses so far.

A checkpoint is written beside the last one and then renamed (by orbax), so a run
that is killed at any instant finds a whole one. Losses go to ``losses.jsonl`` as
they are known; on resuming, those after the checkpoint are dropped, as they will
come again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from autodistill.errors import TrainingError

FORMAT = 1
KEPT = 2  # checkpoints: where the disk damages the newer, it is deleted and the older serves

Tree = Any


@dataclass(frozen=True)
class Place:
    """Where a run stands.

    Attributes:
        step: Steps done, over all phases.
        accumulate: Micro-batches per step, which lack of memory may have raised.
        seconds: Spent in steps, compiling apart.
    """

    step: int
    accumulate: int
    seconds: float


class Checkpoints:
    """The folder of one run.

    Args:
        folder: Made if it is not there.
        identity: Plain data that says which run this is; another's folder is refused.

    Raises:
        TrainingError: The folder is another run's, or cannot be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = Path(folder).resolve()
        self.identity = json.loads(json.dumps(identity, sort_keys=True, default=str))
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check_identity()
            self._manager = ocp.CheckpointManager(self.folder / "checkpoints", options=options)
        except OSError as error:
            raise TrainingError(
                f"{self.folder} cannot be written: {error.strerror or error}; choose another "
                "--out or free some space"
            ) from error

    def save(self, place: Place, params: Tree, optimiser: Tree) -> None:
        """Write a checkpoint; when this returns, it is there.

        Args:
            place: Where the run stands.
            params: All parameters by name.
            optimiser: What else the phase in progress needs.

        Raises:
            TrainingError: The disk is full or the folder gone.
        """
        arguments = ocp.args.Composite(
            params=ocp.args.StandardSave(params),
            optimiser=ocp.args.StandardSave(_by_number(optimiser)),
            meta=ocp.args.JsonSave({"format": FORMAT, **vars(place)}),
        )
        try:
            self._manager.save(place.step, args=arguments, force=True)
        except (OSError, ValueError) as error:  # a full disk is a ValueError of the writer's
            raise TrainingError(
                f"the state of step {place.step} cannot be kept in {self.folder}: {error}; free "
                "some space, then run again: it goes on from the step kept before"
            ) from error

    def place(self) -> Place | None:
        """Where the run stands; None before the first checkpoint.

        Raises:
            TrainingError: The checkpoint is of another format.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        items = self._restore(ocp.args.Composite(meta=ocp.args.JsonRestore()))
        values = dict(items.meta)
        if values.pop("format") != FORMAT:
            raise TrainingError(
                f"{self.folder} was written by another version; choose another --out"
            )
        return Place(**values)

    def params(self, like: Tree, sharding: jax.sharding.Sharding) -> Tree:
        """The last parameters, in the form of ``like``: arrays or their shapes."""
        wanted = ocp.args.StandardRestore(_shapes(like, sharding))
        return self._restore(ocp.args.Composite(params=wanted)).params

    def optimiser(self, like: Tree, sharding: jax.sharding.Sharding) -> Tree:
        """The last state of the optimiser, in the form of ``like``."""
        wanted = ocp.args.StandardRestore(_shapes(_by_number(like), sharding))
        found = self._restore(ocp.args.Composite(optimiser=wanted)).optimiser
        leaves = [found[name] for name in sorted(found)]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)

    def _restore(self, arguments: Any) -> Any:
        step = self._manager.latest_step()
        try:
            return self._manager.restore(step, args=arguments)
        except (OSError, ValueError, KeyError) as error:
            kept = self.folder / "checkpoints" / str(step)
            raise TrainingError(
                f"the checkpoint {kept} is damaged ({type(error).__name__}); delete that folder "
                "and run again: it goes on from the one before, if there is one"
            ) from error

    def close(self) -> None:
        """Let go of the folder."""
        self._manager.close()

    def losses(self, *, up_to: int) -> list[dict[str, Any]]:
        """Records of the steps up to this one; the file is cut to them."""
        path = self.folder / "losses.jsonl"
        records = []
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except ValueError:  # the torn last line of a killed run
                    break
                if record["step"] <= up_to:
                    records.append(record)
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        partial.replace(path)
        return records

    def add_loss(self, record: Mapping[str, Any]) -> None:
        """Write one record at the end of the file."""
        with (self.folder / "losses.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _check_identity(self) -> None:
        path = self.folder / "run.json"
        if not path.exists():
            if any(other.name != "run.partial" for other in self.folder.iterdir()):
                raise TrainingError(
                    f"{self.folder} is not empty and holds no run; choose another --out"
                )
            self._write_identity(path)
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found = {}
        if found != self.identity and not _steps(self.folder):  # nothing would be lost
            (self.folder / "losses.jsonl").unlink(missing_ok=True)
            self._write_identity(path)
        elif found != self.identity:
            names = {*found, *self.identity}
            other = sorted(n for n in names if found.get(n) != self.identity.get(n))
            raise TrainingError(
                f"{self.folder} holds another run, which differs in {', '.join(other)}; give the "
                "same options to go on with it, or choose another --out"
            )

    def _write_identity(self, path: Path) -> None:
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(self.identity, indent=2) + "\n", encoding="utf-8")
        partial.replace(path)


def begun(folder: Path) -> tuple[dict[str, Any], int] | None:
    """Identity of the run in a folder, and the step of its last checkpoint; None before one."""
    try:
        found = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    steps = _steps(folder)
    return (found, max(steps)) if isinstance(found, dict) and steps else None


def _steps(folder: Path) -> list[int]:
    """Of the checkpoints in a run's folder."""
    kept = folder / "checkpoints"
    return [int(one.name) for one in kept.glob("*") if one.name.isdigit()]


def _by_number(tree: Tree) -> dict[str, Any]:
    """The leaves alone: optax's classes do not outlive a change of its version."""
    return {f"{i:05d}": leaf for i, leaf in enumerate(jax.tree.leaves(tree))}


def _shapes(tree: Tree, sharding: jax.sharding.Sharding) -> Tree:
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )
