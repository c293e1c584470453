"""The state of a training run on disk: checkpoints, and the losses so far.

A checkpoint is written beside the last one and then renamed (by orbax), so a run
that is killed at any instant finds a whole one. It holds a checksum of every array;
one that the disk has damaged is passed over for the one before. Losses go to ``losses.jsonl`` as
they are known; on resuming, those after the checkpoint are dropped, as they will
come again. A checkpoint is forced to disk, and before it the losses, so that both
outlive a power cut. ``run.json`` says which run it is; ``run.lock`` is locked while
it runs.
"""

import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from autodistill.distill.precision import DTYPES
from autodistill.errors import TrainingError
from autodistill.locks import HeldError, own_file, sign

FORMAT = 2
FIRST = ("run.lock", "run.partial")  # what a run that was killed at once may leave
KEPT = 2  # checkpoints: where the disk damages the newer, the older serves

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


class Checkpoints:
    """The folder of one run: no other process runs in it until this is closed.

    Args:
        folder: Made if it is not there.
        identity: Plain data that says which run this is; another's folder is refused.
        notice: Told of what was found damaged, a sentence each.

    Raises:
        TrainingError: The folder is another run's or another process runs in it, or it
            cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder, self.notice = Path(folder).resolve(), notice
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
        """Write a checkpoint; when this returns, it and the losses so far are on the disk.

        Args:
            place: Where the run stands.
            params: All parameters by name.
            optimiser: What else the phase in progress needs.

        Raises:
            TrainingError: The disk is full or the folder gone.
        """
        leaves = _by_number(optimiser)
        sums = {"params": _sums(params), "optimiser": _sums(leaves)}
        meta = {**vars(place), **sums}
        arguments = ocp.args.Composite(
            params=ocp.args.StandardSave(params),
            optimiser=ocp.args.StandardSave(leaves),
            meta=ocp.args.JsonSave({"format": FORMAT, **meta, "sum": _sum_of_text(meta)}),
        )
        losses = self.folder / "losses.jsonl"
        try:
            if losses.exists():
                _force(losses)
            self._manager.save(place.step, args=arguments, force=True)
            written = self.folder / "checkpoints" / str(place.step)
            for path in (*written.rglob("*"), written, written.parent):
                _force(path)
        except (OSError, ValueError) as error:  # a full disk is a ValueError of the writer's
            raise self._not_kept(f"the state of step {place.step}", error) from error

    def last(self) -> Checkpoint | None:
        """The newest that is whole; None before the first. Damaged newer ones are deleted.

        Raises:
            TrainingError: There are some, and none is whole or of this version.
        """
        found, bad = _newest_whole(self.folder)
        if found is None:
            return None
        for step, why in bad.items():
            try:
                self._manager.delete(step)
            except OSError as error:
                raise self._not_kept(f"the state after step {found.place.step}", error) from error
            self.notice(
                f"the checkpoint of step {step} in {self.folder} {why}, and is deleted; the run "
                f"goes on from step {found.place.step}"
            )
        return found

    def close(self) -> None:
        """Let go of the folder."""
        try:
            self._manager.close()
        finally:
            self._lock.close()

    def losses(self, place: Place) -> list[dict[str, Any]]:
        """Records of the steps up to this place; the file is cut to them.

        Lines that hold no record are left out, with a notice, as is the last one of a
        killed run, which may be torn. So is said which records are lost at the end.

        Raises:
            TrainingError: The disk refuses.
        """
        path = self.folder / "losses.jsonl"
        try:
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            lines = text.splitlines()
            found = [_record(line) for line in lines]
            records = [one for one in found if one is not None and one["step"] <= place.step]
            _write_whole(path, "".join(json.dumps(record) + "\n" for record in records))
        except OSError as error:
            raise self._not_kept("the losses so far", error) from error
        if bad := found[:-1].count(None):
            self.notice(f"lines of {path} that hold no record of losses are left out: {bad}")
        last = records[-1]["step"] if records else 0
        if last < place.logged:
            self.notice(f"{path} has lost the losses of steps {last + 1} to {place.logged}")
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
    """Identity of the run in a folder, and the step that it goes on from; None before one.

    Reads its last checkpoint, and changes nothing.

    Raises:
        TrainingError: None of its checkpoints is whole or of this version, or it cannot
            be told which run they are of.
    """
    identity = _identity(folder)
    if identity is None:
        return None
    found, _ = _newest_whole(Path(folder).resolve())
    return None if found is None else (identity, found.place.step)


def begun_dtype(folder: Path) -> str | None:
    """The dtype in which the run of a folder trains, to go on in it; None where there is none.

    Raises:
        TrainingError: It cannot be told which run the folder's checkpoints are of.
    """
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
    """Of the run in a folder; None where there is none, or none that could be gone on with.

    Raises:
        TrainingError: There are checkpoints, and it cannot be told of which run.
    """
    path = folder / "run.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        why = "it holds no JSON object"
    except FileNotFoundError:
        return None
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError:
        why = "it is no JSON"
    if not _steps(folder):
        return None
    raise TrainingError(
        f"{path} cannot be read ({why}), so it is not known which run the checkpoints in {folder} "
        "are of; put the file back from a copy, or choose another --out"
    )


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """As it is read again from its file."""
    return dict(json.loads(json.dumps(identity, sort_keys=True, default=str)))


def _record(line: str) -> dict[str, Any] | None:
    """Of losses; None if the line holds none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("phase"), str):
        return None
    numbers = {name: value for name, value in found.items() if name != "phase"}
    sound = all(type(value) in (int, float) for value in numbers.values())
    return found if sound and type(found.get("step")) is int and "loss" in found else None


def _write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all, also where the power is cut."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    _force(partial)
    partial.replace(path)
    _force(path.parent)


def _force(path: Path) -> None:
    """Have what is written to a file, or which files a folder has, reach the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError:
        if not path.is_dir():  # some file systems know no fsync of folders
            raise
    finally:
        os.close(opened)


def _unwritable(folder: Path, why: str) -> TrainingError:
    return TrainingError(
        f"{folder} cannot be written: {why}; choose another --out or free some space"
    )


def _steps(folder: Path) -> list[int]:
    """Of the checkpoints in a run's folder."""
    kept = folder / "checkpoints"
    return [int(one.name) for one in kept.glob("*") if one.name.isdigit()]


def _newest_whole(folder: Path) -> tuple[Checkpoint | None, dict[int, str]]:
    """The newest checkpoint of a run that is whole, and what is wrong with newer ones.

    Raises:
        TrainingError: There are some, and none is whole.
    """
    bad: dict[int, str] = {}
    for step in sorted(_steps(folder), reverse=True):
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
