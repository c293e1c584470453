"""How much two architectures have in common on a device that is yet to be known.

The new device's latency is one known device's, or a blend of two, plus a deviation.
The deviation is a Gaussian process whose covariance is a sum of kernels, each a way in
which devices differ; what each is worth is learned (``device_prior``).

Axes:  n, m = rows;  d = columns;  s = known devices ("sources").
Notation:
    x   (n, d) rows, standardised.
    g   (n, s) what the sources' models say of them, centred.
    r_j (s,)   correlation of column j with u, over the rows of each source.
    w_j (s,)   effect of one standard deviation of column j on each source, in
               standard deviations of that source: the column's profile.
Kernels, each scaled to a mean variance of one over the reference rows:
    blend    g a . g b, sources of one size: another weighting of the sources.
    profile  sum_jk x_j q(w_j, w_k) x_k with q = |w_j| |w_k| exp(-|w_j / |w_j| -
             w_k / |w_k||**2 / 2 r**2): columns that cost alike on known devices
             change their cost together. Columns of one operation find each other
             without being told.
    columns  sum_j |w_j|**2 x_j x_j: each column by itself, as much as it matters.
    relevant sum_j r_j**4 x_j x_j, averaged over sources: columns that go with latency
             by themselves, such as counts of multiply-adds, before all others.
    bend     Matern 5/2 of g: any smooth function of what the sources say.
    smooth   Matern 5/2 of x, and
    linear   x . x: what is known of no device at all.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from predictors.protocol import FloatArray
from predictors.scaling import InputScale

KERNELS = ("blend", "profile", "columns", "relevant", "bend", "smooth", "linear")
UNRELATED = (5, 6)  # the kernels that no source has a part in
PROFILE_RANGE = 0.7  # r above; profiles of unit length lie at most 2 apart
REFERENCE_ROWS = 200
TINY = 1e-12


@dataclass(frozen=True)
class Described:
    """Rows as the kernels see them: x (n, d) and g (n, s)."""

    x: FloatArray
    g: FloatArray


@dataclass(frozen=True)
class DeviceKernels:
    """The kernels, given what the sources taught.

    Attributes:
        input_scale: Centre and scale of the columns.
        profiles: (d, s) the w_j above.
        relevance: (d, s) the r_j above.
        spreads: (s,) standard deviation of each source's u over the reference rows.
        reference: Rows that stand for the space, at most 200.
    """

    input_scale: InputScale
    profiles: FloatArray
    relevance: FloatArray
    spreads: FloatArray
    reference: Described = field(repr=False)

    def only(self, kept: np.ndarray) -> "DeviceKernels":  # (s,) of bool
        """The same had only these sources been known."""
        reference = Described(self.reference.x, self.reference.g[:, kept])
        return DeviceKernels(
            self.input_scale,
            self.profiles[:, kept],
            self.relevance[:, kept],
            self.spreads[kept],
            reference,
        )

    @cached_property
    def variance(self) -> float:
        """The unit of all variances: that of u, a source's on average; 1 without sources."""
        return float(np.mean(self.spreads**2)) if self.spreads.any() else 1.0

    def __call__(self, a: Described, b: Described) -> FloatArray:
        """All kernels, (kernels, n, m)."""
        return self._raw(a, b) / self._sizes[:, None, None]

    def diagonal(self, rows: Described) -> FloatArray:
        """Each kernel of each row with itself, (kernels, n)."""
        return self._raw_diagonal(rows) / self._sizes[:, None]

    @cached_property
    def _sizes(self) -> FloatArray:
        return np.maximum(self._raw_diagonal(self.reference).mean(axis=1), TINY)

    @cached_property
    def _importance(self) -> FloatArray:  # (d,)
        return np.asarray(np.sqrt((self.profiles**2).sum(axis=1)))

    @cached_property
    def _relevance(self) -> FloatArray:  # (d,)
        if not self.spreads.size:
            return np.zeros(len(self.relevance))
        return np.asarray((self.relevance**4).mean(axis=1))

    @cached_property
    def _alike(self) -> FloatArray:  # (d, d)
        unit = self.profiles / np.maximum(self._importance, TINY)[:, None]
        apart = np.maximum(2 - 2 * unit @ unit.T, 0)
        size = self._importance[:, None] * self._importance
        return np.asarray(size * np.exp(-apart / (2 * PROFILE_RANGE**2)))

    def _sized(self, rows: Described) -> FloatArray:  # (n, s)
        return rows.g / np.where(self.spreads > 0, self.spreads, 1.0)

    def _raw(self, a: Described, b: Described) -> FloatArray:
        ga, gb = self._sized(a), self._sized(b)
        return np.stack(
            [
                ga @ gb.T,
                a.x @ self._alike @ b.x.T,
                (a.x * self._importance**2) @ b.x.T,
                (a.x * self._relevance) @ b.x.T,
                _matern(ga, gb),
                _matern(a.x, b.x),
                a.x @ b.x.T,
            ]
        )

    def _raw_diagonal(self, rows: Described) -> FloatArray:
        g, x, one = self._sized(rows), rows.x, np.ones(len(rows.x))
        return np.stack(
            [
                (g**2).sum(axis=1),
                np.einsum("nd,nd->n", x @ self._alike, x),
                x**2 @ self._importance**2,
                x**2 @ self._relevance,
                one,
                one,
                (x**2).sum(axis=1),
            ]
        )


def _matern(a: FloatArray, b: FloatArray) -> FloatArray:
    """Matern 5/2 of inputs of unit spread, at the lengthscale sqrt(columns)."""
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    q = np.sqrt(np.maximum(5 * squared / max(a.shape[1], 1), 0))
    return np.asarray((1 + q + q**2 / 3) * np.exp(-q))
