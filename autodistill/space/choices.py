"""The choices of one field: checked, in order, found again by value."""

from collections.abc import Sequence

from autodistill.errors import SpaceError
from autodistill.space.architecture import Architecture, Value


def checked(field: str, values: Sequence[Value]) -> tuple[Value, ...]:
    """Plain values of a field, numbers in ascending order.

    Raises:
        SpaceError: No list, an empty one, or a choice named twice.
    """
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise SpaceError(f"{field} needs a list of at least one choice; got {values!r}")
    plain = tuple(Architecture({field: value})[field] for value in values)
    if len(set(map(repr, plain))) < len(plain):
        raise SpaceError(f"{field} names a choice twice: {list(values)}")
    return tuple(sorted(plain)) if is_ordered(plain) else plain


def is_ordered(values: Sequence[Value]) -> bool:
    """Whether all are numbers."""
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def position(values: Sequence[Value], value: object) -> int | None:
    """Where a value stands; True is not 1, and 8 is 8.0."""
    for i, candidate in enumerate(values):
        if candidate == value and isinstance(candidate, bool) == isinstance(value, bool):
            return i
    return None
