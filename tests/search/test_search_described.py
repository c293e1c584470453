"""What models see: layers summarised, features asked once, encoders known by themselves."""

import numpy as np
import pytest

from autodistill.errors import SearchError
from autodistill.search.described import Describer, layer_groups, summarise
from autodistill.search.remembered import Remembered
from autodistill.space import Architecture, SearchSpace

LAYERED = SearchSpace(
    {"layers": [3, 4], "act": ["x", "y"]}
    | {f"width_{i}": [10, 20, 40] for i in range(4)}
    | {f"kind_{i}": ["a", "b", "c"] for i in range(4)},
    conditions={"width_3": ("layers", {4})},
)


def test_layers_that_share_their_choices_are_summarised():
    """Mean position of the layers that are there, and its trend, by hand."""
    (group,) = layer_groups(LAYERED)  # categories have no mean
    base = dict.fromkeys((f"kind_{i}" for i in range(4)), "a") | {"act": "x"}
    deep = base | {"layers": 4, "width_0": 10, "width_1": 20, "width_2": 40, "width_3": 40}
    flat = base | {"layers": 3, "width_0": 40, "width_1": 20, "width_2": 10, "width_3": 10}
    found = summarise(LAYERED.to_indices([deep, flat]), group)
    places = np.linspace(-1, 1, 4)
    # positions 0, 1, 2, 2 have the mean 5/4; of 2, 1, 0 the absent fourth counts for nothing
    trend = [
        np.mean((np.array([0, 1, 2, 2]) - 1.25) * places),
        np.mean((np.array([2, 1, 0]) - 1.0) * (places[:3] - places[:3].mean())),
    ]
    np.testing.assert_allclose(found, [[1.25, trend[0]], [1.0, trend[1]]])


def test_few_fields_are_no_layers():
    assert layer_groups(SearchSpace({f"width_{i}": [1, 2] for i in range(3)})) == []
    # the same choices under another name are another thing
    mixed = {f"width_{i}": [1, 2] for i in range(2)} | {f"heads_{i}": [1, 2] for i in range(2)}
    assert layer_groups(SearchSpace(mixed)) == []


def test_encoders_are_known_by_what_can_be_counted():
    space = SearchSpace.preset("bert-mini")
    members = space.sample_distinct(5, np.random.default_rng(0))
    described = Describer(space, None)(members)
    assert described.features.shape[1] > 0
    assert described.everything.shape[1] == described.choices.shape[1] + described.features.shape[1]
    assert Describer(SearchSpace({"a": [1, 2]}), None)([Architecture(a=1)]).features.shape == (1, 0)


def test_rows_may_be_taken_and_joined():
    describe = Describer(LAYERED, lambda rows: np.arange(len(rows))[:, None])
    some = describe(LAYERED.sample_distinct(6, np.random.default_rng(0)))
    both = some.take([4, 1]).and_then(some.take([0]))
    assert both.architectures == [some.architectures[i] for i in (4, 1, 0)]
    np.testing.assert_array_equal(both.everything, some.everything[[4, 1, 0]])
    assert len(some.take([])) == 0 and some.take([]).everything.shape[1] == some.everything.shape[1]


def test_features_are_asked_once_of_each_and_never_of_none():
    asked = []

    def features(architectures):
        asked.extend(architectures)
        return np.array([[float(a["a"])] for a in architectures])

    space = SearchSpace({"a": [1, 2, 3]})
    describe = Describer(space, features)
    assert describe([]).features.shape == (0, 1)
    asked.clear()  # some members, to learn what a column looks like
    members = [Architecture(a=i) for i in (3, 1, 3)]
    np.testing.assert_array_equal(describe(members).features, [[3.0], [1.0], [3.0]])
    describe([*members, Architecture(a=2)])
    assert len(asked) == len(set(asked)) == 3


def test_remembered_rows_come_in_the_order_asked():
    double = Remembered(lambda rows: np.array([[2.0 * a["a"]] for a in rows]))
    first, second = Architecture(a=1), Architecture(a=2)
    assert double([second]).tolist() == [[4.0]]
    assert double([first, second, first]).tolist() == [[2.0], [4.0], [2.0]]


def test_what_is_forgotten_is_asked_again():
    asked = []
    remembered = Remembered(lambda rows: np.array([asked.append(a) or [1.0] for a in rows]))
    for _ in range(2):
        remembered([Architecture(a=1)])
        remembered([Architecture(a=1)])
        remembered.forget()
    assert len(asked) == 2


def test_features_that_change_their_width_are_refused():
    space = SearchSpace({"a": [1, 2, 3]})
    describe = Describer(space, lambda rows: np.zeros((len(rows), len(rows))))
    with pytest.raises(SearchError, match="always return as many columns; got 1, and then 3"):
        describe([Architecture(a=1)])


def test_rounding_errors_are_no_features():
    """Told ones that differ by what a sum leaves when it cancels are told as equal."""
    space = SearchSpace({"a": [1, 2, 3], "b": [0.1, 0.2, 0.3]})

    def features(architectures):
        cancels = [a["b"] + 0.1 - 0.1 - a["b"] + (a["a"] == 3) for a in architectures]
        return np.stack([cancels, [1e-9 * a["b"] for a in architectures]], axis=1)

    some = [Architecture(a=1, b=b) for b in (0.1, 0.2, 0.3)]
    assert len(np.unique(features(some)[:, 0])) > 1
    found = Describer(space, features)([*some, Architecture(a=3, b=0.1)]).features
    np.testing.assert_array_equal(found[:, 0], [0, 0, 0, 1])
    # of the others, as small as they may be, nine digits stay
    np.testing.assert_allclose(found[:, 1], [1e-10, 2e-10, 3e-10, 1e-10], rtol=1e-9)
