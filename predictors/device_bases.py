"""What a new device may be like: one known device, a blend of two, or none of them.

A device's time goes to several things, such as arithmetic and memory, in its own
proportions. Where no known device has these, often a blend of two does. Latencies
blend; their logarithms do not.

Notation: g (n, s) what the sources' models say, centred; see ``device_kernels``.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from predictors.device_kernels import Described, DeviceKernels
from predictors.protocol import FloatArray

PAIRS_SHARE = 0.7  # prior probability of all blends together, at most
ALIKE = 0.95  # correlation of two sources from which their blend is nothing new
OPPOSED = -0.5  # and up to which it is what little they do not cancel
STEADY = 0.1  # spread, of the largest, up to which a source is mostly its model's error
MOST_PAIRS = 300  # of many sources, those that differ most: bounds memory


@dataclass(frozen=True)
class DeviceBases:
    """Candidates for what a new device deviates from.

    Attributes:
        blends: (b, s) how much each has of each source; the last is nothing of any.
        log_prior: (b,) how likely each is before any measurement.
    """

    blends: FloatArray
    log_prior: FloatArray


def said(rows: Described, blends: FloatArray) -> FloatArray:  # (n, b)
    """What each blend, (b, s), says of each row."""
    return np.asarray(rows.g @ blends.T)


def device_bases(kernels: DeviceKernels, *, log: bool) -> DeviceBases:
    """All candidates, given the sources.

    No blend is likelier than a source, and all together are at most ``PAIRS_SHARE``.

    Args:
        kernels: What the sources taught.
        log: Whether g are logarithms; then nothing is blended.
    """
    n_sources = len(kernels.spreads)
    pairs = np.empty((0, n_sources)) if log else _pairs(kernels)
    singles = n_sources + 1  # or none
    share = min(PAIRS_SHARE, len(pairs) / (len(pairs) + singles))
    prior = np.full(singles + len(pairs), (1 - share) / singles)
    prior[n_sources:-1] = share / max(len(pairs), 1)
    blends = np.vstack([np.eye(n_sources), pairs, np.zeros(n_sources)])
    return DeviceBases(blends, np.log(prior))


def _pairs(kernels: DeviceKernels) -> FloatArray:  # (pairs, s)
    """Each two unlike sources at equal spread, together varying as they do on average."""
    g, spreads = kernels.reference.g, kernels.spreads
    n_sources = len(spreads)
    varying = np.flatnonzero(spreads > STEADY * spreads.max(initial=0.0))
    found = []
    for i, j in combinations(varying, 2):
        alike = float(np.mean(g[:, i] * g[:, j]) / (spreads[i] * spreads[j]))
        if not OPPOSED < alike < ALIKE:
            continue
        size = 0.5 * (spreads[i] + spreads[j]) / np.sqrt(2 + 2 * alike)
        blend = np.zeros(n_sources)
        blend[i], blend[j] = size / spreads[i], size / spreads[j]
        found.append((alike, blend))
    found.sort(key=lambda pair: pair[0])
    return np.array([blend for _, blend in found[:MOST_PAIRS]]).reshape(-1, n_sources)
