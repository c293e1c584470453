"""From beliefs to proposals: where to look, the climb to the best, and batches.

NSGA-II evolves the predicted front. It, neighbours of the front found, level and
random members are scored (``scorer.py``), and the best of them are the start of a
climb. Each further proposal of a batch is made as if those before it were pending.

Objectives are scaled to the span of the front found and the front predicted; the
reference lies a tenth beyond.

Axes: n = told, p = pending, k = new, m = objectives, s = draws.
"""

from collections.abc import Callable, Sequence

import numpy as np

from autodistill.search.acquisition import nondominated
from autodistill.search.ascent import ascend, spread
from autodistill.search.described import Described, Describer
from autodistill.search.evolution import evolve
from autodistill.search.scorer import Beliefs, Scorer
from autodistill.space import Architecture, SearchSpace

POPULATION, GENERATIONS = 40, 10  # of the evolution on predicted means
SCORE_ALL = 6000  # a space up to this size is scored as a whole
RANDOM, LEVEL = 150, 250  # random members, and level ones, that the climb starts among
MOST_PARENTS, NEIGHBOURS = 12, 20  # members of the front, and of each its neighbours, at most
ROUNDS, OFFSPRING = 8, 100
ROUNDS_AGAIN = 2  # for each further proposal of a batch
MOST_IMAGINED = 24  # proposals of one batch that are filled in for the next ones

Excess = Callable[[Sequence[Architecture]], np.ndarray]


def propose(
    beliefs: Beliefs,
    count: int,
    *,
    space: SearchSpace,
    describe: Describer,
    excess: Excess,
    pending: Sequence[Architecture],
    taken: set[Architecture],
    rng: np.random.Generator,
) -> list[Architecture]:
    """The architectures to evaluate next, each given those before it.

    Args:
        beliefs: About the objectives.
        count: How many.
        space: Where to look.
        describe: What the models see.
        excess: By how much each misses limits of the caller's; at most 0 is within.
        pending: Being evaluated: filled in.
        taken: Not to be proposed.
        rng: Of draws and of the search.
    """
    pool, predicted = _candidates(
        beliefs, space=space, describe=describe, excess=excess, taken=taken, count=count, rng=rng
    )
    low, unit = span(beliefs, predicted)
    over = excess(pool.architectures)
    if (over <= 0).sum() >= count:
        pool = pool.take(np.flatnonzero(over <= 0))
    else:  # too few are within: the least over are next
        order = np.argsort(over, kind="stable")[:count]
        return [pool.architectures[i] for i in order]
    exhaustive = len(pool) + len(taken) >= space.size
    chosen: list[Architecture] = []
    waiting = describe(list(pending)) if pending else pool.take([])
    scores: dict[Architecture, float] = {}
    draws_seed = int(rng.integers(2**31))
    while len(chosen) < count:
        scorer = Scorer.of(beliefs, waiting, low, unit, draws=np.random.default_rng(draws_seed))

        def score(architectures: list[Architecture], scorer: Scorer = scorer) -> np.ndarray:
            found = scorer(describe(architectures))
            return np.where(excess(architectures) <= 0, found, -np.inf)

        scores = dict(zip(pool.architectures, scorer(pool).tolist(), strict=True))
        if not exhaustive:
            scores = ascend(
                space,
                score,
                scores,
                groups=describe.groups,
                exclude=taken | set(chosen),
                rounds=ROUNDS_AGAIN if chosen else ROUNDS,
                offspring=OFFSPRING,
                rng=rng,
            )
        ranked = sorted(scores, key=scores.__getitem__, reverse=True)
        left = count - len(chosen)
        take = 1 if len(chosen) < MOST_IMAGINED else left
        chosen += ranked[:take]
        kept = ranked[take:][: max(SCORE_ALL, left)]
        kept = [a for a in kept if scores[a] > -np.inf] or kept
        pool = describe(kept)
        waiting = waiting.and_then(describe(ranked[:take]))
    return chosen


def span(beliefs: Beliefs, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origin and unit of each objective, (m,) each.

    From the best value to the worst of the front found and the front predicted, so
    that ends of the front that are still to be found lie below the reference.
    """
    values = beliefs.values[beliefs.feasible] if beliefs.feasible.any() else beliefs.values
    front = values[nondominated(values)]
    both = np.vstack([front, predicted])
    both = both[nondominated(both)]
    if not len(both):  # nothing was told in full, nothing is likely to be within the limits
        return np.zeros(both.shape[1]), np.ones(both.shape[1])
    low, high = both.min(0), both.max(0)
    if len(front):
        low, high = np.minimum(front.min(0), low), np.maximum(front.max(0), high)
    if len(front) == 1:  # a point spans nothing
        high = np.maximum(high, values.max(0))
    return low, np.where(high > low, high - low, 1.0)


def _candidates(
    beliefs: Beliefs,
    *,
    space: SearchSpace,
    describe: Describer,
    excess: Excess,
    taken: set[Architecture],
    count: int,
    rng: np.random.Generator,
) -> tuple[Described, np.ndarray]:
    """A pool to climb from, and the front predicted in it, (f, m)."""
    if space.size <= max(SCORE_ALL, 2 * (len(taken) + count)):
        pool = describe([a for a in space.enumerate() if a not in taken])
    else:
        pool = describe(_varied(beliefs, space, describe, excess, taken, count, rng))
    mean, std = beliefs.predict(pool)
    usable = (excess(pool.architectures) <= 0) & (
        beliefs.constraints.log_probability(pool, mean, std) > np.log(0.5)
    )
    likely = mean[usable]
    return pool, likely[nondominated(likely)].reshape(-1, mean.shape[1])


def _varied(
    beliefs: Beliefs,
    space: SearchSpace,
    describe: Describer,
    excess: Excess,
    taken: set[Architecture],
    count: int,
    rng: np.random.Generator,
) -> list[Architecture]:
    front = np.flatnonzero(beliefs.feasible)
    front = front[nondominated(beliefs.values[front])]
    parents = [beliefs.told.architectures[i] for i in front]

    def over(architectures: Sequence[Architecture]) -> np.ndarray:
        new = describe(architectures)
        unlikely = -beliefs.constraints.log_probability(new, *beliefs.predict(new))
        return np.maximum(excess(architectures), unlikely - np.log(2))

    found = evolve(
        space,
        lambda architectures: beliefs.predict(describe(architectures))[0],
        excess=over if beliefs.constraints else excess,
        objectives=len(beliefs.models),
        start=parents,
        population=POPULATION,
        generations=GENERATIONS,
        seed=int(rng.integers(2**31)),
    )
    for parent in (parents[i] for i in rng.permutation(len(parents))[:MOST_PARENTS]):
        near = space.neighbours(parent)
        found += [near[i] for i in rng.permutation(len(near))[:NEIGHBOURS]]
    found += spread(space, LEVEL, groups=describe.groups, rng=rng)
    found = [a for a in dict.fromkeys(found) if a not in taken]
    return found + space.sample_distinct(max(RANDOM, count), rng, exclude=[*taken, *found])
