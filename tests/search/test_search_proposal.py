"""The acquisition and the climb, against brute force on spaces that can be scored whole."""

import numpy as np
import pytest

from autodistill.search import proposal, scorer
from autodistill.search.acquisition import expected_improvement, nondominated
from autodistill.search.ascent import ascend, spread, vary
from autodistill.search.described import Describer, layer_groups
from autodistill.search.designer import views_of
from autodistill.search.feasibility import Constraints, SuccessModel
from autodistill.search.initial import fill
from autodistill.search.proposal import propose, span
from autodistill.search.scorer import Beliefs, Scorer, antithetic
from autodistill.search.surrogates import fit_objective
from autodistill.space import Rule, SearchSpace

SPACE = SearchSpace(
    {"a": list(range(7)), "b": list(range(7)), "c": list(range(7))},
    rules=[Rule(("a", "b"), lambda a, b: a + b < 10, "a + b < 10")],
)
LAYERED = SearchSpace(
    {"layers": [5, 6], "kind": ["x", "y"]} | {f"width_{i}": [1, 2, 3] for i in range(6)},
    conditions={"width_5": ("layers", {6})},
)
DESCRIBE = Describer(SPACE, None)


def truth(architectures):
    x = np.array([[a["a"], a["b"], a["c"]] for a in architectures]) / 6
    return np.stack([((x - 0.8) ** 2).sum(1), x.sum(1)], axis=1)


def beliefs(n=12, *, variance=0.0, constraints=None, values=None):
    told = DESCRIBE(SPACE.sample_distinct(n, np.random.default_rng(0)))
    values = truth(told.architectures) if values is None else values
    variances = np.full(values.shape, variance)
    limits = Constraints.of(constraints or {}, {}, 2)
    models = [
        fit_objective(told, values[:, j], variances[:, j], seed=0, views=views_of(told))
        for j in range(2)
    ]
    return Beliefs(
        models,
        told,
        values,
        variances,
        limits.violation(told.architectures, values) <= 0,
        np.ones(len(told), bool),
        SuccessModel(told, told.take([]), seed=0),
        limits,
    )


def scored(given, pending=None, seed=0):
    rest = [a for a in SPACE.enumerate() if a not in given.told.architectures]
    low, unit = np.zeros(2), np.ones(2)
    waiting = DESCRIBE(pending or []) if pending else given.told.take([])
    made = Scorer.of(given, waiting, low, unit, draws=np.random.default_rng(seed))
    return rest, made(DESCRIBE(rest)), made


def within(architectures):
    return np.zeros(len(architectures))


def test_with_exact_values_the_score_is_the_expected_improvement():
    given = beliefs()
    rest, found, _ = scored(given)
    mean, std = given.predict(DESCRIBE(rest))
    front = given.values[nondominated(given.values)]
    expected = expected_improvement(mean, std, front, np.full(2, scorer.REFERENCE))
    # a vanishing part of the spread is added, so that nothing ties at zero
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-9, atol=1e-14)


def test_pending_proposals_are_worth_little_to_their_neighbours():
    given = beliefs()
    rest, before, _ = scored(given)
    best = int(np.argmax(before))
    others, after, _ = scored(given, pending=[rest[best]])
    assert after[others.index(rest[best])] < before[best] - 2  # itself: next to nothing is left
    change = dict(zip(others, after, strict=True))
    drop = np.array([b - change[a] for a, b in zip(rest, before, strict=True)])
    distance = np.abs(SPACE.to_indices(rest) - SPACE.to_indices([rest[best]])).sum(1)
    assert drop[(distance > 0) & (distance < 3)].mean() > drop[distance > 6].mean()


def test_many_draws_of_a_pending_value_agree_with_eight(monkeypatch):
    """Scores by eight draws and by 512 of one pending proposal rank alike."""
    given = beliefs()
    rest, before, _ = scored(given)
    pending = [rest[int(np.argmax(before))]]
    _, few, _ = scored(given, pending)
    monkeypatch.setattr(scorer, "DRAWS", 512)
    _, many, _ = scored(given, pending)
    best = np.argsort(many)[-10:]
    assert np.corrcoef(few[best], many[best])[0, 1] > 0.8
    np.testing.assert_allclose(few[best], many[best], atol=0.5)


def test_a_lucky_draw_does_not_hide_what_is_good():
    """One value is far too low. As an exact one it would bar the way to the rest."""
    plain = beliefs(n=20)
    values = plain.values.copy()
    lucky = int(np.argmax(values[:, 0]))
    values[lucky, 0] -= values[lucky, 0] + 1.0
    exact, noisy = beliefs(n=20, values=values), beliefs(n=20, values=values, variance=1.0)
    _, _, believed = scored(exact)
    _, _, doubted = scored(noisy)
    assert min(front[:, 0].min() for front in believed.fronts) == values[lucky, 0]
    assert len(doubted.fronts) == scorer.NOISY_DRAWS
    imagined = doubted.given[0].values[:, lucky]
    assert imagined.mean() > values[lucky, 0] + 0.4 and imagined.std() > 0.1


def test_while_nothing_is_feasible_to_miss_by_less_is_all_that_counts():
    given = beliefs(constraints={0: 1e-4})
    rest, found, _ = scored(given)
    mean, std = given.predict(DESCRIBE(rest))
    np.testing.assert_allclose(
        found,
        given.constraints.log_progress(DESCRIBE(rest), mean, std, least=given.least_violation),
        rtol=1e-9,
    )


def test_the_front_holds_feasible_values_alone():
    given = beliefs(n=30, constraints={1: 1.2})
    _, _, made = scored(given)
    assert given.feasible.any() and not given.feasible.all()
    assert made.fronts[0][:, 1].max() <= 1.2


