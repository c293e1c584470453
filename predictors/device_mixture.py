"""A mixture of Gaussian processes: every way a new device may relate to known ones.

A hypothesis is a base (a source, a blend of two, or none) and a covariance: variances of
the kernels and of the noise. Hypotheses are draws from a prior; measurements weigh
them by how well they foretold what was measured, and predictions are averages.

Noise has heavy tails, as a measurement is now and then disturbed: that of row i is
normal with variance f_i v_noise, and the factors f are found by expectation
maximisation for Student's distribution [Lange1989], from one on.

Axes:  n = measured rows;  m = new rows;  h = hypotheses about the covariance;
    c = kernels;  b = bases (``device_bases``).
Notation: r (n, b) = u less the base, less its mean; K = sum_c v_c k_c + v_level +
    v_noise diag(f). The level of a device is not known: v_level is wide.
    z (m, c n) = all kernels of a new row with all measured ones; in it every mean is
    linear and every variance quadratic, so averages over hypotheses are taken once.

References:
    [Lange1989] Lange, Little, Taylor. Robust statistical modeling using the t
    distribution. Journal of the American Statistical Association 84, 1989.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from predictors.protocol import FloatArray

LEVEL = 25.0  # v_level, in units of the usual variance of u
NEGLIGIBLE = 1e-4  # covariances, and bases, that weigh less all together are dropped
DEGREES = 2.5  # of freedom of the noise's distribution: a few measurements may be far off
LEAST_ROWS_TO_DOUBT = 5  # fewer cannot tell which of them was disturbed
DOUBTS = 8  # rounds of expectation maximisation: the factors settle to a tenth


@dataclass(frozen=True)
class Hypotheses:
    """Covariances, and how likely each goes with each base before any measurement.

    Attributes:
        variances: (h, c) of the kernels, in the unit of u squared.
        noise: (h,) of one measurement.
        log_prior: (h, b) with -inf where a covariance does not go with a base.
    """

    variances: FloatArray
    noise: FloatArray
    log_prior: FloatArray

    def take(self, kept: np.ndarray) -> "Hypotheses":
        """Some of them."""
        return Hypotheses(self.variances[kept], self.noise[kept], self.log_prior[kept])

    def and_also(self, other: "Hypotheses") -> "Hypotheses":
        """Both sets."""
        return Hypotheses(
            np.concatenate([self.variances, other.variances]),
            np.concatenate([self.noise, other.noise]),
            np.concatenate([self.log_prior, other.log_prior]),
        )


@dataclass(frozen=True)
class Mixture:
    """Hypotheses given measurements.

    Attributes:
        hypotheses: Those that still count.
        weights: (h, b), sum 1.
        levels: (b,) mean of u less each base over the measured rows.
        level_variance: v_level.
        factors: (n,) the f above.
        inverse: (h, n, n) of K.
        response: (h, n), inverse @ 1, to more digits than its rows' sums have.
        alpha: (h, n, b), inverse @ r.
        sums: (h, b) of alpha over n, likewise.
    """

    hypotheses: Hypotheses
    weights: FloatArray
    levels: FloatArray
    level_variance: float
    factors: FloatArray
    inverse: FloatArray
    response: FloatArray
    alpha: FloatArray
    sums: FloatArray

    @cached_property
    def slopes(self) -> tuple[FloatArray, FloatArray]:  # (c n, b), (b,)
        """``sum_h w_hb (mean_hb - base_b - level_b)`` is linear in z: its slopes, its constant."""
        weighted = self.alpha * self.weights[:, None]
        slopes = np.einsum("hc,hnb->cnb", self.hypotheses.variances, weighted)
        constant = self.level_variance * (self.weights * self.sums).sum(axis=0)
        return slopes.reshape(-1, slopes.shape[2]), constant

    @cached_property
    def curvature(self) -> tuple[FloatArray, FloatArray, float]:  # (c n, c n), (c n,), ()
        """Quadratic form in z, with its linear part and constant.

        It is ``sum_hb w_hb ((mean_hb - base_b - level_b)**2 + v_level - k_h^T K_h^-1 k_h)``,
        with k_h the covariance of the new row with the measured ones, v_level included.
        """
        weighted, level = self.alpha * self.weights[:, None], self.level_variance
        each = self.weights.sum(axis=1)
        inner = weighted @ self.alpha.swapaxes(1, 2) - each[:, None, None] * self.inverse
        slope = level * (
            np.einsum("hnb,hb->hn", weighted, self.sums) - each[:, None] * self.response
        )
        left = level * (1 - level * self.response.sum(axis=1))
        v = self.hypotheses.variances
        (n_hypotheses, n), n_kernels = slope.shape, v.shape[1]
        pairs = (v[:, :, None] * v[:, None]).reshape(n_hypotheses, -1)
        blocks = (pairs.T @ inner.reshape(n_hypotheses, -1)).reshape(n_kernels, n_kernels, n, n)
        return (
            blocks.swapaxes(1, 2).reshape(n_kernels * n, -1),
            2 * (v.T @ slope).ravel(),
            float(level**2 * (self.sums**2 * self.weights).sum() + each @ left),
        )


def log_evidence(
    hypotheses: Hypotheses,
    kernels: FloatArray,  # (c, n, n)
    residuals: FloatArray,  # (n, b)
    level_variance: float,
    factors: FloatArray,  # (n,)
) -> FloatArray:  # (h, b)
    """``log p(r | hypothesis)`` up to a constant."""
    k = _covariances(hypotheses, kernels, factors) + level_variance
    factor = np.linalg.cholesky(k)
    fit = np.einsum("nb,hnb->hb", residuals, np.linalg.inv(k) @ residuals)
    size = np.log(np.einsum("hnn->hn", factor)).sum(axis=1)
    return np.asarray(-0.5 * fit - size[:, None])


def condition(
    hypotheses: Hypotheses,
    kernels: FloatArray,  # (c, n, n)
    differences: FloatArray,  # (n, b): u less each base
    level_variance: float,
    factors: FloatArray | None = None,  # (n,) to begin with; without, all are trusted
) -> tuple[Mixture, np.ndarray]:
    """Weigh the hypotheses by the measurements, and doubt those that none of them explains.

    Returns:
        The mixture of those that count, and the indices of the bases that it has.
    """
    if factors is None:
        factors = np.ones(len(differences))
    mixture, kept = _weigh(hypotheses, kernels, differences, level_variance, factors)
    if len(differences) < LEAST_ROWS_TO_DOUBT:
        return mixture, kept
    for _ in range(DOUBTS):
        factors = np.maximum((DEGREES + _noise_found(mixture)) / (DEGREES + 1), 1.0)
        mixture, kept = _weigh(hypotheses, kernels, differences, level_variance, factors)
    return mixture, kept


def _weigh(
    hypotheses: Hypotheses,
    kernels: FloatArray,  # (c, n, n)
    differences: FloatArray,  # (n, b)
    level_variance: float,
    factors: FloatArray,  # (n,)
) -> tuple[Mixture, np.ndarray]:
    """The mixture under these factors, of what still counts; and the bases that do."""
    residuals = differences - differences.mean(axis=0)
    evidence = log_evidence(hypotheses, kernels, residuals, level_variance, factors)
    score = evidence + hypotheses.log_prior
    weights = np.exp(score - score.max())
    weights /= weights.sum()
    covariances, bases = _heaviest(weights.sum(axis=1)), _heaviest(weights.sum(axis=0))
    weights = weights[np.ix_(covariances, bases)]
    hypotheses = hypotheses.take(covariances)
    hypotheses = replace(hypotheses, log_prior=hypotheses.log_prior[:, bases])
    mixture = restore(
        hypotheses,
        weights / weights.sum(),
        kernels,
        differences[:, bases],
        level_variance,
        factors,
    )
    return mixture, bases


def _heaviest(weights: FloatArray) -> np.ndarray:
    """Indices of the weights that are all but ``NEGLIGIBLE`` of the sum, in order."""
    by_weight = np.argsort(-weights, kind="stable")
    reached = np.cumsum(weights[by_weight])
    return np.sort(by_weight[: 1 + int(np.searchsorted(reached, 1 - NEGLIGIBLE))])


def _noise_found(mixture: Mixture) -> FloatArray:  # (n,)
    """Expected square of each measurement's noise, in units of v_noise.

    Given r, the noise of row i has mean ``f_i v_noise alpha_i`` and variance
    ``f_i v_noise (1 - f_i v_noise (K^-1)_ii)``.
    """
    noise = mixture.hypotheses.noise[:, None]
    own = np.einsum("hnn->hn", mixture.inverse)
    squares = np.einsum("hnb,hb->hn", mixture.alpha**2, mixture.weights)
    each = mixture.weights.sum(axis=1)[:, None]
    f = mixture.factors
    found = f**2 * noise * (squares - each * own) + each * f
    return np.asarray(found.sum(axis=0))


def restore(
    hypotheses: Hypotheses,
    weights: FloatArray,  # (h, b)
    kernels: FloatArray,  # (c, n, n)
    differences: FloatArray,  # (n, b)
    level_variance: float,
    factors: FloatArray,  # (n,)
) -> Mixture:
    """The mixture of hypotheses whose weights are known."""
    n_hypotheses, n_bases = len(hypotheses.noise), differences.shape[1]
    if weights.shape != (n_hypotheses, n_bases):
        raise ValueError(
            f"{n_hypotheses} hypotheses and {n_bases} bases do not fit weights of {weights.shape}"
        )
    if factors.shape != (len(differences),):
        raise ValueError(f"{len(differences)} rows do not fit factors of {factors.shape}")
    levels = differences.mean(axis=0)
    # K without v_level is conditioned a hundred times better; Sherman and Morrison add it
    inverse = np.asarray(np.linalg.inv(_covariances(hypotheses, kernels, factors)), dtype=float)
    ones = inverse.sum(axis=2)
    response = ones / (1 + level_variance * ones.sum(axis=1))[:, None]
    inverse -= level_variance * response[:, :, None] * ones[:, None]
    alpha = inverse @ (differences - levels)
    sums = response @ (differences - levels)
    return Mixture(
        hypotheses, weights, levels, level_variance, factors, inverse, response, alpha, sums
    )


def _covariances(
    hypotheses: Hypotheses,
    kernels: FloatArray,  # (c, n, n)
    factors: FloatArray,  # (n,)
) -> FloatArray:  # (h, n, n)
    """K less v_level."""
    k = np.tensordot(hypotheses.variances, kernels, axes=1)
    n = len(factors)
    k[:, np.arange(n), np.arange(n)] += hypotheses.noise[:, None] * factors
    return np.asarray(k)


def predict_mean(
    mixture: Mixture,
    cross: FloatArray,  # (c, m, n)
    bases: FloatArray,  # (m, b)
) -> FloatArray:  # (m,)
    """Mean of u."""
    slopes, constant = mixture.slopes
    mean = (bases + mixture.levels) @ mixture.weights.sum(axis=0)
    return np.asarray(mean + _flat(cross) @ slopes.sum(axis=1) + constant.sum())


def predict(
    mixture: Mixture,
    cross: FloatArray,  # (c, m, n)
    own: FloatArray,  # (c, m)
    bases: FloatArray,  # (m, b)
) -> tuple[FloatArray, FloatArray]:  # (m,), (m,)
    """Mean of u, and the standard deviation of a new measurement of it."""
    hypotheses, weights = mixture.hypotheses, mixture.weights
    each, of_base = weights.sum(axis=1), weights.sum(axis=0)
    z, offsets = _flat(cross), bases + mixture.levels
    slopes, constant = mixture.slopes
    rest = z @ slopes + constant  # (m, b)
    mean = offsets @ of_base + rest.sum(axis=1)
    curvature, linear, fixed = mixture.curvature
    square = np.einsum("mk,mk->m", z @ curvature, z) + z @ linear + fixed
    square += offsets**2 @ of_base + 2 * np.einsum("mb,mb->m", offsets, rest)
    noise = float(each @ hypotheses.noise)
    square += (each @ hypotheses.variances) @ own + noise
    return mean, np.sqrt(np.maximum(square - mean**2, noise))


def _flat(cross: FloatArray) -> FloatArray:  # (c, m, n) -> (m, c n)
    """z."""
    return np.asarray(cross.swapaxes(0, 1).reshape(cross.shape[1], -1))


def leave_one_out(mixture: Mixture) -> FloatArray:  # (n,)
    """Each measurement less its mean given all others, the weights kept."""
    own = np.einsum("hnn->hn", mixture.inverse)
    return np.einsum("hnb,hb->n", mixture.alpha / own[:, :, None], mixture.weights)
