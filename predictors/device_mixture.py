"""A mixture of Gaussian processes: every way a new device may relate to known ones.

A hypothesis is a base (one of the sources, or none) and a covariance: variances of
the kernels and of the noise. Hypotheses are draws from a prior; measurements weigh
them by how well they foretold what was measured, and predictions are averages.

Axes:  n = measured rows;  m = new rows;  h = hypotheses about the covariance;
    c = kernels;  b = bases, the last of which is "none".
Notation: r (n, b) = u less the base, less its mean; K = sum_c v_c k_c + v_level + v_noise I.
    The level of a device is not known: v_level is wide.
"""

from dataclasses import dataclass

import numpy as np

from predictors.protocol import FloatArray

LEVEL = 25.0  # v_level, in units of the usual variance of u
NEGLIGIBLE = 1e-4  # hypotheses that weigh less, all together with the rest, are dropped


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
        inverse: (h, n, n) of K.
        alpha: (h, n, b), inverse @ r.
    """

    hypotheses: Hypotheses
    weights: FloatArray
    levels: FloatArray
    level_variance: float
    inverse: FloatArray
    alpha: FloatArray


def log_evidence(
    hypotheses: Hypotheses,
    kernels: FloatArray,  # (c, n, n)
    residuals: FloatArray,  # (n, b)
    level_variance: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:  # (h, b), (h, n, n), (h, n, b)
    """``log p(r | hypothesis)`` up to a constant, with K inverted and alpha."""
    n = len(residuals)
    k = np.tensordot(hypotheses.variances, kernels, axes=1) + level_variance
    k[:, np.arange(n), np.arange(n)] += hypotheses.noise[:, None]
    factor = np.linalg.cholesky(k)
    inverse = np.asarray(np.linalg.inv(k), dtype=np.float64)
    alpha = inverse @ residuals
    fit = np.einsum("nb,hnb->hb", residuals, alpha)
    size = np.log(np.einsum("hnn->hn", factor)).sum(axis=1)
    return np.asarray(-0.5 * fit - size[:, None]), inverse, alpha


def condition(
    hypotheses: Hypotheses,
    kernels: FloatArray,  # (c, n, n)
    differences: FloatArray,  # (n, b): u less each base
    level_variance: float,
) -> Mixture:
    """Weigh the hypotheses by the measurements; those that no longer count are dropped."""
    levels = differences.mean(axis=0)
    residuals = differences - levels
    evidence, _, _ = log_evidence(hypotheses, kernels, residuals, level_variance)
    score = evidence + hypotheses.log_prior
    weights = np.exp(score - score.max())
    weights /= weights.sum()
    by_weight = np.argsort(-weights.sum(axis=1), kind="stable")
    reached = np.cumsum(weights.sum(axis=1)[by_weight])
    kept = np.sort(by_weight[: 1 + int(np.searchsorted(reached, 1 - NEGLIGIBLE))])
    weights = weights[kept] / weights[kept].sum()
    return restore(hypotheses.take(kept), weights, kernels, differences, level_variance)


def restore(
    hypotheses: Hypotheses,
    weights: FloatArray,  # (h, b)
    kernels: FloatArray,  # (c, n, n)
    differences: FloatArray,  # (n, b)
    level_variance: float,
) -> Mixture:
    """The mixture of hypotheses whose weights are known."""
    n_hypotheses, n_bases = len(hypotheses.noise), differences.shape[1]
    if weights.shape != (n_hypotheses, n_bases):
        raise ValueError(
            f"{n_hypotheses} hypotheses and {n_bases} bases do not fit weights of {weights.shape}"
        )
    levels = differences.mean(axis=0)
    _, inverse, alpha = log_evidence(hypotheses, kernels, differences - levels, level_variance)
    return Mixture(hypotheses, weights, levels, level_variance, inverse, alpha)


def predict_mean(
    mixture: Mixture,
    cross: FloatArray,  # (c, m, n)
    bases: FloatArray,  # (m, b)
) -> FloatArray:  # (m,)
    """Mean of u."""
    by_row = np.einsum("hnb,hb->hn", mixture.alpha, mixture.weights)
    coefficients = mixture.hypotheses.variances.T @ by_row
    mean = (bases + mixture.levels) @ mixture.weights.sum(axis=0)
    mean += np.einsum("cmn,cn->m", cross, coefficients)
    return np.asarray(mean + mixture.level_variance * by_row.sum())


def predict(
    mixture: Mixture,
    cross: FloatArray,  # (c, m, n)
    own: FloatArray,  # (c, m)
    bases: FloatArray,  # (m, b)
) -> tuple[FloatArray, FloatArray]:  # (m,), (m,)
    """Mean of u, and the standard deviation of a new measurement of it."""
    hypotheses, weights = mixture.hypotheses, mixture.weights
    offsets = bases + mixture.levels
    mean, square = np.zeros(len(bases)), np.zeros(len(bases))
    for h, variances in enumerate(hypotheses.variances):
        k = np.tensordot(variances, cross, axes=1) + mixture.level_variance
        means = offsets + k @ mixture.alpha[h]
        spread = (
            variances @ own
            + mixture.level_variance
            - np.einsum("mn,mn->m", k @ mixture.inverse[h], k)
        )
        mean += means @ weights[h]
        square += means**2 @ weights[h]
        square += weights[h].sum() * (np.maximum(spread, 0) + hypotheses.noise[h])
    return mean, np.sqrt(np.maximum(square - mean**2, 1e-300))


def leave_one_out(mixture: Mixture) -> FloatArray:  # (n,)
    """Each measurement less its mean given all others, the weights kept."""
    own = np.einsum("hnn->hn", mixture.inverse)
    return np.einsum("hnb,hb->n", mixture.alpha / own[:, :, None], mixture.weights)
