"""The acquisition: what an evaluation is expected to add, given all that is believed.

The value of a proposal is its expected hypervolume improvement over the front of
what is told and pending, times the chances that it succeeds and keeps the limits.
Values that are noisy or pending are filled in by draws and averaged over. While
nothing within the limits is known, all that counts is to miss them by less.

Axes: n = told, p = pending, k = new, m = objectives, s = draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autodistill.search.acquisition import expected_improvement, nondominated
from autodistill.search.described import Described
from autodistill.search.feasibility import Constraints, SuccessModel
from autodistill.search.models import Given, Model

DRAWS = 8  # of pending values
NOISY_DRAWS = 16
REFERENCE = 1.1  # in the unit of each objective, from its origin


@dataclass(frozen=True)
class Beliefs:
    """All that a proposal is made from.

    Attributes:
        models: One for each objective.
        told: Architectures with values.
        values: (n, m).
        variances: (n, m), of the values as measurements.
        feasible: (n,), which are within all limits.
        allowed: (n,), which are within limits that are no constraints: ``excess``.
        success: Chance that an evaluation gives a value.
        constraints: Limits.
    """

    models: Sequence[Model]
    told: Described
    values: np.ndarray
    variances: np.ndarray
    feasible: np.ndarray
    allowed: np.ndarray
    success: SuccessModel
    constraints: Constraints

    def predict(self, new: Described) -> tuple[np.ndarray, np.ndarray]:  # (k, m), (k, m)
        """Mean and standard deviation, noise at its mean and nothing pending."""
        return self._at_means.predict(new)

    @cached_property
    def least_violation(self) -> float:
        """By how little the limits were missed so far; infinite if nothing was told."""
        missed = self.constraints.violation(self.told.architectures, self.values)
        return float(min(missed, default=np.inf))

    @cached_property
    def _at_means(self) -> "Scorer":
        return Scorer.of(self, self.told.take([]), np.zeros(0), np.ones(0), draws=None)


@dataclass(frozen=True)
class Scorer:
    """The acquisition, with all values filled in."""

    beliefs: Beliefs
    given: Sequence[Given]
    fronts: list[np.ndarray]  # one a draw, (f, m), scaled
    low: np.ndarray  # (m,)
    unit: np.ndarray  # (m,)

    @classmethod
    def of(
        cls,
        beliefs: Beliefs,
        pending: Described,
        low: np.ndarray,
        unit: np.ndarray,
        *,
        draws: np.random.Generator | None,
    ) -> "Scorer":
        """Fill in what is noisy or pending; ``draws`` of ``None`` fills in means."""
        n, p = len(beliefs.told), len(pending)
        is_noisy = bool(beliefs.variances.any())
        count = NOISY_DRAWS if is_noisy else DRAWS if p else 1
        shape = (len(beliefs.models), count, n + p)
        normal = np.zeros((shape[0], 1, n + p)) if draws is None else antithetic(draws, shape)
        given = [
            model.imagine(beliefs.values[:, j], pending, normal[j])
            for j, model in enumerate(beliefs.models)
        ]
        fronts = []
        if draws is not None:
            values = np.stack([one.values for one in given], axis=2)  # (s, n + p, m)
            everything = beliefs.told.and_then(pending).architectures
            for drawn in values:
                within = beliefs.constraints.violation(everything, drawn) <= 0
                within[:n] &= beliefs.allowed
                scaled = (drawn[within] - low) / unit
                fronts.append(scaled[nondominated(scaled)])
        return cls(beliefs, given, fronts, low, unit)

    def predict(self, new: Described) -> tuple[np.ndarray, np.ndarray]:
        """Mean over draws, and standard deviation given them; (k, m) each."""
        found = [one.predict(new) for one in self.given]
        mean = np.stack([mean.mean(axis=0) for mean, _ in found], axis=1)
        return mean, np.stack([std for _, std in found], axis=1)

    def __call__(self, new: Described) -> np.ndarray:  # (k,)
        """Logarithm of the acquisition."""
        found = [one.predict(new) for one in self.given]
        std = np.stack([std for _, std in found], axis=1)
        beliefs = self.beliefs
        total = beliefs.success.log_probability(new)
        m = len(self.unit)
        means = [np.broadcast_to(mean, (len(self.fronts), len(new))) for mean, _ in found]
        if beliefs.constraints:
            average = np.stack([mean.mean(axis=0) for mean in means], axis=1)
            if not beliefs.feasible.any() and 0 < beliefs.least_violation < np.inf:
                least = beliefs.least_violation
                return np.asarray(
                    total + beliefs.constraints.log_progress(new, average, std, least=least)
                )
            total = total + beliefs.constraints.log_probability(new, average, std)
            if not beliefs.feasible.any():
                return np.asarray(total)
        gain = np.zeros(len(new))
        for draw, front in enumerate(self.fronts):
            mean = np.stack([means[j][draw] for j in range(m)], axis=1)
            gain += expected_improvement(
                (mean - self.low) / self.unit, std / self.unit, front, np.full(m, REFERENCE)
            )
        # where no improvement is left within rounding, the least certain is the best guess
        least = 1e-16 * (1 + (std / self.unit).sum(axis=1))
        return np.asarray(total + np.log(gain / len(self.fronts) + least))


def antithetic(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Standard normal draws (m, s, n) in pairs of opposite sign; one draw is the mean."""
    m, s, n = shape
    if s == 1:
        return np.zeros(shape)
    half = rng.standard_normal((m, s // 2, n))
    return np.concatenate([half, -half], axis=1)
