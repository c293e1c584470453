"""Batches: a function of the step; and masking: BERT's shares, never a special token."""

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autodistill.corpus import (
    MaskedBatch,
    PassageSource,
    SpecialTokens,
    TokenStore,
    mask_passages,
    mask_tokens,
    training_batches,
)
from autodistill.errors import CorpusError

UNKNOWN = 1
SPECIAL = SpecialTokens(cls=2, sep=3, pad=0, mask=4, unk=UNKNOWN)
VOCABULARY = 1_000


@pytest.fixture
def source(counting_store: Callable[..., TokenStore]) -> PassageSource:
    """Passages that share no token."""
    store = counting_store([7, 19, 30, 44, 58, 61, 80, 93, 101, 120])
    return PassageSource(store, held_out=False, sequence_length=10, special=SPECIAL, min_tokens=1)


def passages(source: PassageSource, count: int, **options: Any) -> list[list[int]]:
    batches = training_batches(source, **{"batch_size": 8, "seed": 3, **options})
    return [batch["passage"].tolist() for batch in itertools.islice(batches, count)]


def test_batches_are_gathered_passages(source: PassageSource) -> None:
    batch = next(training_batches(source, batch_size=8, seed=0))
    expected = source.gather(batch["passage"])
    assert batch["input_ids"].shape == (8, 10)
    assert all(np.array_equal(batch[name], expected[name]) for name in expected)


def test_resuming_gives_what_would_have_come(source: PassageSource) -> None:
    per_epoch = math.ceil(len(source) / 8)
    uninterrupted = passages(source, 3 * per_epoch)
    for start in (0, 1, per_epoch - 1, per_epoch, 2 * per_epoch + 1):
        assert passages(source, 5, start_step=start) == uninterrupted[start:][:5]


def test_each_epoch_is_another_permutation(source: PassageSource) -> None:
    size = len(source)
    assert size % 8, "chosen so that batches straddle the end of an epoch"
    drawn = list(itertools.chain(*passages(source, 3 * size)))[: 3 * size]
    epochs = [drawn[i : i + size] for i in range(0, 3 * size, size)]
    assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert list(range(size)) not in epochs


def test_seed_fixes_the_order(source: PassageSource) -> None:
    assert passages(source, 4) == passages(source, 4)
    assert passages(source, 4) != passages(source, 4, seed=4)


