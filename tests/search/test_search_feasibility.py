"""Limits and failures: chances against closed forms, regions that fail, what is refused."""

import numpy as np
import pytest
from scipy.stats import norm

from autodistill.errors import InfeasibleError, SearchError
from autodistill.search import BayesianSearch
from autodistill.search.described import Describer
from autodistill.search.feasibility import Constraints, SuccessModel, log_chance
from autodistill.space import SearchSpace

SPACE = SearchSpace({"depth": list(range(1, 13)), "width": list(range(1, 13))})


def evaluate(architectures):
    size = np.array([[a["depth"] / 12, a["width"] / 12] for a in architectures])
    return np.stack([np.exp(-2 * size.sum(1)), size[:, 0] * (1 + size[:, 1])], axis=1)


def parameters(architectures):
    return np.array([float(a["depth"] * a["width"] ** 2) for a in architectures])


def test_chances_have_the_textbook_form():
    mean, std = np.array([0.0, 1.0, 2.0, -3.0]), np.array([1.0, 0.5, 2.0, 1.0])
    np.testing.assert_allclose(np.exp(log_chance(1.5, mean, std)), norm.cdf((1.5 - mean) / std))


def test_a_number_is_within_or_it_is_not_and_less_beyond_is_better():
    mean = np.array([0.9, 1.0, 1.1, 1.5, 50.0])
    found = log_chance(1.0, mean, np.zeros(5))
    assert found[:2].tolist() == [0.0, 0.0]
    assert (np.diff(found[1:]) < 0).all() and found[2] < -1e3


def test_constraints_multiply():
    describe = Describer(SPACE, None)
    new = describe(SPACE.sample_distinct(4, np.random.default_rng(0)))
    quantities = {"params": lambda a: (parameters(a), np.full(len(a), 100.0))}
    constraints = Constraints.of({1: 0.5, "params": 600}, quantities, 2)
    mean, std = np.full((4, 2), 0.4), np.full((4, 2), 0.1)
    expected = norm.cdf(1.0) * norm.cdf((600 - parameters(new.architectures)) / 100)
    found = constraints.log_probability(new, mean, std)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-9)


def test_progress_is_the_expected_fall_of_the_violation():
    """Against draws; one limit in reach, one not, and a quantity."""
    describe, rng = Describer(SPACE, None), np.random.default_rng(0)
    new = describe(SPACE.sample_distinct(5, rng))
    quantities = {"params": lambda a: (parameters(a), np.full(len(a), 100.0))}
    constraints = Constraints.of({0: 1.0, 1: 2.0, "params": 300}, quantities, 2)
    mean = np.column_stack([rng.uniform(0.5, 2, 5), rng.uniform(3, 8, 5)])
    std = rng.uniform(0.1, 0.6, (5, 2))
    draws = mean + std * rng.standard_normal((200_000, 5, 2))
    params = parameters(new.architectures) + 100 * rng.standard_normal((200_000, 5))
    missed = (
        np.maximum(draws[..., 0] - 1, 0)
        + np.maximum(draws[..., 1] - 2, 0) / 2
        + np.maximum(params - 300, 0) / 300
    )
    least = float(np.median(missed))
    expected = np.maximum(least - missed, 0).mean(axis=0) / least
    found = np.exp(constraints.log_progress(new, mean, std, least=least))
    # the sum of the parts is taken as normal
    np.testing.assert_allclose(found, expected, rtol=0.1, atol=0.01)


def test_where_no_progress_is_left_the_least_violation_is_best():
    new = Describer(SPACE, None)(SPACE.sample_distinct(4, np.random.default_rng(0)))
    mean = np.array([[5.0, 0], [6.0, 0], [7.0, 0], [1e80, 0]])
    constraints = Constraints.of({0: 1.0}, {}, 2)
    found = constraints.log_progress(new, mean, np.zeros((4, 2)), least=3.0)
    assert (np.diff(found) < 0).all() and np.isfinite(found).all()
    tiny = Constraints.of({0: 1e-100}, {}, 2)
    assert np.isfinite(tiny.log_progress(new, mean, np.full((4, 2), 1e80), least=1.0)).all()
    assert np.isfinite(tiny.log_probability(new, mean, np.full((4, 2), 1e80))).all()


