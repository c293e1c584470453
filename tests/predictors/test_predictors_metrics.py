"""Errors and rank correlations against loops over pairs."""

import itertools
import math

import numpy as np
import pytest

from predictors import metrics

TRUTH = np.array([1.0, 2.0, 4.0, 8.0, 9.0])
PREDICTED = np.array([1.5, 1.0, 5.0, 7.0, 12.0])


def test_rmse_and_mape():
    squares = [(t - p) ** 2 for t, p in zip(TRUTH, PREDICTED, strict=True)]
    assert metrics.rmse(TRUTH, PREDICTED) == pytest.approx(math.sqrt(sum(squares) / 5))
    shares = [abs(t - p) / t for t, p in zip(TRUTH, PREDICTED, strict=True)]
    assert metrics.mape(TRUTH, PREDICTED) == pytest.approx(sum(shares) / 5)
    assert metrics.mape(TRUTH - 1, PREDICTED) is None


def test_rank_correlations_by_counting():
    """Without ties: tau from pairs, rho from squared differences of ranks."""
    signs = [
        np.sign((TRUTH[i] - TRUTH[j]) * (PREDICTED[i] - PREDICTED[j]))
        for i, j in itertools.combinations(range(5), 2)
    ]
    assert metrics.kendall(TRUTH, PREDICTED) == pytest.approx(np.mean(signs))
    gaps = TRUTH.argsort().argsort() - PREDICTED.argsort().argsort()
    assert metrics.spearman(TRUTH, PREDICTED) == pytest.approx(1 - 6 * sum(gaps**2) / (5 * 24))


@pytest.mark.parametrize("rank", [metrics.spearman, metrics.kendall])
def test_no_order_no_correlation(rank):
    assert math.isnan(rank(TRUTH, np.ones(5)))
    assert math.isnan(rank(np.ones(5), PREDICTED))
    assert math.isnan(rank(TRUTH[:1], PREDICTED[:1]))


def test_covered_counts_the_bounds():
    share = metrics.covered(np.array([0.0, 1, 2, 3]), np.zeros(4), np.array([0.0, 2, 2, 2]))
    assert share == 0.75
