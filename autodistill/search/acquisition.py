"""What a proposal is worth: expected hypervolume improvement.

Everything is minimised. Objectives are independent Gaussians; the expectation
is taken over the same standard normal draws for all proposals, so that their
values can be compared even where they are small.

Axes: n = proposals, m = objectives, f = points of the front, s = draws.

References:
    [Emmerich2006] Emmerich, Giannakoglou, Naujoks. Single- and multiobjective
    evolutionary optimization assisted by Gaussian random field metamodels.
"""

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


def improvement_2d(
    samples: np.ndarray,  # (k, 2)
    front: np.ndarray,  # (f, 2), mutually nondominated
    reference: np.ndarray,  # (2,)
) -> np.ndarray:  # (k,)
    """Hypervolume that each sample, on its own, would add to a front of two objectives.

    The area below the reference that the front leaves free is cut into vertical
    strips at the front's points; a sample takes its part of each strip.
    """
    inside = front[(front < reference).all(axis=1)]
    ordered = inside[np.argsort(inside[:, 0])]
    left = np.concatenate([[-np.inf], ordered[:, 0]])
    right = np.concatenate([ordered[:, 0], [reference[0]]])
    ceiling = np.concatenate([[reference[1]], ordered[:, 1]])
    width = np.clip(right - np.maximum(left, samples[:, :1]), 0, None)  # (k, strips)
    height = np.clip(ceiling - samples[:, 1:], 0, None)
    return (width * height).sum(axis=1)


def expected_improvement(
    mean: np.ndarray,  # (n, m)
    std: np.ndarray,  # (n, m)
    front: np.ndarray,  # (f, m)
    reference: np.ndarray,  # (m,)
    draws: np.ndarray,  # (s, m), standard normal
) -> np.ndarray:  # (n,)
    """Expected hypervolume improvement [Emmerich2006], by common random draws."""
    samples = mean[:, None, :] + std[:, None, :] * draws[None, :, :]
    flat = samples.reshape(-1, mean.shape[1])
    if mean.shape[1] == 2:
        gains = improvement_2d(flat, front, reference)
    else:
        now = hypervolume(front, reference)
        gains = np.array(
            [hypervolume(np.vstack([front, point]), reference) - now for point in flat]
        )
    return gains.reshape(len(mean), -1).mean(axis=1)
