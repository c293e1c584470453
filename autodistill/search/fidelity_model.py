"""A model of one objective over architectures and fidelities together.

A short run says something of a long one: fidelity is one more column, the logarithm
of its share of the highest. The model is asked about the highest alone.

Axes: n = runs told, k = new architectures, p = pending, s = draws, d = columns.
"""

from dataclasses import dataclass

import numpy as np

from autodistill.search.described import Described
from autodistill.search.models import Prediction
from autodistill.search.processes import Imagined, Process
from predictors import GPPredictor


@dataclass(frozen=True)
class AtFullFidelity:
    """A process over architectures and fidelities, asked about the highest alone.

    Attributes:
        process: On the columns and the logarithm of the share of the full fidelity.
        full: Which of its rows are at full fidelity.
    """

    process: Process
    full: np.ndarray
    name: str = "gp on architectures and fidelities"

    @classmethod
    def fit(
        cls,
        described: Described,  # n rows
        share: np.ndarray,  # (n,), logarithms
        y: np.ndarray,  # (n,)
        full: np.ndarray,
        *,
        seed: int,
    ) -> "AtFullFidelity":
        """From all runs."""
        x = np.hstack([described.everything, share[:, None]])
        predictor = GPPredictor(random_state=seed).fit(x, y)
        return cls(Process.of(predictor, x, y, np.zeros(len(y))), full)

    def imagine(
        self, told: np.ndarray, pending: Described, draws: np.ndarray
    ) -> "GivenAtFullFidelity":
        """See ``Model``; ``told`` holds the runs at full fidelity."""
        n, p = len(self.process.x), len(pending)
        padded = np.zeros((len(draws), n + p))
        padded[:, n:] = draws[:, len(told) :]
        imagined = self.process.imagine(at_full(pending), padded)
        rows = np.concatenate([self.full, n + np.arange(p)])
        return GivenAtFullFidelity(imagined, imagined.values[:, rows])


@dataclass(frozen=True)
class GivenAtFullFidelity:
    """See ``Given``."""

    imagined: Imagined
    values: np.ndarray

    def predict(self, new: Described) -> Prediction:
        """See ``Given``."""
        return self.imagined.predict(at_full(new))


def at_full(described: Described) -> np.ndarray:
    """Columns with the logarithm of a share of one."""
    return np.hstack([described.everything, np.zeros((len(described), 1))])
