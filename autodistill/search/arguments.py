"""Checks of what a caller gives that are the same for every search."""

from numbers import Integral

from autodistill.errors import SearchError


def check_whole(what: str, value: object, *, least: int) -> None:
    """A whole number, Python's or NumPy's.

    Raises:
        SearchError: It is none, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise SearchError(f"{what} must be a whole number; got {value!r}")
    if int(value) < least:
        raise SearchError(f"{what} must be at least {least}; got {value}")
