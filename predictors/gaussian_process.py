"""The mathematics of one Gaussian process: covariance, fit, posterior.

Pure functions of arrays; scaling and checks are the caller's.

Axes:  rows = n scaled inputs;  columns = d features.
Notation:
    theta   (d + 3,) logarithms of: d lengthscales, variance of the Matern part,
            variance of the linear part, variance of the noise.
    k       k(a, b) = v_matern * (1 + q + q**2 / 3) * exp(-q)
                      + v_linear * (1 + a.b / d)
            with q = sqrt(5 * sum_j ((a_j - b_j) / l_j)**2), the Matern 5/2 kernel.
    K       k(x, x) + v_noise * I;  alpha = K^-1 z.

References:
    [RW2006] Rasmussen, Williams. Gaussian Processes for Machine Learning, 2006.
    [Hvarfner2024] Hvarfner, Hellsten, Nardi. Vanilla Bayesian Optimization
    Performs Great in High Dimensions. https://arxiv.org/abs/2402.02229
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from predictors.protocol import FloatArray

MAX_ITERATIONS = 150
SHORT_SEARCH = 15  # iterations that tell promising starts from others
CONVERGED_GRADIENT = 0.1  # nats per e-fold of a hyperparameter: too little to matter
CHUNK_ROWS = 2048  # rows predicted at once: bounds memory


@dataclass(frozen=True)
class Prior:
    """Independent normal priors on theta, and its bounds; each (d + 3,).

    Lengthscales grow with sqrt(d), as distances do, so that many columns do not
    make every row a stranger to every other [Hvarfner2024]; they start shorter than
    in that paper, as longer ones made intervals from 4 to 20 rows too narrow. The
    noise is thought small, as latencies are medians of repeats, but may explain
    all of y. The bounds keep K well conditioned, so that no jitter is added.
    """

    mean: FloatArray
    std: FloatArray
    lower: FloatArray
    upper: FloatArray

    @classmethod
    def of(cls, n_columns: int) -> "Prior":
        """The prior for this many columns."""
        d = n_columns

        def vector(lengthscale: float, *rest: float) -> FloatArray:
            return np.array([lengthscale] * d + list(rest))

        return cls(
            mean=vector(0.5 * np.log(d), 0.0, -1.0, np.log(1e-2)),
            std=vector(1.2, 1.5, 1.0, 1.5),
            lower=np.log(vector(0.05, 1e-3, 1e-3, 1e-6)),
            upper=np.log(vector(1e3, 1e2, 1e2, 2.0)),
        )


@dataclass(frozen=True)
class Posterior:
    """A process given its data: what prediction needs."""

    theta: FloatArray  # (d + 3,)
    x: FloatArray  # (n, d)
    factor: FloatArray  # (n, n), lower Cholesky factor of K
    alpha: FloatArray  # (n,)


def covariance(
    a: FloatArray,  # (m, d)
    b: FloatArray,  # (n, d)
    theta: FloatArray,  # (d + 3,)
) -> FloatArray:  # (m, n)
    """``k(a, b)`` without noise."""
    matern, _ = _matern(a, b, np.exp(theta[:-3]))
    matern *= np.exp(theta[-3])
    matern += np.exp(theta[-2]) * (1 + a @ b.T / a.shape[1])
    return matern


def negative_log_posterior(
    theta: FloatArray,  # (d + 3,)
    x: FloatArray,  # (n, d)
    z: FloatArray,  # (n,)
    prior: Prior,
) -> tuple[float, FloatArray]:
    """``-log p(z | x, theta) - log p(theta)`` up to a constant, and its gradient.

    The gradient is ``sum(W * dK/dtheta) / 2`` with ``W = K^-1 - alpha alpha^T``
    ([RW2006], equation 5.9). Along lengthscale j the sum over pairs of
    ``M_ik (x_ij - x_kj)**2`` is ``2 (sum_i x_ij**2 M_i. - x_j^T M x_j)``, so no
    (n, n, d) array is needed.
    """
    n, d = x.shape
    lengthscales, variances = np.exp(theta[:-3]), np.exp(theta[-3:])
    matern, slope = _matern(x, x, lengthscales)
    linear = 1 + x @ x.T / d
    k = variances[0] * matern + variances[1] * linear
    k[np.diag_indices(n)] += variances[2]
    factor = cholesky(k, lower=True, check_finite=False)
    alpha = cho_solve((factor, True), z, check_finite=False)
    w = _inverse(factor) - np.outer(alpha, alpha)

    weighted = variances[0] * (w * slope)
    scaled = x / lengthscales
    pairs = scaled**2 * weighted.sum(axis=1)[:, None] - scaled * (weighted @ scaled)
    gradient = np.concatenate(
        [
            pairs.sum(axis=0),
            0.5 * variances * np.array([np.vdot(w, matern), np.vdot(w, linear), np.trace(w)]),
        ]
    )
    offset = (theta - prior.mean) / prior.std
    value = 0.5 * z @ alpha + np.log(np.diag(factor)).sum() + 0.5 * offset @ offset
    return float(value), gradient + offset / prior.std


def most_probable_theta(
    x: FloatArray,  # (n, d)
    z: FloatArray,  # (n,)
    *,
    n_starts: int,
    rng: np.random.RandomState,
) -> tuple[FloatArray, bool]:
    """Best theta found, and whether the search for it converged.

    A short search starts at the prior's mean, others at draws from the prior; the
    best of them is carried to its end. It has converged if L-BFGS-B says so, or
    if it stopped where no direction inside the bounds is worth following.
    """
    prior = Prior.of(x.shape[1])

    def search(start: FloatArray, iterations: int) -> Any:
        return minimize(
            negative_log_posterior,
            np.clip(start, prior.lower, prior.upper),
            args=(x, z, prior),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(prior.lower, prior.upper, strict=True)),
            options={"maxiter": iterations, "ftol": 1e-7},
        )

    starts = [prior.mean] + [rng.normal(prior.mean, prior.std) for _ in range(n_starts - 1)]
    promising = min((search(start, SHORT_SEARCH) for start in starts), key=lambda found: found.fun)
    best = search(promising.x, MAX_ITERATIONS)
    theta = np.asarray(best.x)
    step = np.clip(theta - best.jac, prior.lower, prior.upper) - theta
    return theta, bool(best.success or np.abs(step).max() < CONVERGED_GRADIENT)


def condition(
    theta: FloatArray,  # (d + 3,)
    x: FloatArray,  # (n, d)
    z: FloatArray,  # (n,)
) -> Posterior:
    """The process given that it was ``z`` at ``x``, up to noise."""
    k = covariance(x, x, theta)
    k[np.diag_indices(len(x))] += np.exp(theta[-1])
    factor = cholesky(k, lower=True, check_finite=False)
    return Posterior(theta, x, factor, cho_solve((factor, True), z, check_finite=False))


def predict_mean(posterior: Posterior, rows: FloatArray) -> FloatArray:  # (m, d) -> (m,)
    """Mean of z at new rows."""
    mean = np.empty(len(rows))
    for part in _chunks(len(rows)):
        mean[part] = covariance(rows[part], posterior.x, posterior.theta) @ posterior.alpha
    return mean


def predict_mean_and_std(
    posterior: Posterior,
    rows: FloatArray,  # (m, d)
) -> tuple[FloatArray, FloatArray]:  # (m,), (m,)
    """Mean and standard deviation of a new, noisy measurement of z."""
    mean, variance = np.empty(len(rows)), np.empty(len(rows))
    matern, linear, noise = np.exp(posterior.theta[-3:])
    for part in _chunks(len(rows)):
        cross = covariance(rows[part], posterior.x, posterior.theta)
        mean[part] = cross @ posterior.alpha
        half = solve_triangular(posterior.factor, cross.T, lower=True, check_finite=False)
        prior_variance = matern + linear * (1 + (rows[part] ** 2).mean(axis=1))
        variance[part] = prior_variance - np.einsum("nm,nm->m", half, half)
    return mean, np.sqrt(np.maximum(variance, 0) + noise)


def leave_one_out_residuals(posterior: Posterior) -> FloatArray:  # (n,)
    """``z_i`` minus its mean given all other rows: ``alpha_i / (K^-1)_ii``.

    [RW2006], equation 5.12; theta is kept.
    """
    return np.asarray(posterior.alpha / np.diag(_inverse(posterior.factor)))


def _matern(
    a: FloatArray, b: FloatArray, lengthscales: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Unit Matern 5/2 kernel, and ``s`` with ``dk/dlog l_j = s * ((a_j - b_j) / l_j)**2``."""
    a, b = a / lengthscales, b / lengthscales
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * (a @ b.T)
    q = np.sqrt(np.maximum(5 * squared, 0))
    decay = np.exp(-q)
    return (1 + q + q**2 / 3) * decay, 5 / 3 * (1 + q) * decay


def _inverse(factor: FloatArray) -> FloatArray:
    """``K^-1`` from the lower Cholesky factor of K."""
    lower, info = dpotri(factor, lower=1)
    if info != 0:
        raise np.linalg.LinAlgError(f"dpotri could not invert the covariance (info {info})")
    lower = np.tril(lower)
    return np.asarray(lower + np.tril(lower, -1).T)


def _chunks(n_rows: int) -> list[slice]:
    return [slice(start, start + CHUNK_ROWS) for start in range(0, n_rows, CHUNK_ROWS)]
