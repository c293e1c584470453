"""Where the phases of a run have the teacher's outputs from."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from autodistill.corpus import SpecialTokens
from autodistill.distill import cache_folder, kept
from autodistill.distill.batches import Batches
from autodistill.distill.kept import fill
from autodistill.distill.quantities import batch_key
from autodistill.distill.recipe import plan
from autodistill.distill.recipes import RECIPES
from autodistill.distill.targets import CacheSettings, make_targets
from autodistill.errors import ArgumentError, TeacherError
from autodistill.models.config import BertConfig

STUDENT = BertConfig(2, 16, 2, 32, vocab_size=60, max_position_embeddings=32)
SPECIAL = SpecialTokens(cls=2, sep=3, pad=0, mask=4, unk=1)


@pytest.fixture(scope="module")
def masked(make_tiny_teacher, passages):
    """Teacher, phases of 3, 2 and 8 steps, and batches of 8 of 40 passages."""
    teacher = make_tiny_teacher(head=True)
    planned = plan(RECIPES["mobilebert"], teacher, STUDENT, steps=13)
    assert [one.steps for one in planned] == [3, 2, 8]
    batches = Batches(passages(40, seed=1), 8, seed=3, special=SPECIAL, vocab_size=60)
    return teacher, planned, batches


@pytest.fixture
def settings(tmp_path, monkeypatch) -> CacheSettings:
    monkeypatch.setattr(cache_folder, "SPARE", 0)
    return CacheSettings(tmp_path / "cache", classes=7, copies=2)


def test_targets_each_phase_keeps_what_its_terms_read(masked, settings) -> None:
    targets = make_targets(*masked, settings)
    last = ["soft targets, 7 classes, temperature 1.0"]
    assert targets.record() == {
        "kept": [[f"{of} {i}" for of in ("key", "query", "state")] for i in (1, 2)] + [last],
        "format": kept.FORMAT,
        "mask_copies": 2,
    }
    assert targets.all_kept and targets.batches.copies == 2
    assert [len(phase.kept.texts) for phase in targets.phases] == [24, 16, 64]
    lines = targets.describe()
    assert (
        "distillation: the teacher runs once over 64 texts, each read 1.0 times; 0 MiB"
        in (lines[2])
    )


def test_targets_a_batch_has_what_the_teacher_says_of_it(masked, settings) -> None:
    """Within the order of float32 sums, as the rows were computed beside others."""
    targets = make_targets(*masked, settings)
    fill([targets.phases[2].kept])
    for step in (0, 2, 3, 5, 12):
        batch, plain = targets.batch_at(step), targets.batches.at(step)
        (phase,) = (p for p in targets.phases if p.begin <= step < p.begin + p.steps)
        assert batch.keys() - plain.keys() == {
            batch_key(one, field)
            for one in phase.quantities
            for field in phase.kept.entries[one].rows.dtype.names
        }
        for name, value in plain.items():
            np.testing.assert_array_equal(batch[name], value)
    (soft,) = targets.phases[2].quantities
    run = kept.teacher_program(masked[0], [soft])
    for step in (5, 12):
        batch = targets.batch_at(step)
        expected = jax.device_get(run(targets.batches.at(step))[soft.name])
        found = batch[batch_key(soft, "values")]
        np.testing.assert_allclose(found, expected["values"], rtol=1e-4, atol=1e-6)
        # Ties fall either way.
        assert (batch[batch_key(soft, "classes")] == expected["classes"]).mean() > 0.95


def test_targets_progress_is_of_all_phases(masked, settings) -> None:
    """So that the time left is of all: done only grows, up to a total that stays."""
    targets, calls = make_targets(*masked, settings), []
    targets.fill(progress=lambda *done: calls.append(done))
    assert calls == [(24, 104), (40, 104), (104, 104)]


def test_targets_without_a_cache_every_step_runs_the_teacher(masked) -> None:
    teacher, planned, batches = masked
    targets = make_targets(teacher, planned, batches, None)
    assert not targets.all_kept and targets.batches is batches
    assert targets.record()["kept"] == [None, None, None]
    assert targets.describe()[0] == "progressive 1: the teacher runs at every step"
    for name, value in batches.at(5).items():
        np.testing.assert_array_equal(targets.batch_at(5)[name], value)


def test_targets_that_do_not_fit_are_computed_at_every_step(masked, settings) -> None:
    """With the reason; and the masks are those of a run without a cache."""
    targets = make_targets(*masked, replace(settings, limit=1000))
    assert targets.record()["kept"] == [None, None, None]
    assert targets.batches.copies is None
    assert (
        "runs at every step: its outputs need 0 MiB, and the cache may hold 0 MiB"
        in (targets.describe()[2])
    )


def test_targets_the_longest_phase_is_served_first(masked, settings) -> None:
    whole = make_targets(*masked, settings)
    sizes = [phase.kept.size for phase in whole.phases]
    whole.close()
    room = sizes[2] + sizes[0] + 2000  # and what describes the entries
    targets = make_targets(*masked, CacheSettings(settings.folder / "other", room, 7, 2))
    assert [phase.kept is not None for phase in targets.phases] == [True, False, True]
    assert "and other runs use much of it" in targets.describe()[1]


def test_targets_go_on_as_they_began(masked, settings) -> None:
    """What was computed at every step still is; what was kept must be kept."""
    targets = make_targets(*masked, settings)
    record = targets.record()
    targets.close()
    mixed = {**record, "kept": [None, *record["kept"][1:]]}
    assert make_targets(*masked, settings, begun=mixed).record() == mixed
    assert make_targets(*masked, settings, begun=record).record() == record
    with pytest.raises(TeacherError, match=r"began with .* on disk .* raise --cache-gib, or begin"):
        elsewhere = CacheSettings(settings.folder / "none", limit=1000, classes=7, copies=2)
        make_targets(*masked, elsewhere, begun=mixed)


def test_targets_of_phases_that_are_over_take_no_room(masked, settings) -> None:
    """Nor are they computed; the loss and the identity of the run are as they were."""
    record = make_targets(*masked, settings).record()
    elsewhere = replace(settings, folder=settings.folder / "other")
    targets = make_targets(*masked, elsewhere, begun=record, done=3)
    assert targets.record() == record and targets.all_kept
    assert [phase.kept is not None for phase in targets.phases] == [False, True, True]
    assert len(targets.describe()) == 2
    assert len(list(elsewhere.folder.glob("*/rows"))) == 4


def test_targets_settings_out_of_range(tmp_path) -> None:
    with pytest.raises(ArgumentError, match="--soft-targets must be at least 1; got 0"):
        CacheSettings(tmp_path, classes=0)
    with pytest.raises(ArgumentError, match="--mask-copies must be at least 1; got 0"):
        CacheSettings(tmp_path, copies=0)
