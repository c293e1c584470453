"""The teacher's outputs: what they are; how they are kept is in ``test_distill_kept.py``."""

import re
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from autodistill.distill import cache_folder
from autodistill.distill import teacher_outputs as module
from autodistill.distill.start import random_weights
from autodistill.distill.teacher_outputs import embed_passages, masked_correct, teacher_outputs
from autodistill.errors import TeacherError
from autodistill.models.checkpoint import build_encoder, build_head
from autodistill.teacher import DenseLayer, Pooling, TeacherKind

COUNT = 100  # passages: one full block of 64 and a part of another

RNG = np.random.default_rng(0)
NARROW = DenseLayer(RNG.normal(size=(24, 10)).astype(np.float32), np.ones(10, np.float32), True)
LINEAR = {
    "mean": Pooling("mean"),
    "mean of unit length": Pooling("mean", normalize=True),
    "first token": Pooling("cls", normalize=True),
    "narrowed": Pooling("mean", (NARROW,), normalize=True),
}
BENT = {
    "largest": Pooling("max", normalize=True),
    "squashed": Pooling("mean", (replace(NARROW, is_linear=False),)),
}
# States are kept in float16, 11 bits: half of the last one is 5e-4 of a value below 1.
HALF = {"rtol": 5e-4, "atol": 5e-4}


@pytest.fixture(scope="module")
def read(passages):
    return passages(COUNT, seed=0)


def hidden_states(teacher, read):
    ids, mask = jnp.asarray(read.input_ids), jnp.asarray(read.attention_mask)
    return np.asarray(teacher.encoder(ids, mask))


def embedded(pooling, hidden, mask):
    """Passage embeddings in float64 NumPy, by the definition of each pooling."""
    hidden = hidden.astype(np.float64)
    if pooling.mode == "cls":
        vectors = hidden[:, 0]
    elif pooling.mode == "mean":
        vectors = np.stack([h[m > 0].mean(0) for h, m in zip(hidden, mask, strict=True)])
    else:
        vectors = np.stack([h[m > 0].max(0) for h, m in zip(hidden, mask, strict=True)])
    for layer in pooling.dense:
        vectors = vectors @ layer.kernel + layer.bias
        vectors = vectors if layer.is_linear else np.tanh(vectors)
    if pooling.normalize:
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@pytest.fixture
def with_pooling(teacher):
    def make(pooling):
        return replace(teacher, pooling=pooling, fingerprint=str(hash(repr(pooling))))

    return make


@pytest.fixture
def masked_lm(teacher):
    """The same encoder under a random masked-LM head."""
    weights = random_weights(teacher.config, np.random.default_rng(1), head=True)
    return replace(
        teacher,
        kind=TeacherKind.MASKED_LM,
        pooling=None,
        weights=weights,
        encoder=build_encoder(teacher.config, weights),
        head=build_head(teacher.config, weights),
        fingerprint="masked",
    )


# -- what they are -----------------------------------------------------------


@pytest.mark.parametrize("name", [*LINEAR, *BENT])
def test_embeddings_are_those_of_the_definition(with_pooling, read, tmp_path, name):
    pooling = (LINEAR | BENT)[name]
    teacher = with_pooling(pooling)
    expected = embedded(pooling, hidden_states(teacher, read), read.attention_mask)
    outputs = teacher_outputs(teacher, read, cache_dir=tmp_path)
    assert outputs.passages.dtype == np.float32
    np.testing.assert_allclose(outputs.passages, expected, atol=2e-6)  # float32 throughout
    np.testing.assert_allclose(embed_passages(teacher, read), expected, atol=2e-6)


@pytest.mark.parametrize("name", LINEAR)
def test_shares_pool_to_the_embedding(with_pooling, read, tmp_path, name):
    pooling = LINEAR[name]
    outputs = teacher_outputs(with_pooling(pooling), read, cache_dir=tmp_path)
    assert outputs.states.dtype == np.float16
    assert outputs.states.shape == (COUNT, read.input_ids.shape[1], outputs.passages.shape[1])
    pooled = embedded(Pooling(pooling.mode), np.asarray(outputs.states), read.attention_mask)
    np.testing.assert_allclose(pooled, outputs.passages, **HALF)


@pytest.mark.parametrize("name", BENT)
def test_where_there_are_no_shares_the_states_are_the_last_hidden(
    with_pooling, read, tmp_path, name
):
    teacher = with_pooling(BENT[name])
    outputs = teacher_outputs(teacher, read, cache_dir=tmp_path)
    real = read.attention_mask > 0
    np.testing.assert_allclose(
        outputs.states[real], hidden_states(teacher, read)[real], rtol=1e-3, atol=1e-3
    )


def test_of_a_masked_lm_teacher_they_are_the_last_hidden_states(masked_lm, read, tmp_path):
    outputs = teacher_outputs(masked_lm, read, cache_dir=tmp_path)
    assert outputs.passages is None
    np.testing.assert_allclose(outputs.states, hidden_states(masked_lm, read), rtol=1e-3, atol=1e-3)


