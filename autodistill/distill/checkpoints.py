"""The state of a training run on disk: checkpoints, and the losses so far.

A checkpoint is written beside the last one and then renamed (by orbax), so a run
that is killed at any instant finds a whole one. Losses go to ``losses.jsonl`` as
they are known; on resuming, those after the checkpoint are dropped, as they will
come again. ``run.json`` says which run it is; ``run.lock`` is locked while it runs.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import jax
import orbax.checkpoint as ocp

from autodistill.distill.precision import DTYPES
from autodistill.errors import TrainingError
from autodistill.locks import HeldError, own_file, sign

FORMAT = 1
FIRST = ("run.lock", "run.partial")  # what a run that was killed at once may leave
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
    """The folder of one run: no other process runs in it until this is closed.

    Args:
        folder: Made if it is not there.
        identity: Plain data that says which run this is; another's folder is refused.

    Raises:
        TrainingError: The folder is another run's or another process runs in it, or it
            cannot be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = Path(folder).resolve()
        self.identity = _plain(identity)
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _check_ours(self.folder)
            self._lock = _locked(self.folder)
            try:
                sign(self._lock)
                self._claim()
                self._manager = ocp.CheckpointManager(self.folder / "checkpoints", options=options)
            except BaseException:
                self._lock.close()
                raise
        except OSError as error:
            raise _unwritable(self.folder, error.strerror or str(error)) from error

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
            raise self._not_kept(f"the state of step {place.step}", error) from error

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
        try:
            self._manager.close()
        finally:
            self._lock.close()

    def losses(self, *, up_to: int) -> list[dict[str, Any]]:
        """Records of the steps up to this one; the file is cut to them.

        Raises:
            TrainingError: The disk refuses.
        """
        path = self.folder / "losses.jsonl"
        records = []
        try:
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            for line in text.splitlines():
                try:
                    record = json.loads(line)
                except ValueError:  # the torn last line of a killed run
                    break
                if record["step"] <= up_to:
                    records.append(record)
            _write_whole(path, "".join(json.dumps(record) + "\n" for record in records))
        except OSError as error:
            raise self._not_kept("the losses so far", error) from error
        return records

    def add_loss(self, record: Mapping[str, Any]) -> None:
        """Write one record at the end of the file.

        Raises:
            TrainingError: The disk is full or the folder gone.
        """
        try:
            with (self.folder / "losses.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise self._not_kept(f"the losses of step {record['step']}", error) from error

    def _not_kept(self, what: str, error: Exception) -> TrainingError:
        return TrainingError(
            f"{what} cannot be kept in {self.folder}: {getattr(error, 'strerror', None) or error}; "
            "free some space, then run again: it goes on from the step kept before"
        )

    def _claim(self) -> None:
        """Write whose folder this is, or find it written."""
        _check_ours(self.folder)
        found = _identity(self.folder)
        if found == self.identity:
            return
        _check_same(self.folder, found or {}, self.identity)
        (self.folder / "losses.jsonl").unlink(missing_ok=True)  # of a run that kept nothing else
        _write_whole(self.folder / "run.json", json.dumps(self.identity, indent=2) + "\n")


def check_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Refuse at once what ``Checkpoints`` would refuse, as far as it is known; writes nothing.

    Args:
        folder: Need not be there.
        identity: What is known by now of the run's.

    Raises:
        TrainingError: As ``Checkpoints`` does.
    """
    folder = Path(folder).resolve()
    try:
        there = next(one for one in (folder, *folder.parents) if one.exists())
        if not there.is_dir():
            raise _unwritable(folder, f"{there} is a file")
        if not os.access(there, os.W_OK | os.X_OK):
            raise _unwritable(folder, f"{there} is read only")
        if there != folder:
            return
        _check_ours(folder)
        known, found = _plain(identity), _identity(folder) or {}
        _check_same(folder, {name: found[name] for name in known if name in found}, known)
        if (folder / "run.lock").exists():
            _locked(folder).close()
    except OSError as error:
        raise _unwritable(folder, error.strerror or str(error)) from error


def begun(folder: Path) -> tuple[dict[str, Any], int] | None:
    """Identity of the run in a folder, and the step of its last checkpoint; None before one."""
    found, steps = _identity(folder), _steps(folder)
    return (found, max(steps)) if found is not None and steps else None


def begun_dtype(folder: Path) -> str | None:
    """The dtype in which the run of a folder trains, to go on in it; None where there is none."""
    settings = (_identity(folder) or {}).get("settings")
    dtype = settings.get("dtype") if isinstance(settings, dict) else None
    return dtype if dtype in DTYPES else None


def _locked(folder: Path) -> IO[bytes]:
    """The lock of a run's folder; it ends with this process."""
    try:
        return own_file(folder / "run.lock")
    except HeldError as error:
        raise TrainingError(
            f"another process runs in {folder} (pid {error.owner}); wait for it to end, stop it, "
            "or choose another --out"
        ) from error


def _check_ours(folder: Path) -> None:
    """Refuse a folder of other things; it is there."""
    if (folder / "run.json").exists():
        return
    if any(other.name not in FIRST for other in folder.iterdir()):
        raise TrainingError(f"{folder} is not empty and holds no run; choose another --out")


def _check_same(folder: Path, found: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse another run's folder, if something would be lost."""
    absent = object()
    names = {*found, *identity}
    other = sorted(n for n in names if found.get(n, absent) != identity.get(n, absent))
    if other and _steps(folder):
        raise TrainingError(
            f"{folder} holds another run, which differs in {', '.join(other)}; give the "
            "same options to go on with it, or choose another --out"
        )


def _identity(folder: Path) -> dict[str, Any] | None:
    """Of the run in a folder; None where there is none, or none that can be read."""
    try:
        found = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """As it is read again from its file."""
    return dict(json.loads(json.dumps(identity, sort_keys=True, default=str)))


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _unwritable(folder: Path, why: str) -> TrainingError:
    return TrainingError(
        f"{folder} cannot be written: {why}; choose another --out or free some space"
    )


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
