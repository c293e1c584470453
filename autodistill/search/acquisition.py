"""What a proposal is worth: expected hypervolume improvement, in closed form.

Everything is minimised. Objectives of one proposal are independent Gaussians.
What the front leaves free below the reference is cut into boxes; the expected
improvement is the integral, over the boxes, of the chance to dominate a place,
and that chance is a product of one factor for each objective [Emmerich2006,
Yang2019]. No sampling, any number of objectives.

Axes: n = proposals, m = objectives, f = points of the front, b = boxes,
k = samples.

References:
    [Emmerich2006] Emmerich, Giannakoglou, Naujoks. Single- and multiobjective
    evolutionary optimization assisted by Gaussian random field metamodels.
    [Yang2019] Yang, Emmerich, Deutz, Baeck. Efficient computation of expected
    hypervolume improvement using box decomposition algorithms.
    https://arxiv.org/abs/1904.12672
"""

from itertools import pairwise

import numpy as np
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
from scipy.special import ndtr

LEAST_STD = 1e-12  # of the scaled objectives; below it a prediction is a number


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

    The sum over the free boxes of the part that the sample dominates.
    """
    lower, upper = free_boxes(front, reference)
    sides = np.clip(upper - np.maximum(lower, samples[:, None, :]), 0, None)
    return np.asarray(sides.prod(axis=2).sum(axis=1))


def free_boxes(
    front: np.ndarray,  # (f, m)
    reference: np.ndarray,  # (m,)
) -> tuple[np.ndarray, np.ndarray]:  # (b, m), (b, m)
    """Disjoint boxes, lower and upper corners, that fill what a front leaves free.

    The space below the reference is cut into slabs at the front's points along the
    first objective. In a slab only the points to its left dominate, whatever the
    first objective, so that each slab is a problem of one objective less. Two
    objectives: one box a slab. Boxes are open to minus infinity.
    """
    inside = front[(front < reference).all(axis=1)]
    if len(reference) == 1:
        best = min([*inside[:, 0], reference[0]])
        return np.array([[-np.inf]]), np.array([[best]])
    ordered = inside[nondominated(inside)]
    ordered = ordered[np.argsort(ordered[:, 0], kind="stable")]
    edges = np.concatenate([[-np.inf], ordered[:, 0], reference[:1]])
    lower, upper = [], []
    for points, (left, right) in enumerate(pairwise(edges)):
        if right <= left:  # two points with one value
            continue
        low, high = free_boxes(ordered[:points, 1:], reference[1:])
        lower.append(np.hstack([np.full((len(low), 1), left), low]))
        upper.append(np.hstack([np.full((len(high), 1), right), high]))
    return np.vstack(lower), np.vstack(upper)


def expected_improvement(
    mean: np.ndarray,  # (n, m)
    std: np.ndarray,  # (n, m)
    front: np.ndarray,  # (f, m)
    reference: np.ndarray,  # (m,)
) -> np.ndarray:  # (n,)
    """Expected hypervolume improvement [Emmerich2006], exact up to rounding.

    With ``g(t)`` the mean of ``max(t - Y, 0)``, a box from l to u adds the product
    over the objectives of ``g(u) - g(l)``.
    """
    lower, upper = free_boxes(front, reference)
    total = np.ones((len(mean), len(lower)))
    for j in range(len(reference)):
        edges, place = np.unique(np.concatenate([lower[:, j], upper[:, j]]), return_inverse=True)
        gain = _mean_shortfall(edges, mean[:, j], std[:, j])
        total *= gain[:, place[len(lower) :]] - gain[:, place[: len(lower)]]
    return np.asarray(np.maximum(total, 0).sum(axis=1))


def _mean_shortfall(
    edges: np.ndarray,  # (e,)
    mean: np.ndarray,  # (n,)
    std: np.ndarray,  # (n,)
) -> np.ndarray:  # (n, e)
    """``E max(t - Y, 0) = s (u Phi(u) + phi(u))`` with ``u = (t - mean) / s``."""
    std = np.maximum(std, LEAST_STD)[:, None]
    finite = np.isfinite(edges)
    u = (edges[finite] - mean[:, None]) / std
    found = np.zeros((len(mean), len(edges)))
    density = np.exp(-0.5 * np.minimum(u**2, 1400)) / np.sqrt(2 * np.pi)
    found[:, finite] = std * np.maximum(u * ndtr(u) + density, 0)
    return found
