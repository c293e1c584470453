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

References:
    [Lange1989] Lange, Little, Taylor. Robust statistical modeling using the t
    distribution. Journal of the American Statistical Association 84, 1989.
"""

from dataclasses import dataclass, replace

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
        alpha: (h, n, b), inverse @ r.
    """

    hypotheses: Hypotheses
    weights: FloatArray
    levels: FloatArray
    level_variance: float
    factors: FloatArray
    inverse: FloatArray
    alpha: FloatArray


def log_evidence(
    hypotheses: Hypotheses,
    kernels: FloatArray,  # (c, n, n)
    residuals: FloatArray,  # (n, b)
    level_variance: float,
    factors: FloatArray,  # (n,)
) -> tuple[FloatArray, FloatArray, FloatArray]:  # (h, b), (h, n, n), (h, n, b)
    """``log p(r | hypothesis)`` up to a constant, with K inverted and alpha."""
    n = len(residuals)
    k = np.tensordot(hypotheses.variances, kernels, axes=1) + level_variance
    k[:, np.arange(n), np.arange(n)] += hypotheses.noise[:, None] * factors
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
    evidence, _, _ = log_evidence(hypotheses, kernels, residuals, level_variance, factors)
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
    residuals = differences - levels
    _, inverse, alpha = log_evidence(hypotheses, kernels, residuals, level_variance, factors)
    return Mixture(hypotheses, weights, levels, level_variance, factors, inverse, alpha)


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
