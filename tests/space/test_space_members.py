"""What is in a space: its size, its members, and fair draws from them."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from autodistill.errors import SpaceError
from autodistill.space import Architecture, Rule, SearchSpace


def test_members_are_those_of_brute_force(drawn_parts, brute_force):
    @given(drawn_parts)
    def check(parts):
        choices, rules = parts
        expected = brute_force(choices, rules)
        assume(expected)
        space = SearchSpace(choices, rules=rules)
        assert space.size == len(expected)
        members = space.enumerate()
        assert len(members) == len(set(members)) == space.size
        assert set(members) == set(expected)
        assert all(member in space for member in members)

    check()


def test_samples_are_valid_and_in_number(drawn_parts, brute_force):
    @given(drawn_parts, st.integers(0, 40), st.integers(0, 2**32 - 1))
    def check(parts, n, seed):
        choices, rules = parts
        expected = set(brute_force(choices, rules))
        assume(expected)
        space = SearchSpace(choices, rules=rules)
        drawn = space.sample(n, np.random.default_rng(seed))
        assert len(drawn) == n
        assert set(drawn) <= expected
        different = space.sample_distinct(n, np.random.default_rng(seed))
        assert len(different) == len(set(different)) == min(n, len(expected))
        assert set(different) <= expected

    check()


def test_a_space_with_nothing_in_it_is_refused(drawn_parts, brute_force):
    @given(drawn_parts)
    def check(parts):
        choices, rules = parts
        rules = (*rules, Rule((next(iter(choices)),), lambda value: False, "nothing will do"))
        assert not brute_force(choices, rules)
        with pytest.raises(SpaceError, match=r"the space is empty.*nothing will do"):
            SearchSpace(choices, rules=rules)

    check()


def test_sizes_of_the_presets_by_counting_their_rules():
    """Free fields multiply; only the tied ones are counted one by one."""
    choices = SearchSpace.preset("mobilebert").choices
    tied = sum(
        narrow % heads == 0 and narrow <= hidden
        for heads in choices["num_attention_heads"]
        for narrow in choices["intra_bottleneck_size"]
        for hidden in choices["hidden_size"]
    )
    free = 21 * 7 * 6 * 5 * 2 * 2  # depth, FFN, stack, embedding, norm, activation
    assert SearchSpace.preset("mobilebert").size == tied * free


def test_draws_are_uniform(tied_space):
    """Chi-square with a fixed seed; p < 0.001 would come once in a thousand seeds.

    Drawing each field by itself and repairing what is forbidden would make deep
    members several times as likely as others, which gives p below 1e-100.
    """
    members = tied_space.enumerate()
    drawn = tied_space.sample(200 * len(members), np.random.default_rng(0))
    counts = [drawn.count(member) for member in members]
    assert chisquare(counts).pvalue > 1e-3


def test_distinct_draws_are_uniform(tied_space):
    rng = np.random.default_rng(0)
    taken = tied_space.enumerate()[0]
    drawn = [a for _ in range(800) for a in tied_space.sample_distinct(5, rng, exclude=[taken])]
    counts = [drawn.count(member) for member in tied_space.enumerate()]
    assert counts[0] == 0
    # Draws without replacement vary less than the test assumes: it errs to the safe side.
    assert chisquare(counts[1:]).pvalue > 1e-3


def test_draws_from_a_large_space_are_uniform_over_the_tied_fields():
    space = SearchSpace.preset("mobilebert")
    fields = ("num_attention_heads", "intra_bottleneck_size", "hidden_size")
    drawn = space.sample(20_000, np.random.default_rng(0))
    counts: dict[tuple, int] = {}
    for architecture in drawn:
        key = tuple(architecture[f] for f in fields)
        counts[key] = counts.get(key, 0) + 1
    tied = space.size // (21 * 7 * 6 * 5 * 2 * 2)
    assert len(counts) == tied  # 20,000 draws over fewer than 300: each is met
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_the_same_generator_gives_the_same_draws(tied_space):
    for draw in (tied_space.sample, tied_space.sample_distinct):
        assert draw(7, np.random.default_rng(3)) == draw(7, np.random.default_rng(3))
        assert draw(7, np.random.default_rng(3)) != draw(7, np.random.default_rng(4))


def test_distinct_draws_exhaust_a_small_space(tied_space):
    rng = np.random.default_rng(0)
    members = tied_space.enumerate()
    assert set(tied_space.sample_distinct(1000, rng)) == set(members)
    rest = tied_space.sample_distinct(1000, rng, exclude=members[3:])
    assert set(rest) == set(members[:3])
    assert tied_space.sample_distinct(5, rng, exclude=members) == []
    assert tied_space.sample_distinct(0, rng) == []


def test_distinct_draws_from_a_space_too_large_to_list():
    space = SearchSpace({f"f{i}": list(range(4)) for i in range(6)})  # 4,096 members
    first = space.sample_distinct(500, np.random.default_rng(0))
    second = space.sample_distinct(500, np.random.default_rng(1), exclude=first)
    assert len(set(first) | set(second)) == 1000


def test_what_is_excluded_need_not_be_in_the_space(tied_space):
    stranger = Architecture(width=9, depth=1, act="relu")
    assert len(tied_space.sample_distinct(99, np.random.default_rng(0), [stranger])) == 20


@pytest.mark.parametrize(
    ("architecture", "why"),
    [
        ({"width": 4, "depth": 2}, "missing ['act'], unknown []"),
        ({"width": 4, "depth": 2, "act": "relu", "x": 1}, "missing [], unknown ['x']"),
        ({"width": 5, "depth": 2, "act": "relu"}, "width must be one of [1, 2, 3, 4]; got 5"),
        ({"width": True, "depth": 1, "act": "relu"}, "width must be one of [1, 2, 3, 4]; got True"),
        ({"width": 2, "depth": 3, "act": "relu"}, "depth <= width; got depth=3, width=2"),
        ({"width": 2, "depth": [1], "act": "relu"}, "depth must be one of [1, 2, 3, 4]; got [1]"),
    ],
)
def test_what_is_outside_says_why(tied_space, architecture, why):
    assert why in tied_space.why_invalid(architecture)
    assert architecture not in tied_space


def test_only_mappings_can_be_members(tied_space):
    assert "relu" not in tied_space
    assert {"width": 4.0, "depth": 2, "act": "relu"} in tied_space


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "needs at least one field with choices; got none"),
        ({"a": []}, "a needs a list of at least one choice; got []"),
        ({"a": "relu"}, "a needs a list of at least one choice; got 'relu'"),
        ({"a": 3}, "a needs a list of at least one choice; got 3"),
        ({"a": {1, 2}}, "a needs a list"),
        ({"a": [1, 2, 1]}, "a names a choice twice: [1, 2, 1]"),
        ({"a": [1, 1.0]}, "a names a choice twice: [1, 1.0]"),
        ({"a": ["x", "x"]}, "a names a choice twice"),
        ({"a": [1, None]}, "got 'a': None"),
        ({"a": [[1]]}, "got 'a': [1]"),
        ({"a": [0.0, float("nan")]}, "a must be finite; got nan"),
        ({3: [1]}, "maps names to"),
    ],
)
def test_bad_choices_are_named(choices, message):
    with pytest.raises(SpaceError) as caught:
        SearchSpace(choices)
    assert message in str(caught.value)


def test_one_and_true_are_different_choices():
    space = SearchSpace({"a": [1, True]})
    assert [type(member["a"]) for member in space.enumerate()] == [int, bool]
    assert len(set(space.enumerate())) == space.size == 2


def test_numbers_are_put_in_order_and_categories_left():
    space = SearchSpace({"n": [3, 1, 2.5], "act": ["relu", "gelu"], "flag": [True, False]})
    assert space.choices == {"n": (1, 2.5, 3), "act": ("relu", "gelu"), "flag": (True, False)}


def test_rules_must_name_fields_of_the_space():
    with pytest.raises(SpaceError, match="a rule names fields the space lacks: \\['b'\\]"):
        SearchSpace({"a": [1]}, rules=[Rule(("a", "b"), lambda a, b: True, "any")])


def test_rules_over_too_many_combinations_are_refused():
    many = {name: list(range(101)) for name in "abc"}
    rule = Rule(("a", "b", "c"), lambda a, b, c: True, "any")
    with pytest.raises(SpaceError, match=r"tie together .* more than 1,000,000 combinations"):
        SearchSpace(many, rules=[rule])


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ({"width": 1, "depth": 2, "act": "relu"}, "not in the space: depth <= width"),
        ({"width": 1, "depth": 1}, "not in the space: fields must be"),
        ({}, "needs at least one field"),
    ],
)
def test_a_baseline_outside_is_refused(tied_space, baseline, message):
    with pytest.raises(SpaceError) as caught:
        SearchSpace(tied_space.choices, rules=tied_space.rules, baseline=baseline)
    assert message in str(caught.value)


def test_one_more_rule(tied_space):
    narrow = Rule(("width",), lambda width: width < 3, "width < 3")
    smaller = tied_space.with_rule(narrow)
    expected = [member for member in tied_space.enumerate() if member["width"] < 3]
    assert smaller.enumerate() == expected
    assert tied_space.size == 20  # the space itself stays as it was
    assert smaller.extra_rules == (*tied_space.rules, narrow)
    assert smaller.with_rule(Rule(("depth",), lambda depth: depth > 1, "depth > 1")).size == 2


def test_one_more_rule_must_spare_the_baseline():
    space = SearchSpace({"a": [1, 2]}, baseline={"a": 1})
    with pytest.raises(SpaceError, match="the baseline is not in the space: a > 1; got a=1"):
        space.with_rule(Rule(("a",), lambda a: a > 1, "a > 1"))


def test_nearest_is_that_of_brute_force(drawn_parts, brute_force):
    @given(drawn_parts, st.integers(0, 2**32 - 1))
    def check(parts, seed):
        choices, rules = parts
        members = brute_force(choices, rules)
        assume(members)
        rng = np.random.default_rng(seed)
        distances = {(f, v): rng.random() for f, vs in choices.items() for v in vs}
        space = SearchSpace(choices, rules=rules)

        def total(architecture):
            return sum(distances[item] for item in architecture.items())

        nearest = space.nearest(lambda field, value: distances[field, value])
        # Sums of such draws are never equal, so there is one nearest.
        assert nearest == min(members, key=total)

    check()


def test_neighbours_are_those_of_brute_force(drawn_parts, brute_force):
    @given(drawn_parts)
    def check(parts):
        choices, rules = parts
        members = brute_force(choices, rules)
        assume(members)
        space = SearchSpace(choices, rules=rules)
        for member in members[:5]:
            expected = [a for a in members if sum(a[f] != member[f] for f in choices) == 1]
            found = space.neighbours(member)
            assert len(found) == len(expected)
            assert set(found) == set(expected)

    check()


def test_a_description_is_all_that_defines_the_space(tied_space):
    assert tied_space.describe() == {
        "name": "custom",
        "family": None,
        "choices": {"width": [1, 2, 3, 4], "depth": [1, 2, 3, 4], "act": ["relu", "gelu"]},
        "rules": ["depth <= width"],
        "baseline": None,
    }
    assert repr(tied_space) == "SearchSpace('custom', 3 fields, 20 members)"


def test_members_far_down_a_chain_of_conditions_are_drawn():
    """All but ten hang on the last of ten fields, where one draw in a thousand comes."""
    chain = {f"c{i}": [0, 1] for i in range(10)}
    below = {f"w{i}": [0, 1] for i in range(12)}
    conditions = {f"c{i}": (f"c{i - 1}", [1]) for i in range(1, 10)}
    conditions |= {field: ("c9", [1]) for field in below}
    space = SearchSpace(chain | below, conditions=conditions)
    assert space.size == 10 + 2**12
    drawn = space.sample_distinct(100, np.random.default_rng(0))
    assert len(set(drawn)) == 100
    assert sum(a["c9"] for a in drawn) > 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"choices": [1]}, "choices must be a mapping of fields to lists; got"),
        ({"choices": None}, "choices must be a mapping of fields to lists; got None"),
        ({"family": ["bert"]}, "family must be a name; got"),
        ({"rules": 5}, "rules must be a list of Rule; got 5"),
        ({"rules": [5]}, "rules must be a list of Rule; got"),
        ({"conditions": [1]}, "conditions must be a mapping of fields to"),
        ({"conditions": {"b": (["a"], [1])}}, "a condition names fields the space lacks"),
        ({"baseline": 5}, "baseline"),
    ],
)
def test_what_no_space_is_made_of(arguments, message):
    with pytest.raises(SpaceError, match=message):
        SearchSpace(**{"choices": {"a": [1, 2], "b": [1, 2]}} | arguments)
    with pytest.raises(SpaceError, match="unknown space"):
        SearchSpace.preset(["bert"])


def test_a_space_beyond_all_floats_has_a_size_in_words():
    assert "10^400 members" in repr(SearchSpace({f"f{i}": list(range(10)) for i in range(400)}))
