"""The state of a training run on disk: checkpoints, and the losses so far.

A run that is killed at any instant finds a whole checkpoint; a damaged one is passed over
for the one before. Losses go to ``losses.jsonl`` as they are known; on resuming, those
after the checkpoint are dropped, as they will come again. A checkpoint is forced to disk,
and before it the losses, so that both outlive a power cut.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from autodistill.distill.one_checkpoint import Checkpoint, Place, Tree, composite, newest_whole
from autodistill.distill.run_folder import check_ours, claim, locked, plain, unwritable
from autodistill.durable import force, write_whole
from autodistill.errors import TrainingError
from autodistill.locks import sign

KEPT = 2  # checkpoints: where the disk damages the newer, the older serves


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
        self.identity = plain(identity)
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            check_ours(self.folder)
            self._lock = locked(self.folder)
            try:
                sign(self._lock)
                claim(self.folder, self.identity)
                self._manager = ocp.CheckpointManager(self.folder / "checkpoints", options=options)
            except BaseException:
                self._lock.close()
                raise
        except OSError as error:
            raise unwritable(self.folder, error.strerror or str(error)) from error

    def save(self, place: Place, params: Tree, optimiser: Tree) -> None:
        """Write a checkpoint; when this returns, it and the losses so far are on the disk.

        Args:
            place: Where the run stands.
            params: All parameters by name.
            optimiser: What else the phase in progress needs.

        Raises:
            TrainingError: The disk is full or the folder gone.
        """
        arguments = composite(place, params, optimiser)
        losses = self.folder / "losses.jsonl"
        try:
            if losses.exists():
                force(losses)
            self._manager.save(place.step, args=arguments, force=True)
            written = self.folder / "checkpoints" / str(place.step)
            for path in (*written.rglob("*"), written, written.parent):
                force(path)
        except (OSError, ValueError) as error:  # a full disk is a ValueError of the writer's
            raise self._not_kept(f"the state of step {place.step}", error) from error

    def last(self) -> Checkpoint | None:
        """The newest that is whole; None before the first. Damaged newer ones are deleted.

        Raises:
            TrainingError: There are some, and none is whole or of this version.
        """
        found, bad = newest_whole(self.folder)
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
            write_whole(path, "".join(json.dumps(record) + "\n" for record in records))
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
