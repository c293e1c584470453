"""Where to look before anything is known: far apart, from the smallest to the largest.

Axes: n = architectures, d = columns.
"""

import numpy as np

from autodistill.search.described import Described


def fill(
    count: int,
    pool: Described,
    taken: Described,
    *,
    known: tuple[np.ndarray, np.ndarray],  # (pool, d), (taken, d)
) -> list[int]:
    """Rows of the pool, each as far as can be from those taken and chosen before.

    Distances are in what is known of architectures (features, and objectives that
    need no evaluation), in their choices where nothing is. The first of all is the
    middle of the pool, not an edge of it.

    Args:
        count: How many at most.
        pool: To choose among.
        taken: Told or pending.
        known: Further columns of both.
    """
    columns = [np.vstack([pool.features, taken.features]), np.vstack(known)]
    if not sum(column.shape[1] for column in columns):
        columns = [np.vstack([pool.choices, taken.choices])]
    x = np.hstack(columns)
    x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    points, centres = x[: len(pool)], list(x[len(pool) :]) or [(x.min(0) + x.max(0)) / 2]
    distance = np.min([np.linalg.norm(points - c, axis=1) for c in centres], axis=0)
    if not len(taken):
        distance = -distance
    chosen: list[int] = []
    for _ in range(min(count, len(pool))):
        best = int(np.argmax(distance))
        to_best = np.linalg.norm(points - points[best], axis=1)
        distance = np.minimum(distance, to_best) if chosen or len(taken) else to_best
        chosen.append(best)
        distance[chosen] = -np.inf
    return chosen
