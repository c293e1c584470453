"""Which Gaussian process: the most probable kernel for some rows.

Axes:  rows = n scaled inputs;  columns = d features.
Notation:
    phi     (d + 5,): d deviations r_j, one common scale c, and the logarithms of
            v_matern, v_linear, v_quadratic and v_noise. The lengthscales, of all
            parts of the kernel, are l_j = sqrt(d) * exp(c + r_j).

References:
    [RW2006] Rasmussen, Williams. Gaussian Processes for Machine Learning, 2006.
    [Hvarfner2024] Hvarfner, Hellsten, Nardi. Vanilla Bayesian Optimization
    Performs Great in High Dimensions. https://arxiv.org/abs/2402.02229
    [Eriksson2021] Eriksson, Jankowiak. High-Dimensional Bayesian Optimization with
    Sparse Axis-Aligned Subspaces. https://arxiv.org/abs/2103.00349
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize

from predictors.gaussian_process import (
    JITTER,
    Kernel,
    condition,
    inverse,
    matern,
    predict_mean_and_std,
)
from predictors.protocol import FloatArray

MAX_ITERATIONS = 150
SHORT_SEARCH = 15  # iterations that tell promising starts from others
FORGETTING = 4  # iterations after which a kernel no longer knows the rows left out
CONVERGED_GRADIENT = 0.1  # nats per e-fold of a hyperparameter: too little to matter
N_VARIANCES = 4


@dataclass(frozen=True)
class Prior:
    """What kernels are thought likely, and how far the search may go.

    Lengthscales grow with sqrt(d), as distances do, so that many columns do not
    make every row a stranger to every other [Hvarfner2024]. They have one common
    scale, normal, from which most columns deviate little and a few much: the
    deviations follow a Student distribution, whose heavy tails let a column be
    irrelevant, or decisive, at a bounded cost (the idea of [Eriksson2021]). With
    independent normal priors a hundred columns fitted thirty rows too well, and
    their intervals held three quarters of what they should. Noise is thought
    small, as latencies are medians of repeats, but may explain all of y; curvature
    of the trend is thought smaller still, as it runs away outside the data.

    Attributes:
        deviation: Scale of the deviations r.
        degrees: Their degrees of freedom.
        common: Standard deviation of the common scale c.
        mean: (4,) of the logarithms of the variances.
        std: (4,) likewise.
    """

    deviation: float = 0.5
    degrees: float = 3.0
    common: float = 1.0
    mean: tuple[float, ...] = (0.0, -1.0, -4.0, float(np.log(1e-2)))
    std: tuple[float, ...] = (1.5, 1.0, 1.5, 1.5)

    def bounds(self, n_columns: int) -> tuple[FloatArray, FloatArray]:
        """Least and largest phi, (d + 5,) each."""
        variances = np.log([[1e-3, 1e-3, 1e-6, 1e-6], [1e2, 1e2, 1e1, 2.0]])
        lower, upper = (
            np.concatenate([np.full(n_columns, r), [c], v])
            for r, c, v in zip((-4.0, 6.0), (-3.0, 4.0), variances, strict=True)
        )
        return lower, upper

    def start(self, n_columns: int) -> FloatArray:
        """The most probable phi before any data."""
        return np.concatenate([np.zeros(n_columns + 1), self.mean])

    def draw(self, n_columns: int, rng: np.random.RandomState) -> FloatArray:
        """One phi."""
        return np.concatenate(
            [
                self.deviation * rng.standard_t(self.degrees, n_columns),
                [rng.normal(0.0, self.common)],
                rng.normal(self.mean, self.std),
            ]
        )

    def penalty(self, phi: FloatArray) -> tuple[float, FloatArray]:
        """``-log p(phi)`` up to a constant, and its gradient."""
        d = len(phi) - N_VARIANCES - 1
        deviations, common, variances = phi[:d], phi[d], phi[d + 1 :]
        spread = self.degrees * self.deviation**2
        offset = (variances - self.mean) / self.std
        value = (
            (self.degrees + 1) / 2 * np.log1p(deviations**2 / spread).sum()
            + 0.5 * (common / self.common) ** 2
            + 0.5 * offset @ offset
        )
        heavy = (self.degrees + 1) * deviations / (spread + deviations**2)
        return float(value), np.concatenate([heavy, [common / self.common**2], offset / self.std])


def kernel_of(phi: FloatArray) -> Kernel:
    """The kernel that phi says."""
    d = len(phi) - N_VARIANCES - 1
    lengthscales = np.sqrt(d) * np.exp(phi[d] + phi[:d])
    return Kernel(lengthscales, lengthscales, *map(float, np.exp(phi[d + 1 :])))


def negative_log_posterior(
    phi: FloatArray,  # (d + 5,)
    x: FloatArray,  # (n, d)
    z: FloatArray,  # (n,)
    prior: Prior,
) -> tuple[float, FloatArray]:
    """``-log p(z | x, phi) - log p(phi)`` up to a constant, and its gradient.

    The gradient is ``sum(W * dK/dphi) / 2`` with ``W = K^-1 - alpha alpha^T``
    ([RW2006], equation 5.9). Along lengthscale j the sum over pairs of
    ``M_ik (x_ij - x_kj)**2`` is ``2 (sum_i x_ij**2 M_i. - x_j^T M x_j)``, so no
    (n, n, d) array is needed.
    """
    kernel = kernel_of(phi)
    scaled = x / kernel.lengthscales
    wiggles, slope = matern(scaled, scaled)
    s = scaled @ scaled.T
    squares = s**2
    k = kernel.matern * wiggles + kernel.linear * (1 + s) + kernel.quadratic * squares
    k[np.diag_indices(len(x))] += kernel.noise + JITTER * np.trace(k)
    factor = cholesky(k, lower=True, check_finite=False)
    alpha = cho_solve((factor, True), z, check_finite=False)
    w = inverse(factor) - np.outer(alpha, alpha)

    near = kernel.matern * (w * slope)
    trend = w * (kernel.linear + 2 * kernel.quadratic * s)
    pairs = scaled**2 * near.sum(axis=1)[:, None] - scaled * ((near + trend) @ scaled)
    along = pairs.sum(axis=0)
    variances = 0.5 * np.array(
        [
            kernel.matern * np.vdot(w, wiggles),
            kernel.linear * (w.sum() + np.vdot(w, s)),
            kernel.quadratic * np.vdot(w, squares),
            kernel.noise * np.trace(w),
        ]
    )
    penalty, gradient = prior.penalty(phi)
    gradient += np.concatenate([along, [along.sum()], variances])
    return float(0.5 * z @ alpha + np.log(np.diag(factor)).sum() + penalty), gradient


def most_probable_phi(
    x: FloatArray,  # (n, d)
    z: FloatArray,  # (n,)
    *,
    n_starts: int,
    rng: np.random.RandomState,
) -> tuple[FloatArray, bool]:
    """Best phi found, (d + 5,), and whether the search for it converged.

    One search starts at the prior's mode. If there are more, each is short at
    first, the others starting at draws from the prior, and the best of them is
    carried to its end. It has converged if L-BFGS-B says so, or if it stopped
    where no direction inside the bounds is worth following.
    """
    prior, d = Prior(), x.shape[1]
    start = prior.start(d)
    if n_starts > 1:
        starts = [start] + [prior.draw(d, rng) for _ in range(n_starts - 1)]
        found = [_search(x, z, prior, s, iterations=SHORT_SEARCH) for s in starts]
        start = min(found, key=lambda end: end.fun).x
    best = _search(x, z, prior, start, iterations=MAX_ITERATIONS)
    phi = np.asarray(best.x)
    step = np.clip(phi - best.jac, *prior.bounds(d)) - phi
    return phi, bool(best.success or np.abs(step).max() < CONVERGED_GRADIENT)


def held_out_errors(
    phi: FloatArray,  # (d + 5,)
    x: FloatArray,  # (n, d)
    z: FloatArray,  # (n,)
    folds: Sequence[np.ndarray],
) -> tuple[FloatArray, FloatArray]:  # (n,), (n,)
    """Errors at rows that the kernel had not seen either, and standard deviations there.

    For each fold the search goes on from ``phi`` without the fold's rows, for a few
    steps, which forget what the kernel learnt from them. Leaving rows out under one
    kernel flatters it where it has as many hyperparameters as there are rows.
    """
    errors, stds = np.empty(len(z)), np.empty(len(z))
    for fold in folds:
        kept = np.setdiff1d(np.arange(len(z)), fold)
        found = _search(x[kept], z[kept], Prior(), phi, iterations=FORGETTING)
        posterior = condition(kernel_of(np.asarray(found.x)), x[kept], z[kept])
        mean, stds[fold] = predict_mean_and_std(posterior, x[fold])
        errors[fold] = z[fold] - mean
    return errors, stds


def _search(x: FloatArray, z: FloatArray, prior: Prior, start: FloatArray, iterations: int) -> Any:
    lower, upper = prior.bounds(x.shape[1])
    return minimize(
        negative_log_posterior,
        np.clip(start, lower, upper),
        args=(x, z, prior),
        jac=True,
        method="L-BFGS-B",
        bounds=np.column_stack([lower, upper]),
        options={"maxiter": iterations, "ftol": 1e-7},
    )
