"""Ask and tell: which architectures to evaluate next.

A proposal is a function of (space, history, seed) alone: nothing is remembered
but what was told, so that a search resumes by telling its history again.

The first proposals fill the space. Then each objective gets a surrogate, the
better of a Gaussian process and boosted trees by cross-validation, unless it is
already known. NSGA-II looks for architectures with good predictions; of these,
of the neighbours of the front so far and of random ones, the largest expected
hypervolume improvement wins. Further proposals of one ask take the earlier ones
as evaluated at their predicted means.

Axes: n = architectures, m = objectives, d = encoded columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autodistill.errors import SearchError
from autodistill.search.acquisition import expected_improvement, nondominated
from autodistill.search.evolution import evolve
from autodistill.space import Architecture, SearchSpace, Value
from predictors import CrossValidation, GPPredictor, XGBPredictor, select

Features = Callable[[Sequence[Architecture]], np.ndarray]
Prediction = tuple[np.ndarray, np.ndarray]
Known = Callable[[Sequence[Architecture]], Prediction]

POPULATION, GENERATIONS = 64, 25
RANDOM = 512  # random architectures that each proposal is chosen among, too
DRAWS = 256
MIN_ROWS_FOR_CHOICE = 6  # below, cross-validation tells nothing: the process serves
# On 8 to 60 rows as accurate as the default trees, in a quarter of the time: a proposal
# cross-validates them anew.
TREES = XGBPredictor(n_trees=60, learning_rate=0.2, n_repeats=2)


@dataclass(frozen=True)
class Surrogate:
    """The model of one objective, and how well its rivals did."""

    predictor: object
    name: str
    scores: Mapping[str, CrossValidation]


class BayesianSearch:
    """Multi-objective Bayesian optimisation over a discrete space.

    Args:
        space: What may be proposed.
        n_objectives: Columns of the values told; all are minimised.
        seed: Fixes the proposals, given the history.
        features: Domain knowledge, ``architectures -> (n, d)`` floats, joined
            to the encoded choices for the surrogates.
        known: Objectives that need no surrogate: column -> ``architectures ->
            (mean, standard deviation)``, each (n,).
        excess: Hard limits: by how much each architecture misses them, (n,); at
            most 0 is within. While nothing within is found, the least excess
            is proposed.
        n_initial: Evaluations, failures not counted, before surrogates are used;
            until then proposals fill the space. At least 2.

    Raises:
        SearchError: An argument is out of range.

    Example:
        >>> space = SearchSpace({"width": [1, 2, 3, 4], "depth": [1, 2, 3]})
        >>> search = BayesianSearch(space, seed=0)
        >>> first = search.ask(2)
        >>> search.tell(first, [[1.0, 2.0], [2.0, 1.0]])
        >>> len(set(first + search.ask(2))), len(search.pareto_front())
        (4, 2)
    """

    def __init__(
        self,
        space: SearchSpace,
        n_objectives: int = 2,
        seed: int = 0,
        features: Features | None = None,
        *,
        known: Mapping[int, Known] | None = None,
        excess: Callable[[Sequence[Architecture]], np.ndarray] | None = None,
        n_initial: int = 4,
    ) -> None:
        for what, value, least in (
            ("n_objectives", n_objectives, 1), ("seed", seed, 0), ("n_initial", n_initial, 2)
        ):  # fmt: skip
            if value < least:
                raise SearchError(f"{what} must be at least {least}; got {value}")
        self.space, self.n_objectives, self.seed = space, n_objectives, seed
        self.features, self.known = features, dict(known or {})
        self.excess, self.n_initial = excess, n_initial
        if wrong := [column for column in self.known if not 0 <= column < n_objectives]:
            raise SearchError(f"known objectives {wrong} are not columns 0..{n_objectives - 1}")
        self._architectures: list[Architecture] = []
        self._values: list[np.ndarray] = []

    @property
    def is_exhausted(self) -> bool:
        """Whether every architecture of the space has been told."""
        return len(set(self._architectures)) >= self.space.size

    def tell(
        self, architectures: Sequence[Architecture], values: Sequence[Sequence[float]] | np.ndarray
    ) -> None:
        """Add evaluations, in any order; all of them, or on an error none.

        Args:
            architectures: Members of the space.
            values: (n, m); a row with NaN is a failure: kept, never proposed again.

        Raises:
            SearchError: Wrong shape, an infinite value, or an architecture that
                the space does not hold or that was told before.
        """
        shape = (len(architectures), self.n_objectives)
        try:
            rows = np.array(values, np.float64)  # a copy: the caller may change theirs
        except (TypeError, ValueError) as error:
            raise SearchError(f"values must be numbers of shape {shape}; {error}") from error
        if rows.shape != shape and not (rows.size == shape[0] == 0):
            raise SearchError(f"values must have shape {shape}; got {rows.shape}")
        if np.isinf(rows).any():
            raise SearchError("values must be finite, or NaN for a failure; got an infinite one")
        members = self._members(architectures)
        seen = set(self._architectures)
        for member in members:
            if member in seen:
                raise SearchError(f"told twice: {member}; each is evaluated once")
            seen.add(member)
        self._architectures += members
        self._values += list(rows)

    def ask(self, n: int = 1, pending: Sequence[Architecture] = ()) -> list[Architecture]:
        """Propose architectures that were never told, all different.

        Args:
            n: How many; fewer come only when the space is nearly exhausted.
            pending: Proposed earlier and not yet told; not proposed again.

        Raises:
            SearchError: ``n`` is not positive, a pending architecture is not of
                the space, or nothing is left to propose.
        """
        if n < 1:
            raise SearchError(f"n must be at least 1; got {n}")
        taken = [*self._architectures, *self._members(pending)]
        if len(set(taken)) >= self.space.size:
            raise SearchError(f"the space is exhausted: all {self.space.size} have been proposed")
        step = len(taken)
        rng = np.random.default_rng([self.seed, step])
        evaluated, values = self._evaluated()
        if len(evaluated) < self.n_initial:
            return self._fill(n, taken, rng)
        return self._improve(n, taken, evaluated, values, rng)

    def pareto_front(self) -> list[tuple[Architecture, np.ndarray]]:
        """Evaluated architectures that no other dominates, failures left out."""
        evaluated, values = self._evaluated()
        return [(evaluated[i], values[i]) for i in nondominated(values)]

    def surrogates(self) -> dict[int, Surrogate]:
        """The models of the objectives that are not known, fitted on the history."""
        evaluated, values = self._evaluated()
        x = self._describe(evaluated)
        return {
            column: fit_surrogate(x, values[:, column], seed=self.seed)
            for column in range(self.n_objectives)
            if column not in self.known
        }

    def _members(self, architectures: Sequence[Mapping[str, Value]]) -> list[Architecture]:
        for architecture in architectures:
            if why := self.space.why_invalid(architecture):
                raise SearchError(f"got an architecture outside the space: {why}")
        return [Architecture(architecture) for architecture in architectures]

    def _evaluated(self) -> tuple[list[Architecture], np.ndarray]:
        """What was told, failures left out: n architectures, (n, m) values."""
        complete = [i for i, row in enumerate(self._values) if np.isfinite(row).all()]
        values = np.array([self._values[i] for i in complete]).reshape(-1, self.n_objectives)
        return [self._architectures[i] for i in complete], values

    def _describe(self, architectures: Sequence[Architecture]) -> np.ndarray:
        encoded = self.space.encode(architectures)
        if self.features is None:
            return encoded
        knowledge = np.asarray(self.features(architectures), np.float64)
        if knowledge.ndim != 2 or len(knowledge) != len(encoded):
            raise SearchError(
                f"features must return ({len(encoded)}, d) floats; got {knowledge.shape}"
            )
        if not np.isfinite(knowledge).all():
            raise SearchError("features must return finite floats; got NaN or an infinite one")
        return np.hstack([encoded, knowledge])

    def _over(self, architectures: Sequence[Architecture]) -> np.ndarray:
        if self.excess is None:
            return np.zeros(len(architectures))
        over = np.asarray(self.excess(architectures), np.float64)
        if over.shape != (len(architectures),):
            raise SearchError(f"excess must return ({len(architectures)},); got {over.shape}")
        return over

    def _fill(
        self, n: int, taken: Sequence[Architecture], rng: np.random.Generator
    ) -> list[Architecture]:
        """Far from all that is taken, within the limits if any drawn one is."""
        pool = self.space.sample_distinct(max(n, 1000), rng, exclude=taken)
        over = self._over(pool)
        within = np.flatnonzero(over <= 0)
        if len(within) < n:
            within = np.argsort(over, kind="stable")[:n]
        pool = [pool[i] for i in within]
        x = self._describe([*pool, *taken])
        x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
        points, centres = x[: len(pool)], list(x[len(pool) :]) or [x.mean(0)]
        distance = np.min([np.linalg.norm(points - c, axis=1) for c in centres], axis=0)
        if not taken:  # begin in the middle of the space, not at its edge
            distance = -distance
        chosen: list[Architecture] = []
        for _ in range(min(n, len(pool))):
            best = int(np.argmax(distance))
            chosen.append(pool[best])
            to_best = np.linalg.norm(points - points[best], axis=1)
            distance = np.minimum(distance, to_best) if len(chosen) > 1 or taken else to_best
            distance[best] = -np.inf
        return chosen

    def _improve(
        self,
        n: int,
        taken: Sequence[Architecture],
        evaluated: Sequence[Architecture],
        values: np.ndarray,
        rng: np.random.Generator,
    ) -> list[Architecture]:
        surrogates = self.surrogates()

        def predict(architectures: Sequence[Architecture]) -> Prediction:
            mean = np.empty((len(architectures), self.n_objectives))
            std = np.empty_like(mean)
            x = self._describe(architectures) if surrogates else None
            for column in range(self.n_objectives):
                if column in self.known:
                    mean[:, column], std[:, column] = self.known[column](architectures)
                else:
                    model = surrogates[column].predictor
                    mean[:, column], std[:, column] = model.predict(x, return_std=True)  # type: ignore[attr-defined]
            return mean, std

        parents = [evaluated[i] for i in nondominated(values)]
        found = evolve(
            self.space,
            lambda architectures: predict(architectures)[0],
            excess=self._over,
            objectives=self.n_objectives,
            start=parents,
            population=POPULATION,
            generations=GENERATIONS,
            seed=int(rng.integers(2**31)),
        )
        found += [near for parent in parents for near in self.space.neighbours(parent)]
        excluded = set(taken)
        pool = [a for a in dict.fromkeys(found) if a not in excluded]
        pool += self.space.sample_distinct(max(n, RANDOM), rng, exclude=[*taken, *pool])
        over = self._over(pool)
        if (over <= 0).sum() >= n:
            pool = [a for a, o in zip(pool, over, strict=True) if o <= 0]
        else:
            pool = [pool[i] for i in np.argsort(over, kind="stable")[:n]]
        return self._best(n, pool, values, *predict(pool), rng=rng)

    def _best(
        self,
        n: int,
        pool: list[Architecture],
        values: np.ndarray,
        mean: np.ndarray,
        std: np.ndarray,
        *,
        rng: np.random.Generator,
    ) -> list[Architecture]:
        """Greedy choice by expected improvement.

        The unit of each objective runs from the best value to halfway between the
        worst of the front and the worst of all: an early front is short, and a
        reference right at its ends would see no gain in lengthening it.
        """
        front = values[nondominated(values)]
        low, high = front.min(0), (front.max(0) + values.max(0)) / 2
        unit = np.where(high > low, high - low, 1.0)
        front, mean, std = (front - low) / unit, (mean - low) / unit, std / unit
        reference = np.full(self.n_objectives, 1.1)
        draws = rng.standard_normal((DRAWS, self.n_objectives))
        chosen: list[int] = []
        for _ in range(min(n, len(pool))):
            gain = expected_improvement(mean, std, front, reference, draws)
            gain[chosen] = -np.inf
            best = int(np.argmax(gain))
            chosen.append(best)
            joined = np.vstack([front, mean[best]])
            front = joined[nondominated(joined)]
        return [pool[i] for i in chosen]


def fit_surrogate(
    x: np.ndarray,  # (n, d)
    y: np.ndarray,  # (n,)
    *,
    seed: int,
    log_target: bool = False,
) -> Surrogate:
    """The better of a Gaussian process and boosted trees on these rows."""
    if len(y) < MIN_ROWS_FOR_CHOICE:
        model = GPPredictor(log_target=log_target, random_state=seed).fit(x, y)
        return Surrogate(model, "gp", {})
    chosen = select(
        x,
        y,
        log_target=log_target,
        random_state=seed,
        candidates={"gp": GPPredictor(), "xgb": TREES},
    )
    return Surrogate(chosen.predictor, chosen.name, chosen.scores)
