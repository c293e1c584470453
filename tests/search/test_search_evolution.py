"""NSGA-II over a space's choices, on problems small enough to try everything."""

import numpy as np
import pytest

from autodistill.search.evolution import evolve
from autodistill.space import Rule, SearchSpace

SPACE = SearchSpace({"a": [0, 1, 2, 3, 4], "b": [0, 1, 2, 3, 4], "c": [0, 1, 2, 3, 4]})


def objectives(architectures):
    """Separable: a price that grows with each choice, a loss that falls with each."""
    x = np.array([[a["a"], a["b"], a["c"]] for a in architectures], float)
    return np.stack([x @ [1.0, 1.7, 2.9], ((4 - x) ** 2) @ [1.0, 2.3, 3.1]], axis=1)


def nothing(architectures):
    return np.zeros(len(architectures))


def run(space=SPACE, score=objectives, excess=nothing, **changes):
    settings = {"objectives": 2, "start": [], "population": 64, "generations": 25, "seed": 0}
    return evolve(space, score, excess=excess, **settings | changes)


def true_front(front_of, space, excess=nothing):
    members = [a for a in space.enumerate() if excess([a])[0] <= 0]
    return {members[i] for i in front_of(objectives(members))}


def test_the_true_front_is_found(front_of):
    expected = true_front(front_of, SPACE)
    assert 15 < len(expected) < 64  # it fits into one population, and is not the whole space
    assert expected <= set(run())


def test_the_front_within_rules_is_found(front_of):
    space = SearchSpace(
        SPACE.choices, rules=[Rule(("a", "c"), lambda a, c: (a + c) % 3 != 1, "no remainder 1")]
    )
    seen = []

    def score(architectures):
        seen.extend(architectures)
        return objectives(architectures)

    assert true_front(front_of, space) <= set(run(space, score))
    assert all(architecture in space for architecture in seen)


def test_the_front_within_limits_is_found(front_of):
    def excess(architectures):
        return np.array([a["a"] + a["b"] - 4 for a in architectures], float)

    found = run(excess=excess)
    assert true_front(front_of, SPACE, excess) <= set(found)
    assert excess(found).max() <= 0


def test_where_nothing_is_within_the_least_excess_is_found():
    def excess(architectures):
        return np.array([1.0 + a["a"] + a["b"] + a["c"] for a in architectures])

    assert {"a": 0, "b": 0, "c": 0} in [dict(a) for a in run(excess=excess)]


def test_results_are_distinct_members():
    found = run(population=20, generations=5)
    assert len(set(found)) == len(found) <= 20
    assert all(architecture in SPACE for architecture in found)


def test_the_seed_and_nothing_else_decides():
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()
    first = run(population=20, generations=4)
    assert np.random.get_state()[1].tolist() == before  # the global generator is left alone
    np.random.seed(2)
    assert run(population=20, generations=4) == first
    assert run(population=20, generations=4, seed=1) != first


def test_the_start_is_part_of_the_first_population():
    members = SPACE.enumerate()
    seen = []

    def score(architectures):
        seen.append(list(architectures))
        return objectives(architectures)

    run(score=score, start=[members[7], members[7], members[100]], population=10, generations=2)
    assert {members[7], members[100]} <= set(seen[0])
    assert len(seen[0]) == len(set(seen[0])) == 10
    seen.clear()
    run(score=score, start=members, population=10, generations=2)
    assert set(seen[0]) == set(members[:10])


@pytest.mark.parametrize(
    "choices",
    [{"a": [3]}, {"a": [1, 2], "b": [5]}, {"a": ["x", "y", "z"]}, {"a": [False, True], "b": [1]}],
)
def test_spaces_smaller_than_a_population(choices):
    space = SearchSpace(choices)

    def score(architectures):
        x = space.encode(architectures)
        return np.stack([x.sum(1), -x.sum(1)], axis=1)  # each trades one for the other

    assert set(run(space, score)) == set(space.enumerate())


@pytest.mark.parametrize("m", [1, 3])
def test_other_numbers_of_objectives(m, front_of):
    def score(architectures):
        both = objectives(architectures)
        extra = np.array([[a["a"] * 1.3 + a["c"]] for a in architectures])
        return np.hstack([both, extra])[:, :m]

    members = SPACE.enumerate()
    expected = {members[i] for i in front_of(score(members))}
    found = set(run(score=score, objectives=m, generations=15))
    # With three objectives the front is larger than the population, which then lies on it.
    assert expected <= found
