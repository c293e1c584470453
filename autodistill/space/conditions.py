"""Fields that exist only under some values of another field.

``{"heads_24": ("layers", {24})}``: the heads of layer 24 are a choice only where
there are 24 layers. A field that does not exist, as its parent has another value
or does not exist itself, stays at the first of its choices, so that each member
is written in one way only. Fields are numbered as in the choices.

Axes: n = architectures, f = fields.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np

from autodistill.errors import SpaceError
from autodistill.space.architecture import Value
from autodistill.space.choices import position

Given = Mapping[str, tuple[str, Sequence[Value] | set[Value]]]


class Conditions:
    """Which fields exist, given the values of others.

    Args:
        choices: Values of each field.
        given: Field -> its parent and the parent's values under which it exists.

    Raises:
        SpaceError: An unknown field or value, no value, or fields in a circle.
    """

    def __init__(self, choices: Mapping[str, tuple[Value, ...]], given: Given) -> None:
        if not isinstance(given, Mapping):
            raise SpaceError(
                f"conditions must be a mapping of fields to (parent, values); got {given!r}"
            )
        self.choices = choices
        self.values = {field: _values(choices, field, rest) for field, rest in given.items()}
        self.parents = {field: rest[0] for field, rest in given.items()}
        self.order = self._parents_first()
        self.children: dict[str, list[str]] = {field: [] for field in choices}
        for field in self.order:
            if field in self.parents:
                self.children[self.parents[field]].append(field)
        column = {field: j for j, field in enumerate(choices)}
        self._columns = [
            (column[field], column[self.parents[field]], self._where(field))
            for field in self.order
            if field in self.parents
        ]

    def __bool__(self) -> bool:
        return bool(self.parents)

    def with_ancestors(self, fields: Sequence[str]) -> set[str]:
        """The fields, and all on whose values their existence hangs."""
        found = set(fields)
        for field in reversed(self.order):
            if field in found and field in self.parents:
                found.add(self.parents[field])
        return found

    def is_under(self, field: str, value: Value) -> bool:
        """Whether a field exists where its parent exists and has this value."""
        return position(self.values[field], value) is not None

    def absent(self, values: Mapping[str, Value]) -> set[str]:
        """Fields that do not exist beside these values; parents must be among them."""
        missing: set[str] = set()
        for field in self.order:
            parent = self.parents.get(field)
            if parent is None or field not in values:
                continue
            if parent in missing or not self.is_under(field, values[parent]):
                missing.add(field)
        return missing

    def settled(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Fields that do not exist at their first choice, whatever they were, or if missing."""
        found, missing = dict(values), set()
        for field in self.order:
            parent = self.parents.get(field)
            if parent is None or (parent not in missing and parent not in found):
                continue
            if parent in missing or not self.is_under(field, found[parent]):
                missing.add(field)
                found[field] = self.choices[field][0]
        return found

    def settle(self, rows: np.ndarray) -> np.ndarray:  # (n, f) -> (n, f)
        """Index rows with the fields that do not exist at their first choice."""
        if not self:
            return rows
        rows, absent = rows.copy(), np.zeros(rows.shape, bool)
        for field, parent, on in self._columns:
            absent[:, field] = absent[:, parent] | ~on[rows[:, parent]]
        rows[absent] = 0
        return rows

    def completions(
        self, values: dict[str, Value], fields: Sequence[str]
    ) -> Iterator[dict[str, Value]]:
        """All ways to add these fields, parents first, to values that exist."""
        if not fields:
            yield dict(values)
            return
        field, rest = fields[0], fields[1:]
        is_there = field not in self.absent({**values, field: self.choices[field][0]})
        for value in self.choices[field] if is_there else self.choices[field][:1]:
            yield from self.completions({**values, field: value}, rest)

    def count(self, field: str, among: set[str]) -> int:
        """Ways to choose a field that exists, and those of ``among`` that hang on it."""
        children = [child for child in self.children[field] if child in among]
        return sum(
            prod(self.count(child, among) for child in children if self.is_under(child, value))
            for value in self.choices[field]
        )

    @property
    def given(self) -> dict[str, tuple[str, tuple[Value, ...]]]:
        """As they may be given again."""
        return {field: (parent, self.values[field]) for field, parent in self.parents.items()}

    def describe(self) -> dict[str, list[object]]:
        """Plain data, as a file holds it."""
        return {field: [self.parents[field], list(self.values[field])] for field in self.parents}

    def _where(self, field: str) -> np.ndarray:
        """Of each choice of the parent, whether the field exists under it."""
        return np.array(
            [self.is_under(field, value) for value in self.choices[self.parents[field]]]
        )

    def _parents_first(self) -> tuple[str, ...]:
        order: list[str] = []
        for field in self.choices:
            line = [field]
            while (parent := self.parents.get(line[-1])) is not None and parent not in order:
                if parent in line:
                    raise SpaceError(f"the conditions of {line} run in a circle")
                line.append(parent)
            order += [name for name in reversed(line) if name not in order]
        return tuple(order)


def _values(
    choices: Mapping[str, tuple[Value, ...]], field: str, rest: object
) -> tuple[Value, ...]:
    if not isinstance(rest, tuple | list) or len(rest) != 2:
        raise SpaceError(f"the condition of {field} must be (parent, values); got {rest!r}")
    parent, values = rest
    if unknown := [
        name for name in (field, parent) if not isinstance(name, str) or name not in choices
    ]:
        raise SpaceError(f"a condition names fields the space lacks: {unknown}")
    if not isinstance(values, Sequence | set | frozenset) or isinstance(values, str) or not values:
        raise SpaceError(f"the condition of {field} needs values of {parent}; got {values!r}")
    if wrong := [v for v in values if position(choices[parent], v) is None]:
        raise SpaceError(
            f"the condition of {field} names values that {parent} lacks: {wrong}; "
            f"it has {list(choices[parent])}"
        )
    return tuple(v for v in choices[parent] if position(tuple(values), v) is not None)
