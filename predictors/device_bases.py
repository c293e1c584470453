"""What a new device may be like: one known device, half of each of two, or none of them.

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

ONE_SHARE = 0.3  # prior probability of a single source, or of none; the rest is the pairs'
ALIKE = 0.95  # correlation of two sources from which their blend is nothing new
MOST_PAIRS = 300  # of many sources, those that differ most: bounds memory
TINY = 1e-12


@dataclass(frozen=True)
class DeviceBases:
    """Candidates for what a new device deviates from.

    Attributes:
        blends: (b, s) how much each has of each source; the last is nothing of any.
        log_prior: (b,) how likely each is before any measurement.
    """

    blends: FloatArray
    log_prior: FloatArray

    def of(self, rows: Described) -> FloatArray:  # (n, b)
        """What each says of each row."""
        return np.asarray(rows.g @ self.blends.T)

    def take(self, kept: np.ndarray) -> "DeviceBases":
        """Some of them."""
        return DeviceBases(self.blends[kept], self.log_prior[kept])


def device_bases(kernels: DeviceKernels, *, log: bool) -> DeviceBases:
    """All candidates, given the sources.

    Args:
        kernels: What the sources taught.
        log: Whether g are logarithms; then nothing is blended.
    """
    n_sources = len(kernels.spreads)
    singles = np.vstack([np.eye(n_sources), np.zeros(n_sources)])
    pairs = np.empty((0, n_sources)) if log else _pairs(kernels)
    share = ONE_SHARE if len(pairs) else 1.0
    log_prior = np.concatenate(
        [
            np.full(n_sources, np.log(share / (n_sources + 1))),
            np.full(len(pairs), np.log((1 - share) / max(len(pairs), 1) + TINY)),
            [np.log(share / (n_sources + 1))],
        ]
    )
    return DeviceBases(np.vstack([singles[:-1], pairs, singles[-1:]]), log_prior)


def _pairs(kernels: DeviceKernels) -> FloatArray:  # (pairs, s)
    """Half of each of two sources of unlike models, varying as much as they do on average."""
    n_sources = len(kernels.spreads)
    g, spreads = kernels.reference.g, kernels.spreads
    found = []
    for i, j in combinations(range(n_sources), 2):
        if not spreads[i] * spreads[j] > TINY:
            continue  # a device that is the same for all architectures
        alike = float(np.mean(g[:, i] * g[:, j]) / (spreads[i] * spreads[j]))
        if alike >= ALIKE:
            continue
        blend = np.zeros(n_sources)
        size = 0.5 * (spreads[i] + spreads[j]) / np.sqrt(max(2 + 2 * alike, TINY))
        blend[i], blend[j] = size / spreads[i], size / spreads[j]
        found.append((alike, blend))
    found.sort(key=lambda pair: pair[0])
    return np.array([blend for _, blend in found[:MOST_PAIRS]]).reshape(-1, n_sources)
