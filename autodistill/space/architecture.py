"""One architecture: a frozen set of named choices."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autodistill.errors import SpaceError

Value = int | float | str | bool


class Architecture(Mapping[str, Value]):
    """An immutable, hashable mapping of field to value.

    Fields carry Hugging Face's config names where the space is one of encoders.
    Two architectures are equal when their fields and values are; 8 is 8.0, but
    True is not 1.

    Example:
        >>> a = Architecture({"num_hidden_layers": 4, "hidden_size": 256})
        >>> a["hidden_size"], a == Architecture(hidden_size=256, num_hidden_layers=4)
        (256, True)
    """

    __slots__ = ("_key", "_values")

    def __init__(self, values: Mapping[str, Value] | None = None, **fields: Value) -> None:
        merged = {**(values or {}), **fields}
        if not merged:
            raise SpaceError("an architecture needs at least one field; got none")
        plain = {name: _plain(name, value) for name, value in merged.items()}
        self._values = {name: plain[name] for name in sorted(plain)}
        # No hash is kept: a pickled one would be wrong in another process.
        self._key = tuple((name, type(v) is bool, v) for name, v in self._values.items())

    @classmethod
    def of_plain(cls, names: tuple[str, ...], values: Sequence[Value]) -> "Architecture":
        """One of names in alphabetical order and Python's own scalars; nothing is checked."""
        made = cls.__new__(cls)
        made._values = dict(zip(names, values, strict=True))
        made._key = tuple((name, type(v) is bool, v) for name, v in made._values.items())
        return made

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Architecture):
            return self._key == other._key
        return NotImplemented

    def __repr__(self) -> str:
        return f"Architecture({self._values})"

    @property
    def id(self) -> str:
        """Ten hexadecimal digits that name this architecture for ever."""
        text = json.dumps(self._values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def to_dict(self) -> dict[str, Value]:
        """A plain copy, fields in alphabetical order."""
        return dict(self._values)


def _plain(name: str, value: Any) -> Value:
    """Python's own scalar for a value that may come from numpy or YAML; 8 for 8.0."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if not isinstance(name, str) or not isinstance(value, int | float | str | bool):
        raise SpaceError(
            "an architecture maps names to numbers, strings or booleans; "
            f"got {name!r}: {value!r} ({type(value).__name__})"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise SpaceError(f"{name} must be finite; got {value!r}")
    return int(value) if isinstance(value, float) and value.is_integer() else value
