"""A Gaussian process as the search uses it: exact values, noisy ones, and imagined ones.

``predictors.GPPredictor`` finds the hyperparameters. Its noise is all that the
columns do not explain; of this, what is declared as noise of the measurements is
taken off, and the rest belongs to the architecture: asked again it would answer
the same. So an exact evaluation says all about its own architecture, and the
uncertainty of another one includes what its columns do not tell.

Architectures that are being evaluated, and those whose evaluations are noisy, are
filled in by draws from their joint posterior; given a draw, the process is exact
again. Averaging over draws is the noisy improvement of [Daulton2021].

Axes: n = architectures told, p = pending, k = new, s = draws, d = columns.

References:
    [Daulton2021] Daulton, Balandat, Bakshy. Parallel Bayesian optimization of
    multiple noisy objectives with expected hypervolume improvement.
    https://arxiv.org/abs/2105.08195
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from predictors import GPPredictor

LEAST_NUGGET = 1e-6  # of the scaled target
LEAST_SHARE = 1e-9  # of the prior variance: far from all told rows it may be 10^20 times theirs


@dataclass(frozen=True)
class Process:
    """A fitted process in scaled units, with the architectures' own part of the noise.

    Attributes:
        predictor: Where hyperparameters and scales come from.
        x: (n, d) scaled columns.
        z: (n,) scaled targets.
        noise: (n,) variance of each target as a measurement, scaled.
        nugget: Variance, scaled, that the columns do not explain.
    """

    predictor: GPPredictor
    x: np.ndarray
    z: np.ndarray
    noise: np.ndarray
    nugget: float

    @classmethod
    def of(
        cls,
        predictor: GPPredictor,
        x: np.ndarray,  # (n, d)
        y: np.ndarray,  # (n,)
        variance: np.ndarray,  # (n,), of y as a measurement
    ) -> "Process":
        """From a fitted predictor and the rows that it was fitted on."""
        noise = variance / predictor.target_scale_.scale**2
        unexplained = predictor.error_scale_.spread**2 * predictor.posterior_.kernel.noise
        return cls(
            predictor,
            predictor.input_scale_.apply(x),
            predictor.target_scale_.apply(y),
            noise,
            max(unexplained - float(noise.mean()), LEAST_NUGGET),
        )

    def covariance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Between the explained parts of scaled rows, as wide as held-out errors ask for."""
        spread = self.predictor.error_scale_.spread
        return np.asarray(spread**2 * self.predictor.posterior_.kernel(a, b))

    def variance(self, rows: np.ndarray) -> np.ndarray:  # (k, d) -> (k,)
        """Of the explained parts of scaled rows, before anything is told."""
        spread = self.predictor.error_scale_.spread
        return np.asarray(spread**2 * self.predictor.posterior_.kernel.diagonal(rows))

    def own(self, variance: np.ndarray) -> np.ndarray:  # (k,) -> (k,)
        """The nugget of each; more where it would be lost in rounding beside the variance."""
        return np.maximum(self.nugget, LEAST_SHARE * variance)

    def imagine(
        self,
        pending: np.ndarray,  # (p, d), not scaled
        draws: np.ndarray,  # (s, n + p) standard normal
    ) -> "Imagined":
        """The process with every told and pending value filled in by each draw.

        Told values that are exact are themselves in all draws.
        """
        n, scale = len(self.x), self.predictor.target_scale_
        x = np.vstack([self.x, self.predictor.input_scale_.apply(pending)])
        prior = self.covariance(x, x)
        prior[np.diag_indices(len(x))] += self.own(np.diag(prior))
        values = np.tile(np.concatenate([self.z, np.zeros(len(pending))]), (len(draws), 1))
        if self.noise.any():
            values[:, :n] = _draw(prior[:n, :n], self.z, np.diag(self.noise), draws[:, :n])
        factor = cholesky(prior, lower=True, check_finite=False)
        if len(pending):
            half = solve_triangular(factor[:n, :n], values[:, :n].T, lower=True)
            values[:, n:] = (factor[n:, :n] @ half).T + draws[:, n:] @ factor[n:, n:].T
        alpha = cho_solve((factor, True), values.T, check_finite=False)
        return Imagined(self, x, factor, alpha, scale.centre + scale.scale * values)

    def leave_one_out(self) -> tuple[np.ndarray, np.ndarray]:  # (n,), (n,)
        """Residual of each target, and its standard deviation, given all others; scaled."""
        k = self.covariance(self.x, self.x)
        k[np.diag_indices(len(k))] += self.own(np.diag(k)) + self.noise
        factor = cholesky(k, lower=True, check_finite=False)
        precision = np.diag(cho_solve((factor, True), np.eye(len(k)), check_finite=False))
        alpha = cho_solve((factor, True), self.z, check_finite=False)
        return alpha / precision, 1 / np.sqrt(precision)


@dataclass(frozen=True)
class Imagined:
    """A process given a value for each told and pending architecture, in every draw.

    Attributes:
        values: (s, n + p), in the unit of the target.
    """

    process: Process
    x: np.ndarray  # (n + p, d), scaled
    factor: np.ndarray  # (n + p, n + p)
    alpha: np.ndarray  # (n + p, s)
    values: np.ndarray

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (k, d) -> (s, k), (k,)
        """Mean in every draw and standard deviation of new architectures."""
        predictor = self.process.predictor
        rows = predictor.input_scale_.apply(x)
        cross = self.process.covariance(rows, self.x)
        half = solve_triangular(self.factor, cross.T, lower=True, check_finite=False)
        explained = self.process.variance(rows)
        own = self.process.own(explained)
        variance = np.maximum(explained + own - (half**2).sum(axis=0), own)
        scale = predictor.target_scale_
        return scale.centre + scale.scale * (cross @ self.alpha).T, scale.scale * np.sqrt(variance)


def _draw(
    prior: np.ndarray,  # (n, n)
    z: np.ndarray,  # (n,)
    noise: np.ndarray,  # (n, n), diagonal
    draws: np.ndarray,  # (s, n)
) -> np.ndarray:  # (s, n)
    """Draws of the true values behind noisy ones; what has no noise is itself."""
    gain = np.linalg.solve(prior + noise, prior).T  # prior (prior + noise)^-1
    covariance = prior - gain @ prior
    width, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    root = axes * np.sqrt(np.maximum(width, 0))
    return np.asarray(gain @ z + draws @ root.T)
