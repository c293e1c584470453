"""NSGA-II over the choices of a space, on functions that are cheap to ask.

Axes: n = architectures, m = objectives.

References:
    [Deb2002] Deb et al. A fast and elitist multiobjective genetic algorithm:
    NSGA-II. IEEE TEVC 6(2). pymoo's implementation is used.
"""

from collections.abc import Callable, Sequence

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.core.sampling import Sampling
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.operators.mutation.pm import PolynomialMutation
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.optimize import minimize

from autodistill.space import Architecture, SearchSpace

ATTEMPTS = 10  # at offspring that are new: where few are left, a smaller generation will do

Score = Callable[[Sequence[Architecture]], np.ndarray]


class _Choices(Problem):
    """Positions among each field's choices; what the rules forbid is infeasible."""

    def __init__(self, space: SearchSpace, score: Score, excess: Score, objectives: int) -> None:
        highest = np.array([len(values) - 1 for values in space.choices.values()])
        super().__init__(
            n_var=len(highest), n_obj=objectives, n_ieq_constr=1, xl=0, xu=highest, vtype=int
        )
        self._space, self._score, self._excess = space, score, excess

    def _evaluate(
        self, x: np.ndarray, out: dict[str, np.ndarray], *_: object, **__: object
    ) -> None:
        rows = self._space.conditions.settle(np.round(x).astype(np.int64))
        valid = np.flatnonzero(self._space.are_valid(rows))
        values = np.full((len(rows), self.n_obj), 1e6)
        excess = np.full((len(rows), 1), 1e6)
        if len(valid):
            kept = self._space.from_rows(rows[valid])
            values[valid] = self._score(kept)
            excess[valid, 0] = self._excess(kept)
        out["F"], out["G"] = values, excess


class _Given(Sampling):
    """Start from these architectures."""

    def __init__(self, rows: np.ndarray) -> None:
        super().__init__()
        self._rows = rows

    def _do(self, problem: Problem, n_samples: int, **_: object) -> np.ndarray:
        return self._rows[:n_samples]


def evolve(
    space: SearchSpace,
    score: Score,
    *,
    excess: Score,
    objectives: int,
    start: Sequence[Architecture],
    population: int,
    generations: int,
    seed: int,
) -> list[Architecture]:
    """Distinct architectures of the last population, near the front of ``score``.

    Args:
        space: Where to look.
        score: Objectives to minimise, (n, m).
        excess: By how much each misses the hard limits, (n,); at most 0 is within.
        objectives: Number of columns of ``score``.
        start: First population; filled up at random.
        population: Size of each generation.
        generations: How many.
        seed: Of the evolution.
    """
    rng = np.random.default_rng(seed)
    first = list(dict.fromkeys(start))[:population]
    first += space.sample_distinct(population - len(first), rng, exclude=first)
    rows = space.to_indices(first)
    problem = _Choices(space, score, excess, objectives)
    algorithm = NSGA2(
        pop_size=len(rows),
        sampling=_Given(rows),
        crossover=UniformCrossover(repair=RoundingRepair()),
        mutation=PolynomialMutation(prob=0.9, eta=5, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    algorithm.mating.n_max_iterations = ATTEMPTS
    result = minimize(problem, algorithm, ("n_gen", generations), seed=seed, verbose=False)
    last = space.conditions.settle(np.round(result.pop.get("X")).astype(np.int64))
    return list(dict.fromkeys(space.from_rows(last[space.are_valid(last)])))
