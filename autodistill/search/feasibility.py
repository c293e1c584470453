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
from scipy.stats import norm

from autodistill.errors import SearchError
from autodistill.search.arguments import LARGEST, SMALLEST, floats
from autodistill.search.described import Described
from autodistill.search.models import Prediction
from autodistill.space import Architecture
from predictors import GPPredictor

Quantity = Callable[[Sequence[Architecture]], np.ndarray | Prediction]
LEAST_STD = 1e-9  # of the limit; below it a prediction is a number
LEAST_CHANCE = 0.5  # of success; what is less likely to succeed waits until all else is tried,
RATHER_NOT = -30.0  # as an evaluation is dear: added to the logarithm of its chance
CERTAIN_MISS = -1e4  # logarithm of a chance that is none
FARTHEST = 1e12  # standard deviations, or sizes of a limit: no sum may overflow
NO_PROGRESS = 1e-9  # of the least violation


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
            if limit and not SMALLEST <= abs(limit) <= LARGEST:
                raise SearchError(
                    f"the constraint on {what!r} must be 0 or lie between {SMALLEST:g} and "
                    f"{LARGEST:g} in size; got {limit:g}: use another unit"
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
        if not architectures:  # callers need not answer for none
            return np.zeros(0), np.zeros(0)
        found, what = self.known[name](architectures), f"the quantity {name!r}"
        mean, std = found if isinstance(found, tuple) else (found, np.zeros(len(architectures)))
        mean, std = floats(what, mean), floats(what, std)
        if mean.shape != (len(architectures),) or std.shape != mean.shape:
            raise SearchError(f"{what} must return ({len(architectures)},); got {mean.shape}")
        if not (np.isfinite(mean) & np.isfinite(std) & (std >= 0)).all():
            raise SearchError(
                f"{what} must return finite numbers, and standard deviations of at least 0"
            )
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

    def log_progress(
        self, new: Described, mean: np.ndarray, std: np.ndarray, *, least: float
    ) -> np.ndarray:  # (n, m), (n, m) -> (n,)
        """Logarithm of how much less the limits are missed than by the best so far.

        The violation of each is a sum of parts of normals above their limits. It is
        taken as a normal with the mean and the variance of that sum. Where no
        progress is to be hoped for, the least violation is the best guess.

        Args:
            new: Architectures.
            mean: Of the objectives.
            std: Of the objectives.
            least: The least violation seen; above 0.
        """
        total, variance = np.zeros(len(new)), np.zeros(len(new))
        parts = [
            (limit, mean[:, column], std[:, column]) for column, limit in self.objectives.items()
        ]
        parts += [
            (limit, *self.quantity(name, new.architectures))
            for name, limit in self.quantities.items()
        ]
        for limit, centre, spread in parts:
            first, second = _moments_above(
                np.clip((centre - limit) / _size(limit), -FARTHEST, FARTHEST),
                np.clip(spread / _size(limit), LEAST_STD, FARTHEST),
            )
            total, variance = total + first, variance + np.maximum(second - first**2, 0)
        spread = np.sqrt(np.maximum(variance, LEAST_STD**2))
        z = np.clip((least - total) / spread, -FARTHEST, FARTHEST)
        gain = spread * (norm.pdf(z) + z * norm.cdf(z)) / least
        return np.asarray(np.log(np.maximum(gain, 0) + NO_PROGRESS / (1 + total)))


def log_chance(limit: float, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """``log P(Y <= limit)``; what is certain to be beyond falls with the distance."""
    margin, spread = (limit - mean) / _size(limit), std / _size(limit)
    certain = np.where(margin >= 0, 0.0, CERTAIN_MISS * (1 - np.maximum(margin, -FARTHEST)))
    z = np.clip(margin / np.maximum(spread, LEAST_STD), -FARTHEST, FARTHEST)
    return np.where(spread > LEAST_STD, log_ndtr(z), certain)


def _moments_above(mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and second moment of the part of a normal above 0."""
    z = np.clip(mean / std, -FARTHEST, FARTHEST)
    density, below = norm.pdf(z), norm.cdf(z)
    first = mean * below + std * density
    return np.maximum(first, 0), (mean**2 + std**2) * below + mean * std * density


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