def test_a_limit_out_of_reach_leads_to_what_misses_it_least(quick):
    """10 to 154, and at most 3 allowed."""
    search = BayesianSearch(SPACE, seed=0, constraints={1: 3.0})
    seen = []
    for _ in range(14):
        asked = search.ask()
        latency = 10 + asked[0]["depth"] * asked[0]["width"] - 1
        search.tell(asked, [[1 / asked[0]["depth"], latency]])
        seen.append(latency)
    assert min(seen) == 10 and np.median(seen[6:]) <= 21
    assert search.pareto_front() == []


def test_what_certainly_misses_a_limit_is_never_proposed(quick):
    """Eleven of 144 members are within: one by one, then at once, and then it says so."""
    within = [a for a in SPACE.enumerate() if parameters([a])[0] <= 8]
    search = BayesianSearch(
        SPACE, seed=0, quantities={"params": parameters}, constraints={"params": 8}
    )
    asked = [search.ask()[0] for _ in range(1)]
    search.tell(asked, evaluate(asked))
    for n in (1, 1, 1, 1, 100):
        new = search.ask(n)
        assert not search.is_exhausted
        search.tell(new, evaluate(new))
        asked += new
    assert sorted(asked, key=lambda a: a.id) == sorted(within, key=lambda a: a.id)
    assert search.is_exhausted and not search.is_infeasible
    with pytest.raises(SearchError, match=f"all {len(within)} that are within the constraints"):
        search.ask()


def test_a_space_without_any_member_within_says_so_in_the_end():
    few = SearchSpace({"depth": [1, 2, 3]})
    for limits in ({"excess": lambda a: np.ones(len(a))}, {"constraints": {0: 0.5}}):
        search = BayesianSearch(few, n_objectives=1, **limits)
        assert not search.is_infeasible
        search.tell(few.enumerate(), np.ones((3, 1)))
        assert search.is_exhausted and search.is_infeasible
        with pytest.raises(InfeasibleError, match="no excess|objective 0 at most 0.5"):
            search.ask()


def test_nothing_told_asks_no_quantity():
    search = BayesianSearch(
        SPACE,
        quantities={"depth": lambda a: np.array([[m["depth"]] for m in a])[:, 0]},
        constraints={"depth": 3},
    )
    assert search.pareto_front() == []


def test_success_is_learnt_where_it_ends():
    describe = Describer(SPACE, None)
    members = SPACE.sample_distinct(60, np.random.default_rng(0))
    works = [a for a in members if a["width"] < 7]
    fails = [a for a in members if a["width"] >= 7]
    model = SuccessModel(describe(works), describe(fails), seed=0)
    rest = [a for a in SPACE.enumerate() if a not in members and a["width"] not in (6, 7)]
    chance = np.exp(model.log_probability(describe(rest)))
    narrow = np.array([a["width"] < 7 for a in rest])
    assert chance[narrow].min() > 0.5 > chance[~narrow].max()


def test_nothing_is_learnt_from_one_kind():
    describe = Describer(SPACE, None)
    some = describe(SPACE.sample_distinct(5, np.random.default_rng(0)))
    none = some.take([])
    for succeeded, failed in ((some, none), (none, some), (none, none)):
        model = SuccessModel(succeeded, failed, seed=0)
        assert model.log_probability(some).tolist() == [0.0] * 5


def test_a_region_that_fails_is_avoided(quick):
    """Three quarters of the space fail: by chance 18 of 24 would, and what lies in the
    failing part would be of the best. Eight seeds gave 10 to 12 failures."""
    search, failures = BayesianSearch(SPACE, seed=0), 0
    for _ in range(24):
        asked = search.ask()
        values = evaluate(asked)
        if asked[0]["width"] > 6 or asked[0]["depth"] > 6:
            values[:] = np.nan
            failures += 1
        search.tell(asked, values)
    assert failures <= 13


