"""The mathematics of one Gaussian process: covariance, posterior, prediction.

Pure functions of arrays; scaling and checks are the caller's, and so is the choice
of the kernel (see ``hyperparameters``).

Axes:  rows = n scaled inputs;  columns = d features.
Notation:
    s       s(a, b) = sum_j a_j b_j / t_j**2, with t the lengthscales of the trend.
    k       k(a, b) = v_matern * (1 + q + q**2 / 3) * exp(-q)
                      + v_linear * (1 + s) + v_quadratic * s**2
            with q = sqrt(5 * sum_j ((a_j - b_j) / l_j)**2), the Matern 5/2 kernel.
    K       k(x, x) + (v_noise + jitter) * I;  alpha = K^-1 z.

Linear and quadratic parts are the trend: a latency is nearly a sum of products of
widths and depths. Where trend and wiggles share their lengthscales, a column that
one of them finds irrelevant is so for the other, which few rows alone could not tell.

References:
    [RW2006] Rasmussen, Williams. Gaussian Processes for Machine Learning, 2006.
    [Foster2009] Foster et al. Stable and Efficient Gaussian Process Calculations.
    JMLR 10, 2009 (pivoted Cholesky picks the rows that tell most).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri

from predictors.protocol import FloatArray
from predictors.state import number, numbers
from predictors.threads import on_all_cores, slices

JITTER = 1e-12  # of the trace of k(x, x): keeps K positive definite to the last digit
CHUNK_ROWS = 256  # rows predicted at once: a chunk against 500 rows stays in the cache
BLOCK_ROWS = 128  # of a triangle, multiplied at once
THREADED_ROWS = 8 * CHUNK_ROWS  # from here on, chunks are shared among the cores
VARIANCES = ("matern", "linear", "quadratic", "noise")  # of a kernel, in order
VARIANCE_ROWS = 512  # rows that the variance is conditioned on at most


@dataclass(frozen=True)
class Kernel:
    """One covariance function and its noise.

    Attributes:
        lengthscales: (d,) of the Matern part, positive.
        trend_lengthscales: (d,) of the linear and the quadratic part, positive.
        matern: Variance of the Matern part.
        linear: Variance of the linear part.
        quadratic: Variance of the quadratic part, possibly zero.
        noise: Variance of the noise, positive.
    """

    lengthscales: FloatArray
    trend_lengthscales: FloatArray
    matern: float
    linear: float
    quadratic: float
    noise: float

    @property
    def n_columns(self) -> int:
        """``d``."""
        return len(self.lengthscales)

    def __call__(self, a: FloatArray, b: FloatArray) -> FloatArray:  # (m, d), (n, d) -> (m, n)
        """``k(a, b)`` without noise."""
        k, _ = matern(a / self.lengthscales, b / self.lengthscales)
        return np.asarray(self.matern * k + self.trend(a, b))

    def trend(self, a: FloatArray, b: FloatArray) -> FloatArray:  # (m, d), (n, d) -> (m, n)
        """Linear and quadratic part of ``k(a, b)``."""
        s = (a / self.trend_lengthscales) @ (b / self.trend_lengthscales).T
        k = self.quadratic * s
        k += self.linear
        k *= s
        k += self.linear
        return np.asarray(k)

    def diagonal(self, a: FloatArray) -> FloatArray:  # (m, d) -> (m,)
        """``k(a_i, a_i)`` of each row."""
        s = ((a / self.trend_lengthscales) ** 2).sum(axis=1)
        return np.asarray(self.matern + self.linear * (1 + s) + self.quadratic * s**2)

    def to_state(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Kernel":
        """Inverse of ``to_state``."""
        each = numbers(state, "lengthscales", (None,), above=0)
        trend = numbers(state, "trend_lengthscales", (len(each),), above=0)
        matern, linear, quadratic = (number(state, name, least=0) for name in VARIANCES[:-1])
        return cls(each, trend, matern, linear, quadratic, number(state, VARIANCES[-1], above=0))

    @classmethod
    def of_first_version(cls, theta: FloatArray) -> "Kernel":
        """From the ``theta`` of version 1: logarithms of (d + 3,) hyperparameters.

        Its trend was linear, and all columns had one lengthscale there, sqrt(d).
        """
        lengthscales, (wiggles, linear, noise) = np.exp(theta[:-3]), np.exp(theta[-3:])
        trend = np.full(len(lengthscales), np.sqrt(len(lengthscales)))
        return cls(lengthscales, trend, float(wiggles), float(linear), 0.0, float(noise))


@dataclass(frozen=True)
class Posterior:
    """A process given its data: what prediction needs."""

    kernel: Kernel
    x: FloatArray  # (n, d)
    factor: FloatArray  # (n, n), lower Cholesky factor of K
    alpha: FloatArray  # (n,)

    @cached_property
    def polynomial(self) -> tuple[float, FloatArray, FloatArray]:
        """Constant, slopes (d,) and curvatures (d, d) of the mean's trend."""
        x = self.x / self.kernel.trend_lengthscales
        weighted = x * self.alpha[:, None]
        return (
            self.kernel.linear * float(self.alpha.sum()),
            self.kernel.linear * weighted.sum(axis=0) / self.kernel.trend_lengthscales,
            self.kernel.quadratic * (x.T @ weighted),
        )

    @cached_property
    def spread(self) -> tuple[slice | NDArray[np.intp], FloatArray]:
        """Which rows the variance is conditioned on, r of them, and their whitening, (r, r).

        All rows where there are at most ``VARIANCE_ROWS``; else the most telling
        ones [Foster2009]. Fewer rows leave a larger variance, never a smaller one.
        """
        if len(self.x) <= VARIANCE_ROWS:
            chosen: slice | NDArray[np.intp] = slice(None)
            factor = self.factor
        else:
            chosen = telling_rows(self.kernel, self.x, VARIANCE_ROWS)
            factor = cholesky(noisy(self.kernel, self.x[chosen]), lower=True, check_finite=False)
        whitening = solve_triangular(factor, np.eye(len(factor)), lower=True, check_finite=False)
        return chosen, whitening


