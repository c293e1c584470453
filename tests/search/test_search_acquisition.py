"""Hypervolume and its improvement against brute force, closed forms and integration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from autodistill.search.acquisition import (
    expected_improvement,
    free_boxes,
    hypervolume,
    improvement,
    nondominated,
)

# Volumes are sums and products of a few numbers below 10: float64 keeps 1e-9 with ease.
EXACT = {"rtol": 1e-9, "atol": 1e-9}


def points(m: int, most: int = 5, least: int = 0) -> st.SearchStrategy:
    """Points from a coarse grid, where ties abound, or from anywhere."""
    values = st.one_of(st.integers(0, 4).map(float), st.floats(-1, 5))
    return st.integers(least, most).flatmap(lambda n: arrays(np.float64, (n, m), elements=values))


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_nondominated_is_that_of_brute_force(m, front_of):
    @given(points(m, most=8))
    def check(values):
        assert nondominated(values).tolist() == front_of(values)

    check()


def test_equal_points_do_not_dominate_each_other():
    assert nondominated(np.array([[1.0, 2.0], [3.0, 3.0], [1.0, 2.0]])).tolist() == [0, 2]
    assert nondominated(np.empty((0, 2))).tolist() == []


@pytest.mark.parametrize("m", [1, 2, 3])
def test_hypervolume_is_that_of_inclusion_and_exclusion(m, union_volume):
    @given(points(m))
    def check(values):
        reference = np.full(m, 3.5)
        expected = union_volume(values, reference) if len(values) else 0.0
        np.testing.assert_allclose(hypervolume(values, reference), expected, **EXACT)

    check()


@pytest.mark.parametrize(
    ("values", "reference", "volume"),
    [
        ([[1, 3], [2, 2], [3, 1]], [4, 4], 6),  # a staircase of 3 + 2 + 1
        ([[0, 0]], [2, 3], 6),
        ([[0, 0], [1, 1]], [2, 3], 6),  # the second is dominated
        ([[0, 3]], [2, 3], 0),  # on the border
        ([[0, 4]], [2, 3], 0),  # outside
        ([[2]], [5], 3),
        ([[0, 0, 0]], [1, 2, 3], 6),
        ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], [2, 2, 2], 4),  # 3 * 2 - 3 * 1 + 1
    ],
)
def test_hypervolume_by_hand(values, reference, volume):
    found = hypervolume(np.array(values, float), np.array(reference, float))
    assert found == pytest.approx(volume, abs=1e-12)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_improvement_is_a_difference_of_volumes(m, union_volume):
    """Any points may stand for the front here, dominated and outside ones too."""

    @given(points(m), points(m, most=4, least=1))
    def check(front, samples):
        reference = np.full(m, 3.5)
        before = union_volume(front, reference) if len(front) else 0.0
        expected = [union_volume([*front, sample], reference) - before for sample in samples]
        np.testing.assert_allclose(improvement(samples, front, reference), expected, **EXACT)

    check()


def test_improvement_of_no_samples_is_empty():
    assert improvement(np.empty((0, 2)), np.ones((1, 2)), np.full(2, 2.0)).shape == (0,)


def test_without_uncertainty_the_expectation_is_the_improvement():
    rng = np.random.default_rng(0)
    mean, front = rng.random((6, 2)), np.array([[0.2, 0.7], [0.5, 0.3]])
    reference = np.array([1.1, 1.1])
    found = expected_improvement(mean, np.zeros((6, 2)), front, reference)
    # A standard deviation of nothing is taken as 1e-12, which moves the mean by as much.
    np.testing.assert_allclose(found, improvement(mean, front, reference), atol=1e-11)


def test_one_objective_has_the_textbook_form():
    """``(f - mu) Phi(u) + sigma phi(u)`` with ``u = (f - mu) / sigma``; the best is f."""
    mean, std = np.array([[0.2], [0.5], [0.9]]), np.array([[0.3], [0.1], [0.2]])
    front, reference = np.array([[0.5], [0.6]]), np.array([50.0])
    u = (0.5 - mean) / std
    expected = ((0.5 - mean) * norm.cdf(u) + std * norm.pdf(u))[:, 0]
    np.testing.assert_allclose(expected_improvement(mean, std, front, reference), expected, **EXACT)


def test_far_from_everything_there_is_nothing_to_expect():
    """Rounding gives no improvement, and no negative one, where there is none."""
    front, reference = np.array([[0.2, 0.7], [0.5, 0.3]]), np.array([1.1, 1.1])
    mean = np.array([[50.0, 0.1], [1e6, 1e6], [0.6, 0.8]])
    found = expected_improvement(mean, np.full((3, 2), 1e-3), front, reference)
    np.testing.assert_allclose(found, 0, atol=1e-300)
    assert (found >= 0).all()


@pytest.mark.parametrize("m", [2, 3])
def test_several_objectives_by_integration(m):
    """The integral, over what the front leaves free, of the chance to dominate a place."""
    rng = np.random.default_rng(m)
    mean, std = rng.uniform(0.2, 0.8, (3, m)), rng.uniform(0.05, 0.15, (3, m))
    front = rng.integers(20, 80, (4, m)) / 100  # on lines of the grid: each cell is free or not
    edges = np.linspace(-0.5, 1.0, 151)  # from over four standard deviations below each mean
    middle, width = (edges[1:] + edges[:-1]) / 2, 0.01
    free = np.ones([150] * m)
    for point in front:
        free[np.ix_(*(middle > value for value in point))] = 0.0
    expected = []
    for centre, spread in zip(mean, std, strict=True):
        chance = free
        for axis in range(m):  # each contraction integrates one axis away
            chance = np.tensordot(
                norm.cdf((middle - centre[axis]) / spread[axis]) * width, chance, axes=(0, 0)
            )
        expected.append(float(chance))
    found = expected_improvement(mean, std, front, np.ones(m))
    # Midpoints of cells of width w err by (w / std)**2 / 24 or so on each axis, 0.0017 at most.
    np.testing.assert_allclose(found, expected, rtol=6e-3)


@pytest.mark.parametrize("m", [2, 3])
def test_several_objectives_by_sampling(m):
    """The mean improvement of 200,000 samples, within four of its standard errors."""
    rng = np.random.default_rng(m)
    front = rng.random((7, m))
    mean, std = rng.uniform(0, 1, (1, m)), rng.uniform(0.05, 0.5, (1, m))
    samples = improvement(mean + std * rng.standard_normal((200_000, m)), front, np.full(m, 1.1))
    error = samples.std() / np.sqrt(len(samples))
    assert abs(expected_improvement(mean, std, front, np.full(m, 1.1)) - samples.mean()) < 4 * error


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_free_boxes_are_disjoint_and_fill_what_is_free(m):
    """Each random place below the reference lies in one box if it is free, else in none."""
    rng = np.random.default_rng(m)
    front = rng.integers(0, 6, (9, m)) / 5  # ties abound
    lower, upper = free_boxes(front, np.full(m, 1.05))
    places = rng.random((2000, m))
    inside = ((places[:, None] > lower) & (places[:, None] < upper)).all(axis=2).sum(axis=1)
    free = ~(places[:, None] > front).all(axis=2).any(axis=1)
    np.testing.assert_array_equal(inside, free)