def test_limits_on_objectives_and_quantities_are_kept(quick):
    """Once the first is within: a fifth of the space is, and nearly all proposals are."""
    search = BayesianSearch(
        SPACE, seed=0, quantities={"params": parameters}, constraints={"params": 300, 0: 0.35}
    )

    def within(architectures):
        return (parameters(architectures) <= 300) & (evaluate(architectures)[:, 0] <= 0.35)

    kept = []
    for _ in range(20):
        asked = search.ask()
        kept.append(bool(within(asked)[0]))
        assert parameters(asked)[0] <= 300  # known beforehand
        search.tell(asked, evaluate(asked))
    assert sum(kept[8:]) >= 10
    assert all(within([a])[0] for a, _ in search.pareto_front())
    members = SPACE.enumerate()
    best = evaluate([a for a, ok in zip(members, within(members), strict=True) if ok])[:, 1].min()
    assert min(v[1] for _, v in search.pareto_front()) == best


def test_while_nothing_is_within_the_limits_they_are_sought(quick):
    """Only the largest are below 0.03; from six small ones it takes a few steps to one."""
    search = BayesianSearch(SPACE, seed=0, constraints={0: 0.03})
    small = [a for a in SPACE.enumerate() if a["depth"] + a["width"] < 5]
    search.tell(small, evaluate(small))
    assert search.pareto_front() == []
    for _ in range(6):
        asked = search.ask()
        search.tell(asked, evaluate(asked))
    assert search.pareto_front()


def test_a_space_without_any_member_within_says_so():
    search = BayesianSearch(
        SPACE, seed=0, quantities={"params": parameters}, constraints={"params": 0.5}
    )
    assert search.is_infeasible
    with pytest.raises(InfeasibleError, match="no architecture of the space 'custom' is within"):
        search.ask()
    assert not BayesianSearch(
        SPACE, seed=0, quantities={"params": parameters}, constraints={"params": 1}
    ).is_infeasible


def test_a_space_told_in_full_tells_whether_any_is_within():
    space = SearchSpace({"depth": [1, 2], "width": [3]})
    for limit, infeasible in ((0.05, True), (0.5, False)):
        search = BayesianSearch(space, seed=0, constraints={1: limit})
        assert not search.is_infeasible  # an objective is only known when evaluated
        search.tell(space.enumerate(), evaluate(space.enumerate()))
        assert (search.is_exhausted, search.is_infeasible) == (True, infeasible)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"constraints": {"params": 3}}, "'params', which is no quantity; there are none"),
        (
            {"constraints": {"memory": 3}, "quantities": {"params": parameters}},
            "'memory', which is no quantity; there are ['params']",
        ),
        ({"constraints": {2: 3}}, "objective 2; columns are 0..1"),
        ({"constraints": {-1: 3}}, "objective -1; columns are 0..1"),
        ({"constraints": {0: np.nan}}, "must be a finite number; got nan"),
        ({"constraints": {0: "3 ms"}}, "must be a finite number; got '3 ms'"),
        ({"constraints": {0.5: 3}}, "objective 0.5; columns are 0..1"),
        ({"constraints": {0: 1e-200}}, "must be 0 or lie between 1e-100 and 1e+100 in size"),
    ],
)
def test_constraints_on_what_is_not_known(arguments, message):
    with pytest.raises(SearchError) as error:
        BayesianSearch(SPACE, **arguments)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        (lambda a: np.zeros((len(a), 2)), "must return"),
        (lambda a: np.full(len(a), np.nan), "finite numbers"),
        (lambda a: ["big"] * len(a), "the quantity 'params' must return numbers; could not"),
        (lambda a: (np.ones(len(a)), np.full(len(a), -1.0)), "standard deviations of at least 0"),
    ],
)
def test_quantities_of_a_wrong_form(quantity, message):
    search = BayesianSearch(
        SPACE, seed=0, quantities={"params": quantity}, constraints={"params": 1}
    )
    with pytest.raises(SearchError, match=message):
        search.ask()
