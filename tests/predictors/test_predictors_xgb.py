"""What is the boosted-tree predictor's own: its ensemble and calibration."""

import numpy as np
import pytest
from scipy.optimize import minimize

from predictors import XGBPredictor
from predictors.xgb import LEAST_VARIANCE, RATIOS, Calibration, _gain_of_many


def steps(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 6, (n, 2)).astype(float)
    return X, 3.0 * (X[:, 0] > 2) + X[:, 1] + 0.2 * rng.normal(size=n)


def test_prediction_is_the_mean_of_the_members():
    X, y = steps(40)
    model = XGBPredictor(n_trees=20, n_repeats=2).fit(X, y)
    assert len(model.members_) == 10
    scaled = (X - model.input_scale_.centre) / model.input_scale_.scale
    members = [member.inplace_predict(scaled).astype(float) for member in model.members_]
    expected = y.mean() + y.std() * np.mean(members, axis=0)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-12)


def test_fewer_rows_than_folds_are_left_out_one_by_one():
    X, y = steps(3)
    assert len(XGBPredictor(n_trees=5, n_repeats=2).fit(X, y).members_) == 6


def test_training_error_is_held_out():
    """Targets that are pure chance cannot be held-out predicted, however deep the trees."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), rng.normal(size=60)
    model = XGBPredictor(max_depth=6).fit(X, y)
    assert np.sqrt(np.mean((model.predict(X) - y) ** 2)) < 0.6
    assert model.training_error_ > 0.8 * y.std()


def test_spread_is_that_of_new_measurements():
    X, y = steps(300)
    new, truth = steps(400, seed=1)
    median, std = XGBPredictor(n_trees=100).fit(X, y).predict(new, return_std=True)
    # 400 rows give the size of the error to 1 / sqrt(800), some 4%; folds and data add to it.
    assert np.sqrt(np.mean(((truth - median) / std) ** 2)) == pytest.approx(1, abs=0.25)


def test_large_tables_use_histograms(monkeypatch):
    monkeypatch.setattr("predictors.xgb.EXACT_UP_TO_ROWS", 10)
    X, y = steps(60)
    assert np.corrcoef(XGBPredictor(n_trees=30).fit(X, y).predict(X), y)[0, 1] > 0.95


def test_calibration_recovers_the_line():
    rng = np.random.default_rng(0)
    variances = rng.gamma(2.0, 1.0, 20_000)
    residuals = rng.normal(size=20_000) * np.sqrt(0.5 + 0.8 * variances)
    found = Calibration.of(residuals, variances)

    def loss(logs):
        total = np.exp(logs[0]) + np.exp(logs[1]) * variances
        return np.mean(np.log(total) + residuals**2 / total)

    best = minimize(loss, [0.0, 0.0], method="Nelder-Mead")
    # The list of ratios is a factor of three apart; the likelihood is flat in between.
    assert loss(np.log([found.floor, found.slope])) < best.fun + 0.01
    spread = found.std(variances)
    np.testing.assert_allclose(np.mean((residuals / spread) ** 2), 1, rtol=0.02)


def test_calibration_ignores_a_spread_that_says_nothing():
    rng = np.random.default_rng(1)
    variances = rng.gamma(1.0, 1.0, 5000)
    found = Calibration.of(rng.normal(size=5000), variances)
    assert found.slope * variances.mean() / found.floor <= RATIOS[1] + 1e-12
    assert found.floor == pytest.approx(1, rel=0.1)


def test_calibration_without_errors_keeps_a_floor():
    found = Calibration.of(np.zeros(5), np.zeros(5))
    assert found == Calibration(LEAST_VARIANCE, 0.0)


def test_errors_held_out_from_few_members_are_those_of_many_but_for_their_scatter():
    """Members that are truth plus a shared error plus scatter: only the scatter averages out."""
    rng = np.random.default_rng(0)
    shared, scatter = rng.normal(size=20_000), 1.5 * rng.normal(size=(10, 20_000))
    held_out = shared + scatter[:2]
    residuals, variances = -held_out.mean(axis=0), held_out.var(axis=0, ddof=1)
    found = _gain_of_many(residuals, variances, 2, 10)
    expected = np.std(shared + scatter.mean(axis=0)) / np.std(residuals)
    assert found == pytest.approx(expected, rel=0.02)  # 20,000 rows: about one part in 100
    assert _gain_of_many(np.zeros(5), np.zeros(5), 2, 10) == 1
