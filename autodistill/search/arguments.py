"""Checks of what a caller gives that are the same for every search."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from autodistill.errors import SearchError
from autodistill.space import SearchSpace

MAX_SEED = 2**32 - 1  # of scikit-learn
LARGEST, SMALLEST = 1e100, 1e-100  # sizes of numbers, as their squares are needed


def check_whole(what: str, value: object, *, least: int, most: int | None = None) -> None:
    """A whole number, Python's or NumPy's.

    Raises:
        SearchError: It is none, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise SearchError(f"{what} must be a whole number; got {value!r}")
    if int(value) < least:
        raise SearchError(f"{what} must be at least {least}; got {value}")
    if most is not None and int(value) > most:
        raise SearchError(f"{what} must be at most {most}; got {value}")


def check_space(value: object) -> None:
    """A search space.

    Raises:
        SearchError: It is none.
    """
    if not isinstance(value, SearchSpace):
        raise SearchError(
            f"space must be a SearchSpace; got {value!r}: SearchSpace.preset(NAME) or "
            "SearchSpace.from_yaml(FILE) gives one"
        )


def check_function(what: str, value: object) -> None:
    """A function, or nothing.

    Raises:
        SearchError: It is neither.
    """
    if value is not None and not callable(value):
        raise SearchError(f"{what} must be a function of architectures; got {value!r}")


def check_mapping(what: str, value: object) -> None:
    """A mapping, or nothing.

    Raises:
        SearchError: It is neither.
    """
    if value is not None and not isinstance(value, Mapping):
        raise SearchError(f"{what} must be a mapping; got {value!r}")


def check_functions(what: str, value: object) -> None:
    """A mapping to functions, or nothing.

    Raises:
        SearchError: It is neither.
    """
    check_mapping(what, value)
    if isinstance(value, Mapping):
        for key, of in value.items():
            if not callable(of):
                raise SearchError(
                    f"{what}[{key!r}] must be a function of architectures; got {of!r}"
                )


def check_known(value: object, n_objectives: int) -> None:
    """Functions of the objectives that are known, or nothing.

    Raises:
        SearchError: It is neither, or a key is no objective's column.
    """
    check_mapping("known", value)
    columns = range(n_objectives)
    if isinstance(value, Mapping) and (wrong := [key for key in value if key not in columns]):
        raise SearchError(f"known objectives {wrong} are not columns 0..{n_objectives - 1}")
    check_functions("known", value)


def floats(what: str, value: object) -> np.ndarray:
    """An array of floats, of any shape.

    Raises:
        SearchError: It is no array of numbers.
    """
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise SearchError(f"{what} must return numbers; {error}") from error


def listed(what: str, value: Any) -> Sequence[Any]:
    """Several of something, which one alone, a text or a mapping are not.

    Raises:
        SearchError: It is no sequence.
    """
    if isinstance(value, str | Mapping) or not hasattr(value, "__iter__"):
        raise SearchError(f"{what} must be a list; got {value!r}")
    return list(value)
