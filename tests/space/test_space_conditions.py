"""Fields that exist only under some values of another, against trying every combination."""

from itertools import product

import numpy as np
import pytest
import yaml

from autodistill.errors import SpaceError
from autodistill.space import Architecture, Rule, SearchSpace

CHOICES = {
    "heads_2": [4, 8],
    "layers": [1, 2, 3],
    "heads_1": [4, 8],
    "heads_3": [4, 8, 16],
    "gate": [False, True],
    "kind": ["soft", "hard", "none"],
}
CONDITIONS = {
    "heads_2": ("layers", {2, 3}),
    "heads_3": ("layers", [3]),
    "gate": ("heads_3", {8, 16}),  # of a field that may not exist itself
    "kind": ("gate", {True}),
}


def expected_members(rules=()):
    """Every combination, its fields that do not exist at their first choice, once each."""
    found = {}
    for values in product(*CHOICES.values()):
        member = dict(zip(CHOICES, values, strict=True))
        absent = set()
        for field in ("heads_2", "heads_3", "gate", "kind"):
            parent, under = CONDITIONS[field]
            if parent in absent or member[parent] not in under:
                absent.add(field)
                member[field] = CHOICES[field][0]
        if all(
            absent & set(rule.fields) or rule.allows(*(member[f] for f in rule.fields))
            for rule in rules
        ):
            found[Architecture(member)] = None
    return list(found)


RULES = (
    Rule(("heads_1", "heads_2"), lambda a, b: a <= b, "heads must not fall"),
    Rule(("heads_2", "heads_3"), lambda a, b: a < b, "heads must rise"),
)


@pytest.mark.parametrize("rules", [(), RULES, RULES[1:]])
def test_members_are_those_of_brute_force(rules):
    space = SearchSpace(CHOICES, conditions=CONDITIONS, rules=rules)
    expected = expected_members(rules)
    members = space.enumerate()
    assert len(members) == len(set(members)) == space.size == len(expected)
    assert set(members) == set(expected)
    assert all(member in space for member in members)
    drawn = space.sample(600, np.random.default_rng(0))
    assert set(drawn) == set(expected)  # each has a chance above 1 in 60


@pytest.mark.parametrize("rules", [(), RULES])
def test_rows_of_positions(rules):
    """Each row of positions is a member or is not; those that are come back as they were."""
    space = SearchSpace(CHOICES, conditions=CONDITIONS, rules=rules)
    rows = np.array(list(product(*(range(len(v)) for v in CHOICES.values()))))
    valid = space.are_valid(rows)
    assert set(space.from_rows(rows[valid])) == set(expected_members(rules))
    assert (space.to_indices(space.from_rows(rows[valid])) == rows[valid]).all()
    assert [space.from_indices(row) is not None for row in rows] == valid.tolist()
    settled = space.conditions.settle(rows)
    assert (space.conditions.settle(settled) == settled).all()
    assert set(map(tuple, rows[valid])) <= set(map(tuple, settled))
    assert not space.are_valid(rows[:1] - 1)[0] and not space.are_valid(rows[:1] + 9)[0]


def test_parents_are_drawn_evenly():
    """Not by how many members each value stands for: of 1,200 draws 400 each, give or take.

    The standard deviation of each count is 16; four of them are allowed.
    """
    drawn = SearchSpace(CHOICES, conditions=CONDITIONS).sample(1200, np.random.default_rng(0))
    counts = [sum(a["layers"] == layers for a in drawn) for layers in (1, 2, 3)]
    assert max(abs(count - 400) for count in counts) < 65


def test_a_field_that_does_not_exist_stays_at_its_first_choice():
    space = SearchSpace(CHOICES, conditions=CONDITIONS)
    member = {
        "layers": 2, "heads_1": 8, "heads_2": 8, "heads_3": 4, "gate": False, "kind": "soft"
    }  # fmt: skip
    assert member in space
    assert "heads_3 exists only where layers is one of [3], and is 4 elsewhere" in str(
        space.why_invalid(member | {"heads_3": 8})
    )
    assert "exists only where" in str(space.why_invalid(member | {"kind": "hard"}))
    with pytest.raises(SpaceError, match="exists only where"):
        space.to_indices([member | {"gate": True}])


