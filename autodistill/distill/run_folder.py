"""Whose folder a run's is: ``run.json`` says which run it is, ``run.lock`` is locked while it runs.

A folder of another run, or of other things, is refused before anything of it is lost.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from autodistill.distill.one_checkpoint import newest_whole, steps_kept
from autodistill.distill.precision import DTYPES
from autodistill.durable import is_draft_of, write_whole
from autodistill.errors import TrainingError
from autodistill.locks import HeldError, own_file


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
            raise unwritable(folder, f"{there} is a file")
        if not os.access(there, os.W_OK | os.X_OK):
            raise unwritable(folder, f"{there} is read only")
        if there != folder:
            return
        check_ours(folder)
        known, found = plain(identity), _identity(folder) or {}
        _check_same(folder, {name: found[name] for name in known if name in found}, known)
        if (folder / "run.lock").exists():
            locked(folder).close()
    except OSError as error:
        raise unwritable(folder, error.strerror or str(error)) from error


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
    found, _ = newest_whole(Path(folder).resolve())
    return None if found is None else (identity, found.place.step)


def begun_dtype(folder: Path) -> str | None:
    """The dtype in which the run of a folder trains, to go on in it; None where there is none.

    Raises:
        TrainingError: It cannot be told which run the folder's checkpoints are of.
    """
    settings = (_identity(folder) or {}).get("settings")
    dtype = settings.get("dtype") if isinstance(settings, dict) else None
    return dtype if dtype in DTYPES else None


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Write whose folder this is, or find it written.

    Raises:
        TrainingError: It is another run's, whose checkpoints would be lost.
    """
    check_ours(folder)
    found = _identity(folder)
    if found == identity:
        return
    _check_same(folder, found or {}, identity)
    (folder / "losses.jsonl").unlink(missing_ok=True)  # of a run that kept nothing else
    write_whole(folder / "run.json", json.dumps(identity, indent=2) + "\n")


def locked(folder: Path) -> IO[bytes]:
    """The lock of a run's folder; it ends with this process."""
    try:
        return own_file(folder / "run.lock")
    except HeldError as error:
        raise TrainingError(
            f"another process runs in {folder} (pid {error.owner}); wait for it to end, stop it, "
            "or choose another --out"
        ) from error


def check_ours(folder: Path) -> None:
    """Refuse a folder of other things; it is there."""
    run = folder / "run.json"
    if run.exists():
        return
    # a run that was killed at once leaves its lock, and what was to be run.json
    if any(one.name != "run.lock" and not is_draft_of(one, run) for one in folder.iterdir()):
        raise TrainingError(f"{folder} is not empty and holds no run; choose another --out")


def _check_same(folder: Path, found: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse another run's folder, if something would be lost."""
    absent = object()
    names = {*found, *identity}
    other = sorted(n for n in names if found.get(n, absent) != identity.get(n, absent))
    if other and steps_kept(folder):
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
    if not steps_kept(folder):
        return None
    raise TrainingError(
        f"{path} cannot be read ({why}), so it is not known which run the checkpoints in {folder} "
        "are of; put the file back from a copy, or choose another --out"
    )


def plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """As it is read again from its file."""
    return dict(json.loads(json.dumps(identity, sort_keys=True, default=str)))


def unwritable(folder: Path, why: str) -> TrainingError:
    return TrainingError(
        f"{folder} cannot be written: {why}; choose another --out or free some space"
    )


def write_result(path: Path, record: Mapping[str, object]) -> None:
    """Write what a run has come to as JSON, whole or not at all.

    Raises:
        TrainingError: The disk is full or the folder gone.
    """
    try:
        write_whole(path, json.dumps(record, indent=2) + "\n")
    except OSError as error:
        raise TrainingError(f"{path} cannot be written: {error.strerror or error}") from error
