"""What a search works on: text, the reference lines, and their cache."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from autodistill.distill import cache_folder
from autodistill.distill.flash import FlashSettings
from autodistill.distill.passage_set import Masked, PassageSet
from autodistill.distill.teacher_outputs import TeacherOutputs
from autodistill.errors import CorpusError, TeacherError
from autodistill.search.materials import (
    TextSettings,
    commonest_token,
    linear_reference,
    make_materials,
    tokenised,
)
from autodistill.search.progress import Display
from autodistill.teacher import load_teacher

FLASH = FlashSettings(steps=8)


@pytest.fixture
def display() -> Display:
    return Display(Console(quiet=True))


def make(tiny, display, *, head: bool = False, text: TextSettings | None = None):
    teacher = load_teacher(tiny.masked_teacher if head else tiny.teacher)
    text = text or TextSettings((tiny.corpus,), passages_per_step=20)
    store = tokenised(teacher, text, tiny.cache, display)
    return store, make_materials(teacher, store, text, FLASH, cache_dir=tiny.cache, display=display)


@pytest.mark.parametrize("head", [False, True])
def test_materials_train_on_no_held_out_document(tiny, display, head: bool) -> None:
    store, materials = make(tiny, display, head=head)
    train, held = materials.distiller.passages, materials.distiller.held_out.passages
    assert not store.held_out[np.unique(train.documents)].any()
    assert store.held_out[np.unique(held.documents)].all()
    assert len(train) == 20 * FLASH.steps
    assert len(materials.distiller.outputs.states) == len(train)
    assert "corpus.jsonl" in materials.corpus_text and "held out" in materials.corpus_text


def test_materials_the_teacher_reads_the_text_once(tiny, display, monkeypatch) -> None:
    _, first = make(tiny, display)
    from autodistill.distill import kept, teacher_outputs

    real = kept.teacher_program
    calls = []

    def counted(teacher, quantities):
        run = real(teacher, quantities)

        def call(batch):
            calls.append(len(batch["ids"]))
            return run(batch)

        return call

    for module in (kept, teacher_outputs):
        monkeypatch.setattr(module, "teacher_program", counted)
    _, second = make(tiny, display)
    held = len(second.distiller.held_out.passages)
    assert len(calls) == -(-held // 64)  # held-out passages alone
    np.testing.assert_array_equal(first.distiller.outputs.states, second.distiller.outputs.states)
    assert second.reference == first.reference


def test_materials_a_disk_without_room_changes_nothing(tiny, display, monkeypatch) -> None:
    """The outputs are held in memory, which is said; the tokens are on disk already."""
    _, kept = make(tiny, display)
    told: list[str] = []
    monkeypatch.setattr(display, "say", told.append)
    monkeypatch.setattr(cache_folder, "SPARE", 2**60)
    text = TextSettings((tiny.corpus,), passages_per_step=19)  # not there yet
    _, made = make(tiny, display, text=text)
    assert len(told) == 1 and "held in memory: they need" in told[0] and "the disk has" in told[0]
    assert made.distiller.outputs.kept is None
    rows = len(made.distiller.passages)
    assert rows == 19 * FLASH.steps
    # the same passages, some read beside others: within an ulp of the float32 sums
    np.testing.assert_allclose(
        made.distiller.outputs.states, kept.distiller.outputs.states[:rows], rtol=2e-3, atol=1e-3
    )
    monkeypatch.setattr("autodistill.distill.teacher_outputs.IN_MEMORY", 1000)
    with pytest.raises(TeacherError, match="or set another --cache-dir or a smaller --steps"):
        make(tiny, display, text=text)


def test_materials_lines_of_an_embedding_teacher(tiny, display) -> None:
    _, materials = make(tiny, display)
    assert materials.teacher_line.quality == 1.0 == materials.teacher_line.agreement
    assert materials.reference.name == "ridge from mean word embedding"
    assert 0 < materials.reference.quality < 1
    assert materials.teacher_line.to_dict() == {"name": "teacher", "quality": 1.0, "agreement": 1.0}


def test_materials_the_reference_is_exact_where_the_teacher_is_linear(tiny, display) -> None:
    """If embeddings are linear in the mean word embedding, ridge finds all of them."""
    _, materials = make(tiny, display)
    teacher, d = load_teacher(tiny.teacher), materials.distiller
    kernel = np.random.default_rng(0).standard_normal((32, 6)).astype(np.float32)

    def embedded(passages: PassageSet) -> np.ndarray:
        mask = passages.attention_mask[..., None]
        table = teacher.word_embeddings[passages.input_ids]
        return (table * mask).sum(1) / mask.sum(1) @ kernel

    held = d.held_out.passages
    outputs = TeacherOutputs(d.outputs.states, embedded(d.passages))
    line = linear_reference(teacher, d.passages, outputs, held, embedded(held))
    assert line.quality > 0.98 and line.agreement > 0.8  # the penalty is a hundredth


def test_materials_the_commonest_token_is_counted_on_training_text() -> None:
    def passages(labels: list[list[int]], weights: list[list[int]]) -> PassageSet:
        shape = (len(labels), 6)
        masked = Masked(
            np.zeros_like(labels), np.array(labels), np.array(weights, dtype=np.float32)
        )
        return PassageSet(np.zeros(shape), np.ones(shape), np.arange(len(labels)), masked)

    # 7 is the commonest of what is masked in training; 9 only where nothing is masked.
    train = passages([[7, 7, 9], [7, 8, 9]], [[1, 1, 0], [1, 1, 0]])
    held = passages([[7, 8, 8], [7, 8, 7]], [[1, 1, 1], [0, 1, 0]])
    line = commonest_token(train, held)
    assert line.quality == pytest.approx(1 / 4) and line.agreement is None


def test_materials_a_masked_teacher_is_judged_as_its_students_are(tiny, display) -> None:
    _, materials = make(tiny, display, head=True)
    teacher = load_teacher(tiny.masked_teacher)
    held = materials.distiller.held_out.passages
    assert held.masked is not None
    hidden = np.asarray(teacher.encoder(held.input_ids, held.attention_mask))
    states = np.take_along_axis(hidden, held.masked.positions[..., None], axis=1)
    guesses = np.asarray(teacher.head(states, teacher.word_embeddings)).argmax(-1)
    right = ((guesses == held.masked.labels) * held.masked.weights).sum()
    assert materials.teacher_line.quality == pytest.approx(right / held.masked.weights.sum())


def test_materials_too_little_text_for_a_batch(tiny, display, write_corpus, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "few.jsonl", documents=30)
    teacher = load_teacher(tiny.teacher)
    text = TextSettings((corpus,))
    store = tokenised(teacher, text, tmp_path, display)
    flash = replace(FLASH, batch_size=1000)
    with pytest.raises(CorpusError, match="at least 1000 training passages of 64 tokens"):
        make_materials(teacher, store, text, flash, cache_dir=tmp_path, display=display)


def test_materials_the_text_is_known_by_its_files(tiny, write_corpus, tmp_path: Path) -> None:
    one = TextSettings((tiny.corpus,))
    assert one.corpus_key() == replace(one, passage_length=32).corpus_key()
    other = TextSettings((write_corpus(tmp_path / "other.jsonl", seed=1),))
    assert len({one.corpus_key(), other.corpus_key(), TextSettings().corpus_key()}) == 3