def test_neighbours_differ_in_one_field_and_what_hangs_on_it():
    space = SearchSpace(CHOICES, conditions=CONDITIONS)
    deep = Architecture(layers=3, heads_1=4, heads_2=8, heads_3=16, gate=True, kind="hard")
    shallow = {"layers": 1, "heads_1": 4, "heads_2": 4, "heads_3": 4, "gate": False, "kind": "soft"}
    near = space.neighbours(deep)
    assert Architecture(shallow) in near
    assert deep not in near and len(set(near)) == len(near)
    assert all(member in space for member in near)
    # two layers less, one head here and two there, no gate, two other kinds
    assert len(near) == 2 + 1 + 1 + 2 + 1 + 2


def test_the_nearest_member_is_that_of_brute_force():
    space = SearchSpace(CHOICES, conditions=CONDITIONS, rules=RULES)
    rng = np.random.default_rng(0)
    for _ in range(20):
        price = {(f, v): rng.random() for f, values in CHOICES.items() for v in values}

        def total(member, price=price):
            return sum(price[f, v] for f, v in member.items())

        found = space.nearest(lambda field, value, price=price: price[field, value])
        assert found in space
        assert total(found) == pytest.approx(min(map(total, space.enumerate())))


def test_distinct_draws_exhaust_a_space():
    space = SearchSpace(CHOICES, conditions=CONDITIONS)
    drawn = space.sample_distinct(1000, np.random.default_rng(0))
    assert len(drawn) == len(set(drawn)) == space.size


def test_a_huge_conditional_space_is_counted_exactly():
    choices = {"layers": [1, 2, 3]} | {f"width_{i}": list(range(10)) for i in range(30)}
    conditions = {f"width_{i}": ("layers", {3}) for i in range(20)}
    space = SearchSpace(choices, conditions=conditions)
    assert space.size == 10**10 * (2 + 10**20)
    assert len(set(space.sample_distinct(50, np.random.default_rng(0)))) == 50


def test_a_space_changed_keeps_its_conditions():
    space = SearchSpace(CHOICES, conditions=CONDITIONS, name="c")
    narrow = space.with_rule(RULES[0])
    assert set(narrow.enumerate()) == set(expected_members(RULES[:1]))
    assert narrow.describe()["conditions"] == {
        "heads_2": ["layers", [2, 3]],
        "heads_3": ["layers", [3]],
        "gate": ["heads_3", [8, 16]],
        "kind": ["gate", [True]],
    }
    assert "conditions" not in SearchSpace({"a": [1]}).describe()  # as before there were any


def test_conditions_in_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    conditions = {field: [parent, list(under)] for field, (parent, under) in CONDITIONS.items()}
    path.write_text(yaml.safe_dump({"choices": CHOICES, "conditions": conditions}))
    read = SearchSpace.from_yaml(path)
    assert read.describe()["conditions"] == {f: [p, v] for f, (p, v) in conditions.items()}
    assert set(read.enumerate()) == set(expected_members())
    path.write_text(yaml.safe_dump({"choices": CHOICES, "conditions": ["heads_2"]}))
    with pytest.raises(SpaceError, match="conditions must be a mapping"):
        SearchSpace.from_yaml(path)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"width": ("layers", {1})}, "names fields the space lacks: ['width']"),
        ({"heads_2": ("depth", {1})}, "names fields the space lacks: ['depth']"),
        ({"heads_2": ("layers", {4})}, "names values that layers lacks: [4]"),
        ({"heads_2": ("layers", set())}, "needs values of layers"),
        ({"heads_2": ("kind", "soft")}, "needs values of kind"),
        ({"heads_2": "layers"}, "must be (parent, values)"),
        ({"gate": ("gate", {True})}, "run in a circle"),
        ({"gate": ("kind", {"soft"}), "kind": ("gate", {True})}, "run in a circle"),
    ],
)
def test_conditions_that_cannot_be(conditions, message):
    with pytest.raises(SpaceError) as error:
        SearchSpace(CHOICES, conditions=conditions)
    assert message in str(error.value)
