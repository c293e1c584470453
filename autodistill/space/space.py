"""The search space: which architectures there are.

A space is a product of choices, less the combinations that its rules forbid.
A rule names the few fields it looks at; the allowed combinations of those
fields are listed once, so that sampling is exactly uniform over the valid
architectures, the size is exact, and nothing invalid can come out.

Axes: n = architectures, d = encoded columns.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np

from autodistill.errors import SpaceError
from autodistill.space.architecture import Architecture, Value
from autodistill.space.families import family_rules
from autodistill.space.rules import Rule

MAX_RULE_COMBINATIONS = 1_000_000


class SearchSpace:
    """A finite set of architectures.

    Args:
        choices: Values of each field. Numbers are ordered; strings and
            booleans are categories.
        family: ``"bert"`` or ``"mobilebert"`` for a space of encoders, whose
            rules then apply; ``None`` for any other.
        baseline: The architecture that results are compared with; it must be
            in the space.
        rules: More conditions, on top of the family's.
        name: Shown to people.

    Raises:
        SpaceError: No field, an empty or repeated choice, an unknown field of
            the family, a baseline outside, or no valid combination at all.

    Example:
        >>> space = SearchSpace({"n_layer": [10, 11, 12], "bias": [False, True]})
        >>> space.size, space.encode([Architecture(n_layer=11, bias=True)]).tolist()
        (6, [[0.5, 1.0]])
    """

    def __init__(
        self,
        choices: Mapping[str, Sequence[Value]],
        *,
        family: str | None = None,
        baseline: Mapping[str, Value] | None = None,
        rules: Sequence[Rule] = (),
        name: str = "custom",
    ) -> None:
        self.choices = {field: _checked(field, values) for field, values in choices.items()}
        if not self.choices:
            raise SpaceError("a search space needs at least one field with choices; got none")
        self.family, self.name = family, name
        self.rules = (*family_rules(family, self.choices), *rules)
        for rule in self.rules:
            if unknown := set(rule.fields) - set(self.choices):
                raise SpaceError(f"a rule names fields the space lacks: {sorted(unknown)}")
        self._joint_fields, self._joint = self._allowed_combinations()
        self._free_fields = tuple(f for f in self.choices if f not in self._joint_fields)
        self.baseline = Architecture(baseline) if baseline is not None else None
        if self.baseline is not None and (why := self.why_invalid(self.baseline)):
            raise SpaceError(f"the baseline is not in the space: {why}")

    @classmethod
    def preset(cls, name: str) -> Self:
        """A space that comes with the toolkit; ``presets.PRESETS`` lists them."""
        from autodistill.space.presets import PRESETS

        if name not in PRESETS:
            raise SpaceError(f"unknown space {name!r}; the presets are {', '.join(PRESETS)}")
        return cls(**PRESETS[name], name=name)

    @staticmethod
    def from_yaml(path: str | Path) -> "SearchSpace":
        """A space from a file; see ``space_file.py`` for the format."""
        from autodistill.space.space_file import read_space_file

        return read_space_file(Path(path))

    def with_rule(self, rule: Rule) -> "SearchSpace":
        """The same space under one more condition.

        Raises:
            SpaceError: The rule forbids everything, or the baseline.
        """
        return self._changed(rules=(*self.extra_rules, rule))

    def with_baseline(self, baseline: Mapping[str, Value] | None) -> "SearchSpace":
        """The same space, compared with another member, or with none.

        Raises:
            SpaceError: The baseline is not in the space.
        """
        return self._changed(baseline=baseline)

    def _changed(self, **changes: Any) -> "SearchSpace":
        own = {
            "family": self.family,
            "baseline": self.baseline,
            "rules": self.extra_rules,
            "name": self.name,
        }
        return SearchSpace(self.choices, **own | changes)

    @property
    def fields(self) -> tuple[str, ...]:
        """Field names, in the order given."""
        return tuple(self.choices)

    @property
    def extra_rules(self) -> tuple[Rule, ...]:
        """Rules on top of the family's."""
        return self.rules[len(family_rules(self.family, self.choices)) :]

    @cached_property
    def size(self) -> int:
        """Exact number of valid architectures."""
        return len(self._joint) * prod(len(self.choices[f]) for f in self._free_fields)

    def __contains__(self, architecture: object) -> bool:
        return isinstance(architecture, Mapping) and self.why_invalid(architecture) is None

    def __repr__(self) -> str:
        return f"SearchSpace({self.name!r}, {len(self.choices)} fields, {self.size:.3g} choices)"

    def why_invalid(self, architecture: Mapping[str, Value]) -> str | None:
        """What keeps an architecture out of the space; ``None`` if nothing does."""
        if set(architecture) != set(self.choices):
            missing = sorted(set(self.choices) - set(architecture))
            extra = sorted(set(architecture) - set(self.choices))
            return f"fields must be {list(self.choices)}; missing {missing}, unknown {extra}"
        for field, values in self.choices.items():
            if _index(values, architecture[field]) is None:
                return f"{field} must be one of {list(values)}; got {architecture[field]!r}"
        for rule in self.rules:
            if not rule.allows(*(architecture[f] for f in rule.fields)):
                got = ", ".join(f"{f}={architecture[f]}" for f in rule.fields)
                return f"{rule.reason}; got {got}"
        return None

    def sample(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """Draw valid architectures uniformly, with replacement."""
        picks = {f: rng.integers(len(self.choices[f]), size=n) for f in self._free_fields}
        rows = rng.integers(len(self._joint), size=n)
        return [
            self._member(self._joint[rows[i]], [self.choices[f][picks[f][i]] for f in picks])
            for i in range(n)
        ]

    def sample_distinct(
        self, n: int, rng: np.random.Generator, exclude: Sequence[Architecture] = ()
    ) -> list[Architecture]:
        """Draw different architectures; fewer than ``n`` only if no more exist."""
        seen = set(exclude)
        if self.size <= max(4 * (n + len(seen)), 1024):
            rest = [a for a in self.enumerate() if a not in seen]
            order = rng.permutation(len(rest))
            return [rest[i] for i in order[:n]]
        found: list[Architecture] = []
        while len(found) < n:  # at least three quarters of the space is unseen
            for architecture in self.sample(n, rng):
                if architecture not in seen and len(found) < n:
                    seen.add(architecture)
                    found.append(architecture)
        return found

    def enumerate(self) -> list[Architecture]:
        """All valid architectures; meant for small spaces."""
        free = [self.choices[f] for f in self._free_fields]
        return [self._member(joint, rest) for joint in self._joint for rest in product(*free)]

    def neighbours(self, architecture: Mapping[str, Value]) -> list[Architecture]:
        """The members that differ from this one in a single field."""
        changed = (
            Architecture({**architecture, field: value})
            for field, values in self.choices.items()
            for value in values
        )
        return [other for other in changed if other != Architecture(architecture) and other in self]

    def nearest(self, distance: Callable[[str, Value], float]) -> Architecture:
        """The member for which the sum of ``distance(field, value)`` is least.

        Of several the first, in the order of the choices.
        """

        def total(joint: Sequence[Value]) -> float:
            return sum(distance(f, v) for f, v in zip(self._joint_fields, joint, strict=True))

        free = [min(self.choices[f], key=partial(distance, f)) for f in self._free_fields]
        return self._member(min(self._joint, key=total), free)

    def to_indices(self, architectures: Sequence[Mapping[str, Value]]) -> np.ndarray:
        """Position of each value among its field's choices, (n, fields) integers.

        Raises:
            SpaceError: An architecture is not in the space.
        """
        rows = []
        for i, architecture in enumerate(architectures):
            if why := self.why_invalid(architecture):
                raise SpaceError(f"architecture {i} is not in the space: {why}")
            rows.append([_index(v, architecture[f]) for f, v in self.choices.items()])
        return np.array(rows, np.int64).reshape(len(rows), len(self.choices))

    def from_indices(self, row: Sequence[int] | np.ndarray) -> Architecture | None:
        """The architecture at these positions; ``None`` if a rule forbids it."""
        values = {f: v[int(i)] for (f, v), i in zip(self.choices.items(), row, strict=True)}
        architecture = Architecture(values)
        return None if self.why_invalid(architecture) else architecture

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what ``encode`` returns, (d,)."""
        names: list[str] = []
        for field, values in self.choices.items():
            if len(values) <= 2 or _is_ordered(values):
                names.append(field)
            else:
                names.extend(f"{field}={value}" for value in values)
        return tuple(names)

    def encode(self, architectures: Sequence[Mapping[str, Value]]) -> np.ndarray:
        """Numbers for a model, (n, d): ranks in [0, 1] and one-hot categories."""
        indices = self.to_indices(architectures)
        columns: list[np.ndarray] = []
        for j, values in enumerate(self.choices.values()):
            if len(values) <= 2 or _is_ordered(values):
                columns.append(indices[:, j] / max(len(values) - 1, 1))
            else:
                columns.extend(np.eye(len(values))[indices[:, j]].T)
        return np.stack(columns, axis=1).astype(np.float64)

    def describe(self) -> dict[str, object]:
        """All that defines the space, as plain data; the record of a run."""
        return {
            "name": self.name,
            "family": self.family,
            "choices": {f: list(v) for f, v in self.choices.items()},
            "rules": [rule.reason for rule in self.rules],
            "baseline": self.baseline.to_dict() if self.baseline else None,
        }

    def _member(self, joint: Sequence[Value], free: Sequence[Value]) -> Architecture:
        fields = (*self._joint_fields, *self._free_fields)
        return Architecture(dict(zip(fields, (*joint, *free), strict=True)))

    def _allowed_combinations(self) -> tuple[tuple[str, ...], list[tuple[Value, ...]]]:
        named = {f for rule in self.rules for f in rule.fields}
        joint = tuple(f for f in self.choices if f in named)
        if prod(len(self.choices[f]) for f in joint) > MAX_RULE_COMBINATIONS:
            raise SpaceError(
                f"the rules tie together {joint} with more than {MAX_RULE_COMBINATIONS:,} "
                "combinations; give these fields fewer choices"
            )
        places = [tuple(joint.index(f) for f in rule.fields) for rule in self.rules]
        allowed = [
            values
            for values in product(*(self.choices[f] for f in joint))
            if all(
                rule.allows(*(values[i] for i in place))
                for rule, place in zip(self.rules, places, strict=True)
            )
        ]
        if not allowed:
            reasons = "; ".join(rule.reason for rule in self.rules)
            raise SpaceError(f"the space is empty: no combination of choices satisfies: {reasons}")
        return joint, allowed


def _is_ordered(values: Sequence[Value]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _index(values: Sequence[Value], value: object) -> int | None:
    """Where a value stands; True is not 1, and 8 is 8.0."""
    for i, candidate in enumerate(values):
        if candidate == value and isinstance(candidate, bool) == isinstance(value, bool):
            return i
    return None


def _checked(field: str, values: Sequence[Value]) -> tuple[Value, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise SpaceError(f"{field} needs a list of at least one choice; got {values!r}")
    plain = tuple(Architecture({field: value})[field] for value in values)
    if len(set(map(repr, plain))) < len(plain):
        raise SpaceError(f"{field} names a choice twice: {list(values)}")
    return tuple(sorted(plain)) if _is_ordered(plain) else plain
