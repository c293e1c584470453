"""What a search was told: evaluations in any order, repeats and failures among them.

Axes: n = distinct architectures, m = objectives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autodistill.errors import SearchError, SpaceError
from autodistill.search.arguments import LARGEST, SMALLEST, listed
from autodistill.space import Architecture, SearchSpace, Value

LEAST_SHARE = 1e-9  # of the noisiest repeat: an exact one among noisy ones decides alone


@dataclass(frozen=True)
class Summary:
    """One row for each architecture that was told.

    Attributes:
        architectures: Those with a value, in the order in which they were told.
        values: (n, m), means over repeats.
        variances: (n, m), of these means; 0 where an evaluation is exact.
        failed: Architectures that have only failed.
    """

    architectures: list[Architecture]
    values: np.ndarray
    variances: np.ndarray
    failed: list[Architecture]


class Observations:
    """All evaluations of one search."""

    def __init__(self, space: SearchSpace, n_objectives: int) -> None:
        self.space, self.n_objectives = space, n_objectives
        self._rows: dict[Architecture, list[tuple[np.ndarray, np.ndarray]]] = {}
        self._summary: Summary | None = None

    def __len__(self) -> int:
        """Distinct architectures told."""
        return len(self._rows)

    def __contains__(self, architecture: object) -> bool:
        return architecture in self._rows

    @property
    def architectures(self) -> list[Architecture]:
        """Distinct architectures told, failures too."""
        return list(self._rows)

    def add(
        self,
        architectures: Sequence[Mapping[str, Value]],
        values: Sequence[Sequence[float]] | np.ndarray,
        *,
        noise_std: Sequence[Sequence[float]] | np.ndarray | float | None,
        repeats: bool,
    ) -> None:
        """See ``BayesianSearch.tell``; on an error nothing is kept."""
        architectures = listed("architectures", architectures)
        shape = (len(architectures), self.n_objectives)
        rows = numbers(values, shape)
        noise = _noise(noise_std, rows)
        found = members(self.space, architectures)
        if not repeats and noise_std is None:
            seen = set(self._rows)
            for member in found:
                if member in seen:
                    raise SearchError(
                        f"told twice: {member}; each is evaluated once, unless evaluations are "
                        "noisy: then give noise_std, or say repeats=True"
                    )
                seen.add(member)
        told = {member: list(self._rows.get(member, [])) for member in found}
        for member, row, spread in zip(found, rows, noise, strict=True):
            for before, exact in told[member]:
                if ((exact == 0) & (spread == 0) & (before != row) & ~np.isnan(row + before)).any():
                    raise SearchError(
                        f"told twice as exact, with different values {before.tolist()} and "
                        f"{row.tolist()}: {member}; noise_std above 0 says that they are noisy"
                    )
            told[member].append((row, spread))
        self._rows |= told
        self._summary = None

    def summary(self) -> Summary:
        """Means over repeats, with their variances."""
        if self._summary is None:
            self._summary = self._summarise()
        return self._summary

    def _summarise(self) -> Summary:
        m = self.n_objectives
        complete = {
            architecture: kept
            for architecture, told in self._rows.items()
            if (kept := _in_order([pair for pair in told if np.isfinite(pair[0]).all()]))
        }
        pooled = _pooled_variance(
            [
                np.array([row for row, _ in complete[architecture]])
                for architecture in sorted(complete, key=lambda a: a.id)
            ]
        )
        means, variances = [], []
        for kept in complete.values():
            rows = np.array([row for row, _ in kept])  # (k, m)
            noise = np.array([std for _, std in kept]) ** 2
            noise = np.where(np.isnan(noise), 0.0 if pooled is None else pooled, noise)
            largest = noise.max(axis=0)
            share = np.where(largest > 0, noise / np.where(largest > 0, largest, 1.0), 1.0)
            weights = 1 / np.maximum(share, LEAST_SHARE)  # by precision
            means.append((weights * rows).sum(0) / weights.sum(0))
            variances.append(largest / weights.sum(0))
        return Summary(
            list(complete),
            np.array(means).reshape(-1, m),
            np.array(variances).reshape(-1, m),
            [architecture for architecture in self._rows if architecture not in complete],
        )


def members(space: SearchSpace, architectures: Sequence[Mapping[str, Value]]) -> list[Architecture]:
    """The architectures, once each is known to be of the space.

    Raises:
        SearchError: One is not.
    """
    found = []
    for given in listed("architectures", architectures):
        try:
            found.append(space.settled(given))
        except (SpaceError, TypeError, ValueError) as error:
            raise SearchError(f"got what is no architecture: {given!r} ({error})") from error
        if why := space.why_invalid(found[-1]):
            raise SearchError(f"got an architecture outside the space: {why}")
    return found


def _in_order(told: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Repeats in an order of their own: sums then do not depend on when each was told."""
    return sorted(told, key=lambda pair: [*pair[0], *np.nan_to_num(pair[1], nan=-1.0)])


def numbers(values: object, shape: tuple[int, int]) -> np.ndarray:
    """A copy of values as floats of this shape.

    Raises:
        SearchError: Another shape, no numbers, or an infinite or huge one.
    """
    try:
        rows = np.array(values, np.float64)  # a copy: the caller may change theirs
    except (TypeError, ValueError) as error:
        raise SearchError(f"values must be numbers of shape {shape}; {error}") from error
    if rows.shape != shape and not (rows.size == shape[0] == 0):
        raise SearchError(f"values must have shape {shape}; got {rows.shape}")
    if np.isinf(rows).any():
        raise SearchError("values must be finite, or NaN for a failure; got an infinite one")
    if (np.abs(rows) > LARGEST).any():
        raise SearchError(
            f"values must lie within {LARGEST:g}, as their squares are needed; use another unit"
        )
    if ((rows != 0) & (np.abs(rows) < SMALLEST)).any():
        raise SearchError(
            f"values must be 0 or at least {SMALLEST:g} in size, as their squares are needed; use "
            "another unit"
        )
    return rows.reshape(shape)


def _noise(noise_std: object, rows: np.ndarray) -> np.ndarray:
    """Standard errors like ``rows``; NaN where none is declared."""
    if noise_std is None:
        return np.full(rows.shape, np.nan)
    try:
        noise = np.array(np.broadcast_to(np.asarray(noise_std, np.float64), rows.shape))
    except (TypeError, ValueError) as error:
        raise SearchError(
            f"noise_std must be numbers that fit the shape {rows.shape}; {error}"
        ) from error
    succeeded = np.isfinite(rows).all(axis=1)
    if not ((noise[succeeded] >= 0) & (noise[succeeded] <= LARGEST)).all():
        raise SearchError(
            f"noise_std must be finite and at least 0, and at most {LARGEST:g}, wherever values are"
        )
    return noise


def _pooled_variance(groups: list[np.ndarray]) -> np.ndarray | None:  # (m,)
    """Variance of one evaluation, from all repeats; ``None`` if there are none."""
    repeated = [rows for rows in groups if len(rows) > 1]
    if not repeated:
        return None
    squares = sum(((rows - rows.mean(0)) ** 2).sum(0) for rows in repeated)
    return np.asarray(squares / sum(len(rows) - 1 for rows in repeated))
