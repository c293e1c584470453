"""Short runs before long ones, on a problem whose every run is known."""

import numpy as np
import pytest

from autodistill.errors import SearchError
from autodistill.search.acquisition import hypervolume, nondominated
from autodistill.search.fidelity import FidelitySearch, Run
from autodistill.space import Architecture, SearchSpace

SPACE = SearchSpace({name: list(range(4)) for name in "abcd"})
FIDELITIES = (1, 3, 9)


def bowls(architectures):
    """Two bowls with centres apart: the front runs between them."""
    x = np.array([[a[name] for name in "abcd"] for a in architectures]) / 3
    centres = (np.full(4, 0.25), np.array([0.75, 0.75, 0.25, 0.75]))
    return np.stack([((x - centre) ** 2).sum(1) for centre in centres], axis=1)


def at(runs):
    """What a run has reached: the first objective falls with its length, not alike for all."""
    values = bowls([run.architecture for run in runs])
    share = np.array([run.fidelity / 9 for run in runs])
    slow = np.array([1 + 0.3 * (run.architecture["a"] - 1.5) for run in runs])
    values[:, 0] += 0.07 * slow * (1 / share - 1)
    return values


def search_for(cost, **arguments):
    search, asked = FidelitySearch(SPACE, FIDELITIES, **arguments), []
    while search.cost < cost:
        runs = search.ask()
        search.tell(runs, at(runs))
        asked += runs
    return search, asked


def share(values):
    everything = bowls(SPACE.enumerate())
    front = everything[nondominated(everything)]
    low, unit, reference = front.min(0), np.ptp(front, axis=0), np.full(2, 1.1)
    return hypervolume((values - low) / unit, reference) / hypervolume(
        (front - low) / unit, reference
    )


def test_the_promising_are_continued_and_the_others_left(quick):
    """At the cost of four full runs. The front is that of the full runs alone; what is run
    in full is better than what was left, in the sum of both."""
    search, asked = search_for(36, seed=0)
    assert len(asked) == len(set(asked))
    started = {run.architecture for run in asked}
    ended = {run.architecture for run in asked if run.fidelity == 9}
    assert 2 <= len(ended) < len(started)
    for architecture in started:  # one stop after the other
        own = [run.fidelity for run in asked if run.architecture == architecture]
        assert own == list(FIDELITIES[: len(own)])
    left = list(started - ended)
    assert bowls(list(ended)).sum(1).mean() < bowls(left).sum(1).mean()
    assert {a for a, _ in search.pareto_front()} <= ended


@pytest.mark.slow
def test_it_pays_to_stop_early():
    """At the cost of ten full runs, three seeds: more than nineteen of twenty draws of ten
    random members run in full."""
    members = [SPACE.sample_distinct(10, np.random.default_rng(seed)) for seed in range(99)]
    by_chance = [share(bowls(some)) for some in members]
    found = []
    for seed in range(3):
        search, _ = search_for(90, seed=seed)
        found.append(share(np.array([values for _, values in search.pareto_front()])))
    assert np.mean(found) > np.percentile(by_chance, 95)


def test_what_is_asked_is_a_function_of_the_history(quick):
    search, asked = search_for(16, seed=1)
    again = FidelitySearch(SPACE, FIDELITIES, seed=1)
    again.tell(asked[::-1], at(asked[::-1]))
    assert again.ask(2) == search.ask(2)
    assert again.cost == search.cost


def test_several_run_at_once_and_no_architecture_twice(quick):
    search, _ = search_for(12, seed=0)
    running = search.ask(3)
    assert len({run.architecture for run in running}) == 3
    more = search.ask(2, pending=running)
    assert not {run.architecture for run in more} & {run.architecture for run in running}


def test_failures_are_not_continued(quick):
    search = FidelitySearch(SPACE, FIDELITIES, seed=0)
    failed = set()
    for step in range(9):
        (run,) = search.ask()
        assert run.architecture not in failed
        values = at([run])
        if step < 3 or step % 3 == 0:
            values[:] = np.nan
            failed.add(run.architecture)
        search.tell([run], values)
    assert not failed & {a for a, _ in search.pareto_front()}


def test_a_small_space_is_run_to_its_end():
    space = SearchSpace({"a": [1, 2, 3]})
    search, asked = FidelitySearch(space, [1, 2], seed=0), []
    for _ in range(6):
        runs = search.ask()
        search.tell(runs, [[run.architecture["a"], -run.fidelity] for run in runs])
        asked += runs
    assert len(set(asked)) == 6
    assert search.cost == 6.0
    with pytest.raises(SearchError, match="nothing is left to run"):
        search.ask()