def test_too_few_passages(source: PassageSource) -> None:
    with pytest.raises(CorpusError, match=f"at least 1000 training.*gives {len(source)}"):
        training_batches(source, batch_size=1_000, seed=0)


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"seed": -1}, {"seed": 2**32}, {"start_step": -1}]
)
def test_bad_batch_options(source: PassageSource, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        training_batches(source, **{"batch_size": 8, "seed": 0, **options})


# Masking.


def framed(lengths: list[int], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``[CLS] tokens [SEP] [PAD] ...``, the tokens drawn at random, one in ten [UNK]."""
    random = np.random.default_rng(0)
    ids = np.zeros((len(lengths), length), np.int32)
    mask = np.zeros((len(lengths), length), np.int32)
    for row, tokens in enumerate(lengths):
        words = random.integers(5, VOCABULARY, tokens)
        words[random.random(tokens) < 0.1] = UNKNOWN
        ids[row, : tokens + 2] = [SPECIAL.cls, *words, SPECIAL.sep]
        mask[row, : tokens + 2] = 1
    return ids, mask


Way = Callable[..., MaskedBatch]


def masked(ids: np.ndarray, mask: np.ndarray, **options: Any) -> MaskedBatch:
    options = {"seed": 0, "step": 0, "special": SPECIAL, "vocab_size": VOCABULARY, **options}
    return mask_tokens(ids, mask, **options)


def masked_by_row(ids: np.ndarray, mask: np.ndarray, **options: Any) -> MaskedBatch:
    options = {"seed": 0, "special": SPECIAL, "vocab_size": VOCABULARY, **options}
    first = options.pop("step", 0) * len(ids)
    return mask_passages(ids, mask, np.arange(first, first + len(ids)), **options)


ways = pytest.mark.parametrize("masked", [masked, masked_by_row])


@ways
@pytest.mark.parametrize("rate", [0.01, 0.15, 0.5, 1.0])
def test_masking_keeps_its_promises(rate: float, masked: Way) -> None:
    ids, mask = framed([0, 1, 2, 5, 17, 30, 30, 29], 32)
    original = ids.copy()
    batch = masked(ids, mask, rate=rate)
    assert np.array_equal(ids, original)
    width = math.ceil(rate * 32)
    assert [(field.shape, field.dtype.name) for field in batch] == [
        ((8, 32), "int32"),
        ((8, width), "int32"),
        ((8, width), "int32"),
        ((8, width), "float32"),
    ]
    for row in range(8):
        used = batch.weights[row] == 1
        assert set(batch.weights[row].tolist()) <= {0.0, 1.0}
        positions = batch.positions[row][used]
        tokens = int((~np.isin(ids[row], SPECIAL.ids())).sum())
        wanted = min(width, tokens, max(1, math.floor(rate * tokens + 0.5)))
        assert len(positions) == wanted
        assert positions.tolist() == sorted(set(positions.tolist()))
        assert not np.isin(ids[row, positions], SPECIAL.ids()).any()
        assert np.array_equal(batch.labels[row][used], ids[row, positions])
        assert np.array_equal(batch.positions[row][~used], np.zeros(width - wanted))
        assert np.array_equal(batch.labels[row][~used], np.full(width - wanted, SPECIAL.pad))
        elsewhere = np.setdiff1d(np.arange(32), positions)
        assert np.array_equal(batch.input_ids[row, elsewhere], ids[row, elsewhere])


def test_masking_is_a_function_of_seed_and_step() -> None:
    ids, mask = framed([30] * 8, 32)
    first = masked(ids, mask, seed=5, step=9)
    np.random.seed(1)  # the global state has no say
    again = masked(ids, mask, seed=5, step=9)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (masked(ids, mask, seed=5, step=10), masked(ids, mask, seed=9, step=5)):
        assert not np.array_equal(first.positions, other.positions)


def test_masking_by_row_is_a_function_of_seed_and_number() -> None:
    """Whatever else is in the batch, and wherever in it the row is."""
    ids, mask = framed([30] * 8, 32)
    numbers = np.array([4, 9, 2**40, 0, 4, 1, 2, 3])
    options: dict[str, Any] = {"seed": 5, "special": SPECIAL, "vocab_size": VOCABULARY}
    whole = mask_passages(ids, mask, numbers, **options)
    for row in range(8):
        alone = mask_passages(ids[[row]], mask[[row]], numbers[[row]], **options)
        assert all(np.array_equal(a[0], b[row]) for a, b in zip(alone, whole, strict=True))
    assert np.array_equal(whole.positions[0], whole.positions[4])
    assert len({tuple(row) for row in whole.positions.tolist()}) == 7
    other = mask_passages(ids, mask, numbers, **{**options, "seed": 6})
    assert not np.array_equal(other.positions, whole.positions)


@ways
def test_eighty_ten_ten(masked: Way) -> None:
    ids, mask = framed([62] * 400, 64)
    ids[ids == UNKNOWN] = 7
    fates: Counter[str] = Counter()
    for step in range(5):
        batch = masked(ids, mask, step=step)
        assert batch.weights.sum(axis=1).tolist() == [9.0] * 400  # 62 * 0.15 = 9.3
        written = np.take_along_axis(batch.input_ids, batch.positions, axis=1)
        used = batch.weights == 1
        hidden = written[used] == SPECIAL.mask
        kept = written[used] == batch.labels[used]
        fates.update(mask=int(hidden.sum()), keep=int(kept.sum()), all=int(used.sum()))
        put_in = written[used & (written != SPECIAL.mask)]
        assert not np.isin(put_in, SPECIAL.ids()).any()
    total = fates["all"]
    assert total == 18_000
    # A random token equals the original once in 995, and then counts as kept. Each count is
    # binomial; five standard deviations fail by chance less than once in a million runs.
    for fate, share in (("mask", 0.8), ("keep", 0.1 + 0.1 / 995)):
        deviation = math.sqrt(total * share * (1 - share))
        assert abs(fates[fate] - total * share) < 5 * deviation, fate


@ways
def test_every_place_is_chosen_equally_often(masked: Way) -> None:
    ids, mask = framed([30] * 500, 32)
    ids[:, 1:31] = 7
    chosen = np.zeros(32)
    for step in range(8):
        batch = masked(ids, mask, step=step)
        np.add.at(chosen, batch.positions[batch.weights == 1], 1)
    assert chosen[[0, 31]].tolist() == [0, 0]
    # 30 * 0.15 = 4.5 rounds up to 5 of 30 places, in each of 4,000 rows.
    share, rows = 5 / 30, 4_000
    assert np.abs(chosen[1:31] - rows * share).max() < 5 * math.sqrt(rows * share * (1 - share))


@ways
def test_random_tokens_come_from_the_whole_vocabulary(masked: Way) -> None:
    ids, mask = framed([62] * 2_000, 64)
    ids[(mask == 1) & ~np.isin(ids, SPECIAL.ids())] = 7
    batch = masked(ids, mask, rate=1.0)
    written = np.take_along_axis(batch.input_ids, batch.positions, axis=1)[batch.weights == 1]
    random = written[(written != SPECIAL.mask) & (written != 7)]
    # About 11,000 draws from 995 ids: each is missed with probability exp(-11) = 1.6e-5, so
    # more than two missing ids would be a surprise of one in a million. 7 counts as kept.
    assert len(np.setdiff1d(np.arange(5, VOCABULARY), random)) <= 1 + 2
    assert random.min() >= 5 and random.max() < VOCABULARY


@ways
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, "rate"),
        ({"rate": 1.5}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"seed": -1}, "seed and step"),
        ({"step": -1}, "seed and step"),
        ({"vocab_size": 5}, "vocab_size"),
    ],
)
def test_bad_masking_options(options: dict[str, Any], message: str, masked: Way) -> None:
    ids, mask = framed([6], 8)
    with pytest.raises(ValueError, match=message):
        masked(ids, mask, **options)


@ways
def test_bad_masking_shapes(masked: Way) -> None:
    ids, mask = framed([6], 8)
    with pytest.raises(ValueError, match="one shape"):
        masked(ids, mask[:, :-1])
    with pytest.raises(ValueError, match="one shape"):
        masked(ids[0], mask[0])
