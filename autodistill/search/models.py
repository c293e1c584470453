"""What a search may believe of one objective, behind one seam.

A ``Model`` is made from what was told. Told values that are noisy and those of
pending architectures are filled in by draws; what results predicts new ones, with a
mean for every draw (``Given``).

Axes: n = architectures told, p = pending, k = new, s = draws.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autodistill.errors import SearchError
from autodistill.search.arguments import LARGEST, floats
from autodistill.search.described import Described
from autodistill.search.processes import Imagined, Process
from autodistill.search.remembered import Remembered
from autodistill.space import Architecture
from predictors import XGBPredictor

Prediction = tuple[np.ndarray, np.ndarray]
Known = Callable[[Sequence[Architecture]], Prediction]
View = Callable[[Described], np.ndarray]
Shift = Callable[[Described], np.ndarray]


class Given(Protocol):
    """A model given values for all that is told or pending.

    ``values`` are (s, n + p), one row a draw.
    """

    @property
    def values(self) -> np.ndarray:
        """Told and pending values, one row a draw."""
        ...

    def predict(self, new: Described) -> Prediction:
        """Mean (s, k) or (1, k), and standard deviation (k,)."""
        ...


class Model(Protocol):
    """What the search believes of one objective."""

    @property
    def name(self) -> str:
        """Which kind of model it is."""
        ...

    def imagine(self, told: np.ndarray, pending: Described, draws: np.ndarray) -> Given:
        """Fill in values: told ones (n,), and draws (s, n + p) standard normal."""
        ...


class KnownObjective:
    """One that needs no evaluation; its errors at two architectures are unrelated.

    Args:
        known: ``architectures -> (mean, standard deviation)``, each (n,).
        column: Which objective, for messages.
    """

    name = "known"

    def __init__(self, known: Known, column: int) -> None:
        self._known, self._column = known, column
        self._remembered = Remembered(self._checked)

    def __call__(self, architectures: Sequence[Architecture]) -> Prediction:
        """Mean and standard deviation, (n,) each.

        Raises:
            SearchError: They have other shapes, or are not finite.
        """
        if not architectures:
            return np.zeros(0), np.zeros(0)
        found = self._remembered(architectures)
        return found[:, 0], found[:, 1]

    def forget(self) -> None:
        """Ask anew: see ``Remembered``."""
        self._remembered.forget()

    def imagine(self, told: np.ndarray, pending: Described, draws: np.ndarray) -> "Independent":
        """See ``Model``."""
        return Independent.of(lambda new: self(new.architectures), told, pending, draws)

    def _checked(self, architectures: Sequence[Architecture]) -> np.ndarray:
        found = self._known(architectures)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise SearchError(
                f"known objective {self._column} must return a mean and a standard deviation; "
                f"got {type(found).__name__}"
            )
        mean, std = (floats(f"known objective {self._column}", part) for part in found)
        shape = (len(architectures),)
        if mean.shape != shape or std.shape != shape:
            raise SearchError(
                f"known objective {self._column} must return two arrays of shape {shape}; "
                f"got {mean.shape} and {std.shape}"
            )
        if not ((np.abs(mean) <= LARGEST) & (std <= LARGEST) & (std >= 0)).all():
            raise SearchError(
                f"known objective {self._column} must return finite means and finite standard "
                f"deviations of at least 0, and at most {LARGEST:g} in size"
            )
        return np.stack([mean, std], axis=1)


@dataclass(frozen=True)
class TreesObjective:
    """Boosted trees; they do not change with what is imagined."""

    predictor: XGBPredictor
    name: str = "xgb"

    def imagine(self, told: np.ndarray, pending: Described, draws: np.ndarray) -> "Independent":
        """See ``Model``."""
        return Independent.of(
            lambda new: self.predictor.predict(new.everything, return_std=True),
            told,
            pending,
            draws,
        )


@dataclass(frozen=True)
class Independent:
    """Predictions that values imagined elsewhere do not move."""

    of_new: Callable[[Described], Prediction]
    values: np.ndarray  # (s, n + p)

    @classmethod
    def of(
        cls,
        of_new: Callable[[Described], Prediction],
        told: np.ndarray,
        pending: Described,
        draws: np.ndarray,
    ) -> "Independent":
        """Pending values by independent draws."""
        values = np.tile(np.concatenate([told, np.zeros(len(pending))]), (len(draws), 1))
        if len(pending):
            mean, std = of_new(pending)
            values[:, len(told) :] = mean + std * draws[:, len(told) :]
        return cls(of_new, values)

    def predict(self, new: Described) -> Prediction:
        """See ``Given``."""
        mean, std = self.of_new(new)
        return np.asarray(mean)[None], np.asarray(std)


@dataclass(frozen=True)
class ProcessObjective:
    """A Gaussian process on some columns."""

    process: Process
    view: View
    name: str

    def imagine(self, told: np.ndarray, pending: Described, draws: np.ndarray) -> "GivenProcess":
        """See ``Model``; told values are those that it was fitted on."""
        return GivenProcess(self.process.imagine(self.view(pending), draws), self.view)


@dataclass(frozen=True)
class GivenProcess:
    """See ``Given``."""

    imagined: Imagined
    view: View

    @property
    def values(self) -> np.ndarray:
        """(s, n + p)."""
        return self.imagined.values

    def predict(self, new: Described) -> Prediction:
        """See ``Given``."""
        return self.imagined.predict(self.view(new))


@dataclass(frozen=True)
class ShiftedObjective:
    """A process on what is left when a function of the architecture is taken off."""

    rest: ProcessObjective
    shift: Shift
    told: np.ndarray  # (n,), the shift of those told
    name: str

    def imagine(self, told: np.ndarray, pending: Described, draws: np.ndarray) -> "GivenShifted":
        """See ``Model``."""
        given = self.rest.imagine(told - self.told, pending, draws)
        both = np.concatenate([self.told, self.shift(pending)]) if len(pending) else self.told
        return GivenShifted(given, self.shift, given.values + both)


@dataclass(frozen=True)
class GivenShifted:
    """See ``Given``."""

    rest: GivenProcess
    shift: Shift
    values: np.ndarray

    def predict(self, new: Described) -> Prediction:
        """See ``Given``."""
        mean, std = self.rest.predict(new)
        return mean + self.shift(new), std
