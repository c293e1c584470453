"""What a proposal is worth: expected hypervolume improvement.

Everything is minimised. Objectives are independent Gaussians; the expectation
is taken over the same standard normal draws for all proposals, so that their
values can be compared even where they are small.

Axes: n = proposals, m = objectives, f = points of the front, s = draws,
k = samples.

References:
    [Emmerich2006] Emmerich, Giannakoglou, Naujoks. Single- and multiobjective
    evolutionary optimization assisted by Gaussian random field metamodels.
"""

from itertools import pairwise

import numpy as np
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting


def nondominated(values: np.ndarray) -> np.ndarray:
    """Indices of the rows, (n, m), that no other row dominates; ascending."""
    if len(values) == 0:
        return np.empty(0, np.int64)
    return np.sort(NonDominatedSorting().do(values, only_non_dominated_front=True))


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """Volume that the points, (n, m), dominate below the reference, (m,)."""
    inside = points[(points < reference).all(axis=1)]
    return float(HV(ref_point=reference)(inside)) if len(inside) else 0.0


def improvement(
    samples: np.ndarray,  # (k, m)
    front: np.ndarray,  # (f, m)
    reference: np.ndarray,  # (m,)
) -> np.ndarray:  # (k,)
    """Hypervolume that each sample, on its own, would add to a front.

    The space below the reference is cut into slabs at the front's points along
    the first objective. In a slab only the points to its left dominate, whatever
    the first objective: what a sample adds there is the slab's width right of the
    sample times what it adds to these points in the other objectives.
    """
    inside = front[(front < reference).all(axis=1)]
    if samples.shape[1] == 1:
        return np.clip(min([*inside[:, 0], reference[0]]) - samples[:, 0], 0, None)
    ordered = inside[np.argsort(inside[:, 0])]
    edges = np.concatenate([[-np.inf], ordered[:, 0], reference[:1]])
    total = np.zeros(len(samples))
    for points, (left, right) in enumerate(pairwise(edges)):
        width = np.clip(right - np.maximum(left, samples[:, 0]), 0, None)
        reached = np.flatnonzero(width)  # the others add nothing here
        height = improvement(samples[reached, 1:], ordered[:points, 1:], reference[1:])
        total[reached] += width[reached] * height
    return total


def expected_improvement(
    mean: np.ndarray,  # (n, m)
    std: np.ndarray,  # (n, m)
    front: np.ndarray,  # (f, m)
    reference: np.ndarray,  # (m,)
    draws: np.ndarray,  # (s, m), standard normal
) -> np.ndarray:  # (n,)
    """Expected hypervolume improvement [Emmerich2006], by common random draws."""
    samples = mean[:, None, :] + std[:, None, :] * draws[None, :, :]
    gains = improvement(samples.reshape(-1, mean.shape[1]), front, reference)
    return gains.reshape(len(mean), -1).mean(axis=1)
