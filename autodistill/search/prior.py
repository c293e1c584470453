"""Earlier studies, on another target or with another teacher, as prior knowledge.

Each study is modelled once; what it predicts of an objective may be taken off that
objective, times a weight that the new study's own values decide, and only where
held-out values are then explained better. So a related study helps from the first
few evaluations on, and an unrelated one is left aside.

Axes: n = architectures of a study, m = objectives.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autodistill.errors import SearchError
from autodistill.search.arguments import listed
from autodistill.search.described import Described, Describer
from autodistill.search.models import Shift, View
from autodistill.search.observations import Observations
from autodistill.search.surrogates import fit_objective
from autodistill.space import SearchSpace, Value

Study = tuple[Sequence[Mapping[str, Value]], Sequence[Sequence[float]] | np.ndarray]
LEAST_ROWS = 3


def study_predictions(
    study: Study,
    *,
    space: SearchSpace,
    describe: Describer,
    n_objectives: int,
    views: Callable[[Described], Mapping[str, View]],
    seed: int,
) -> list[Shift]:  # m
    """For each objective, what a study predicts of an architecture.

    Args:
        study: Architectures of the space and their values, (n, m), NaN where one
            failed.
        space: That of the new search.
        describe: Of the new search.
        n_objectives: m.
        views: Of the new search.
        seed: Of the fits.

    Raises:
        SearchError: The study has another shape, architectures of another space,
            or fewer than three that succeeded.
    """
    told = Observations(space, n_objectives)
    if len(pair := listed("an earlier study", study)) != 2:
        raise SearchError(
            f"an earlier study is its architectures and their values, two items; got {len(pair)}"
        )
    try:
        told.add(*pair, noise_std=None, repeats=True)
    except SearchError as error:
        raise SearchError(f"an earlier study cannot serve as a prior: {error}") from error
    summary = told.summary()
    if len(summary.architectures) < LEAST_ROWS:
        raise SearchError(
            f"an earlier study needs at least {LEAST_ROWS} evaluations that succeeded; "
            f"got {len(summary.architectures)}"
        )
    described = describe(summary.architectures)

    def prediction(column: int) -> Shift:
        y = summary.values[:, column]
        model = fit_objective(
            described, y, summary.variances[:, column], seed=seed, views=views(described)
        )
        given = model.imagine(y, described.take([]), np.zeros((1, len(y))))
        return lambda new: given.predict(new)[0][0]

    return [prediction(column) for column in range(n_objectives)]
