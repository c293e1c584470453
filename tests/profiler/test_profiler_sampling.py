"""Samples that cover: even choices, corners, prefixes, and an end."""

import time
from collections import Counter

import numpy as np
import pytest

from autodistill.errors import SpaceError
from autodistill.profiler import sampling
from autodistill.profiler.sampling import ENUMERATED, corners, stratified_sample
from autodistill.space import Architecture, Rule, SearchSpace

PRESETS = ("mobilebert", "mobilebert-mini", "bert", "bert-mini")


@pytest.fixture(scope="module")
def samples():
    """500 members of each preset."""
    return {name: stratified_sample(SearchSpace.preset(name), 500, seed=0) for name in PRESETS}


@pytest.mark.parametrize("name", PRESETS)
def test_members_are_valid_and_different(samples, name):
    assert len(set(samples[name])) == 500
    assert all(a in SearchSpace.preset(name) for a in samples[name])


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("count", [60, 500])
def test_every_choice_comes_about_equally_often(samples, name, count):
    """Within two of the even share, or 7% of it: the corners and the rules take that."""
    for field, values in SearchSpace.preset(name).choices.items():
        counts = Counter(a[field] for a in samples[name][:count])
        even = count / len(values)
        for value in values:
            assert abs(counts[value] - even) <= max(2, 0.07 * even), (field, value)


def test_pairs_of_choices_are_more_even_than_chance(samples):
    """Of uniform draws the sum of squared errors is about its expectation, pairs times even."""
    space = SearchSpace.preset("mobilebert-mini")
    uniform = space.sample(500, np.random.default_rng(0))

    def unevenness(sample):
        places, total = space.to_indices(sample), 0.0
        sizes = [len(values) for values in space.choices.values()]
        for j in range(len(sizes)):
            for k in range(j):
                pairs = places[:, j] * sizes[k] + places[:, k]
                counts = np.bincount(pairs, minlength=sizes[j] * sizes[k])
                total += counts.var() / counts.mean()
        return total

    assert unevenness(samples["mobilebert-mini"]) < 0.7 * unevenness(uniform)


def test_a_short_sample_is_the_beginning_of_a_long_one(samples):
    space = SearchSpace.preset("mobilebert")
    for count in (0, 1, 4, 5, 28, 29, 100, 499):
        assert stratified_sample(space, count, seed=0) == samples["mobilebert"][:count]


def test_seeds_differ_but_for_the_corners():
    space = SearchSpace.preset("mobilebert")
    first, second = (stratified_sample(space, 30, seed) for seed in (0, 1))
    ends = corners(space)
    assert first[: len(ends)] == second[: len(ends)] == ends
    assert set(first[len(ends) :]).isdisjoint(second[len(ends) :])


def test_corners_of_the_preset():
    low = {
        "num_hidden_layers": 4,
        "num_feedforward_networks": 1,
        "hidden_size": 128,
        "intra_bottleneck_size": 64,
        "num_attention_heads": 1,
        "intermediate_size": 256,
        "embedding_size": 64,
        "normalization_type": "no_norm",
        "hidden_act": "relu",
    }
    deep = {"num_hidden_layers": 24, "num_feedforward_networks": 6}
    wide = {
        "hidden_size": 768,
        "intra_bottleneck_size": 256,
        "num_attention_heads": 8,
        "intermediate_size": 1024,
        "embedding_size": 384,
    }
    assert corners(SearchSpace.preset("mobilebert")) == [
        Architecture(low),
        Architecture({**low, **deep, **wide}),
        Architecture({**low, **deep}),
        Architecture({**low, **wide}),
    ]


def test_corners_keep_to_the_rules():
    space = SearchSpace(
        {"hidden_size": [1, 2, 3], "num_hidden_layers": [1, 2, 3], "bias": [False, True]},
        rules=[Rule(("hidden_size", "num_hidden_layers"), lambda w, d: w + d <= 5, "w + d <= 5")],
    )
    assert all(corner in space for corner in corners(space))
    smallest, largest = corners(space)[:2]
    assert (smallest["hidden_size"], smallest["num_hidden_layers"]) == (1, 1)
    assert largest["hidden_size"] + largest["num_hidden_layers"] == 5


@pytest.mark.parametrize("field", [["a"], [False], [7]])
def test_a_space_of_one(field):
    space = SearchSpace({"x": field})
    assert stratified_sample(space, 1, seed=3) == [Architecture(x=field[0])]


def test_the_whole_space_can_be_asked_for():
    space = SearchSpace.preset("bert-mini")
    assert set(stratified_sample(space, space.size, seed=0)) == set(space.enumerate())


def test_a_space_that_is_not_listed_is_exhausted_too(monkeypatch):
    monkeypatch.setattr(sampling, "ENUMERATED", 100)
    space = SearchSpace({"a": list(range(30)), "b": list(range(20))})
    assert len(set(stratified_sample(space, space.size, seed=0))) == space.size


def test_a_choice_that_few_members_have_is_not_missed():
    """One member in 30,000 has a = 11: no pool of uniform draws holds it."""
    space = SearchSpace(
        {"a": [10, 11, 12, 13], "b": list(range(100)), "c": list(range(100))},
        rules=[Rule(("a", "b", "c"), lambda a, b, c: a != 11 or b == c == 9, "11 is rare")],
    )
    assert space.size > ENUMERATED
    assert Architecture(a=11, b=9, c=9) in stratified_sample(space, 40, seed=0)


def test_more_than_there_are_is_refused():
    with pytest.raises(SpaceError, match="the space has 1,440 architectures; asked for 1,441 samp"):
        stratified_sample(SearchSpace.preset("bert-mini"), 1441, seed=0)
    with pytest.raises(SpaceError, match="0 or more; got -1"):
        stratified_sample(SearchSpace.preset("bert-mini"), -1, seed=0)


def test_five_hundred_take_a_moment():
    """Half a second on one core; ten times that, as the machine may be busy."""
    space = SearchSpace.preset("mobilebert")
    start = time.process_time()
    stratified_sample(space, 500, seed=1)
    assert time.process_time() - start < 5