def test_what_is_running_must_end_first():
    search = FidelitySearch(SearchSpace({"a": [1, 2]}), [1, 2], seed=0)
    running = search.ask(2)
    with pytest.raises(SearchError, match="is running: tell what it reached first"):
        search.ask(1, pending=running)
    search.tell(running, [[1.0, 2.0], [2.0, 1.0]])
    # those that were told meanwhile are running no longer
    assert len(search.ask(2, pending=running)) == 2


def test_a_known_objective_and_features(quick):
    search, asked = search_for(
        10,
        seed=0,
        features=lambda architectures: bowls(architectures)[:, 1:],
        known={1: lambda architectures: (bowls(architectures)[:, 1], np.zeros(len(architectures)))},
    )
    assert search.cost >= 10 and len(set(asked)) == len(asked)


MEMBER = Architecture(a=1, b=1, c=1, d=1)


@pytest.mark.parametrize(
    ("runs", "values", "message"),
    [
        ([Run(MEMBER, 2)], [[1.0, 2.0]], "fidelities are [1.0, 3.0, 9.0]; got 2"),
        ([Run(Architecture(a=9), 1)], [[1.0, 2.0]], "outside the space"),
        ([Run(MEMBER, 1)], [[1.0]], "must have shape (1, 2); got (1, 1)"),
        ([Run(MEMBER, 1)], [[np.inf, 1.0]], "must be finite, or NaN for a failure"),
        ([Run(MEMBER, 1)] * 2, [[1.0, 2.0]] * 2, "told twice"),
        ([MEMBER], [[1.0, 2.0]], "expected a Run, as asked for"),
        (None, [[1.0, 2.0]], "runs must be a list; got None"),
    ],
)
def test_what_cannot_be_used_is_refused(runs, values, message):
    search = FidelitySearch(SPACE, FIDELITIES)
    with pytest.raises(SearchError) as error:
        search.tell(runs, values)
    assert message in str(error.value)
    search.tell([Run(MEMBER, 1)], [[1.0, 2.0]])
    with pytest.raises(SearchError, match="told twice"):
        search.tell([Run(MEMBER, 1)], [[1.0, 2.0]])


def test_limits_hold_for_what_is_run_to_the_end(quick):
    def wide(architectures):
        return np.array([float(a["a"] + a["b"]) for a in architectures])

    search, asked = search_for(
        30, seed=0, quantities={"wide": wide}, constraints={"wide": 2, 1: 1.0}
    )
    ended = [run.architecture for run in asked if run.fidelity == 9]
    assert ended and (wide([run.architecture for run in asked]) <= 2).mean() > 0.8
    assert (wide(ended) <= 2).all()
    for architecture, values in search.pareto_front():
        assert wide([architecture])[0] <= 2 and values[1] <= 1
    strict, _ = search_for(30, seed=0, constraints={1: -1.0})
    assert strict.pareto_front() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fidelities": "14"}, "fidelities must be positive numbers; got '14'"),
        ({"fidelities": [1], "seed": 2**32}, "seed must be at most"),
        ({"fidelities": [1], "constraints": {"size": 1}}, "which is no quantity; there are none"),
        ({"fidelities": [1], "quantities": {"size": 1}}, "must be a function of architectures"),
        ({"fidelities": []}, "fidelities must be positive numbers"),
        ({"fidelities": [0, 1]}, "fidelities must be positive numbers"),
        ({"fidelities": [1, np.nan]}, "fidelities must be positive numbers"),
        ({"fidelities": ["long"]}, "fidelities must be positive numbers"),
        ({"fidelities": [3, 1]}, "fidelities must ascend"),
        ({"fidelities": [1], "seed": 0.5}, "seed must be a whole number; got 0.5"),
        ({"fidelities": [1, 1]}, "fidelities must ascend"),
        ({"fidelities": [1], "n_initial": 1}, "n_initial must be at least 2"),
        ({"fidelities": [1], "features": 3}, "features must be a function of architectures"),
        ({"fidelities": [1], "known": {0: 3}}, "known[0] must be a function of architectures"),
        ({"fidelities": [1], "known": {2: None}}, "known objectives [2] are not columns 0..1"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(SearchError) as error:
        FidelitySearch(SPACE, **arguments)
    assert message in str(error.value)


def test_asking_for_nothing():
    with pytest.raises(SearchError, match="n must be at least 1"):
        FidelitySearch(SPACE, FIDELITIES).ask(0)
