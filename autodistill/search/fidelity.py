"""Short runs before long ones: which to start, which to continue, which to leave.

A run of an architecture may be stopped at any of a few fidelities (steps, say) and
continued from there. One model of each objective sees architecture and fidelity
together, so that a short run says something of a long one. What counts is the
expected hypervolume improvement at the highest fidelity, given all runs so far. It
is divided by the cost that is still to be paid to get there: nearly all of it for
an architecture that was never run, less for one that was. The largest share is run
next, one fidelity further. A run that disappoints is passed over for as long as
others promise more; over several objectives, as the improvement is.

With one fidelity this is ``BayesianSearch``; with one objective and stops at fixed
shares it is close to successive halving [Jamieson2016], but what is continued is
decided by a model [Swersky2014], at any time and with any number running.

Axes: n = runs told, m = objectives.

References:
    [Jamieson2016] Jamieson, Talwalkar. Non-stochastic best arm identification and
    hyperparameter optimization. https://arxiv.org/abs/1502.07943
    [Swersky2014] Swersky, Snoek, Adams. Freeze-thaw Bayesian optimization.
    https://arxiv.org/abs/1406.3896
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autodistill.errors import SearchError
from autodistill.search.acquisition import nondominated
from autodistill.search.arguments import (
    MAX_SEED,
    check_function,
    check_functions,
    check_known,
    check_mapping,
    check_space,
    check_whole,
    listed,
)
from autodistill.search.ascent import spread
from autodistill.search.described import Described, Describer, Features
from autodistill.search.feasibility import Constraints, Quantity, SuccessModel
from autodistill.search.fidelity_model import AtFullFidelity
from autodistill.search.initial import fill
from autodistill.search.models import Known, KnownObjective, Model
from autodistill.search.observations import members, numbers
from autodistill.search.proposal import propose, span
from autodistill.search.scorer import Beliefs, Scorer
from autodistill.space import Architecture, SearchSpace

FILL_POOL = 500


@dataclass(frozen=True)
class Run:
    """One architecture, trained up to one fidelity."""

    architecture: Architecture
    fidelity: float


class FidelitySearch:
    """Ask and tell over architectures and fidelities.

    Args:
        space: What may be proposed.
        fidelities: What a run may cost in all, ascending; the last is what counts.
        n_objectives: Columns of the values told; all are minimised.
        seed: Fixes the proposals, given the history.
        features: As of ``BayesianSearch``.
        known: As of ``BayesianSearch``; such objectives do not depend on fidelity.
        quantities: As of ``BayesianSearch``.
        constraints: As of ``BayesianSearch``; on objectives, of what the highest
            fidelity reaches.
        n_initial: Architectures that are started to fill the space.

    Raises:
        SearchError: An argument is out of range.

    Example:
        >>> space = SearchSpace({"width": [1, 2, 3, 4], "depth": [1, 2, 3]})
        >>> search = FidelitySearch(space, [1, 4], seed=0)
        >>> runs = search.ask(2)
        >>> [run.fidelity for run in runs]
        [1.0, 1.0]
        >>> search.tell(runs, [[1.0, 2.0], [2.0, 1.0]])
        >>> search.pareto_front()  # no run has reached the highest fidelity
        []
    """

    def __init__(
        self,
        space: SearchSpace,
        fidelities: Sequence[float],
        n_objectives: int = 2,
        seed: int = 0,
        features: Features | None = None,
        *,
        known: Mapping[int, Known] | None = None,
        quantities: Mapping[str, Quantity] | None = None,
        constraints: Mapping[int | str, float] | None = None,
        n_initial: int = 4,
    ) -> None:
        try:
            levels = [float(level) for level in listed("fidelities", fidelities)]
        except (TypeError, ValueError):
            levels = []
        if not levels or not all(np.isfinite(levels)) or levels[0] <= 0:
            raise SearchError(f"fidelities must be positive numbers; got {fidelities!r}")
        if sorted(set(levels)) != levels:
            raise SearchError(f"fidelities must ascend; got {list(fidelities)}")
        check_space(space)
        check_whole("n_objectives", n_objectives, least=1)
        check_whole("seed", seed, least=0, most=MAX_SEED)
        check_whole("n_initial", n_initial, least=2)
        check_function("features", features)
        check_known(known, n_objectives)
        check_functions("quantities", quantities)
        check_mapping("constraints", constraints)
        self.space, self.fidelities, self.n_objectives = space, tuple(levels), n_objectives
        self.seed, self.n_initial = seed, n_initial
        self.known = {column: KnownObjective(of, column) for column, of in (known or {}).items()}
        self.constraints = Constraints.of(constraints or {}, quantities or {}, n_objectives)
        self._describe = Describer(space, features)
        self._told: dict[Run, np.ndarray] = {}

    def tell(self, runs: Sequence[Run], values: Sequence[Sequence[float]] | np.ndarray) -> None:
        """Add runs with what they reached, in any order; all of them, or on an error none.

        Args:
            runs: As they were asked for.
            values: (n, m); a row with NaN is a failure: it is not continued.

        Raises:
            SearchError: Wrong shape, an infinite value, an unknown fidelity, an
                architecture outside the space, or a run that was told before.
        """
        given = self._checked(runs)
        rows = numbers(values, (len(given), self.n_objectives))
        new = dict(zip(given, rows, strict=True))
        if len(new) < len(given) or (again := [run for run in new if run in self._told]):
            twice = again[0] if len(new) == len(given) else Counter(given).most_common(1)[0][0]
            raise SearchError(f"told twice: {twice}")
        self._told.update(new)

    def ask(self, n: int = 1, pending: Sequence[Run] = ()) -> list[Run]:
        """What to run next: new architectures, and some that go on.

        Args:
            n: How many; fewer come only when nearly all is run.
            pending: Running now: not asked for again, nor gone on with until told.

        Raises:
            SearchError: ``n`` is no positive whole number, a pending run is none of this
                search, or nothing is left to run.
        """
        check_whole("n", n, least=1)
        waiting = [run for run in dict.fromkeys(self._checked(pending)) if run not in self._told]
        asked: list[Run] = []
        while len(asked) < n:
            run = self._next([*waiting, *asked])
            if run is None:
                break
            asked.append(run)
        if not asked:
            left = "is running: tell what it reached first" if waiting else "has run, or has failed"
            raise SearchError(f"nothing is left to run: all of the space {left}")
        return asked

    def pareto_front(self) -> list[tuple[Architecture, np.ndarray]]:
        """Architectures run to the highest fidelity, within the limits, not dominated."""
        runs = [run for run in self._complete() if run.fidelity == self.fidelities[-1]]
        values = np.array([self._told[run] for run in runs]).reshape(-1, self.n_objectives)
        architectures = [run.architecture for run in runs]
        within = np.flatnonzero(self.constraints.violation(architectures, values) <= 0)
        best = within[nondominated(values[within])]
        return [(architectures[i], values[i].copy()) for i in best]

    @property
    def cost(self) -> float:
        """What all runs told have cost: each architecture its highest fidelity."""
        return float(sum(max(of) for of in self._reached(self._told).values()))

    def _next(self, busy: list[Run]) -> Run | None:
        self._describe.forget()
        for known in self.known.values():
            known.forget()
        started = self._reached([*self._told, *busy])
        rng = np.random.default_rng([self.seed, len(self._told) + len(busy)])
        everywhere = len(started) >= self.space.size
        if len(started) < self.n_initial and not everywhere:
            return Run(self._far(list(started), rng), self.fidelities[0])
        complete = self._complete()
        if len({run.architecture for run in complete}) < 2:
            if everywhere:
                return self._any_promotion(busy)
            return Run(self._far(list(started), rng), self.fidelities[0])
        beliefs = self._beliefs(complete)
        running = {run.architecture for run in busy}
        last = self.fidelities[-1]
        # running now: filled in as if they went on to the end
        pending = self._describe(sorted(running, key=lambda a: a.id))
        options: list[tuple[Architecture, float]] = [  # with what was paid for each
            (architecture, max(of))
            for architecture, of in self._reached(complete).items()
            if max(of) < last and architecture not in running | self._failed()
        ]
        if not everywhere:
            fresh = propose(
                beliefs, 1, space=self.space, describe=self._describe,
                excess=lambda architectures: np.zeros(len(architectures)),
                pending=pending.architectures, taken=set(started), rng=rng,
            )  # fmt: skip
            options.append((fresh[0], 0.0))
        if not options:
            return None
        described = self._describe([architecture for architecture, _ in options])
        mean, _ = beliefs.predict(described)
        low, unit = span(beliefs, mean)
        scorer = Scorer.of(beliefs, pending, low, unit, draws=rng)
        paid = np.array([paid for _, paid in options])
        best = int(np.argmax(scorer(described) - np.log(last - paid)))
        further = next(level for level in self.fidelities if level > paid[best])
        return Run(options[best][0], further)

    def _any_promotion(self, busy: Sequence[Run]) -> Run | None:
        """The next stop of the first run that can go on."""
        running = {run.architecture for run in busy} | self._failed()
        for architecture, of in self._reached(self._complete()).items():
            if architecture not in running and max(of) < self.fidelities[-1]:
                return Run(architecture, next(f for f in self.fidelities if f > max(of)))
        return None

    def _beliefs(self, complete: list[Run]) -> Beliefs:
        last = self.fidelities[-1]
        described = self._describe([run.architecture for run in complete])
        values = np.array([self._told[run] for run in complete])
        share = np.log([run.fidelity / last for run in complete])
        full = np.flatnonzero(share == 0)

        def model(column: int) -> Model:
            if column in self.known:
                return self.known[column]
            return AtFullFidelity.fit(described, share, values[:, column], full, seed=self.seed)

        failed = self._describe(sorted(self._failed(), key=lambda a: a.id))
        lasting = [a for a in self._reached(complete) if a not in self._failed()]
        succeeded = self._describe(lasting)
        finished = described.take(full)
        return Beliefs(
            [model(column) for column in range(self.n_objectives)],
            finished,
            values[full],
            np.zeros((len(full), self.n_objectives)),
            self.constraints.violation(finished.architectures, values[full]) <= 0,
            np.ones(len(full), bool),
            SuccessModel(succeeded, failed, seed=self.seed),
            self.constraints,
        )

    def _far(self, taken: list[Architecture], rng: np.random.Generator) -> Architecture:
        level = spread(self.space, FILL_POOL, groups=self._describe.groups, rng=rng)
        held = set(taken)
        pool = [a for a in level if a not in held]
        pool += self.space.sample_distinct(FILL_POOL, rng, exclude=[*taken, *pool])
        described = self._describe(pool)
        likely = self._log_chance(described) > np.log(0.5)
        if likely.any():
            described = described.take(np.flatnonzero(likely))
        centres = self._describe(sorted(taken, key=lambda a: a.id))
        none = np.empty((len(described), 0)), np.empty((len(taken), 0))
        return described.architectures[fill(1, described, centres, known=none)[0]]

    def _log_chance(self, described: Described) -> np.ndarray:  # (n,)
        """Of being within the limits, by what is known before any run."""
        mean = np.full((len(described), self.n_objectives), -np.inf)
        std = np.zeros_like(mean)
        for column, objective in self.known.items():
            mean[:, column], std[:, column] = objective(described.architectures)
        return self.constraints.log_probability(described, mean, std)

    def _complete(self) -> list[Run]:
        """Runs with values, in an order that does not depend on when they were told."""
        runs = [run for run, row in self._told.items() if np.isfinite(row).all()]
        return sorted(runs, key=lambda run: (run.architecture.id, run.fidelity))

    def _failed(self) -> set[Architecture]:
        return {run.architecture for run, row in self._told.items() if np.isnan(row).any()}

    def _checked(self, runs: Sequence[Run]) -> list[Run]:
        runs = listed("runs", runs)
        if strangers := [run for run in runs if not isinstance(run, Run)]:
            raise SearchError(f"expected a Run, as asked for; got {strangers[0]!r}")
        architectures = members(self.space, [run.architecture for run in runs])
        if wrong := [run.fidelity for run in runs if run.fidelity not in self.fidelities]:
            raise SearchError(f"fidelities are {list(self.fidelities)}; got {wrong[0]}")
        return [Run(a, float(run.fidelity)) for a, run in zip(architectures, runs, strict=True)]

    @staticmethod
    def _reached(runs: Sequence[Run] | Mapping[Run, np.ndarray]) -> dict[Architecture, list[float]]:
        found: dict[Architecture, list[float]] = {}
        for run in runs:
            found.setdefault(run.architecture, []).append(run.fidelity)
        return found
