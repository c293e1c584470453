"""What models see of architectures: their choices as numbers, and what is known of them.

Axes: n = architectures, f = fields, d = columns.

Layers are often fields of their own, ``heads_0 ... heads_23``. Where at least
``LEAST_GROUP`` fields share their choices, the mean over those that exist and its
trend with depth say most of what all of them say, in two columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autodistill.errors import SearchError
from autodistill.search.arguments import LARGEST, SMALLEST
from autodistill.search.remembered import Remembered
from autodistill.space import Architecture, SearchSpace
from autodistill.space.choices import is_ordered
from autodistill.space.cost import encoder_features

Features = Callable[[Sequence[Architecture]], np.ndarray]

LEAST_GROUP = 4
TYPICAL = 32  # members that tell the size of a feature
DIGITS = 33  # binary digits of a feature that are kept, of its typical size
COMMON_VOCABULARY = 30_522  # of BERT; features are logarithms, so that it matters little


@dataclass(frozen=True)
class Described:
    """Some architectures and their numbers; all views have n rows."""

    architectures: list[Architecture]
    choices: np.ndarray  # (n, d) as ``SearchSpace.encode``
    features: np.ndarray  # (n, d), d = 0 where nothing is known

    def __len__(self) -> int:
        return len(self.architectures)

    @cached_property
    def everything(self) -> np.ndarray:
        """Choices and features side by side."""
        return np.hstack([self.choices, self.features])

    def take(self, rows: Sequence[int] | np.ndarray) -> "Described":
        """Some of them."""
        kept = np.asarray(rows, np.int64)
        return Described(
            [self.architectures[i] for i in kept], self.choices[kept], self.features[kept]
        )

    def and_then(self, other: "Described") -> "Described":
        """These and others."""
        return Described(
            self.architectures + other.architectures,
            np.vstack([self.choices, other.choices]),
            np.vstack([self.features, other.features]),
        )


class Describer:
    """Turns architectures into numbers; features are asked once until they are forgotten.

    Args:
        space: Of the architectures.
        features: Domain knowledge, ``architectures -> (n, d)``; by default what can
            be counted of encoders, where the space has a family.
    """

    def __init__(self, space: SearchSpace, features: Features | None) -> None:
        self.space = space
        self.features = encoder_knowledge(space) if features is None else features
        self.groups = layer_groups(space)
        self._remembered = Remembered(self._checked)
        self._width: int | None = None

    def __call__(self, architectures: Sequence[Architecture]) -> Described:
        """The numbers of architectures of the space."""
        rows = self.space.to_indices(architectures)
        return Described(
            list(architectures), self.space.encode_rows(rows), self._features(architectures, rows)
        )

    def forget(self) -> None:
        """Ask for features anew: see ``Remembered``."""
        self._remembered.forget()

    def _features(self, architectures: Sequence[Architecture], rows: np.ndarray) -> np.ndarray:
        if not architectures:  # callers need not answer for none
            return np.empty((0, len(self._grid)))
        found = [np.empty((len(rows), 0)), *(summarise(rows, group) for group in self.groups)]
        if self.features is not None:
            found.append(self._remembered(architectures))
        return np.round(np.hstack(found) / self._grid) * self._grid

    @cached_property
    def _grid(self) -> np.ndarray:  # (d,)
        """What is rounding error in each column: powers of two, from some members of the space.

        Sums that cancel in one architecture leave 1e-17 in the next. Where that is all
        by which those told differ, it would be taken for a signal, and the rest of the
        space would lie 1e17 away.
        """
        count = min(TYPICAL, self.space.size)
        members = self.space.sample_distinct(count, np.random.default_rng(0))
        rows = self.space.to_indices(members)
        found = [np.empty((count, 0)), *(summarise(rows, group) for group in self.groups)]
        if self.features is not None:
            found.append(self._checked(members))
        size = np.abs(np.hstack(found)).max(axis=0)
        _, exponent = np.frexp(np.where(size > 0, np.maximum(size, SMALLEST), 0))
        return np.ldexp(1.0, exponent - DIGITS)

    def _checked(self, architectures: Sequence[Architecture]) -> np.ndarray:
        assert self.features is not None, "asked only where features are given"
        found = self.features(architectures)
        try:
            knowledge = np.asarray(found, np.float64)
        except (TypeError, ValueError) as error:
            raise SearchError(f"features must return (n, d) floats; {error}") from error
        if knowledge.ndim != 2 or len(knowledge) != len(architectures):
            raise SearchError(
                f"features must return ({len(architectures)}, d) floats; got {knowledge.shape}"
            )
        if not (np.abs(knowledge) <= LARGEST).all():
            raise SearchError(
                f"features must return finite floats of at most {LARGEST:g} in size; got NaN or a "
                "larger one"
            )
        if self._width not in (None, knowledge.shape[1]):
            raise SearchError(
                f"features must always return as many columns; got {self._width}, and then "
                f"{knowledge.shape[1]}"
            )
        self._width = knowledge.shape[1]
        return knowledge


@dataclass(frozen=True)
class LayerGroup:
    """Ordered fields that share their choices.

    Attributes:
        columns: Which fields, by their numbers.
        parents: For each the number of the field that it hangs on and the positions
            of it under which it exists; ``None`` for one that always exists.
    """

    columns: tuple[int, ...]
    parents: tuple[tuple[int, tuple[int, ...]] | None, ...]


def layer_groups(space: SearchSpace) -> list[LayerGroup]:
    """Groups of at least ``LEAST_GROUP`` fields with the same ordered choices."""
    numbers = {field: j for j, field in enumerate(space.choices)}
    by_choices: dict[tuple[str, tuple], list[str]] = {}
    for field, values in space.choices.items():
        if len(values) > 1 and is_ordered(values):
            by_choices.setdefault((field.rstrip("0123456789"), values), []).append(field)

    def parent(field: str) -> tuple[int, tuple[int, ...]] | None:
        if field not in space.conditions.parents:
            return None
        name = space.conditions.parents[field]
        under = [space.choices[name].index(v) for v in space.conditions.values[field]]
        return numbers[name], tuple(under)

    return [
        LayerGroup(tuple(numbers[f] for f in fields), tuple(parent(f) for f in fields))
        for fields in by_choices.values()
        if len(fields) >= LEAST_GROUP
    ]


def summarise(rows: np.ndarray, group: LayerGroup) -> np.ndarray:  # (n, f) -> (n, 2)
    """Mean position over the fields that exist, and its trend from first to last."""
    places = rows[:, list(group.columns)].astype(np.float64)
    exists = np.ones(places.shape, bool)
    for j, parent in enumerate(group.parents):
        if parent is not None:
            exists[:, j] = np.isin(rows[:, parent[0]], parent[1])
    count = np.maximum(exists.sum(axis=1), 1)
    mean = (places * exists).sum(axis=1) / count
    depth = np.linspace(-1, 1, places.shape[1])
    centre = (depth * exists).sum(axis=1, keepdims=True) / count[:, None]
    lever = (depth - centre) * exists
    trend = ((places - mean[:, None]) * lever).sum(axis=1) / count
    return np.stack([mean, trend], axis=1)


def encoder_knowledge(space: SearchSpace) -> Features | None:
    """What can be counted of encoders before any is trained; ``None`` for other spaces."""
    family = space.family
    if family is None:
        return None
    return lambda architectures: encoder_features(
        architectures, family=family, vocab_size=COMMON_VOCABULARY
    )
