"""Oracles that need no geometry, and a search that is quick."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import settings

from autodistill.search import designer

# The same examples in every run, and no folder of remembered ones.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def union_volume():
    """Volume of the boxes between points and a reference, by inclusion and exclusion.

    Exact, and exponential in the number of points: for at most eight.
    """

    def volume(points, reference):
        sides = np.clip(np.asarray(reference) - np.asarray(points), 0, None)
        return sum(
            (-1) ** (size + 1) * np.min(chosen, axis=0).prod()
            for size in range(1, len(sides) + 1)
            for chosen in combinations(sides, size)
        )

    return volume


@pytest.fixture(scope="session")
def front_of():
    """Indices of the rows that no other dominates, pair by pair."""

    def front(values):
        rows = np.asarray(values, float)
        return [
            i for i, row in enumerate(rows)
            if not any((other <= row).all() and (other < row).any() for other in rows)
        ]  # fmt: skip

    return front


@pytest.fixture
def quick(monkeypatch):
    """Gaussian processes alone and a short evolution: a proposal in a tenth of the time."""
    monkeypatch.setattr(designer, "MIN_ROWS_FOR_CHOICE", 10_000)
    monkeypatch.setattr(designer, "GENERATIONS", 8)
