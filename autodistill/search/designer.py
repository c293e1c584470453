"""Ask and tell: which architectures to evaluate next.

A proposal is a function of (space, history, seed) alone: nothing is remembered
but what was told, so that a search resumes by telling its history again, in any
order.

The first proposals fill the space (``initial.py``). Then each objective gets a
surrogate, unless it is already known (``surrogates.py``), and what promises the
largest expected hypervolume improvement is proposed (``proposal.py``).

Axes: n = architectures, m = objectives, d = columns.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property

import numpy as np

from autodistill.errors import InfeasibleError, SearchError
from autodistill.search.acquisition import nondominated
from autodistill.search.arguments import (
    MAX_SEED,
    check_function,
    check_functions,
    check_known,
    check_mapping,
    check_space,
    check_whole,
    floats,
    listed,
)
from autodistill.search.ascent import spread
from autodistill.search.described import Described, Describer, Features
from autodistill.search.feasibility import Constraints, Quantity, SuccessModel
from autodistill.search.initial import fill
from autodistill.search.models import Known, KnownObjective, Model, View
from autodistill.search.observations import Observations, Summary, members
from autodistill.search.prior import Study, study_predictions
from autodistill.search.proposal import SCORE_ALL, propose
from autodistill.search.remembered import Remembered
from autodistill.search.scorer import Beliefs
from autodistill.search.surrogates import correct_known, fit_objective
from autodistill.space import Architecture, SearchSpace, Value

FILL_POOL = 1000


class BayesianSearch:
    """Multi-objective Bayesian optimisation over a discrete space.

    Args:
        space: What may be proposed.
        n_objectives: Columns of the values told; all are minimised.
        seed: Fixes the proposals, given the history.
        features: Domain knowledge, ``architectures -> (n, d)`` floats, for the
            surrogates. By default what can be counted of encoders, where the space
            has a family.
        known: Objectives that need no surrogate: column -> ``architectures ->
            (mean, standard deviation)``, each (n,).
        quantities: What is known of architectures and is no objective: name ->
            ``architectures -> (n,)``, or a mean and a standard deviation.
        constraints: Hard limits: an objective's column or a quantity's name -> the
            largest value allowed. While nothing within is known, what is likeliest
            to be within is proposed, or what misses least.
        excess: Hard limits of another form: by how much each architecture misses
            them, (n,); at most 0 is within. While nothing within is found, the
            least excess is proposed.
        prior: Earlier studies, each its architectures and values (n, m), told of the
            same objectives on another target or with another teacher. They serve as
            far as the values told here agree.
        n_initial: Evaluations, failures not counted, before surrogates are used;
            until then proposals fill the space. At least 2.

    Raises:
        SearchError: An argument is out of range, or a constraint is on nothing
            that is known.

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
        quantities: Mapping[str, Quantity] | None = None,
        constraints: Mapping[int | str, float] | None = None,
        excess: Callable[[Sequence[Architecture]], np.ndarray] | None = None,
        prior: Sequence[Study] = (),
        n_initial: int = 4,
    ) -> None:
        check_space(space)
        check_whole("n_objectives", n_objectives, least=1)
        check_whole("seed", seed, least=0, most=MAX_SEED)
        check_whole("n_initial", n_initial, least=2)
        check_function("features", features)
        check_known(known, n_objectives)
        check_functions("quantities", quantities)
        check_mapping("constraints", constraints)
        check_function("excess", excess)
        self.space, self.n_objectives, self.seed = space, n_objectives, seed
        self.known = {column: KnownObjective(of, column) for column, of in (known or {}).items()}
        self.excess, self.n_initial = excess, n_initial
        self._remembered_excess = Remembered(self._checked_excess)
        self.constraints = Constraints.of(constraints or {}, quantities or {}, n_objectives)
        self._observations = Observations(space, n_objectives)
        self._describe = Describer(space, features)
        self._prior = [
            study_predictions(
                study,
                space=space,
                describe=self._describe,
                n_objectives=n_objectives,
                views=views_of,
                seed=seed,
            )
            for study in listed("prior", prior)
        ]

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing is left to propose.

        Every architecture of the space has been told, or all those that are within
        the constraints on quantities, where the space is small enough to try these
        on all of it.
        """
        return len(self._observations) + len(self._unseen_beyond()) >= self.space.size

    def tell(
        self,
        architectures: Sequence[Mapping[str, Value]],
        values: Sequence[Sequence[float]] | np.ndarray,
        *,
        noise_std: Sequence[Sequence[float]] | np.ndarray | float | None = None,
        repeats: bool = False,
    ) -> None:
        """Add evaluations, in any order; all of them, or on an error none.

        An evaluation is taken as exact, unless its noise is declared, or estimated
        from architectures that were told more than once. The value of such an
        architecture is the mean over its repeats.

        Args:
            architectures: Members of the space.
            values: (n, m); a row with NaN is a failure: kept, never proposed again.
            noise_std: Standard errors of the values, of a shape that fits theirs.
            repeats: Whether architectures may have been told before. They may, too,
                where ``noise_std`` is given.

        Raises:
            SearchError: Wrong shape, an infinite value, or an architecture that
                the space does not hold or that was told before.
        """
        self._observations.add(architectures, values, noise_std=noise_std, repeats=repeats)

    def ask(self, n: int = 1, pending: Sequence[Mapping[str, Value]] = ()) -> list[Architecture]:
        """Propose architectures that were never told, all different.

        Args:
            n: How many; fewer come only when the space is nearly exhausted.
            pending: Proposed earlier and not yet told; not proposed again, and
                thought of with the values that they are likely to have.

        Raises:
            SearchError: ``n`` is no positive whole number, a pending architecture is not of
                the space, or nothing is left to propose.
            InfeasibleError: It is certain that no member of the space is within the
                constraints.
        """
        check_whole("n", n, least=1)
        held = set(members(self.space, pending))
        waiting = sorted((a for a in held if a not in self._observations), key=lambda a: a.id)
        taken = [*self._observations.architectures, *waiting]
        if self.is_infeasible:
            raise InfeasibleError(
                f"no architecture of the space {self.space.name!r} is within the constraints "
                f"{self._limits()}; raise them or give a space with other choices"
            )
        beyond = self._unseen_beyond(held)
        left = self.space.size - len(taken) - len(beyond)
        if left <= 0:
            within = " that are within the constraints" if beyond else ""
            raise SearchError(
                f"the space is exhausted: all {self.space.size - len(beyond)}{within} have been "
                "proposed"
            )
        rng = np.random.default_rng([self.seed, len(taken)])
        self._forget()
        summary = self._in_order()
        if len(summary.architectures) < self.n_initial:
            return self._fill(min(n, left), taken, beyond, summary, rng)
        return propose(
            self._beliefs(summary),
            min(n, left),
            space=self.space,
            describe=self._describe,
            excess=self._over,
            pending=waiting,
            taken=set(taken) | beyond,
            rng=rng,
        )

    def pareto_front(self) -> list[tuple[Architecture, np.ndarray]]:
        """Evaluated architectures within all limits that no other dominates."""
        summary = self._observations.summary()
        within = np.flatnonzero(self._feasible(summary))
        best = within[nondominated(summary.values[within])]
        return [(summary.architectures[i], summary.values[i].copy()) for i in best]

    @property
    def is_infeasible(self) -> bool:
        """Whether it is certain that no member of the space is within the constraints.

        That is so where all were told and none is within, and where the space is
        small enough to try the constraints on quantities on all of it.
        """
        if len(self._beyond) == self.space.size:
            return True
        if not self.is_exhausted or (not self.constraints and self.excess is None):
            return False
        return not self._feasible(self._observations.summary()).any()

    def models(self) -> dict[int, Model]:
        """What is believed of each objective, given the history.

        Raises:
            SearchError: Fewer than two evaluations have succeeded.
        """
        if (known := len(self._observations.summary().architectures)) < 2:
            raise SearchError(
                f"objectives are learnt from at least 2 evaluations that succeeded; got {known}"
            )
        self._forget()
        return dict(enumerate(self._beliefs(self._in_order()).models))

    @cached_property
    def _beyond(self) -> set[Architecture]:
        """Members that certainly miss a constraint on a quantity; none of a large space."""
        if not self.constraints.quantities or self.space.size > SCORE_ALL:
            return set()
        everything = self.space.enumerate()
        beyond = np.zeros(len(everything), bool)
        for name, limit in self.constraints.quantities.items():
            mean, std = self.constraints.quantity(name, everything)
            beyond |= (mean > limit) & (std == 0)
        return {everything[i] for i in np.flatnonzero(beyond)}

    def _unseen_beyond(self, pending: Collection[Architecture] = ()) -> set[Architecture]:
        """Those of them that were neither told nor proposed."""
        return {a for a in self._beyond if a not in self._observations and a not in pending}

    def _limits(self) -> str:
        """Of the caller, in words."""
        limits = [f"objective {column} at most {limit:g}" for column, limit in
                  self.constraints.objectives.items()]  # fmt: skip
        limits += [f"{name} at most {limit:g}" for name, limit in
                   self.constraints.quantities.items()]  # fmt: skip
        return ", ".join([*limits, *(["no excess"] if self.excess is not None else [])])

    def _forget(self) -> None:
        """Begin with nothing remembered: see ``Remembered``."""
        self._describe.forget()
        self._remembered_excess.forget()
        for known in self.known.values():
            known.forget()

    def _in_order(self) -> Summary:
        """What was told, in an order that does not depend on when."""
        summary = self._observations.summary()
        rows = self.space.to_indices(summary.architectures)
        order = np.lexsort(rows.T[::-1])
        return Summary(
            [summary.architectures[i] for i in order],
            summary.values[order],
            summary.variances[order],
            sorted(summary.failed, key=lambda a: a.id),
        )

    def _feasible(self, summary: Summary) -> np.ndarray:  # (n,)
        missed = self.constraints.violation(summary.architectures, summary.values)
        return (missed <= 0) & (self._over(summary.architectures) <= 0)

    def _beliefs(self, summary: Summary) -> Beliefs:
        told = self._describe(summary.architectures)

        def model(column: int) -> Model:
            y, variance, views = (
                summary.values[:, column], summary.variances[:, column], views_of(told)
            )  # fmt: skip
            if column in self.known:
                known = self.known[column]
                return correct_known(known, told, y, variance, seed=self.seed, views=views)
            priors = [study[column] for study in self._prior]
            return fit_objective(told, y, variance, seed=self.seed, views=views, priors=priors)

        return Beliefs(
            [model(column) for column in range(self.n_objectives)],
            told,
            summary.values,
            summary.variances,
            self._feasible(summary),
            self._over(summary.architectures) <= 0,
            self._success(told, summary),
            self.constraints,
        )

    def _success(self, told: Described, summary: Summary) -> SuccessModel:
        return SuccessModel(told, self._describe(summary.failed), seed=self.seed)

    def _over(self, architectures: Sequence[Architecture]) -> np.ndarray:  # (n,)
        if self.excess is None or not architectures:
            return np.zeros(len(architectures))
        return self._remembered_excess(architectures)[:, 0]

    def _checked_excess(self, architectures: Sequence[Architecture]) -> np.ndarray:  # (n, 1)
        assert self.excess is not None, "asked only where there is one"
        over = floats("excess", self.excess(architectures))
        if over.shape != (len(architectures),) or np.isnan(over).any():
            what = "NaN among them" if over.shape == (len(architectures),) else over.shape
            raise SearchError(f"excess must return ({len(architectures)},) numbers; got {what}")
        return over[:, None]

    def _fill(
        self,
        n: int,
        taken: Sequence[Architecture],
        beyond: set[Architecture],
        summary: Summary,
        rng: np.random.Generator,
    ) -> list[Architecture]:
        """Far from all that is taken, within the limits if any drawn one is."""
        level = spread(self.space, FILL_POOL // 2, groups=self._describe.groups, rng=rng)
        closed = beyond.union(taken)
        level = [a for a in level if a not in closed]
        closed = closed.union(level)
        drawn = self.space.sample_distinct(max(n, FILL_POOL // 2), rng, exclude=closed)
        pool = self._describe(level + drawn)
        rows = self._hopeful(n, pool, summary)
        pool = pool.take(rows)
        centres = self._describe(sorted(taken, key=lambda a: a.id))
        known = self._known_means(pool), self._known_means(centres)
        return [pool.architectures[i] for i in fill(n, pool, centres, known=known)]

    def _hopeful(self, n: int, pool: Described, summary: Summary) -> np.ndarray:
        """Rows of a pool that are within the limits and not likely to fail, at least n."""
        mean = np.full((len(pool), self.n_objectives), -np.inf)
        std = np.zeros_like(mean)
        for column, objective in self.known.items():
            mean[:, column], std[:, column] = objective(pool.architectures)
        over = np.maximum(self._over(pool.architectures), 0)
        over = over - np.minimum(self.constraints.log_probability(pool, mean, std) + np.log(2), 0)
        within = np.flatnonzero(over <= 0)
        if len(within) < n:
            return np.argsort(over, kind="stable")[:n]
        told = self._describe(summary.architectures)
        success = self._success(told, summary).log_probability(pool.take(within))
        likely = within[success >= min(np.log(0.5), float(np.quantile(success, 0.8)))]
        return likely if len(likely) >= n else within

    def _known_means(self, described: Described) -> np.ndarray:  # (n, known objectives)
        means = [known(described.architectures)[0][:, None] for known in self.known.values()]
        return np.hstack([np.empty((len(described), 0)), *means])


def views_of(told: Described) -> dict[str, View]:
    """Columns that a process may see: what is known of architectures, or everything."""
    if not told.features.shape[1]:
        return {"choices": lambda described: described.choices}
    return {
        "features": lambda described: described.features,
        "everything": lambda described: described.everything,
    }
