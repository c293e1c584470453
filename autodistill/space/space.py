"""The search space: which architectures there are.

A space is a product of choices, less the combinations that its rules forbid.
A rule names the few fields it looks at; the allowed combinations of those
fields are listed once, so that sampling is exactly uniform over the valid
architectures, the size is exact, and nothing invalid can come out. Fields may
exist only under some values of another (``conditions.py``).

Axes: n = architectures, d = encoded columns.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np

from autodistill.errors import SpaceError
from autodistill.space.architecture import Architecture, Value
from autodistill.space.choices import checked, is_ordered, position
from autodistill.space.conditions import Conditions, Given
from autodistill.space.families import family_rules
from autodistill.space.rules import Rule

MAX_RULE_COMBINATIONS = 1_000_000
LARGEST_LISTED = 10_000  # members of a space that are all listed to draw from
MAX_FRUITLESS_DRAWS = 1_000


class SearchSpace:
    """A finite set of architectures.

    Args:
        choices: Values of each field. Numbers are ordered; strings and
            booleans are categories.
        family: ``"bert"`` or ``"mobilebert"`` for a space of encoders, whose
            rules then apply; ``None`` for any other.
        baseline: The architecture that results are compared with; it must be
            in the space.
        rules: More conditions, on top of the family's. A rule is not asked where
            one of its fields does not exist.
        conditions: Fields that exist only under some values of another: field ->
            (parent, values). Where it does not exist, a field stays at its first
            choice.
        name: Shown to people.

    Raises:
        SpaceError: No field, an empty or repeated choice, an unknown field of
            the family, a condition on what is not there, a baseline outside, or
            no valid combination at all.

    Example:
        >>> space = SearchSpace({"n_layer": [10, 11, 12], "bias": [False, True]})
        >>> space.size, space.encode([Architecture(n_layer=11, bias=True)]).tolist()
        (6, [[0.5, 1.0]])
        >>> space = SearchSpace(
        ...     {"layers": [1, 2], "heads_1": [4, 8], "heads_2": [4, 8]},
        ...     conditions={"heads_2": ("layers", {2})},
        ... )
        >>> space.size
        6
    """

    def __init__(
        self,
        choices: Mapping[str, Sequence[Value]],
        *,
        family: str | None = None,
        baseline: Mapping[str, Value] | None = None,
        rules: Sequence[Rule] = (),
        conditions: Given | None = None,
        name: str = "custom",
    ) -> None:
        if not isinstance(choices, Mapping):
            raise SpaceError(f"choices must be a mapping of fields to lists; got {choices!r}")
        if family is not None and not isinstance(family, str):
            raise SpaceError(f"family must be a name; got {family!r}")
        if not isinstance(rules, Sequence) or not all(isinstance(rule, Rule) for rule in rules):
            raise SpaceError(f"rules must be a list of Rule; got {rules!r}")
        self.choices = {field: checked(field, values) for field, values in choices.items()}
        if not self.choices:
            raise SpaceError("a search space needs at least one field with choices; got none")
        self.family, self.name = family, name
        self.rules = (*family_rules(family, self.choices), *rules)
        for rule in self.rules:
            if unknown := set(rule.fields) - set(self.choices):
                raise SpaceError(f"a rule names fields the space lacks: {sorted(unknown)}")
        self.conditions = Conditions(self.choices, conditions or {})
        self._joint_fields, self._joint = self._allowed_combinations()
        self._free_fields = tuple(f for f in self.conditions.order if f not in self._joint_fields)
        self._sorted_fields = tuple(sorted(self.choices))
        self._positions = {
            field: {(type(v) is bool, v): i for i, v in enumerate(values)}
            for field, values in self.choices.items()
        }
        if baseline is not None and not isinstance(baseline, Mapping):
            raise SpaceError(f"the baseline must be an architecture; got {baseline!r}")
        self.baseline = Architecture(baseline) if baseline is not None else None
        if self.baseline is not None and (why := self.why_invalid(self.baseline)):
            raise SpaceError(f"the baseline is not in the space: {why}")

    @classmethod
    def preset(cls, name: str) -> Self:
        """A space that comes with the toolkit; ``presets.PRESETS`` lists them."""
        from autodistill.space.presets import PRESETS

        if not isinstance(name, str) or name not in PRESETS:
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
            "conditions": self.conditions.given,
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
        free, conditions = set(self._free_fields), self.conditions
        roots = [f for f in free if f not in conditions.parents]
        hanging = [f for f in free if conditions.parents.get(f) in self._joint_fields]
        total = 0
        for joint in self._joint:
            values = dict(zip(self._joint_fields, joint, strict=True))
            absent = conditions.absent(values | {f: self.choices[f][0] for f in hanging})
            total += prod(conditions.count(f, free) for f in hanging if f not in absent)
        return total * prod(conditions.count(f, free) for f in roots)

    def __contains__(self, architecture: object) -> bool:
        return isinstance(architecture, Mapping) and self.why_invalid(architecture) is None

    def __repr__(self) -> str:
        size = f"{self.size:,}" if self.size < 10**15 else f"10^{len(str(self.size)) - 1}"
        return f"SearchSpace({self.name!r}, {len(self.choices)} fields, {size} members)"

    def why_invalid(self, architecture: Mapping[str, Value]) -> str | None:
        """What keeps an architecture out of the space; ``None`` if nothing does."""
        if set(architecture) != set(self.choices):
            missing = sorted(set(self.choices) - set(architecture))
            extra = sorted(set(architecture) - set(self.choices))
            return f"fields must be {list(self.choices)}; missing {missing}, unknown {extra}"
        for field, values in self.choices.items():
            if position(values, architecture[field]) is None:
                return f"{field} must be one of {list(values)}; got {architecture[field]!r}"
        absent = self.conditions.absent(architecture) if self.conditions else set()
        for field in absent:
            if architecture[field] != (first := self.choices[field][0]):
                parent = self.conditions.parents[field]
                return (
                    f"{field} exists only where {parent} is one of "
                    f"{list(self.conditions.values[field])}, and is {first!r} elsewhere; "
                    f"got {architecture[field]!r}"
                )
        for rule in self.rules:
            if not absent.isdisjoint(rule.fields):
                continue
            if not rule.allows(*(architecture[f] for f in rule.fields)):
                got = ", ".join(f"{f}={architecture[f]}" for f in rule.fields)
                return f"{rule.reason}; got {got}"
        return None

    def settled(self, architecture: Mapping[str, Value]) -> Architecture:
        """As the space writes it: what does not exist under its values is at its first choice.

        It may be missing, or have been written by a space with other choices. All else
        is as it was.

        Raises:
            SpaceError: It is no architecture.
        """
        given = Architecture(architecture)
        return Architecture(self.conditions.settled(given)) if self.conditions else given

    def sample(self, n: int, rng: np.random.Generator) -> list[Architecture]:
        """Draw valid architectures uniformly, with replacement.

        Under conditions, parents are drawn before what hangs on them: the values
        of a parent are equally likely, however many members each stands for.
        """
        column = {field: j for j, field in enumerate(self.choices)}
        rows = np.empty((n, len(column)), np.int64)
        for field in self._free_fields:
            rows[:, column[field]] = rng.integers(len(self.choices[field]), size=n)
        joint = self._joint_rows[rng.integers(len(self._joint), size=n)]
        rows[:, [column[field] for field in self._joint_fields]] = joint
        return self.from_rows(self.conditions.settle(rows))

    def sample_distinct(
        self, n: int, rng: np.random.Generator, exclude: Collection[Architecture] = ()
    ) -> list[Architecture]:
        """Draw different architectures; fewer than ``n`` only if no more exist.

        Or, under conditions, if a thousand rounds of draws brought none that is new:
        all that are left hang on values that are hardly ever drawn.
        """
        seen = set(exclude)
        # where fields hang on others, most members may lie where draws hardly ever come
        small = LARGEST_LISTED if self.conditions else 1024
        if self.size <= max(4 * (n + len(seen)), small):
            rest = [a for a in self.enumerate() if a not in seen]
            order = rng.permutation(len(rest))
            return [rest[i] for i in order[:n]]
        found: list[Architecture] = []
        fruitless = 0
        while len(found) < n and fruitless < MAX_FRUITLESS_DRAWS:
            before = len(found)  # at least three quarters of the space is unseen
            for architecture in self.sample(n, rng):
                if architecture not in seen and len(found) < n:
                    seen.add(architecture)
                    found.append(architecture)
            fruitless = 0 if len(found) > before else fruitless + 1
        return found

    def enumerate(self) -> list[Architecture]:
        """All valid architectures; meant for small spaces."""
        names = (*self._joint_fields, *self._free_fields)
        if not self.conditions:
            free = [self.choices[f] for f in self._free_fields]
            return [
                Architecture(dict(zip(names, (*joint, *rest), strict=True)))
                for joint in self._joint
                for rest in product(*free)
            ]
        return [
            Architecture(values)
            for joint in self._joint
            for values in self.conditions.completions(
                dict(zip(self._joint_fields, joint, strict=True)), self._free_fields
            )
        ]

    def neighbours(self, architecture: Mapping[str, Value]) -> list[Architecture]:
        """The members that differ from this one in a single field, and what hangs on it."""
        row = self.to_indices([architecture])[0]
        rows = [row]
        for j, values in enumerate(self.choices.values()):
            for i in range(len(values)):
                rows.append(row.copy())
                rows[-1][j] = i
        changed = self.conditions.settle(np.array(rows))[1:]
        changed = changed[self.are_valid(changed) & (changed != row).any(axis=1)]
        return list(dict.fromkeys(self.from_rows(changed)))

    def nearest(self, distance: Callable[[str, Value], float]) -> Architecture:
        """The member for which the sum of ``distance(field, value)`` is least.

        Of several the first, in the order of the choices.
        """
        conditions, free = self.conditions, set(self._free_fields)

        def best(field: str, exists: bool) -> tuple[float, dict[str, Value]]:
            """The least sum over a field and what hangs on it."""
            options = []
            for value in self.choices[field] if exists else self.choices[field][:1]:
                parts = [
                    best(child, exists and conditions.is_under(child, value))
                    for child in conditions.children[field]
                    if child in free
                ]
                total = distance(field, value) + sum(part[0] for part in parts)
                options.append((total, {field: value, **_merged(part[1] for part in parts)}))
            return min(options, key=lambda option: option[0])

        roots = [best(field, True) for field in free if field not in conditions.parents]

        def completed(joint: Sequence[Value]) -> tuple[float, dict[str, Value]]:
            values = dict(zip(self._joint_fields, joint, strict=True))
            hanging = [f for f in free if conditions.parents.get(f) in values]
            absent = conditions.absent(values | {f: self.choices[f][0] for f in hanging})
            parts = [best(field, field not in absent) for field in hanging]
            total = sum(distance(f, v) for f, v in values.items()) + sum(part[0] for part in parts)
            return total, values | _merged(part[1] for part in parts)

        nearest = min(map(completed, self._joint), key=lambda option: option[0])
        return Architecture(nearest[1] | _merged(part[1] for part in roots))

    def to_indices(self, architectures: Sequence[Mapping[str, Value]]) -> np.ndarray:
        """Position of each value among its field's choices, (n, fields) integers.

        Raises:
            SpaceError: An architecture is not in the space.
        """
        places, rows = self._positions, []
        for i, architecture in enumerate(architectures):
            try:
                rows.append([
                    places[f][type(v := architecture[f]) is bool, v] for f in places
                ])  # fmt: skip
            except (KeyError, TypeError):
                raise self._stranger(i, architecture) from None
            if len(architecture) != len(places):
                raise self._stranger(i, architecture)
        found = np.array(rows, np.int64).reshape(len(rows), len(places))
        for i in np.flatnonzero(~self.are_valid(found))[:1]:
            raise self._stranger(i, architectures[i])
        return found

    def _stranger(self, i: int, architecture: Mapping[str, Value]) -> SpaceError:
        return SpaceError(f"architecture {i} is not in the space: {self.why_invalid(architecture)}")

    def from_indices(self, row: Sequence[int] | np.ndarray) -> Architecture | None:
        """The architecture at these positions; ``None`` if a rule or condition forbids it."""
        rows = np.array([row], np.int64)
        if rows.shape[1] != len(self.choices):
            raise ValueError(f"expected {len(self.choices)} positions; got {rows.shape[1]}")
        return self.from_rows(rows)[0] if self.are_valid(rows)[0] else None

    def from_rows(self, rows: np.ndarray) -> list[Architecture]:  # (n, f)
        """The architectures at valid positions; see ``are_valid``."""
        columns = {
            field: [values[i] for i in rows[:, j].tolist()]
            for j, (field, values) in enumerate(self.choices.items())
        }
        names = self._sorted_fields
        return [
            Architecture.of_plain(names, values)
            for values in zip(*(columns[name] for name in names), strict=True)
        ]

    def are_valid(self, rows: np.ndarray) -> np.ndarray:  # (n, f) -> (n,)
        """Which rows of positions are members."""
        lengths = [len(values) for values in self.choices.values()]
        valid = np.asarray(((rows >= 0) & (rows < lengths)).all(axis=1))
        valid[valid] = (self.conditions.settle(rows[valid]) == rows[valid]).all(axis=1)
        if self._joint_fields:
            column = {field: j for j, field in enumerate(self.choices)}
            tied = rows[:, [column[field] for field in self._joint_fields]]
            valid &= np.isin(tied @ self._strides, self._joint_rows @ self._strides)
        return valid

    @cached_property
    def _joint_rows(self) -> np.ndarray:  # (combinations, tied fields)
        rows = [
            [position(self.choices[f], v) for f, v in zip(self._joint_fields, joint, strict=True)]
            for joint in self._joint
        ]
        return np.array(rows, np.int64).reshape(len(rows), len(self._joint_fields))

    @cached_property
    def _strides(self) -> np.ndarray:  # (tied fields,)
        lengths = [len(self.choices[field]) for field in self._joint_fields]
        return np.cumprod([1, *lengths[:-1]]) if lengths else np.zeros(0, np.int64)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what ``encode`` returns, (d,)."""
        names: list[str] = []
        for field, values in self.choices.items():
            if len(values) <= 2 or is_ordered(values):
                names.append(field)
            else:
                names.extend(f"{field}={value}" for value in values)
        return tuple(names)

    def encode(self, architectures: Sequence[Mapping[str, Value]]) -> np.ndarray:
        """Numbers for a model, (n, d): ranks in [0, 1] and one-hot categories."""
        return self.encode_rows(self.to_indices(architectures))

    def encode_rows(self, indices: np.ndarray) -> np.ndarray:  # (n, f) -> (n, d)
        """As ``encode``, of positions among the choices."""
        columns: list[np.ndarray] = []
        for j, values in enumerate(self.choices.values()):
            if len(values) <= 2 or is_ordered(values):
                columns.append(indices[:, j] / max(len(values) - 1, 1))
            else:
                columns.extend(np.eye(len(values))[indices[:, j]].T)
        return np.stack(columns, axis=1).astype(np.float64)

    def describe(self) -> dict[str, object]:
        """All that defines the space, as plain data; the record of a run."""
        record: dict[str, object] = {
            "name": self.name,
            "family": self.family,
            "choices": {f: list(v) for f, v in self.choices.items()},
            "rules": [rule.reason for rule in self.rules],
            "baseline": self.baseline.to_dict() if self.baseline else None,
        }
        return record | ({"conditions": self.conditions.describe()} if self.conditions else {})

    def _allowed_combinations(self) -> tuple[tuple[str, ...], list[tuple[Value, ...]]]:
        named = self.conditions.with_ancestors([f for rule in self.rules for f in rule.fields])
        joint = tuple(f for f in self.conditions.order if f in named)
        if prod(len(self.choices[f]) for f in joint) > MAX_RULE_COMBINATIONS:
            raise SpaceError(
                f"the rules tie together {joint} with more than {MAX_RULE_COMBINATIONS:,} "
                "combinations; give these fields fewer choices"
            )
        if self.conditions:
            combinations = [
                tuple(values[f] for f in joint) for values in self.conditions.completions({}, joint)
            ]
        else:
            combinations = list(product(*(self.choices[f] for f in joint)))
        allowed = [values for values in combinations if self._is_allowed(joint, values)]
        if not allowed:
            reasons = "; ".join(rule.reason for rule in self.rules)
            raise SpaceError(f"the space is empty: no combination of choices satisfies: {reasons}")
        return joint, allowed

    def _is_allowed(self, joint: Sequence[str], combination: Sequence[Value]) -> bool:
        values = dict(zip(joint, combination, strict=True))
        absent = self.conditions.absent(values) if self.conditions else set()
        return all(
            not absent.isdisjoint(rule.fields) or rule.allows(*(values[f] for f in rule.fields))
            for rule in self.rules
        )


def _merged(parts: Iterable[dict[str, Value]]) -> dict[str, Value]:
    return {field: value for part in parts for field, value in part.items()}
