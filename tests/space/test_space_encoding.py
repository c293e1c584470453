"""Architectures as numbers, and back."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autodistill.errors import SpaceError
from autodistill.space import Architecture, SearchSpace

MIXED = {
    "depth": [2, 8, 4],  # ordered: 2, 4, 8
    "one": [7],
    "act": ["relu", "gelu", "silu"],
    "norm": ["layer_norm", "no_norm"],
    "bias": [False, True],
}


def test_indices_there_and_back(drawn_parts, brute_force):
    @given(drawn_parts)
    def check(parts):
        choices, rules = parts
        assume(brute_force(choices, rules))
        space = SearchSpace(choices, rules=rules)
        members = space.enumerate()
        rows = space.to_indices(members)
        assert rows.shape == (len(members), len(choices))
        assert rows.dtype == np.int64
        assert [space.from_indices(row) for row in rows] == members
        for member, row in zip(members, rows, strict=True):
            assert [space.choices[f][i] for f, i in zip(choices, row, strict=True)] == [
                member[f] for f in choices
            ]

    check()


def test_forbidden_indices_are_none(drawn_parts, brute_force):
    @given(drawn_parts, st.data())
    def check(parts, data):
        choices, rules = parts
        expected = set(brute_force(choices, rules))
        assume(expected)
        space = SearchSpace(choices, rules=rules)
        row = [data.draw(st.integers(0, len(values) - 1)) for values in choices.values()]
        values = {f: space.choices[f][i] for f, i in zip(choices, row, strict=True)}
        found = space.from_indices(row)
        assert found == (Architecture(values) if Architecture(values) in expected else None)

    check()


def test_ranks_and_one_hot_columns():
    space = SearchSpace(MIXED)
    rows = [
        Architecture(depth=2, one=7, act="relu", norm="layer_norm", bias=False),
        Architecture(depth=4, one=7, act="gelu", norm="no_norm", bias=False),
        Architecture(depth=8, one=7, act="silu", norm="no_norm", bias=True),
    ]
    assert space.encode(rows).tolist() == [
        [0.0, 0.0, 1, 0, 0, 0, 0],
        [0.5, 0.0, 0, 1, 0, 1, 0],
        [1.0, 0.0, 0, 0, 1, 1, 1],
    ]
    assert space.columns == ("depth", "one", "act=relu", "act=gelu", "act=silu", "norm", "bias")
    assert space.fields == tuple(MIXED)


def test_the_encoding_is_injective_and_within_the_unit_cube(drawn_parts, brute_force):
    @given(drawn_parts)
    def check(parts):
        choices, rules = parts
        assume(brute_force(choices, rules))
        space = SearchSpace(choices, rules=rules)
        encoded = space.encode(space.enumerate())
        assert encoded.shape == (space.size, len(space.columns))
        assert encoded.min() >= 0
        assert encoded.max() <= 1
        assert len(np.unique(encoded, axis=0)) == space.size

    check()


def test_plain_dictionaries_and_nothing_at_all_are_encoded():
    space = SearchSpace(MIXED)
    member = space.enumerate()[5]
    assert space.encode([dict(member)]).tolist() == space.encode([member]).tolist()
    assert space.encode([]).shape == (0, 7)
    assert space.to_indices([]).shape == (0, 5)


def test_true_is_not_encoded_as_one():
    space = SearchSpace({"flag": [False, True], "n": [0, 1]})
    assert space.encode([{"flag": True, "n": 0}]).tolist() == [[1.0, 0.0]]
    for stranger in ({"flag": 1, "n": 0}, {"flag": True, "n": False}):
        with pytest.raises(SpaceError, match="architecture 1 is not in the space"):
            space.to_indices([{"flag": True, "n": 0}, stranger])


def test_a_wrong_number_of_indices_is_refused():
    with pytest.raises(ValueError, match="expected 5 positions; got 2"):
        SearchSpace(MIXED).from_indices([0, 0])
