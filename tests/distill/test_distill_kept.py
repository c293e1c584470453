"""Teacher outputs on disk: computed once, the same however they came to be there."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autodistill.distill import cache_folder, kept
from autodistill.distill.cache_folder import CacheFolder
from autodistill.distill.kept import Kept, fill, layouts
from autodistill.distill.quantities import PassageOutputs, State, TokenOutputs, batch_key
from autodistill.distill.teacher_outputs import PassageTexts
from autodistill.errors import TeacherError

COUNT = 100  # texts: one full block of 64 and a part of another
TOKENS, WHOLE = TokenOutputs(), PassageOutputs()


def reserve(teacher, texts, quantities, folder) -> Kept:
    return kept.reserve(teacher, texts, layouts(teacher, texts, quantities), folder)


@pytest.fixture(scope="module")
def read(passages) -> PassageTexts:
    return PassageTexts(passages(COUNT, seed=0))


@pytest.fixture(scope="module", autouse=True)
def compiled_once():
    """Programs are compiled once for all tests here; each fill asks for one anew."""
    real, programs = kept.teacher_program, {}

    def program(teacher, quantities):
        key = teacher.fingerprint, *(one.name for one in quantities)
        if key not in programs:
            programs[key] = real(teacher, quantities)
        return programs[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "teacher_program", program)
        yield


@pytest.fixture(scope="module")
def whole(teacher, read, tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """A whole cache, and what is in it."""
    folder = tmp_path_factory.mktemp("whole")
    found = reserve(teacher, read, [TOKENS, WHOLE], CacheFolder(folder))
    fill([found])
    return folder, {name: np.array(v) for name, v in found.gather(np.arange(COUNT)).items()}


@pytest.fixture
def copied(whole, tmp_path, teacher, read) -> tuple[Kept, dict[str, np.ndarray]]:
    """A copy of it to damage."""
    folder, expected = whole
    shutil.copytree(folder, tmp_path / "cache")
    return reserve(teacher, read, [TOKENS, WHOLE], CacheFolder(tmp_path / "cache")), expected


@pytest.fixture
def asked(monkeypatch) -> list[tuple[int, list[str]]]:
    """What the teacher is run for: the first text of each block, and the quantities."""
    real, found = kept.teacher_program, []

    def counted(teacher, quantities):
        run = real(teacher, quantities)

        def call(batch):
            found.append((int(batch["ids"][0].sum()), [one.name for one in quantities]))
            return run(batch)

        return call

    monkeypatch.setattr(kept, "teacher_program", counted)
    return found


def check_equal(found: Kept, expected: dict[str, np.ndarray]) -> None:
    rows = found.gather(np.arange(COUNT))
    assert rows.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(rows[name], value)


def test_kept_a_whole_cache_leaves_the_teacher_alone(copied, asked) -> None:
    found, expected = copied
    steps: list[tuple[int, int]] = []
    fill([found], progress=lambda *step: steps.append(step))
    assert asked == [] == steps
    check_equal(found, expected)


@pytest.mark.parametrize(
    ("rows", "blocks"), [([0], 1), ([70, 99], 1), ([63, 64], 2), (range(30, 100), 2)]
)
def test_kept_rows_that_are_damaged_are_computed_again_to_the_same_bits(
    copied, asked, read, rows, blocks
) -> None:
    found, expected = copied
    entry = found.entries[TOKENS]
    with Path(entry._rows_file.name).open("r+b") as file:
        for row in rows:
            file.seek(row * entry.layout.dtype.itemsize + 5)
            file.write(b"\x55\xaa\x55")
    fill([found])
    assert [names for _, names in asked] == [[TOKENS.name]] * blocks  # the other is whole
    check_equal(found, expected)


def test_kept_what_is_sound_is_not_written(copied) -> None:
    """Rows of another content under sound checksums stay, beside those that were lost."""
    found, expected = copied
    entry = found.entries[WHOLE]
    marked = np.array(entry.rows[:2])
    marked["values"] = 7.0
    for row in range(2):
        entry.write(row, marked[row])
    entry._checks_file.seek(4 * 2)
    entry._checks_file.write(b"\0" * 4)
    fill([found])
    rows = found.gather(np.arange(COUNT))[batch_key(WHOLE, "values")]
    assert (rows[:2] == 7.0).all()
    np.testing.assert_array_equal(rows[2:], expected[batch_key(WHOLE, "values")][2:])


def test_kept_an_interrupted_fill_goes_on(teacher, read, whole, tmp_path, asked) -> None:
    found = reserve(teacher, read, [TOKENS, WHOLE], CacheFolder(tmp_path))

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill([found], progress=interrupt)
    found.close()
    again = reserve(teacher, read, [TOKENS, WHOLE], CacheFolder(tmp_path))
    assert [int(entry.sound().sum()) for entry in again.entries.values()] == [64, 64]
    steps: list[tuple[int, int]] = []
    fill([again], progress=lambda *step: steps.append(step))
    assert steps == [(COUNT, COUNT)] and len(asked) == 2
    check_equal(again, whole[1])


def test_kept_the_teacher_runs_once_for_all_that_one_text_needs(
    teacher, read, tmp_path, asked
) -> None:
    folder = CacheFolder(tmp_path)
    one = reserve(teacher, read, [TOKENS], folder)
    two = reserve(teacher, read, [TOKENS, State(1)], folder)
    fill([one, two])
    assert [sorted(names) for _, names in asked] == [["state 1", "tokens"]] * 2
    rows = np.arange(COUNT)
    tokens = batch_key(TOKENS, "values")
    np.testing.assert_array_equal(one.gather(rows)[tokens], two.gather(rows)[tokens])


def test_kept_another_teacher_text_or_quantity_has_another_entry(
    teacher, read, passages, tmp_path
) -> None:
    text = read.passages
    shorter = replace(text, attention_mask=text.attention_mask.copy())
    shorter.attention_mask[0, 3:] = 0  # the same tokens, fewer of them real
    cases: list[tuple[object, PassageTexts, object]] = [
        (teacher, read, TOKENS),
        (replace(teacher, fingerprint="other"), read, TOKENS),
        (teacher, PassageTexts(passages(COUNT, seed=9)), TOKENS),
        (teacher, PassageTexts(shorter), TOKENS),
        (teacher, read, WHOLE),
        (teacher, read, State(0)),
    ]
    folder = CacheFolder(tmp_path)
    for model, texts, quantity in cases:
        reserve(model, texts, [quantity], folder).close()
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == len(cases)


def test_kept_another_process_is_waited_for(copied, read, teacher, tmp_path) -> None:
    """Two fills at one instant: the second finds what the first has made."""
    import threading

    found, expected = copied
    other = reserve(teacher, read, [TOKENS, WHOLE], CacheFolder(tmp_path / "cache"))
    waited: list[bool] = []
    with found.entries[TOKENS].writing():
        thread = threading.Thread(target=lambda: fill([other], on_wait=lambda: waited.append(True)))
        thread.start()
        while not waited:
            thread.join(0.01)
        assert thread.is_alive()
    thread.join(60)
    assert not thread.is_alive() and waited == [True]
    check_equal(other, expected)


def test_kept_a_disk_that_refuses_is_explained(teacher, read, tmp_path, monkeypatch) -> None:
    found = reserve(teacher, read, [WHOLE], CacheFolder(tmp_path))

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_folder.Entry, "write", refuse)
    with pytest.raises(TeacherError, match="cannot be kept: No space left on device; free some"):
        fill([found])
