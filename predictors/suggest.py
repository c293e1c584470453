"""Which architectures to measure: those that tell most about all the others.

Rows are chosen one by one; each is the one whose measurement lowers the expected
squared error, summed over reference rows, the most. No measurement is needed to
know that, as the variance of a Gaussian process does not depend on what is measured.

Axes:  p = rows to choose from, then those measured already;  f = reference rows.

References:
    [Cohn1996] Cohn, Ghahramani, Jordan. Active learning with statistical models.
    Journal of Artificial Intelligence Research 4, 1996, section 4.
"""

from collections.abc import Callable

import numpy as np

from predictors.device_bases import said
from predictors.device_kernels import KERNELS, UNRELATED, Described, DeviceKernels
from predictors.device_mixture import LEVEL
from predictors.device_prior import ALONE
from predictors.known_devices import KnownDevices
from predictors.new_device import NewDevice
from predictors.protocol import FloatArray
from predictors.scaling import InputScale
from predictors.threads import slices

Covariance = Callable[[np.ndarray, np.ndarray], FloatArray]  # indices -> (len, len)
REFERENCE_ROWS = 400
MEASURED_ROWS = 500  # the latest so many are taken into account
CHUNK_ROWS = 1024  # of the pool, whose kernels are held at once


def choose(
    known: KnownDevices | None,
    device: NewDevice | None,
    measured: FloatArray,  # (n, d), n may be 0
    pool: FloatArray,  # (p, d)
    k: int,
    rng: np.random.RandomState,
) -> np.ndarray:  # (k,)
    """Indices of the k rows of the pool to measure next, the most telling first.

    The covariance is the one expected of a new device: a blend of the known ones'
    differences and the typical deviation; after measurements, that which they
    made likely. Without known devices it is that of a Gaussian process on X. Rows
    that are among the measured ones come last. Of memory, each row of the pool takes
    3.2 kB for its covariance with the reference rows, and 8 bytes for each row known.
    """
    again = set(map(bytes, np.ascontiguousarray(measured)))
    repeats = np.array([bytes(row) in again for row in np.ascontiguousarray(pool)])
    measured = measured[-MEASURED_ROWS:]
    both = np.vstack([pool, measured])
    if known is None:
        scale = InputScale.of(both)
        nothing = np.empty((len(both), 0))
        rows = Described(scale.apply(both), nothing)
        none = np.empty((both.shape[1], 0))
        kernels = DeviceKernels(scale, none, none, np.empty(0), rows)
    else:
        rows, kernels = known.describe(both), known.kernels
    variances, noise, blends, weights = _expected(known, device, kernels.variance)
    bases = said(rows, blends)
    differences = bases - (bases @ weights)[:, None]

    def covariance(a: np.ndarray, b: np.ndarray) -> FloatArray:
        found = np.empty((len(a), len(b)))
        theirs = Described(rows.x[b], rows.g[b])
        for part in slices(len(a), CHUNK_ROWS):
            ours = Described(rows.x[a[part]], rows.g[a[part]])
            shared = np.tensordot(variances, kernels(ours, theirs), axes=1)
            blended = (differences[a[part]] * weights) @ differences[b].T
            found[part] = shared + blended + LEVEL * kernels.variance
        return found

    variance = variances @ kernels.diagonal(rows) + differences**2 @ weights
    return most_telling(
        covariance,
        variance + LEVEL * kernels.variance,
        noise,
        n_choices=len(pool),
        n_measured=len(measured),
        reference=np.sort(rng.permutation(len(pool))[:REFERENCE_ROWS]),
        repeats=repeats,
        k=k,
    )


def _expected(
    known: KnownDevices | None, device: NewDevice | None, unit: float
) -> tuple[FloatArray, float, FloatArray, FloatArray]:  # (kernels,), noise, (b, s), (b,)
    """Variances of the kernels and of the noise, and the weight of each base."""
    if known is None:
        variances = np.zeros(len(KERNELS))
        variances[list(UNRELATED)] = unit * np.exp(ALONE[:-1])
        return variances, unit * float(np.exp(ALONE[-1])), np.zeros((1, 0)), np.ones(1)
    if device is None:
        typical = unit * np.exp(known.examples.mean(axis=0))
        bases = known.bases
        return typical[:-1], float(typical[-1]), bases.blends, np.exp(bases.log_prior)
    hypotheses, weights = device.mixture.hypotheses, device.mixture.weights
    each = weights.sum(axis=1)
    variances, noise = each @ hypotheses.variances, float(each @ hypotheses.noise)
    return variances, noise, device.blends, weights.sum(axis=0)


def most_telling(
    covariance: Covariance,
    variance: FloatArray,  # (p,)
    noise: float,
    *,
    n_choices: int,
    n_measured: int,
    reference: np.ndarray,  # (f,) indices
    repeats: np.ndarray,  # (n_choices,) of bool
    k: int,
) -> np.ndarray:  # (k,)
    """Indices of k different rows among the first ``n_choices``, the most telling first.

    After rows J are known, ``cov(a, b | J) = cov(a, b) - sum_j f_j(a) f_j(b)`` with
    one vector f_j for each; measuring row i takes ``sum_r cov(r, i | J)**2 /
    (var(i | J) + noise)`` off the summed variance [Cohn1996].

    Args:
        covariance: Between rows, given by their indices.
        variance: Of each row.
        noise: Variance of one measurement; positive.
        n_choices: Rows that may be chosen: the first of all.
        n_measured: Rows that are known already: the last of all.
        reference: Rows whose errors count.
        repeats: Which of the first rows are chosen only when no other is left.
        k: How many to choose, at most ``n_choices``.
    """
    everything = np.arange(n_choices + n_measured)
    left = covariance(everything, reference)
    variance = variance.copy()
    factors = np.empty((n_measured + k, len(everything)))
    chosen: list[int] = []
    for step in range(n_measured + k):
        if step < n_measured:
            row = n_choices + step
        else:
            gain = np.einsum("pf,pf->p", left[:n_choices], left[:n_choices])
            gain /= np.maximum(variance[:n_choices], 0) + noise
            gain[repeats] -= gain.max() + 1
            gain[chosen] = -np.inf
            row = int(gain.argmax())
            chosen.append(row)
        known = factors[:step, row] @ factors[:step]
        column = covariance(everything, np.array([row]))[:, 0] - known
        factors[step] = factor = column / np.sqrt(max(variance[row], 0.0) + noise)
        for part in slices(len(everything), CHUNK_ROWS):
            left[part] -= np.outer(factor[part], factor[reference])
        variance -= factor**2
    return np.array(chosen, dtype=np.int64)
