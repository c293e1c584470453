"""Drawing training passages: which, in what order, and what is hidden in them."""

from itertools import islice

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from autodistill.corpus import (
    Document,
    PassageSource,
    SpecialTokens,
    mask_tokens,
    prepare,
    shuffled_rows,
)
from autodistill.distill.passage_set import draw_passages

SPECIAL = SpecialTokens(cls=2, sep=3, pad=0, mask=4, unk=1)
VOCABULARY = 505


def make_source(folder, **options):
    """Thirty documents of thirty words, each three passages of ten and two special tokens."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(500))]
    tokenizer = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    rng = np.random.default_rng(0)
    texts = [
        Document(str(i), " ".join(f"w{w}" for w in rng.integers(0, 500, 30))) for i in range(30)
    ]
    store = prepare(
        lambda: texts, tokenizer, cache_dir=folder, cache_key="x", held_out_fraction=0.2
    )
    options = {"sequence_length": 12, "min_tokens": 1} | options
    return PassageSource(store, held_out=False, special=SPECIAL, **options)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("store"))


def test_they_are_the_first_of_the_seeded_order(source):
    order = np.concatenate(list(islice(shuffled_rows(len(source), batch_size=8, seed=5), 3)))
    expected = source.gather(order[:20])
    found = draw_passages(source, 20, seed=5, batch_size=8)
    np.testing.assert_array_equal(found.input_ids, expected["input_ids"])
    np.testing.assert_array_equal(found.attention_mask, expected["attention_mask"])
    np.testing.assert_array_equal(found.documents, expected["document"])
    assert found.masked is None
    assert len(found) == 20


@pytest.mark.parametrize("batch_size", [1, 7, 32, 1000])
@pytest.mark.parametrize("count", [1, 33, 10_000])
def test_none_is_drawn_twice_whatever_the_blocks(source, count, batch_size):
    found = draw_passages(source, count, seed=0, batch_size=batch_size)
    assert len(found) == min(count, len(source))
    assert len(np.unique(found.input_ids, axis=0)) == len(found)  # no two passages are alike
    longer = draw_passages(source, 60, seed=0, batch_size=16)
    shared = min(len(found), len(longer))
    np.testing.assert_array_equal(found.input_ids[:shared], longer.input_ids[:shared])


def test_the_seed_decides(source):
    first, same, other = (draw_passages(source, 40, seed=seed).input_ids for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_each_block_is_masked_as_a_step_of_the_seed(source):
    plain = draw_passages(source, 20, seed=3, batch_size=8)
    found = draw_passages(source, 20, seed=3, batch_size=8, special=SPECIAL, vocab_size=VOCABULARY)
    for step, begin in enumerate((0, 8, 16)):
        part = slice(begin, min(begin + 8, 20))
        expected = mask_tokens(
            plain.input_ids[part],
            plain.attention_mask[part],
            seed=3,
            step=step,
            special=SPECIAL,
            vocab_size=VOCABULARY,
        )
        np.testing.assert_array_equal(found.input_ids[part], expected.input_ids)
        np.testing.assert_array_equal(found.masked.positions[part], expected.positions)
        np.testing.assert_array_equal(found.masked.labels[part], expected.labels)
        np.testing.assert_array_equal(found.masked.weights[part], expected.weights)


def test_putting_the_labels_back_restores_the_passages(source):
    plain = draw_passages(source, 50, seed=3)
    found = draw_passages(source, 50, seed=3, special=SPECIAL, vocab_size=VOCABULARY)
    assert (found.input_ids != plain.input_ids).any()
    np.testing.assert_array_equal(found.documents, plain.documents)
    restored = found.input_ids.copy()
    rows, places = np.nonzero(found.masked.weights)
    restored[rows, found.masked.positions[rows, places]] = found.masked.labels[rows, places]
    np.testing.assert_array_equal(restored, plain.input_ids)


def test_documents_shorter_than_a_passage_are_drawn_whole(tmp_path):
    short = make_source(tmp_path, sequence_length=100, min_tokens=50)  # no document is as long
    drawn = draw_passages(short, 5, seed=0)
    assert len(drawn) == min(5, len(short)) > 0
    assert (drawn.attention_mask.sum(1) < 50).all()


def test_nothing_to_draw_is_refused(source):
    for count, batch_size in ((0, 8), (-3, 8), (5, 0)):
        with pytest.raises(ValueError, match="count and batch_size must be positive; got"):
            draw_passages(source, count, seed=0, batch_size=batch_size)
