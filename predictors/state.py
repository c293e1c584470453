"""What a predictor file says, checked: finite numbers of the right shape and sign.

JSON lets a ``null`` stand for a number and reads ``1e999`` as infinity; either would load
and predict NaN. Each function takes the value ``state[key]`` and raises a ValueError that
names it where it cannot be meant; ``load`` adds the name of the file.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from predictors.protocol import FloatArray

ROUNDING = 1e-6  # of a sum of shares: far more than rounding, far less than damage


def numbers(
    state: Mapping[str, Any],
    key: str,
    shape: tuple[int | None, ...],
    *,
    least: float = -np.inf,
    above: float = -np.inf,
) -> FloatArray:
    """Finite numbers of this shape; None in it is any length.

    Args:
        state: Of a predictor, or of a part of it.
        key: Which of its values.
        shape: Expected; ``()`` is one number.
        least: None of the numbers is smaller.
        above: All of them are larger.

    Example:
        >>> numbers({"scale": [1, 2]}, "scale", (None,), above=0).tolist()
        [1.0, 2.0]
        >>> numbers({"scale": [1, None]}, "scale", (None,))
        Traceback (most recent call last):
        ValueError: 'scale' must hold numbers only
    """
    value = state[key]
    try:
        found = np.array(value)
    except ValueError as error:  # rows of several lengths
        raise ValueError(f"{key!r} must have rows of one length") from error
    if found.dtype.kind not in "iuf":
        raise ValueError(f"{key!r} must hold numbers only")
    if len(found.shape) != len(shape) or any(
        wanted is not None and wanted != length
        for wanted, length in zip(shape, found.shape, strict=True)
    ):
        wanted = tuple("any" if length is None else length for length in shape)
        raise ValueError(f"{key!r} must have the shape {_told(wanted)}; got {_told(found.shape)}")
    if not np.isfinite(found).all():
        raise ValueError(f"{key!r} must be finite")
    if (found < least).any():
        raise ValueError(f"{key!r} must be at least {least:g}; got {found.min():g}")
    if (found <= above).any():
        raise ValueError(f"{key!r} must be above {above:g}; got {found.min():g}")
    return found.astype(np.float64)


def number(
    state: Mapping[str, Any], key: str, *, least: float = -np.inf, above: float = -np.inf
) -> float:
    """One finite number."""
    return float(numbers(state, key, (), least=least, above=above))


def count(state: Mapping[str, Any], key: str, *, least: int = 0) -> int:
    """A whole number of at least ``least``."""
    value = state[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{key!r} must be a whole number of at least {least}; got {value!r}")
    return value


def flag(state: Mapping[str, Any], key: str) -> bool:
    """True or false."""
    value = state[key]
    if value not in (True, False):
        raise ValueError(f"{key!r} must be true or false; got {value!r}")
    return bool(value)


def check_one_scale(log_target: object, *logs: bool) -> None:
    """Refuse ``log_target`` of a file that the scales learned with it contradict."""
    if log_target not in (True, False) or any(log != log_target for log in logs):
        told = " and ".join(sorted({f"log={log}" for log in logs}))
        raise ValueError(f"'log_target' is {log_target!r}, but what was learned has {told}")


def shares(state: Mapping[str, Any], key: str, shape: tuple[int | None, ...]) -> FloatArray:
    """Numbers of which none is negative and whose sum is one."""
    found = numbers(state, key, shape, least=0)
    if abs((total := float(found.sum())) - 1) > ROUNDING:
        raise ValueError(f"{key!r} must add up to 1; got {total:g}")
    return found


def booster(member: Mapping[str, Any], n_columns: int, *, n_threads: int) -> Any:
    """A model from XGBoost's own JSON, for rows of so many columns."""
    import xgboost

    text = json.dumps(member, allow_nan=False)
    try:
        made = xgboost.Booster({"nthread": n_threads})
        made.load_model(bytearray(text.encode()))
    except xgboost.core.XGBoostError as error:  # its message goes on with a trace
        raise ValueError(f"XGBoost cannot read a member: {str(error).splitlines()[0]}") from error
    if made.num_features() != n_columns:
        raise ValueError(f"a member has {made.num_features()} columns; expected {n_columns}")
    return made


def _told(shape: tuple[object, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
