"""Hard limits, and evaluations that fail: how likely a proposal is to be of use.

Axes: n = architectures, m = objectives, s = draws.

References:
    [RW2006] Rasmussen, Williams. Gaussian Processes for Machine Learning, section
    6.5: classification by regression on labels, squashed by a normal integral.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from scipy.special import log_ndtr

from autodistill.errors import SearchError
from autodistill.search.described import Described
from autodistill.search.models import Prediction
from autodistill.space import Architecture
from predictors import GPPredictor

Quantity = Callable[[Sequence[Architecture]], np.ndarray | Prediction]
LEAST_STD = 1e-9  # of the limit; below it a prediction is a number
LEAST_CHANCE = 0.5  # of success; what is less likely to succeed waits until all else is tried,
RATHER_NOT = -30.0  # as an evaluation is dear: added to the logarithm of its chance
CERTAIN_MISS = -1e4  # logarithm of a chance that is none


@dataclass(frozen=True)
class Constraints:
    """Largest values allowed.

    Attributes:
        objectives: Column -> largest value.
        quantities: Name -> largest value.
        known: Name -> ``architectures -> (n,)``, or a mean and a standard deviation.
    """

    objectives: Mapping[int, float]
    quantities: Mapping[str, float]
    known: Mapping[str, Quantity]

    @classmethod
    def of(
        cls,
        limits: Mapping[int | str, float],
        quantities: Mapping[str, Quantity],
        n_objectives: int,
    ) -> "Constraints":
        """Sort limits by what they are on.

        Raises:
            SearchError: A limit on nothing that is known, or that is no number.
        """
        for what, limit in limits.items():
            if isinstance(what, str):
                if what not in quantities:
                    raise SearchError(
                        f"a constraint on {what!r}, which is no quantity; "
                        f"there are {sorted(quantities) or 'none'}"
                    )
            elif not isinstance(what, Integral) or not 0 <= what < n_objectives:
                raise SearchError(
                    f"a constraint on objective {what}; columns are 0..{n_objectives - 1}"
                )
            if not isinstance(limit, Real) or not np.isfinite(limit):
                raise SearchError(
                    f"the constraint on {what!r} must be a finite number; got {limit!r}"
                )
        columns = {what: limit for what, limit in limits.items() if not isinstance(what, str)}
        names = {what: limit for what, limit in limits.items() if isinstance(what, str)}
        return cls(columns, names, quantities)

    def __bool__(self) -> bool:
        return bool(self.objectives or self.quantities)

    def quantity(self, name: str, architectures: Sequence[Architecture]) -> Prediction:
        """Mean and standard deviation of a known quantity, (n,) each.

        Raises:
            SearchError: It has another shape, or is not finite.
        """
        found = self.known[name](architectures)
        mean, std = found if isinstance(found, tuple) else (found, np.zeros(len(architectures)))
        mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
        if mean.shape != (len(architectures),) or std.shape != mean.shape:
            raise SearchError(
                f"the quantity {name!r} must return ({len(architectures)},); got {mean.shape}"
            )
        if not (np.isfinite(mean) & np.isfinite(std)).all():
            raise SearchError(f"the quantity {name!r} must return finite numbers")
        return mean, std

    def violation(
        self, architectures: Sequence[Architecture], values: np.ndarray
    ) -> np.ndarray:  # (n, m) -> (n,)
        """By how much evaluated architectures miss the limits in all; 0 is within."""
        missed = np.zeros(len(architectures))
        for column, limit in self.objectives.items():
            missed += np.maximum(values[:, column] - limit, 0) / _size(limit)
        for name, limit in self.quantities.items():
            mean, _ = self.quantity(name, architectures)
            missed += np.maximum(mean - limit, 0) / _size(limit)
        return missed

    def log_probability(
        self, new: Described, mean: np.ndarray, std: np.ndarray
    ) -> np.ndarray:  # (n, m), (n, m) -> (n,)
        """Logarithm of the chance to be within all limits; objectives are independent."""
        total = np.zeros(len(new))
        for column, limit in self.objectives.items():
            total += log_chance(limit, mean[:, column], std[:, column])
        for name, limit in self.quantities.items():
            total += log_chance(limit, *self.quantity(name, new.architectures))
        return total


def log_chance(limit: float, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """``log P(Y <= limit)``; what is certain to be beyond falls with the distance."""
    margin, spread = (limit - mean) / _size(limit), std / _size(limit)
    certain = np.where(margin >= 0, 0.0, CERTAIN_MISS * (1 - margin))
    uncertain = log_ndtr(margin / np.maximum(spread, LEAST_STD))
    return np.where(spread > LEAST_STD, uncertain, certain)


class SuccessModel:
    """How likely an evaluation is to succeed, learnt from those that did not.

    A Gaussian process on labels +1 and -1, squashed [RW2006]. Where no evaluation
    failed, or none succeeded, there is nothing to tell them apart by. What is likely
    to fail counts as far less likely still, so that it comes last.
    """

    def __init__(self, succeeded: Described, failed: Described, *, seed: int) -> None:
        self._process: GPPredictor | None = None
        if len(succeeded) and len(failed):
            labels = np.concatenate([np.ones(len(succeeded)), -np.ones(len(failed))])
            x = succeeded.and_then(failed).everything
            self._process = GPPredictor(random_state=seed).fit(x, labels)

    def log_probability(self, new: Described) -> np.ndarray:  # (n,)
        """Logarithm of the chance of success."""
        if self._process is None:
            return np.zeros(len(new))
        mean, std = self._process.predict(new.everything, return_std=True)
        found = log_ndtr(mean / std)
        return np.where(found < np.log(LEAST_CHANCE), found + RATHER_NOT, found)


def _size(limit: float) -> float:
    return abs(limit) or 1.0
