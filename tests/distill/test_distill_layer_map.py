"""Layer maps by their properties, over all pairs of depths."""

from itertools import pairwise

import pytest

from autodistill.distill.layer_map import blocks, given, last, progressive, top, uniform
from autodistill.errors import RecipeError

DEPTHS = [(student, teacher) for teacher in range(1, 25) for student in range(1, teacher + 1)]


@pytest.mark.parametrize("make", [uniform, top])
def test_maps_are_distinct_and_rise_and_end_at_the_last(make):
    for student, teacher in DEPTHS:
        layers = make(student, teacher)
        assert len(layers) == len(set(layers)) == student
        assert list(layers) == sorted(layers)
        assert layers[0] >= 1 and layers[-1] == teacher


def test_uniform_is_the_papers_and_as_even_as_can_be():
    """TinyBERT's four layers learn from 3, 6, 9, 12, its six from every other one."""
    assert uniform(4, 12) == (3, 6, 9, 12)
    assert uniform(6, 12) == (2, 4, 6, 8, 10, 12)
    for student, teacher in DEPTHS:
        steps = [b - a for a, b in pairwise((0, *uniform(student, teacher)))]
        assert max(steps) - min(steps) <= 1, (student, teacher)


def test_equal_depths_map_one_to_one():
    assert uniform(5, 5) == top(5, 5) == (1, 2, 3, 4, 5)


def test_the_last_layer_needs_no_depth():
    assert last(24, 6) == (*(None,) * 23, 6)


def test_in_a_deeper_student_the_teachers_layers_lie_evenly():
    assert uniform(4, 2) == (None, 1, None, 2)
    for teacher, student in DEPTHS:
        layers = uniform(student, teacher)
        assert [layer for layer in layers if layer] == list(range(1, teacher + 1))
        assert len(layers) == student and layers[-1] == teacher


def test_a_deeper_student_has_no_top():
    with pytest.raises(RecipeError, match="a student of 8 layers cannot learn .* teacher of 6"):
        top(8, 6)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([1, 2], "one entry per layer of the student, 3; got 2"),
        ([1, 2, 7], r"layers 1 to 6; the layer map names \[7\]"),
        ([0, 2, 3], r"names \[0\]"),
        ([None, None, None], "must name a layer"),
        ([3, 2, 5], "must not go back"),
    ],
)
def test_given_maps_are_checked(layers, message):
    with pytest.raises(RecipeError, match=message):
        given(layers, 3, 6)


def test_progressive_maps_are_the_whole_in_parts():
    whole = given([2, None, 5, 6], 4, 6)
    parts = progressive(whole)
    assert [[i for i, layer in enumerate(part) if layer] for part in parts] == [[0], [2], [3]]
    assert tuple(max((p[i] or 0 for p in parts), default=0) or None for i in range(4)) == whole


def test_blocks_cover_both_without_overlap():
    for student, teacher in DEPTHS:
        found = blocks(uniform(student, teacher))
        assert found[0][0] == found[0][2] == 0 and found[-1][1::2] == (student, teacher)
        assert all(a[1::2] == b[0::2] for a, b in pairwise(found))
