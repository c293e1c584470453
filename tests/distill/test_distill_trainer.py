"""The trainer on a regression whose every step can be done by hand."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from autodistill.distill.checkpoints import Checkpoints
from autodistill.distill.divergence import check_losses
from autodistill.distill.one_checkpoint import Place
from autodistill.distill.optimiser import make_optimiser
from autodistill.distill.phase import Phase
from autodistill.distill.run_folder import begun, check_folder
from autodistill.distill.train_step import Part
from autodistill.distill.trainer import Trainer, TrainSettings
from autodistill.errors import ArgumentError, TrainingError

ROWS, LENGTH, WIDTH = 8, 3, 4
SETTINGS = TrainSettings(batch_size=ROWS, log_every=2, checkpoint_every=3)
START = {
    "inner.kernel": np.full((WIDTH, 2), 0.1, np.float32),
    "outer.kernel": np.array([[0.3], [-0.2]], np.float32),
}


def batch_at(step):
    """Rows differ in how many of their positions count; padding is not a number."""
    rng = np.random.default_rng(step)
    x = rng.standard_normal((ROWS, LENGTH, WIDTH)).astype(np.float32)
    mask = (np.arange(LENGTH) < rng.integers(1, LENGTH + 1, (ROWS, 1))).astype(np.int32)
    y = np.where(mask[..., None] > 0, x[..., :1] - x[..., 1:2], np.nan).astype(np.float32)
    return {"x": x, "y": y, "mask": mask}


def weights(batch):
    return {"tokens": batch["mask"], "passages": jnp.ones(len(batch["mask"]))}


def loss(params, constants, batch):
    guess = batch["x"] @ params["inner.kernel"] @ params["outer.kernel"] * constants["scale"]
    squares = jnp.square(guess - jnp.nan_to_num(batch["y"]))[..., 0]
    spoilt = jnp.where(batch["mask"] > 0, squares, jnp.nan)
    first = jnp.abs(guess[:, 0, 0])
    return {"squares": Part(1.0, "tokens", spoilt), "first": Part(0.1, "passages", first)}


def phases(rate=0.05, steps=(5, 4)):
    first = Phase("inner", steps[0], rate, loss, lambda name: name.startswith("inner"))
    return [first, Phase("both", steps[1], rate, loss)]


def trainer(folder, settings=SETTINGS, **changes):
    notice = changes.pop("notice", lambda _: None)
    checkpoints = Checkpoints(folder, {"task": "regression"}, notice)
    rate = changes.pop("rate", 0.05)
    return Trainer(
        changes.pop("phases", None) or phases(rate),
        weights=weights,
        batch_at=batch_at,
        settings=settings,
        checkpoints=checkpoints,
        **changes,
    )


CONSTANTS = {"scale": np.float32(1.5)}


def run(folder, settings=SETTINGS, on_record=lambda _: None, **changes):
    """A trainer's run, its folder let go of at the end."""
    one = trainer(folder, settings, **changes)
    try:
        return one.run(START, CONSTANTS, on_record)
    finally:
        one.checkpoints.close()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return trainer(tmp_path_factory.mktemp("whole") / "run").run(START, CONSTANTS)


def test_trainer_is_the_plain_loop(uninterrupted):
    """Its records and weights are those of optax called by hand, phase by phase."""
    params, step, seen = dict(START), 0, []

    def total(trained, params, batch):
        parts = loss({**params, **trained}, CONSTANTS, batch)
        squares = parts["squares"].values
        mean = jnp.nansum(squares) / batch["mask"].sum()
        return mean + 0.1 * parts["first"].values.mean()

    for names, steps in ((["inner.kernel"], 5), (list(START), 4)):
        optimiser = make_optimiser(steps=steps, learning_rate=0.05, weight_decay=0.01)
        trained = {name: params[name] for name in names}
        state = optimiser.init(trained)
        for _ in range(steps):
            value, gradient = jax.value_and_grad(total)(trained, params, batch_at(step))
            updates, state = optimiser.update(gradient, state, trained)
            trained = optax.apply_updates(trained, updates)
            seen.append(float(value))
            step += 1
        params |= trained
    for name, value in params.items():
        np.testing.assert_allclose(uninterrupted.params[name], value, rtol=1e-4, atol=1e-6)
    records = uninterrupted.records
    assert [(r["step"], r["phase"]) for r in records] == [
        *((2, "inner"), (4, "inner"), (5, "inner")),
        *((6, "both"), (8, "both"), (9, "both")),
    ]
    begins = [0, *(record["step"] for record in records)]
    for begin, record in zip(begins, records, strict=False):
        assert record["loss"] == pytest.approx(np.mean(seen[begin : record["step"]]), rel=1e-4)
        assert record["loss"] == pytest.approx(record["squares"] + 0.1 * record["first"], rel=1e-5)


