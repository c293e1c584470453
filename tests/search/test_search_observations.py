"""What was told: repeats, noise and failures, against sums by hand."""

import numpy as np
import pytest

from autodistill.errors import SearchError
from autodistill.search.observations import Observations
from autodistill.space import Architecture, SearchSpace

SPACE = SearchSpace({"a": [1, 2, 3, 4]})
A, B, C = ({"a": i} for i in (1, 2, 3))


def told(*batches):
    observations = Observations(SPACE, 2)
    for architectures, values, noise in batches:
        observations.add(architectures, values, noise_std=noise, repeats=True)
    return observations.summary()


def test_repeats_of_known_noise_weigh_by_precision():
    summary = told(
        ([A], [[1.0, 10.0]], [[1.0, 2.0]]),
        ([B], [[5.0, 5.0]], 0.5),
        ([A], [[4.0, 20.0]], [[2.0, 2.0]]),
    )
    assert summary.architectures == [Architecture(A), Architecture(B)]
    # weights 1 and 1/4: (1 + 4 / 4) / (5 / 4); equal weights: the mean
    np.testing.assert_allclose(summary.values, [[1.6, 15.0], [5.0, 5.0]])
    np.testing.assert_allclose(summary.variances, [[0.8, 2.0], [0.25, 0.25]])


def test_noise_that_is_not_declared_is_estimated_from_repeats():
    """Two architectures twice: squares 2 and 8 about their means, over two degrees."""
    summary = told(
        ([A, B, C], [[1.0, 0.0], [4.0, 0.0], [7.0, 1.0]], None),
        ([A, B], [[3.0, 0.0], [8.0, 0.0]], None),
    )
    np.testing.assert_allclose(summary.values, [[2.0, 0.0], [6.0, 0.0], [7.0, 1.0]])
    variance = (2.0 + 8.0) / 2
    np.testing.assert_allclose(summary.variances[:, 0], [variance / 2, variance / 2, variance])
    np.testing.assert_allclose(summary.variances[:, 1], 0)


def test_without_repeats_or_noise_values_are_exact():
    summary = told(([A, B], [[1.0, 2.0], [3.0, 4.0]], None))
    assert not summary.variances.any()
    assert summary.values.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_an_exact_repeat_decides_alone():
    summary = told(([A], [[1.0, 1.0]], 1.0), ([A], [[3.0, 3.0]], 0.0))
    np.testing.assert_allclose(summary.values, [[3.0, 3.0]], rtol=1e-8)
    np.testing.assert_allclose(summary.variances, 0, atol=1e-8)


def test_a_failure_counts_only_where_nothing_succeeded():
    nan = [np.nan, np.nan]
    summary = told(([A, B, B], [nan, nan, nan], None), ([A], [[1.0, np.nan]], None))
    assert summary.architectures == [] and summary.values.shape == (0, 2)
    assert summary.failed == [Architecture(A), Architecture(B)]
    summary = told(([A, B], [nan, nan], None), ([A], [[1.0, 2.0]], 0.1))
    assert summary.architectures == [Architecture(A)] and summary.failed == [Architecture(B)]


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ([[0.1, -0.1]], "finite and at least 0"),
        ([[0.1, np.nan]], "finite and at least 0"),
        (np.inf, "finite and at least 0"),
        ([[0.1, 0.2, 0.3]], "fit the shape (1, 2)"),
        ("much", "fit the shape (1, 2)"),
    ],
)
def test_noise_that_cannot_be(noise, message):
    observations = Observations(SPACE, 2)
    with pytest.raises(SearchError) as error:
        observations.add([A], [[1.0, 2.0]], noise_std=noise, repeats=False)
    assert message in str(error.value)
    assert len(observations) == 0


def test_a_failure_needs_no_noise():
    summary = told(([A, B], [[np.nan, 1.0], [1.0, 1.0]], [[np.nan, np.nan], [0.1, 0.1]]))
    assert summary.failed == [Architecture(A)]