def test_what_a_masked_lm_teacher_says_of_hidden_words_is_its_heads(masked_lm, passages, tmp_path):
    """All classes of so few; without hidden words there is nothing to say."""
    read = passages(70, seed=4, masked=True)
    hidden = masked_lm.encoder(jnp.asarray(read.input_ids), jnp.asarray(read.attention_mask))
    states = jnp.take_along_axis(hidden, read.masked.positions[..., None], axis=1)
    scores = masked_lm.head(states, jnp.asarray(masked_lm.word_embeddings))
    expected = log_softmax(np.asarray(scores, np.float64), axis=-1)
    for folder in (tmp_path, None):
        soft = teacher_outputs(masked_lm, read, cache_dir=folder).soft
        assert (np.sort(soft["classes"]) == np.arange(60)).all()
        found = np.take_along_axis(expected, soft["classes"].astype(int), -1)
        np.testing.assert_allclose(soft["values"], found, atol=1e-4)  # scores of some tens
    assert teacher_outputs(masked_lm, passages(5, seed=4), cache_dir=None).soft is None


def test_other_hidden_words_are_another_text(masked_lm, passages, tmp_path):
    """Though the ids be the same, as where a word is left as it is."""
    read = passages(10, seed=4, masked=True)
    masked = replace(read.masked, positions=np.roll(read.masked.positions, 1, axis=0))
    first, second = (
        teacher_outputs(masked_lm, one, cache_dir=tmp_path)
        for one in (read, replace(read, masked=masked))
    )
    np.testing.assert_array_equal(first.states, second.states)
    assert (first.soft["values"] != second.soft["values"]).any()


def test_states_beyond_half_precision_are_brought_to_its_ends(masked_lm, read, tmp_path):
    """MobileBERT's first token has states of 1e7; infinite ones would spoil every loss."""
    weights = dict(masked_lm.weights)
    name = "encoder.layer.1.output.LayerNorm.weight"
    weights[name] = weights[name] * 1e7
    encoder = build_encoder(masked_lm.config, weights)
    loud = replace(masked_lm, weights=weights, encoder=encoder, fingerprint="loud")
    states = np.asarray(teacher_outputs(loud, read, cache_dir=tmp_path).states)
    hidden = hidden_states(loud, read)
    assert np.abs(hidden).max() > 1e6
    assert np.isfinite(states).all()
    beyond = np.abs(hidden) > 65504
    np.testing.assert_array_equal(states[beyond], np.sign(hidden[beyond]) * 65504)


def test_the_teachers_own_guesses_are_counted(masked_lm, passages):
    read = passages(70, seed=4, masked=True)
    hidden = masked_lm.encoder(jnp.asarray(read.input_ids), jnp.asarray(read.attention_mask))
    scores = np.asarray(masked_lm.head(hidden, jnp.asarray(masked_lm.word_embeddings)))
    expected = np.zeros(70)
    for i in range(70):
        for place, label, used in zip(
            read.masked.positions[i], read.masked.labels[i], read.masked.weights[i], strict=True
        ):
            expected[i] += used * (scores[i, place].argmax() == label)
    assert expected.sum() > 0
    np.testing.assert_array_equal(masked_correct(masked_lm, read), expected)


def test_without_a_folder_they_are_the_same_bits(
    teacher, read, tmp_path, monkeypatch, file_size_limit
):
    """And nothing is written."""
    kept = teacher_outputs(teacher, read, cache_dir=tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    before, calls = sorted(tmp_path.rglob("*")), []
    with file_size_limit(0):
        made = teacher_outputs(
            teacher, read, cache_dir=None, progress=lambda *done: calls.append(done)
        )
    assert made.kept is None and sorted(tmp_path.rglob("*")) == before
    assert calls == [(64, COUNT), (COUNT, COUNT)]
    np.testing.assert_array_equal(made.states, kept.states)
    np.testing.assert_array_equal(made.passages, kept.passages)


# -- a disk that refuses -----------------------------------------------------


def test_what_a_full_disk_refuses_is_held_in_memory(teacher, read, tmp_path, file_size_limit):
    """The same bits, and the reason; the next run, with room, keeps them."""
    told, folder = [], tmp_path / "cache"
    with file_size_limit(20_000):
        made = teacher_outputs(teacher, read, cache_dir=folder, on_memory=told.append)
    (line,) = told
    assert re.fullmatch(r".* held in memory: they need 0 MiB, and File too large \(.*\)", line)
    assert made.kept is None and not [path for path in folder.iterdir() if path.is_dir()]
    kept = teacher_outputs(teacher, read, cache_dir=folder, on_memory=told.append)
    assert kept.kept is not None and len(told) == 1
    np.testing.assert_array_equal(made.states, kept.states)
    np.testing.assert_array_equal(made.passages, kept.passages)


def test_what_fits_nowhere_is_explained(teacher, read, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "IN_MEMORY", 1000)
    message = (
        r"neither on disk nor in memory: they need 0 MiB, and .*exists \(.*/file\); at most 0 MiB "
        "are held in memory: buy a disk"
    )
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TeacherError, match=message):
        teacher_outputs(teacher, read, cache_dir=tmp_path / "file", remedy="buy a disk")
    assert teacher_outputs(teacher, read, cache_dir=None).kept is None  # as was asked


def test_outputs_never_exceed_the_limit(teacher, passages, tmp_path, monkeypatch):
    """What nothing uses makes room; where that does not suffice, they are held in memory."""
    monkeypatch.setattr(cache_folder, "SPARE", 0)

    def size():
        return sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())

    def made(seed, limit):
        return teacher_outputs(teacher, passages(10, seed=seed), cache_dir=tmp_path, limit=limit)

    assert made(1, 0).kept is None and size() == 0
    first = made(1, 2**30)
    limit = size() + 1000  # and what describes the entries
    assert made(2, limit).kept is None
    first.kept.close()
    assert made(3, limit).kept is not None and size() <= limit
