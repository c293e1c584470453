"""From a model's own uncertainty to one that its held-out errors bear out.

A model gives each row a mean m and a standard deviation s. Its errors at rows that
it was not fitted on, divided by their s, should look like draws of a standard
normal. Where they do not, the spread is rescaled by their size, and the bounds of an
interval are taken from their quantiles, so that heavy tails widen the outer
intervals and not the inner ones.

Notation:
    t       |error| / s of one held-out row.
    trust   n / (n + PRIOR_ROWS): how far n held-out rows outweigh the normal.

References:
    [Barber2021] Barber, Candes, Ramdas, Tibshirani. Predictive inference with the
    jackknife+. Annals of Statistics 49(1), 2021 (held-out errors measure the error
    of a prediction; the quantile that holds a new one is that of n + 1 rows).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from predictors.errors import InputError
from predictors.protocol import FloatArray
from predictors.state import count, number, numbers

PRIOR_ROWS = 20.0  # a normal distribution counts as much as this many held-out rows
KEPT = 400  # quantiles kept of more held-out rows than this: enough for any interval


@dataclass(frozen=True)
class ErrorScale:
    """How large held-out errors are against the model's standard deviations.

    Attributes:
        ratios: Sorted t of the held-out rows, or ``KEPT`` quantiles of them;
            empty where nothing was held out.
        n_rows: Number of held-out rows.
        spread: What the model's standard deviation is multiplied by.
    """

    ratios: FloatArray
    n_rows: int
    spread: float

    @classmethod
    def of(cls, errors: FloatArray, std: FloatArray) -> "ErrorScale":  # (n,), (n,)
        """From errors at held-out rows and the standard deviations given there."""
        t = np.sort(np.abs(errors) / std)
        square = (PRIOR_ROWS + float(t @ t)) / (PRIOR_ROWS + len(t))
        kept = np.quantile(t, (np.arange(KEPT) + 0.5) / KEPT) if len(t) > KEPT else t
        return cls(kept, len(t), float(np.sqrt(square)))

    @classmethod
    def none(cls) -> "ErrorScale":
        """The model as it is."""
        return cls(np.empty(0), 0, 1.0)

    def half_width(self, coverage: float) -> float:
        """Half an interval's width, in standard deviations of the model.

        The normal quantile, and with more and more held-out rows their own: the
        smallest t that at least ``coverage * (n + 1)`` of them do not exceed
        [Barber2021]. Where they are too few for that, the normal one, or if that is
        wider the largest of theirs.

        Raises:
            InputError: ``coverage`` is not between 0 and 1.
        """
        if not 0 < coverage < 1:
            raise InputError(f"coverage must lie between 0 and 1, both excluded; got {coverage}")
        normal = self.spread * float(norm.ppf(0.5 + coverage / 2))
        n = len(self.ratios)
        rank = int(np.ceil(coverage * (n + 1)))
        trust = self.n_rows / (self.n_rows + PRIOR_ROWS)
        if rank > n:  # never narrower than at the largest coverage that they can tell
            largest = float(self.ratios[-1]) if n else 0.0
            return max(normal, (1 - trust) * normal + trust * largest)
        return (1 - trust) * normal + trust * float(self.ratios[rank - 1])

    def to_state(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {"ratios": self.ratios.tolist(), "n_rows": self.n_rows, "spread": self.spread}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "ErrorScale":
        """Inverse of ``to_state``."""
        n_rows, spread = count(state, "n_rows"), number(state, "spread", above=0)
        ratios = numbers(state, "ratios", (min(n_rows, KEPT),), least=0)
        if (np.diff(ratios) < 0).any():
            raise ValueError("'ratios' must be sorted")
        # The spread where no row erred; in files of version 2 that of "xgb" is always 1.
        perfect = np.sqrt(PRIOR_ROWS / (PRIOR_ROWS + n_rows)), 1.0
        if n_rows and not ratios.any() and not np.isclose(spread, perfect).any():
            raise ValueError(f"'ratios' are all zero; a spread of {spread:g} says otherwise")
        return cls(ratios, n_rows, spread)
