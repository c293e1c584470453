"""Batches: texts by number, each passage hidden in as many ways as there are copies."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from autodistill.corpus import SpecialTokens
from autodistill.distill.batches import Batches, NumberedTexts
from autodistill.errors import ArgumentError

SPECIAL = SpecialTokens(cls=2, sep=3, pad=0, mask=4, unk=1)
COUNT, SIZE = 10, 4


@pytest.fixture
def plain(passages) -> Batches:
    return Batches(passages(COUNT, seed=1), SIZE, seed=3)


@pytest.fixture
def masked(plain) -> Batches:
    return replace(plain, special=SPECIAL, vocab_size=60)


def test_batches_each_pass_reads_each_passage_once(plain, masked) -> None:
    for batches in (plain, masked):
        numbers = batches.numbers(0, 10)  # 40 texts, four passes
        passes = numbers.reshape(4, COUNT) % COUNT
        assert all(Counter(one) == Counter(range(COUNT)) for one in passes.tolist())
        assert passes[0].tolist() != passes[1].tolist()
    assert (masked.numbers(0, 10) // COUNT).tolist() == np.repeat(range(4), COUNT).tolist()
    assert (plain.numbers(0, 10) < COUNT).all()


def test_batches_are_a_function_of_the_step(masked) -> None:
    numbers = masked.numbers(0, 8)
    for step in range(8):
        own = numbers[step * SIZE : (step + 1) * SIZE]
        np.testing.assert_array_equal(masked.numbers(step, step + 1), own)
        for name, value in masked.at(step).items():
            np.testing.assert_array_equal(value, masked.numbered(own)[name])


def test_batches_copies_come_by_turns(masked) -> None:
    two = replace(masked, copies=2)
    assert (two.numbers(0, 10) // COUNT).tolist() == np.repeat([0, 1, 0, 1], COUNT).tolist()
    for step in range(5):  # the first two passes are those of a run without a cache
        for name, value in masked.at(step).items():
            np.testing.assert_array_equal(two.at(step)[name], value)
    texts = masked.numbered(np.array([3, 3 + COUNT, 3]))
    assert (texts["ids"][0] == texts["ids"][2]).all()
    hidden = [set(texts["positions"][i][texts["weights"][i] > 0].tolist()) for i in (0, 1)]
    assert hidden[0] != hidden[1]


@pytest.mark.parametrize("copies", [None, 1, 2, 3])
def test_batches_all_numbers_are_those_of_the_steps(plain, masked, copies) -> None:
    order = [plain._order[step] for step in range(25)]  # grain takes milliseconds for so few
    for batches in (plain, replace(masked, copies=copies)):
        vars(batches)["_order"] = order
        for begin in (0, 1, 3):
            for steps in (1, 2, 3, 5, 7, 8, 12, 20):
                expected = np.unique(batches.numbers(begin, begin + steps))
                found = batches.all_numbers(begin, begin + steps)
                np.testing.assert_array_equal(found, expected)


def test_batches_texts_are_found_by_their_numbers(masked) -> None:
    texts = NumberedTexts(masked, masked.all_numbers(1, 4))
    numbers = masked.numbers(2, 3)
    for name, value in texts.gather(texts.rows(numbers)).items():
        np.testing.assert_array_equal(value, masked.at(2)[name])


def test_batches_runs_share_what_is_of_the_same_set_of_texts(plain, masked) -> None:
    """All of them, in however many steps and whatever order; else only that of the same steps."""

    def digest(batches: Batches, begin: int, end: int) -> str:
        return NumberedTexts(batches, batches.all_numbers(begin, end)).digest

    other = replace(plain, size=5, seed=4)
    assert digest(plain, 0, 3) == digest(plain, 2, 9) == digest(other, 1, 5)
    assert digest(plain, 0, 1) != digest(plain, 0, 2)
    assert digest(plain, 0, 1) != digest(replace(plain, seed=4), 0, 1)
    two = replace(masked, copies=2)
    assert digest(two, 0, 8) == digest(replace(two, size=5), 1, 9)
    assert digest(two, 0, 8) != digest(replace(two, seed=4), 0, 8)
    assert digest(two, 0, 8) != digest(replace(masked, copies=3), 0, 12)


def test_batches_a_digest_is_of_all_that_the_teacher_reads(plain, masked, passages) -> None:
    numbers = np.arange(6)

    def digest(batches: Batches, numbers: np.ndarray = numbers) -> str:
        return NumberedTexts(batches, numbers).digest

    changed = passages(COUNT, seed=1)
    changed.input_ids[5, 3] += 1
    unread = passages(COUNT, seed=1)
    unread.input_ids[9, 3] += 1
    assert digest(plain) == digest(replace(plain, seed=4, size=2))  # the order is not read
    assert digest(plain) == digest(replace(plain, source=unread))
    seen = [
        digest(plain),
        digest(masked),
        digest(replace(plain, source=changed)),
        digest(plain, np.arange(7)),
        digest(replace(masked, seed=4)),
        digest(replace(masked, vocab_size=61)),
        digest(replace(masked, special=replace(SPECIAL, mask=5))),
    ]
    assert len(set(seen)) == len(seen)


def test_batches_larger_than_the_text_are_refused(plain) -> None:
    with pytest.raises(ArgumentError, match="--batch-size must be at most 10, the passages"):
        replace(plain, size=11)