def matern(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit Matern 5/2 kernel of rows divided by their lengthscales, and its slope.

    The slope is ``g`` with ``dk/dlog l_j = g * (a_j - b_j)**2``.
    """
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * (a @ b.T)
    squared = np.maximum(squared, 0)
    q = np.sqrt(5 * squared)
    slope = (5 / 3) * (1 + q) * np.exp(-q)
    # 1 + q + q**2 / 3 = (1 + q) * (1 + (q**2 / 3) / (1 + q))
    return slope * (0.6 + squared / (1 + q)), slope


def noisy(kernel: Kernel, x: FloatArray) -> FloatArray:  # (n, d) -> (n, n)
    """``K``, of which the jitter is a vanishing share."""
    k = kernel(x, x)
    k[np.diag_indices(len(x))] += kernel.noise + JITTER * np.trace(k)
    return k


def condition(
    kernel: Kernel,
    x: FloatArray,  # (n, d)
    z: FloatArray,  # (n,)
) -> Posterior:
    """The process given that it was ``z`` at ``x``, up to noise."""
    factor = cholesky(noisy(kernel, x), lower=True, check_finite=False)
    return Posterior(kernel, x, factor, cho_solve((factor, True), z, check_finite=False))


def predict_mean(posterior: Posterior, rows: FloatArray) -> FloatArray:  # (m, d) -> (m,)
    """Mean of z at new rows."""
    mean = np.empty(len(rows))

    def predict(part: slice) -> None:
        mean[part] = _mean(posterior, rows[part], _wiggles(posterior, rows[part]))

    _in_chunks(predict, len(rows))
    return mean


def predict_mean_and_std(
    posterior: Posterior,
    rows: FloatArray,  # (m, d)
) -> tuple[FloatArray, FloatArray]:  # (m,), (m,)
    """Mean and standard deviation of a new, noisy measurement of z."""
    mean, variance = np.empty(len(rows)), np.empty(len(rows))
    kernel = posterior.kernel
    chosen, whitening = posterior.spread
    telling = posterior.x[chosen]

    def predict(part: slice) -> None:
        new = rows[part]
        cross = _wiggles(posterior, new)
        mean[part] = _mean(posterior, new, cross)
        cross = cross[:, chosen]
        cross *= kernel.matern
        cross += kernel.trend(new, telling)
        variance[part] = kernel.diagonal(new) - _explained(whitening, cross)

    _in_chunks(predict, len(rows))
    return mean, np.sqrt(np.maximum(variance, 0) + kernel.noise)


def leave_one_out(
    posterior: Posterior,
    groups: NDArray[np.intp],  # (n,)
) -> tuple[FloatArray, FloatArray]:  # (n,), (n,)
    """``z_i`` minus its mean given the rows of other groups, and the standard deviation there.

    For a row alone ``alpha_i / (K^-1)_ii`` and ``1 / sqrt((K^-1)_ii)`` ([RW2006], equations
    5.10 to 5.12), for rows G ``C alpha_G`` and the roots of C's diagonal, where C is the
    inverse of ``(K^-1)_GG``; the kernel is kept.
    """
    precision = inverse(posterior.factor)
    alone = np.diag(precision)
    residuals, stds = posterior.alpha / alone, 1 / np.sqrt(alone)
    labels, sizes = np.unique(groups, return_counts=True)
    for label in labels[sizes > 1]:
        rows = np.flatnonzero(groups == label)
        covariance = np.linalg.inv(precision[np.ix_(rows, rows)])
        residuals[rows] = covariance @ posterior.alpha[rows]
        stds[rows] = np.sqrt(np.diag(covariance))
    return np.asarray(residuals), np.asarray(stds)


def telling_rows(kernel: Kernel, x: FloatArray, count: int) -> np.ndarray:  # (count,)
    """Greedy choice: each row is the one whose value is least known from the others.

    The pivots of a Cholesky factorisation of ``k(x, x)`` [Foster2009].
    """
    left = kernel.diagonal(x)
    columns = np.empty((count, len(x)))
    chosen = np.empty(count, dtype=int)
    for step in range(count):
        chosen[step] = pivot = int(np.argmax(left))
        column = kernel(x[pivot : pivot + 1], x)[0] - columns[:step, pivot] @ columns[:step]
        columns[step] = column / np.sqrt(max(left[pivot], kernel.noise))
        left = np.maximum(left - columns[step] ** 2, 0)
        left[chosen[: step + 1]] = -np.inf
    return np.sort(chosen)


def inverse(factor: FloatArray) -> FloatArray:
    """``K^-1`` from the lower Cholesky factor of K, whose upper half is zero."""
    lower, info = dpotri(factor, lower=1)
    if info != 0:
        raise np.linalg.LinAlgError(f"dpotri could not invert the covariance (info {info})")
    whole = lower + lower.T
    whole[np.diag_indices(len(whole))] /= 2
    return np.asarray(whole)


def _wiggles(posterior: Posterior, rows: FloatArray) -> FloatArray:
    """Unit Matern part of ``k(rows, x)``, in as few passes over it as there can be."""
    root = np.sqrt(5) / posterior.kernel.lengthscales
    a, b = rows * root, posterior.x * root
    ones = np.ones((len(a), 1)), np.ones((len(b), 1))
    left = np.hstack([a, (a**2).sum(axis=1, keepdims=True), ones[0]])
    right = np.hstack([-2 * b, ones[1], (b**2).sum(axis=1, keepdims=True)])
    q = left @ right.T
    np.sqrt(np.maximum(q, 0, out=q), out=q)
    value = q / 3
    value += 1
    value *= q
    value += 1
    value *= np.exp(np.negative(q, out=q), out=q)
    return np.asarray(value)


def _mean(posterior: Posterior, rows: FloatArray, wiggles: FloatArray) -> FloatArray:
    """Wiggles pair by pair; the trend of all training rows is one polynomial."""
    constant, slopes, curvatures = posterior.polynomial
    scaled = rows / posterior.kernel.trend_lengthscales
    bend = np.einsum("md,md->m", scaled @ curvatures, scaled)
    near = posterior.kernel.matern * (wiggles @ posterior.alpha)
    return np.asarray(near + constant + rows @ slopes + bend)


def _explained(whitening: FloatArray, cross: FloatArray) -> FloatArray:  # (r, r), (m, r) -> (m,)
    """Squared length of ``whitening @ cross.T``, whose zero blocks are left out.

    Products of numpy let other threads work; those of scipy's BLAS, triangular ones among
    them, do not.
    """
    explained = np.zeros(len(cross))
    for stop in range(BLOCK_ROWS, len(whitening) + BLOCK_ROWS, BLOCK_ROWS):
        half = cross[:, :stop] @ whitening[stop - BLOCK_ROWS : stop, :stop].T
        explained += np.einsum("mr,mr->m", half, half)
    return explained


def _in_chunks(predict: Callable[[slice], None], n_rows: int) -> None:
    """Call ``predict`` on slices that cover the rows; on all cores where there are many."""
    parts = slices(n_rows, CHUNK_ROWS)
    if n_rows >= THREADED_ROWS:
        on_all_cores(predict, parts)
        return
    for part in parts:
        predict(part)