def proposed(given, count=1, *, excess=within, **changes):
    return propose(
        given,
        count,
        space=SPACE,
        describe=DESCRIBE,
        excess=excess,
        pending=changes.get("pending", []),
        taken=set(given.told.architectures),
        rng=np.random.default_rng(0),
    )


def test_the_climb_finds_what_scoring_everything_finds(monkeypatch):
    """The best of 280, or one of the next four."""
    monkeypatch.setattr(proposal, "span", lambda *_: (np.zeros(2), np.ones(2)))
    given = beliefs()
    best = proposed(given)[0]
    monkeypatch.setattr(proposal, "SCORE_ALL", 0)
    monkeypatch.setattr(proposal, "RANDOM", 10)
    monkeypatch.setattr(proposal, "LEVEL", 10)
    climbed = proposed(given)[0]
    rest, found, _ = scored(given)
    rank = {a: int(r) for a, r in zip(rest, np.argsort(np.argsort(-found)), strict=True)}
    assert rank[best] == 0
    assert rank[climbed] < 5


def test_a_batch_larger_than_what_is_imagined_is_still_distinct(monkeypatch):
    monkeypatch.setattr(proposal, "MOST_IMAGINED", 3)
    batch = proposed(beliefs(), 20)
    assert len(set(batch)) == 20


def test_the_span_holds_the_front_found_and_the_front_predicted():
    given = beliefs()
    front = given.values[nondominated(given.values)]
    ahead = np.array([[-1.0, 9.0], [9.0, 9.5]])  # the second is dominated
    low, unit = span(given, ahead)
    np.testing.assert_allclose(low, np.minimum(front.min(0), ahead[0]))
    np.testing.assert_allclose(low + unit, np.maximum(front.max(0), ahead[0]))


def test_antithetic_draws_cancel():
    draws = antithetic(np.random.default_rng(0), (2, 8, 5))
    assert draws.shape == (2, 8, 5)
    np.testing.assert_allclose(draws.mean(axis=1), 0, atol=1e-15)
    assert not antithetic(np.random.default_rng(0), (2, 1, 5)).any()


# -- the crowd ---------------------------------------------------------------


def test_a_level_crowd_holds_both_corners_and_members_alone():
    groups = layer_groups(LAYERED)
    crowd = spread(LAYERED, 60, groups=groups, rng=np.random.default_rng(0))
    assert all(a in LAYERED for a in crowd) and len(set(crowd)) == len(crowd)
    rows = LAYERED.to_indices(crowd)
    lengths = [len(v) - 1 for v in LAYERED.choices.values()]
    assert (rows == 0).all(axis=1).any() and (rows == lengths).all(axis=1).any()
    # means of six layers vary far more than among members drawn by chance
    chance = LAYERED.to_indices(LAYERED.sample(60, np.random.default_rng(0)))
    assert rows[:, 2:7].mean(1).std() > 1.5 * chance[:, 2:7].mean(1).std()


def test_offspring_are_members():
    rng = np.random.default_rng(0)
    for space in (SPACE, LAYERED):
        rows = space.to_indices(space.sample_distinct(6, rng))
        made = vary(space, rows, 300, groups=layer_groups(space), rng=rng)
        assert space.are_valid(made).all() and len(made) > 150
        assert len(np.unique(made, axis=0)) > 60


def test_the_climb_reaches_the_top_and_leaves_out_what_is_excluded():
    def score(architectures):
        return -np.array(
            [abs(a["a"] - 3) + abs(a["b"] - 5) + abs(a["c"] - 1) for a in architectures]
        )

    top = next(a for a in SPACE.enumerate() if score([a])[0] == 0)
    start = dict.fromkeys(SPACE.enumerate()[:3], -99.0)
    for exclude in (set(), {top}):
        found = ascend(
            SPACE, score, start, groups=[], exclude=exclude, rounds=12, offspring=60,
            rng=np.random.default_rng(0),
        )  # fmt: skip
        assert set(start) <= set(found)
        assert (top in found) == (not exclude)
        assert max(s for a, s in found.items() if a not in start) == (-1 if exclude else 0)


def test_nothing_to_climb_from():
    assert ascend(
        SPACE, truth, {}, groups=[], exclude=set(), rounds=2, offspring=5,
        rng=np.random.default_rng(0),
    ) == {}  # fmt: skip


# -- the first proposals -----------------------------------------------------


def test_the_first_proposals_go_from_the_middle_to_the_ends():
    describe = Describer(SPACE, lambda rows: np.array([[a["a"] + a["b"]] for a in rows], float))
    pool = describe(SPACE.enumerate())
    sums = pool.features[:, 0]
    none = np.empty((len(pool), 0)), np.empty((0, 0))
    first = fill(3, pool, pool.take([]), known=none)
    # sums run from 0 to 9: the middle is 4.5
    assert sums[first[0]] in (4, 5) and {sums[i] for i in first[1:]} == {0, 9}


def test_known_objectives_are_distances_too():
    pool = DESCRIBE(SPACE.sample_distinct(30, np.random.default_rng(0)))
    price = np.arange(30.0)[:, None]
    taken = DESCRIBE(SPACE.sample_distinct(1, np.random.default_rng(1)))
    assert fill(2, pool, taken, known=(price, np.array([[0.0]])))[0] == 29


@pytest.mark.parametrize("count", [1, 5, 9])
def test_no_more_is_filled_than_there_is(count):
    pool = DESCRIBE(SPACE.enumerate()[:5])
    none = np.empty((5, 0)), np.empty((0, 0))
    assert len(set(fill(count, pool, pool.take([]), known=none))) == min(count, 5)
