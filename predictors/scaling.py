"""Scales between the user's units and the unit-sized numbers that models see.

Scaled inputs have mean 0 and spread about 1. Scaled targets likewise, after a
logarithm where the target is modelled on its log scale.

Notation: z is a scaled target, ``z ~ Normal(mean, std**2)``; u is the same on
the modelled scale (log y or y), ``u = centre + scale * z``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from predictors.errors import InputError
from predictors.protocol import FloatArray
from predictors.state import flag, number, numbers

WIDEST_COLUMN = 8.0  # scaled units between the smallest and largest value of a column


@dataclass(frozen=True)
class InputScale:
    """Centre and scale of each column, both (columns,)."""

    centre: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, rows: FloatArray) -> "InputScale":  # rows: (rows, columns), as inputs checks them
        """Scale of each column: its standard deviation, with two exceptions.

        A column never spans more than eight units, so that a category seen once
        in a thousand rows does not lie thirty units away. A constant column is
        divided by its own size (or 1), so that doubling it counts as one unit.
        """
        centre, width = rows.mean(axis=0), np.ptp(rows, axis=0)
        scale = np.maximum(rows.std(axis=0), width / WIDEST_COLUMN)
        size = np.abs(rows).max(axis=0)
        constant = width <= 1e-12 * size
        centre = np.where(constant, rows[0], centre)
        scale = np.where(constant, np.where(size > 0, size, 1.0), scale)
        return cls(centre, scale)

    def apply(self, rows: FloatArray) -> FloatArray:
        """Scaled rows, same shape."""
        return np.asarray((rows - self.centre) / self.scale)

    def to_state(self) -> dict[str, Any]:
        """The fields as lists."""
        return {"centre": self.centre.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "InputScale":
        """Inverse of ``to_state``."""
        centre = numbers(state, "centre", (None,))
        return cls(centre, numbers(state, "scale", (len(centre),), above=0))


@dataclass(frozen=True)
class TargetScale:
    """How y becomes z, and how a prediction of z becomes one of y."""

    log: bool
    centre: float
    scale: float

    @classmethod
    def of(cls, y: FloatArray, *, log: bool) -> "TargetScale":  # y: (rows,), positive if log
        """Mean and standard deviation of u; a constant u is given the scale |u|, or 1.

        On the log scale a constant gets the scale 1, as the size of a logarithm
        depends on the unit of y.

        Raises:
            InputError: y is so large that its spread is not a number.
        """
        modelled = np.log(y) if log else y
        with np.errstate(over="ignore", invalid="ignore"):
            centre, scale = float(modelled.mean()), float(modelled.std())
        size = float(np.abs(modelled).max())
        if not np.isfinite(centre) or not np.isfinite(scale):
            raise InputError(
                f"y spreads too far for 64-bit numbers (largest size {size:.3g}). "
                "Divide y by a constant"
            )
        if scale <= 1e-12 * size or scale == 0:
            scale = 1.0 if log or size == 0 else size
        return cls(log, centre, scale)

    def apply(self, y: FloatArray) -> FloatArray:
        """``z`` of each y, same shape."""
        return np.asarray(((np.log(y) if self.log else y) - self.centre) / self.scale)

    def median(self, mean: FloatArray) -> FloatArray:
        """Median of y: ``exp(u)`` on the log scale, ``u`` otherwise; inf on overflow."""
        return self._back(self.centre + self.scale * mean)

    def std(self, mean: FloatArray, std: FloatArray) -> FloatArray:
        """Standard deviation of y, in the unit of y.

        With ``m, s`` the mean and standard deviation of u this is ``s``, or on
        the log scale that of a log-normal, ``exp(m + s**2 / 2) * sqrt(exp(s**2)
        - 1)``. A prediction too vague for 64-bit numbers gives inf.
        """
        spread = self.scale * std
        if not self.log:
            return np.asarray(spread)
        with np.errstate(over="ignore"):
            centre = self.centre + self.scale * mean
            return np.asarray(np.exp(centre + spread**2 / 2) * np.sqrt(np.expm1(spread**2)))

    def interval(
        self, mean: FloatArray, std: FloatArray, coverage: float
    ) -> tuple[FloatArray, FloatArray]:
        """Central interval of y with this probability, from quantiles of u."""
        if not 0 < coverage < 1:
            raise InputError(f"coverage must lie between 0 and 1, both excluded; got {coverage}")
        half = float(norm.ppf(0.5 + coverage / 2)) * std
        return self.median(mean - half), self.median(mean + half)

    def _back(self, modelled: FloatArray) -> FloatArray:
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(modelled) if self.log else modelled)

    def to_state(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {"log": self.log, "centre": self.centre, "scale": self.scale}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "TargetScale":
        """Inverse of ``to_state``."""
        return cls(flag(state, "log"), number(state, "centre"), number(state, "scale", above=0))
