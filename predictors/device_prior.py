"""How new devices differ from known ones, learned from the known ones themselves.

Each source in turn is taken for new and the others for known: the variances of
the kernels and of the noise that explain it best are one example of what a new
device may need. The prior is the examples, blurred; one more example, fixed here,
stands for what no source has shown.

Notation: t (c + 1,) logarithms of the kernels' variances and of the noise's, in
units of ``DeviceKernels.variance``.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize
from scipy.special import logsumexp

from predictors.device_bases import DeviceBases, said
from predictors.device_kernels import KERNELS, UNRELATED, Described, DeviceKernels
from predictors.device_mixture import LEVEL, Hypotheses, log_evidence
from predictors.protocol import FloatArray

TYPICAL = np.log([0.3, 0.1, 0.03, 0.1, 0.1, 0.02, 0.02, 0.02])
TYPICAL_STD = 1.5  # of t around TYPICAL, where one source is explained
BLUR = 0.7  # of t around each example, in each direction
SIZE_BLUR = 1.0  # of all kernels' variances together: how far a device may deviate
NOISE_BLUR = 1.9  # of the noise: one device tells little of how noisy another is
ALONE = np.log([1.0, 1.0, 0.05])  # smooth, linear, noise: in units of the new device's own variance
ALONE_BLUR = 1.2  # of each
ALONE_SHARE = 0.05  # prior probability that no source tells anything
FEW_ROWS = 40  # up to which many draws are cheap
N_DRAWS, N_DRAWS_ALONE, N_DRAWS_OF_MANY_ROWS = 400, 100, 100
ENOUGH = 25.0  # hypotheses that count, after which no better ones are sought
ROUNDS = 4
EXPLAINED_ROWS = 100


@dataclass(frozen=True)
class DevicePrior:
    """An even mixture of normal distributions of t.

    Attributes:
        examples: (e, c + 1), their centres.
        covariance: (c + 1, c + 1) of each.
    """

    examples: FloatArray
    covariance: FloatArray

    @classmethod
    def around(cls, examples: FloatArray) -> "DevicePrior":
        """Of a device like these examples: they blur in each direction, in size and in noise."""
        width = examples.shape[1]
        covariance = BLUR**2 * np.eye(width)
        covariance[:-1, :-1] += SIZE_BLUR**2
        covariance[-1, -1] += NOISE_BLUR**2
        return cls(examples, covariance)

    @classmethod
    def alone(cls) -> "DevicePrior":
        """Of a device that no source tells anything of; t has ``UNRELATED`` kernels only."""
        return cls(ALONE[None], ALONE_BLUR**2 * np.eye(len(ALONE)))

    def draw(self, size: int, rng: np.random.RandomState) -> FloatArray:
        """``size`` values of t."""
        centres = self.examples[rng.randint(len(self.examples), size=size)]
        factor = np.linalg.cholesky(self.covariance)
        return np.asarray(centres + rng.standard_normal(centres.shape) @ factor.T)

    def log_density(self, t: FloatArray) -> FloatArray:  # (h, c + 1) -> (h,)
        """Logarithm of the density."""
        factor = np.linalg.cholesky(self.covariance)
        offsets = (t[:, None] - self.examples).reshape(-1, t.shape[1])
        white = np.linalg.solve(factor, offsets.T)
        squared = (white**2).sum(axis=0).reshape(len(t), -1)
        inside = logsumexp(-0.5 * squared, axis=1) - np.log(len(self.examples))
        size = np.log(np.diag(factor)).sum() + 0.5 * t.shape[1] * np.log(2 * np.pi)
        return np.asarray(inside - size)


def explain(
    kernels: DeviceKernels,  # of the other sources
    rows: Described,  # n of this source, as the others see them
    u: FloatArray,  # (n,)
    bases: DeviceBases,  # of the other sources
) -> FloatArray:  # (c + 1,)
    """The t that best explains one source by the others, whatever its base."""
    k, unit = kernels(rows, rows), kernels.variance
    residuals = u[:, None] - said(rows, bases.blends)
    residuals = residuals - residuals.mean(axis=0)
    diagonal = np.diag_indices(len(u))

    def loss(t: FloatArray) -> tuple[float, FloatArray]:
        v = unit * np.exp(t)
        total = np.tensordot(v[:-1], k, axes=1) + LEVEL * unit
        total[diagonal] += v[-1]
        factor, info = dpotrf(total, lower=1)
        if info != 0:
            return 1e10, np.zeros_like(t)
        inverse = np.tril(dpotri(factor, lower=1)[0])
        inverse += np.tril(inverse, -1).T
        alpha = inverse @ residuals
        fits = -0.5 * (residuals * alpha).sum(axis=0) + bases.log_prior
        fit = float(logsumexp(fits))
        slope = inverse - (alpha * np.exp(fits - fit)) @ alpha.T
        gradient = np.append(0.5 * np.tensordot(k, slope, axes=2), 0.5 * np.trace(slope))
        offset = (t - TYPICAL) / TYPICAL_STD
        value = np.log(np.diag(factor)).sum() - fit + 0.5 * offset @ offset
        return float(value), v * gradient + offset / TYPICAL_STD

    bounds = [(centre - 7, centre + 7) for centre in TYPICAL]
    options = {"maxiter": 60, "ftol": 1e-6}
    found = minimize(loss, TYPICAL, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(found.x)


def propose(
    prior: DevicePrior,
    alone: bool,
    log_base: FloatArray,  # (b,) prior of each base, where not alone
    unit: float,  # variance that t is relative to
    kernels: FloatArray,  # (c, n, n)
    residuals: FloatArray,  # (n, b)
    level_variance: float,
    factors: FloatArray,  # (n,) of the noise
    rng: np.random.RandomState,
) -> Hypotheses:
    """Draws of t with their importance: from the prior, then from where it was good.

    Few measurements leave many draws standing. More of them leave few, and then
    draws are made anew from a normal distribution around those that stood, half
    as wide again, mixed with the prior; their weights allow for it.
    """
    if alone:
        residuals = residuals[:, -1:]
    size = N_DRAWS_ALONE if alone else N_DRAWS
    if len(residuals) > FEW_ROWS:
        size = N_DRAWS_OF_MANY_ROWS
    t = prior.draw(size, rng)
    importance = np.zeros(size)
    for _ in range(ROUNDS):
        hypotheses = _hypotheses(t, importance, alone, unit, log_base)
        score = log_evidence(hypotheses, kernels, residuals, level_variance, factors)
        per_draw = logsumexp(score + hypotheses.log_prior[:, -score.shape[1] :], axis=1)
        weights = np.exp(per_draw - logsumexp(per_draw))
        if 1 / np.sum(weights**2) >= ENOUGH:
            break
        t, importance = _again(prior, t, weights, rng)
    return _hypotheses(t, importance, alone, unit, log_base)


def _again(
    prior: DevicePrior, t: FloatArray, weights: FloatArray, rng: np.random.RandomState
) -> tuple[FloatArray, FloatArray]:
    """Draws around those that weigh most, and the logarithms of prior over proposal."""
    size, width = t.shape
    centre = weights @ t
    covariance = 1.5**2 * ((t - centre).T * weights) @ (t - centre) + 0.2**2 * np.eye(width)
    factor = np.linalg.cholesky(covariance)
    normal = centre + rng.standard_normal((size, width)) @ factor.T
    drawn = np.where(rng.uniform(size=(size, 1)) < 0.2, prior.draw(size, rng), normal)
    white = np.linalg.solve(factor, (drawn - centre).T)
    density = -0.5 * (white**2).sum(axis=0) - np.log(np.diag(factor)).sum()
    density -= 0.5 * width * np.log(2 * np.pi)
    own = prior.log_density(drawn)
    return drawn, own - np.logaddexp(np.log(0.2) + own, np.log(0.8) + density)


def _hypotheses(
    t: FloatArray, importance: FloatArray, alone: bool, unit: float, log_base: FloatArray
) -> Hypotheses:
    v = unit * np.exp(t)
    variances = np.zeros((len(t), len(KERNELS)))
    log_prior = np.full((len(t), len(log_base)), -np.inf)
    if alone:
        variances[:, list(UNRELATED)] = v[:, :-1]
        share = ALONE_SHARE if len(log_base) > 1 else 1.0
        log_prior[:, -1] = np.log(share / len(t))
    else:
        variances[:] = v[:, :-1]
        log_prior[:] = np.log((1 - ALONE_SHARE) / len(t)) + log_base
    return Hypotheses(variances, v[:, -1], log_prior + importance[:, None])