@pytest.mark.parametrize("stop", [4, 5, 9])
def test_trainer_stopped_anywhere_ends_as_if_it_had_not(stop, uninterrupted, tmp_path):
    """Bit for bit: after a checkpoint, at the end of a phase, and after the last step."""

    def interrupt(record):
        if record["step"] == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", on_record=interrupt)
    with (tmp_path / "run" / "losses.jsonl").open("a") as file:
        file.write('{"step": 5, "ph')  # a line that a killed run left torn
    resumed = run(tmp_path / "run")
    assert resumed.records == uninterrupted.records
    for name, value in uninterrupted.params.items():
        np.testing.assert_array_equal(resumed.params[name], value)
    lines = (tmp_path / "run" / "losses.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == uninterrupted.records


def test_trainer_micro_batches_change_nothing(uninterrupted, tmp_path):
    """Though they differ in how many positions count; sums in another order differ by 1e-6."""
    settings = TrainSettings(ROWS, accumulate=4, log_every=2, checkpoint_every=100)
    result = trainer(tmp_path / "run", settings).run(START, CONSTANTS)
    for ours, theirs in zip(result.records, uninterrupted.records, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    for name, value in uninterrupted.params.items():
        np.testing.assert_allclose(result.params[name], value, rtol=1e-4, atol=1e-6)


def test_trainer_compiles_once_per_phase(tmp_path):
    traced = []

    def counted(params, constants, batch):
        traced.append(batch["x"].shape)
        return loss(params, constants, batch)

    trainer(tmp_path / "few", phases=[Phase("a", 2, 0.1, counted)]).run(START, CONSTANTS)
    after_few = len(traced)
    trainer(tmp_path / "many", phases=[Phase("a", 40, 0.1, counted)]).run(START, CONSTANTS)
    assert len(traced) == 2 * after_few


def test_trainer_says_what_diverged_and_when(tmp_path):
    def log_of_negative(params, constants, batch):
        parts = loss(params, constants, batch)
        sunk = 1.0 - 0.0 * parts["first"].values - constants["scale"]
        return parts | {"logarithm": Part(1.0, "passages", jnp.log(sunk))}

    broken = [Phase("begin", 2, 0.1, loss), Phase("end", 4, 0.1, log_of_negative)]
    with pytest.raises(TrainingError, match="step 3 of phase end .*: logarithm is nan"):
        trainer(tmp_path / "a", phases=broken).run(START, CONSTANTS)
    with pytest.raises(TrainingError, match=r"diverged .*use a lower --learning-rate"):
        trainer(tmp_path / "b", rate=float("inf")).run(START, CONSTANTS)


def test_trainer_stops_where_the_loss_only_grows(tmp_path):
    long = [Phase("wild", 40, 30.0, loss)]
    with pytest.raises(TrainingError, match=r"of phase wild .*: the loss is .*, which began at"):
        trainer(tmp_path / "run", phases=long).run(START, CONSTANTS)


def test_trainer_a_loss_that_began_near_nothing_may_grow_to_little():
    """As that of a copy of the teacher, which the first steps move away from it."""
    state = SimpleNamespace(rest=SimpleNamespace(first_bad=0))
    phase, first = Phase("copy", 100, 1e-3, loss), [{"step": 1, "loss": 0.0008}]
    check_losses(phase, state, {"step": 40, "loss": 0.036}, first)
    check_losses(phase, state, {"step": 40, "loss": 39.0}, [{"step": 1, "loss": 2.0}])
    for first, now in ((0.0008, 21.0), (0.0, 21.0), (2.0, 41.0)):
        with pytest.raises(TrainingError, match=r"diverged by step 40 .*which began at"):
            check_losses(phase, state, {"step": 40, "loss": now}, [{"step": 1, "loss": first}])


def test_trainer_cuts_the_batch_where_memory_is_short(tmp_path, monkeypatch, uninterrupted):
    """The device takes two rows at a time; memory fails in the midst of a phase."""
    whole = Trainer._prepared

    def prepared(self, phase, begin, trained, frozen, constants, accumulate):
        step, state = whole(self, phase, begin, trained, frozen, constants, accumulate)

        def limited(state, *arguments):
            if accumulate < 4 and int(state.rest.step) == 4:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
            return step(state, *arguments)

        return limited, state

    monkeypatch.setattr(Trainer, "_prepared", prepared)
    result = trainer(tmp_path / "run").run(START, CONSTANTS)
    assert result.accumulate == 4
    for ours, theirs in zip(result.records, uninterrupted.records, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


def test_trainer_gives_up_where_one_row_is_too_much(tmp_path, monkeypatch):
    def never(*_):
        raise MemoryError

    monkeypatch.setattr(Trainer, "_prepared", never)
    with pytest.raises(TrainingError, match="out of memory with one passage per device"):
        trainer(tmp_path / "run").run(START, CONSTANTS)


def test_trainer_other_errors_are_not_taken_for_memory(tmp_path, monkeypatch):
    def broken(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(Trainer, "_prepared", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        trainer(tmp_path / "run").run(START, CONSTANTS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TrainSettings(batch_size=8, accumulate=3), "--batch-size must be a multiple of 3"),
        (TrainSettings(batch_size=2, accumulate=4), "multiple of 4, .* got 2"),
    ],
)
def test_trainer_batches_must_split_evenly(settings, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        trainer(tmp_path / "run", settings)


@pytest.mark.parametrize("name", ["batch_size", "accumulate", "log_every", "checkpoint_every"])
def test_trainer_settings_must_be_positive(name):
    with pytest.raises(ArgumentError, match="must be at least 1; got 0"):
        TrainSettings(**{name: 0})


def test_trainer_another_runs_folder_is_refused(tmp_path):
    first = Checkpoints(tmp_path / "run", {"task": "regression", "steps": 9})
    first.save(Place(1, 1, 0.5), START, {"moment": np.ones(2)})
    first.close()
    with pytest.raises(TrainingError, match="another run, which differs in steps"):
        Checkpoints(tmp_path / "run", {"task": "regression", "steps": 10})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("text")
    with pytest.raises(TrainingError, match="is not empty and holds no run"):
        Checkpoints(tmp_path / "mine", {})
    (tmp_path / "file").write_text("text")
    with pytest.raises(TrainingError, match="cannot be written"):
        Checkpoints(tmp_path / "file", {})


def test_trainer_a_run_killed_before_it_was_named_is_begun(tmp_path):
    """While run.json was written: the folder holds a lock and a draft."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.lock").touch()
    (tmp_path / "run" / ".run.json.1.tmp").write_text('{"ste')
    Checkpoints(tmp_path / "run", {"steps": 9}).close()
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == {"steps": 9}


def test_trainer_a_run_without_a_checkpoint_may_be_given_other_settings(tmp_path):
    """As when its first settings were refused: there is nothing that could be lost."""
    first = Checkpoints(tmp_path / "run", {"learning_rate": 9.0})
    first.add_loss({"step": 1, "loss": 1e30})
    first.close()
    second = Checkpoints(tmp_path / "run", {"learning_rate": 0.1})
    assert second.losses(Place(9, 1, 0.5)) == []
    second.save(Place(1, 1, 0.5), START, {"moment": np.ones(2)})
    second.close()
    with pytest.raises(TrainingError, match="differs in learning_rate"):
        Checkpoints(tmp_path / "run", {"learning_rate": 9.0})


def test_trainer_a_folder_is_checked_early_and_nothing_is_written(tmp_path):
    """What ``Checkpoints`` will refuse, with a part of the identity known."""
    known = {"steps": 9, "shape": (1, 2)}
    check_folder(tmp_path / "none" / "run", known)
    first = Checkpoints(tmp_path / "run", {**known, "outputs": "all"})
    first.save(Place(1, 1, 0.5), START, {"moment": np.ones(2)})
    with pytest.raises(TrainingError, match="another process runs in"):
        check_folder(tmp_path / "run", known)
    first.close()
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("text")
    (tmp_path / "file").write_text("text")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    check_folder(tmp_path / "run", known)
    check_folder(tmp_path / "empty", known)
    for name, identity, message in (
        ("run", {**known, "steps": 8}, "another run, which differs in steps; give"),
        ("run", {**known, "seed": 1}, "another run, which differs in seed; give"),
        ("mine", known, "is not empty and holds no run"),
        ("file", known, "cannot be written: .*file is a file"),
        ("file/run", known, "cannot be written: .*file is a file"),
    ):
        with pytest.raises(TrainingError, match=message):
            check_folder(tmp_path / name, identity)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_trainer_a_folder_that_may_not_be_written_is_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # all is open to the user root
    with pytest.raises(TrainingError, match=f"cannot be written: {tmp_path} is read only"):
        check_folder(tmp_path / "run", {})


def test_trainer_a_disk_that_fills_while_losses_are_kept_is_explained(tmp_path, file_size_limit):
    """And what was kept before is there."""
    kept = Checkpoints(tmp_path / "run", {})
    first = {"step": 1, "phase": "all", "loss": 0.5}
    kept.add_loss(first)
    message = r"cannot be kept in .*/run: File too large; free some space, then run again"
    with file_size_limit(50), pytest.raises(TrainingError, match=f"losses of step 2 {message}"):
        kept.add_loss({**first, "step": 2})
    with file_size_limit(10), pytest.raises(TrainingError, match=f"losses so far {message}"):
        kept.losses(Place(2, 1, 0.5))
    assert kept.losses(Place(2, 1, 0.5)) == [first]
    kept.close()


def emptied(step):
    for file in step.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def flipped(item):
    """Change eight bytes in the midst of every file."""

    def damage(step):
        for file in (step / item).rglob("*"):
            if file.is_file():
                data = bytearray(file.read_bytes())
                middle = slice(len(data) // 2, len(data) // 2 + 8)
                data[middle] = bytes(one ^ 0xFF for one in data[middle])
                file.write_bytes(bytes(data))

    return damage


def exchanged(step):
    """Parameters that can be read, of the same shapes, and are not those that were written."""
    shutil.rmtree(step / "params")
    other = {name: value + 1 for name, value in START.items()}
    with ocp.StandardCheckpointer() as writer:
        writer.save(step / "params", other)


def halved(step):
    """The second half of every file of the parameters is zeros."""
    for file in (step / "params").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            file.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def described(**values):
    """Another description than was written; a value of None takes its entry away."""

    def damage(step):
        path = step / "meta" / "metadata"
        meta = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({k: v for k, v in meta.items() if v is not None}))

    return damage


DAMAGES = {
    "empty": (emptied, "is damaged"),
    "parameters flipped": (flipped("params"), "is damaged"),
    "optimiser flipped": (flipped("optimiser"), "is damaged"),
    "parameters exchanged": (exchanged, r"is damaged \(\w+.kernel of params is not what was"),
    "half zeros": (halved, "is damaged"),
    "no parameters": (lambda step: shutil.rmtree(step / "params"), "is damaged"),
    "no description": (lambda step: shutil.rmtree(step / "meta"), "is damaged"),
    "another step": (described(step=7), "is damaged"),
    "no sums": (described(params=None), "is damaged"),
    "description is a number": (
        lambda step: (step / "meta" / "metadata").write_text("5"),
        "is damaged",
    ),
    "the format alone": (
        lambda step: (step / "meta" / "metadata").write_text('{"format": 1}'),
        "was written by another version",
    ),
}


@pytest.fixture(scope="module")
def begun_run(tmp_path_factory):
    """The folder of a run that was stopped at step 8, with checkpoints of steps 5 and 6."""
    folder = tmp_path_factory.mktemp("begun") / "run"

    def interrupt(record):
        if record["step"] == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, on_record=interrupt)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["5", "6"]
    return folder


@pytest.mark.parametrize("name", DAMAGES)
def test_trainer_a_damaged_checkpoint_is_passed_over(name, begun_run, tmp_path):
    """The one before serves; where it is damaged too, an error, and nothing is changed."""
    damage, why = DAMAGES[name]
    folder = shutil.copytree(begun_run, tmp_path / "run")
    damage(folder / "checkpoints" / "6")
    assert begun(folder)[1] == 5
    said = []
    checkpoints = Checkpoints(folder, {"task": "regression"}, said.append)
    assert checkpoints.last().place.step == 5
    checkpoints.close()
    assert len(said) == 1 and "goes on from step 5" in said[0]
    assert re.search(f"checkpoint of step 6 in {folder} {why}", said[0])

    lost = shutil.copytree(begun_run, tmp_path / "lost")
    for step in ("5", "6"):
        damage(lost / "checkpoints" / step)
    before = sorted(lost.rglob("*"))
    message = f"lost has no checkpoint to go on from: that of step 6 {why}.*; choose another --out"
    for read in (run, begun):
        with pytest.raises(TrainingError, match=message):
            read(lost)
    assert before == sorted(lost.rglob("*"))


def test_trainer_goes_on_from_before_the_damage_as_if_there_were_none(
    begun_run, uninterrupted, tmp_path
):
    folder, said = shutil.copytree(begun_run, tmp_path / "run"), []
    exchanged(folder / "checkpoints" / "6")
    resumed = run(folder, notice=said.append)
    assert len(said) == 1 and resumed.records == uninterrupted.records
    for name, value in uninterrupted.params.items():
        np.testing.assert_array_equal(resumed.params[name], value)


def test_trainer_losses_that_are_lost_are_said_and_not_made_up(tmp_path):
    """Steps since the last record are counted by the checkpoint, not by the file."""

    def interrupt(record):
        if record["step"] == 8:
            raise KeyboardInterrupt

    settings, said = TrainSettings(ROWS, log_every=2, checkpoint_every=7), []
    phase = {"phases": [Phase("all", 9, 0.05, loss)]}
    whole = run(tmp_path / "whole", settings, **phase)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", settings, interrupt, **phase)
    path = tmp_path / "run" / "losses.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6, 8]
    path.write_text(lines[0])
    resumed = run(tmp_path / "run", settings, notice=said.append, **phase)
    assert resumed.records == [whole.records[0], *whole.records[3:]]
    assert said == [f"{path} has lost the losses of steps 3 to 6"]


@pytest.mark.parametrize(
    "line", ["5", "null", '{"a": 1}', '{"step": 4, "ph', "\0\0", '{"step": 4}']
)
def test_trainer_lines_that_hold_no_record_are_left_out(line, tmp_path):
    records = [{"step": step, "phase": "all", "loss": 0.5} for step in (2, 4, 6)]
    kept = Checkpoints(tmp_path / "run", {}, (said := []).append)
    path = tmp_path / "run" / "losses.jsonl"
    lines = [json.dumps(record) for record in records]
    path.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    assert kept.losses(Place(6, 1, 0.5, logged=6)) == records
    assert said == [f"lines of {path} that hold no record of losses are left out: 1"]
    assert kept.losses(Place(6, 1, 0.5, logged=6)) == records and len(said) == 1
    kept.close()


def test_trainer_losses_are_on_the_disk_before_the_checkpoint_that_counts_them(
    tmp_path, monkeypatch
):
    """And the checkpoint itself, when it is said to be kept."""
    forced = []
    fsync = os.fsync

    def noted(opened):
        forced.append(Path(os.readlink(f"/proc/self/fd/{opened}")))
        fsync(opened)

    kept = Checkpoints(tmp_path / "run", {})
    kept.add_loss({"step": 1, "phase": "all", "loss": 0.5})
    monkeypatch.setattr(os, "fsync", noted)
    kept.save(Place(1, 1, 0.5, logged=1), START, {"moment": np.ones(2)})
    kept.close()
    step = tmp_path / "run" / "checkpoints" / "1"
    assert forced[0] == tmp_path / "run" / "losses.jsonl"
    assert {*step.rglob("*"), step, step.parent} <= {*forced}


@pytest.mark.parametrize("text", ["", "\0" * 50, '{"steps": ', "[]"])
def test_trainer_a_run_that_cannot_be_told_is_refused(text, tmp_path):
    """Unless nothing is lost by beginning it anew."""
    folder = tmp_path / "run"
    kept = Checkpoints(folder, {"steps": 9})
    (folder / "run.json").write_text(text)
    kept.close()
    check_folder(folder, {"steps": 9})
    again = Checkpoints(folder, {"steps": 9})
    again.save(Place(1, 1, 0.5), START, {"moment": np.ones(2)})
    again.close()
    (folder / "run.json").write_text(text)
    message = r"run\.json cannot be read \(it .*\), .*; put the file back from a copy, or choose"
    for refused in (Checkpoints, check_folder, lambda folder, _: begun(folder)):
        with pytest.raises(TrainingError, match=message):
            refused(folder, {"steps": 9})


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import test_distill_trainer as here

def kill(record):
    if record["step"] == 6:
        os.kill(os.getpid(), signal.SIGKILL)

here.trainer({folder!r}).run(here.START, here.CONSTANTS, kill)
"""

ON_EIGHT = """
import sys
sys.path.insert(0, {tests!r})
import jax, json, numpy as np
import test_distill_trainer as here

assert jax.device_count() == 8
result = here.trainer({folder!r}).run(here.START, here.CONSTANTS)
print(json.dumps(result.records))
"""


HOLDING = """
import sys, time
from autodistill.distill.checkpoints import Checkpoints

held = Checkpoints({folder!r}, {{}})
print("held", flush=True)
time.sleep(100)
"""


def test_trainer_one_process_at_a_time_runs_in_a_folder(tmp_path):
    """A second one is refused and changes nothing; a killed one leaves nothing locked."""
    folder = tmp_path / "run"
    code = HOLDING.format(folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        message = rf"another process runs in {folder} \(pid {process.pid}\); wait for it to end"
        for refused in (Checkpoints, check_folder):
            with pytest.raises(TrainingError, match=message):
                refused(folder, {"other": 1})
        assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        process.send_signal(signal.SIGKILL)
        process.wait()
        check_folder(folder, {})
        Checkpoints(folder, {}).close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def run_python(code, folder, **environment):
    code = code.format(tests=str(Path(__file__).parent), folder=str(folder))
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
    )


def test_trainer_killed_by_the_system_ends_as_if_it_had_not(uninterrupted, tmp_path):
    done = run_python(KILLED, tmp_path / "run")
    assert done.returncode == -9, done.stderr
    resumed = run(tmp_path / "run")
    assert resumed.records == uninterrupted.records
    for name, value in uninterrupted.params.items():
        np.testing.assert_array_equal(resumed.params[name], value)


def test_trainer_eight_devices_give_the_losses_of_one(uninterrupted, tmp_path):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    done = run_python(ON_EIGHT, tmp_path / "run", XLA_FLAGS=flags)
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    for ours, theirs in zip(records, uninterrupted.records, strict=True):
        assert ours.pop("phase") == theirs["phase"]
        assert ours == pytest.approx({name: theirs[name] for name in ours}, rel=1e-5)
