"""The Pareto front of latency (minimised) and quality (maximised)."""

from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autodistill.report.data import ReportRow


def pareto_front(
    latency: ArrayLike,  # (n,) minimised
    quality: ArrayLike,  # (n,) maximised
) -> NDArray[np.bool_]:  # (n,)
    """Which points no other point beats.

    A point is beaten by one that is no worse on both and better on one. Equal
    points do not beat each other. A row that is not finite is never on the
    front and beats nothing. Sorted by latency, then by falling quality, a point
    is on the front if it has the best quality so far: n log n.

    Raises:
        ValueError: The two are not vectors of one length.

    Example:
        >>> pareto_front([1.0, 2.0, 2.0, 3.0], [0.5, 0.7, 0.6, 0.7]).tolist()
        [True, True, False, False]
    """
    x = np.asarray(latency, dtype=float)
    y = np.asarray(quality, dtype=float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"latency and quality must be vectors of one length; got {x.shape} and {y.shape}"
        )
    mask = np.zeros(len(x), dtype=bool)
    finite = np.isfinite(x) & np.isfinite(y)
    best: tuple[float, float] | None = None  # the last point taken
    for index in np.lexsort((-y, x)):
        if not finite[index]:
            continue
        point = (float(x[index]), float(y[index]))
        if best is None or point[1] > best[1] or point == best:
            mask[index] = True
            best = point
    return mask


def mark_front(
    rows: Iterable[ReportRow], *, excluded: Collection[int] = ()
) -> tuple[ReportRow, ...]:
    """The rows with ``on_front`` set, among the complete ones, the baseline included.

    Args:
        rows: In any order; the order is kept.
        excluded: Numbers of rows that may not be on the front, as those over a limit.
    """
    rows = tuple(rows)
    joins = [row.complete and row.number not in excluded for row in rows]
    latency = [_number(r.latency_ms) if j else np.nan for r, j in zip(rows, joins, strict=True)]
    quality = [_number(r.quality) if j else np.nan for r, j in zip(rows, joins, strict=True)]
    mask = pareto_front(latency, quality)
    return tuple(replace(row, on_front=bool(on)) for row, on in zip(rows, mask, strict=True))


def _number(value: float | None) -> float:
    return np.nan if value is None else value
