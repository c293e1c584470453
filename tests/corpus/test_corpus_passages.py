"""Passages: every window where a plain loop puts it, and none across a split or a document."""

import dataclasses
from collections.abc import Callable
from typing import Any

import grain
import numpy as np
import pytest
from tokenizers import Tokenizer

from autodistill.corpus import (
    PassageSource,
    SpecialTokens,
    TokenStore,
    passage_sources,
    require_batch,
)
from autodistill.errors import CorpusError

SPECIAL = SpecialTokens(cls=2, sep=3, pad=0, mask=4, unk=1)
MakeStore = Callable[..., TokenStore]
LENGTHS = [1, 3, 4, 5, 8, 9, 11, 12, 13, 50, 64, 100, 2, 7, 33, 40]


def source_of(store: TokenStore, held_out: bool = False, **options: Any) -> PassageSource:
    options = {"sequence_length": 10, "min_tokens": 3, **options}
    return PassageSource(store, held_out=held_out, special=SPECIAL, **options)


def windows_by_hand(
    store: TokenStore, held_out: bool, length: int, min_tokens: int
) -> list[tuple[list[int], int]]:
    """The framed windows and their documents, by a loop that knows nothing of offsets."""
    found = []
    for document in range(len(store.names)):
        if store.held_out[document] != held_out:
            continue
        rest = whole = store.document_tokens(document).tolist()
        while rest:
            window, rest = rest[: length - 2], rest[length - 2 :]
            if len(window) >= min(min_tokens, length - 2) or window == whole:
                found.append(([2, *window, 3], document))
    return found


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize(("length", "min_tokens"), [(3, 1), (10, 1), (10, 3), (10, 99), (64, 16)])
def test_windows_are_those_of_a_plain_loop(
    counting_store: MakeStore, held_out: bool, length: int, min_tokens: int
) -> None:
    store = counting_store(LENGTHS)
    source = source_of(store, held_out, sequence_length=length, min_tokens=min_tokens)
    expected = windows_by_hand(store, held_out, length, min_tokens)
    assert len(source) == len(expected)
    for index, (ids, document) in enumerate(expected):
        item = source[index]
        padding = length - len(ids)
        assert item["input_ids"].tolist() == ids + [0] * padding
        assert item["attention_mask"].tolist() == [1] * len(ids) + [0] * padding
        assert item["document"] == document
        assert item["passage"] == index


def test_types_and_shapes(counting_store: MakeStore) -> None:
    batch = source_of(counting_store(LENGTHS)).gather(np.array([4, 0, 4]))
    assert {name: (value.shape, value.dtype.name) for name, value in batch.items()} == {
        "input_ids": ((3, 10), "int32"),
        "attention_mask": ((3, 10), "int32"),
        "document": ((3,), "int32"),
        "passage": ((3,), "int32"),
    }
    assert batch["passage"].tolist() == [4, 0, 4]


def test_gathering_no_passage_gives_empty_arrays(counting_store: MakeStore) -> None:
    batch = source_of(counting_store(LENGTHS)).gather(np.array([], np.int64))
    assert batch["input_ids"].shape == (0, 10)


def test_no_held_out_token_is_in_a_training_passage(counting_store: MakeStore) -> None:
    """In this store no word comes twice, so sharing a token id would be sharing the token."""
    store = counting_store(LENGTHS)
    tokens = {}
    for held_out in (False, True):
        source = source_of(store, held_out, min_tokens=1)
        ids = source.gather(np.arange(len(source)))["input_ids"]
        tokens[held_out] = set(ids.ravel().tolist()) - set(SPECIAL.ids())
    assert not tokens[False] & tokens[True]
    # With min_tokens=1 nothing is lost either: the two sides are the whole corpus.
    assert tokens[False] | tokens[True] == set(store.tokens.tolist())


def test_it_is_a_grain_source(counting_store: MakeStore) -> None:
    source = source_of(counting_store(LENGTHS))
    assert isinstance(source, grain.sources.RandomAccessDataSource)
    batch = grain.MapDataset.source(source).batch(4)[1]
    expected = source.gather(np.arange(4, 8))
    assert all(np.array_equal(batch[name], expected[name]) for name in expected)
    assert "held_out=False" in repr(source)


@pytest.mark.parametrize("index", [-1, 10_000])
def test_index_out_of_range(counting_store: MakeStore, index: int) -> None:
    source = source_of(counting_store(LENGTHS))
    with pytest.raises(IndexError, match="must lie in"):
        source[index]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"sequence_length": 2}, "sequence_length"), ({"min_tokens": 0}, "min_tokens")],
)
def test_bad_options(counting_store: MakeStore, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source_of(counting_store(LENGTHS), **options)


def test_both_sides_together(counting_store: MakeStore) -> None:
    store = counting_store(LENGTHS)
    train, held_out = passage_sources(
        store, sequence_length=10, special=SPECIAL, batch_size=2, min_tokens=3
    )
    assert (train.held_out, held_out.held_out) == (False, True)
    assert len(train) + len(held_out) == sum(
        len(windows_by_hand(store, side, 10, 3)) for side in (False, True)
    )


def test_a_batch_larger_than_the_training_side_is_refused(counting_store: MakeStore) -> None:
    """The held-out side is not batched, and may be smaller."""
    store = counting_store(LENGTHS)
    train, held_out = (len(source_of(store, side)) for side in (False, True))
    assert 2 <= held_out < train
    options = {"sequence_length": 10, "special": SPECIAL, "min_tokens": 3}
    passage_sources(store, batch_size=train, **options)
    message = f"at least {train + 1} training passages of 10 tokens.*gives {train}"
    with pytest.raises(CorpusError, match=message):
        passage_sources(store, batch_size=train + 1, **options)


def test_one_held_out_passage_is_too_few_to_judge_on(counting_store: MakeStore) -> None:
    store = counting_store([8, 8, 8])
    store = dataclasses.replace(store, held_out=np.array([True, False, False]))
    with pytest.raises(CorpusError, match=r"2 held-out passages of 10 .*gives 1\. Add text"):
        passage_sources(store, sequence_length=10, special=SPECIAL, batch_size=1)


def test_batch_size_must_be_positive(counting_store: MakeStore) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        require_batch(source_of(counting_store(LENGTHS)), 0)


def test_special_tokens_of_bert(real_tokenizer: Tokenizer) -> None:
    special = SpecialTokens.from_tokenizer(real_tokenizer)
    assert special == SpecialTokens(cls=101, sep=102, pad=0, mask=103, unk=100)
    assert special.ids() == (101, 102, 0, 103, 100)
    assert SpecialTokens(cls=1, sep=2, pad=0, mask=3).ids() == (1, 2, 0, 3)


def test_a_tokenizer_without_special_tokens() -> None:
    from tokenizers import models

    tokenizer = Tokenizer(models.WordLevel({"[CLS]": 0, "x": 1}, unk_token="x"))
    with pytest.raises(CorpusError, match=r"lacks \[SEP\], \[PAD\], \[MASK\]"):
        SpecialTokens.from_tokenizer(tokenizer)
