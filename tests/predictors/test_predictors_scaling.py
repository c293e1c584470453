"""Scales there and back."""

import numpy as np
import pytest

from predictors import InputError
from predictors.rows import LARGEST
from predictors.scaling import WIDEST_COLUMN, InputScale, TargetScale


def test_ordinary_column_is_standardised():
    rows = np.random.default_rng(0).normal(7, 3, (500, 2))
    scaled = InputScale.of(rows).apply(rows)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), 1)


def test_rare_category_is_not_far_away():
    rows = np.zeros((1000, 1))
    rows[3] = 1
    assert np.ptp(InputScale.of(rows).apply(rows)) == pytest.approx(WIDEST_COLUMN)


@pytest.mark.parametrize(("value", "unit"), [(128.0, 128.0), (-3.0, 3.0), (0.0, 1.0), (0.1, 0.1)])
def test_constant_column_is_zero_and_its_own_unit(value, unit):
    rows = np.full((7, 1), value)
    scale = InputScale.of(rows)
    np.testing.assert_array_equal(scale.apply(rows), 0)
    assert scale.apply(np.array([[value + unit]]))[0, 0] == pytest.approx(1)


def test_spread_beyond_float64_is_refused():
    rows = np.array([[0.0, LARGEST], [1.0, -LARGEST]])  # the largest that is let through
    np.testing.assert_allclose(InputScale.of(rows).apply(rows), [[-1, 1], [1, -1]])
    with pytest.raises(InputError, match="y spreads too far"):
        TargetScale.of(np.array([1e308, -1e308]), log=False)


@pytest.mark.parametrize("log", [False, True])
def test_target_there_and_back(log):
    y = np.random.default_rng(0).uniform(1, 9, 50)
    scale = TargetScale.of(y, log=log)
    z = scale.apply(y)
    assert z.mean() == pytest.approx(0, abs=1e-12) and z.std() == pytest.approx(1)
    np.testing.assert_allclose(scale.median(z), y)


def test_log_normal_spread_by_drawing():
    scale = TargetScale(True, centre=0.7, scale=0.5)
    draws = np.exp(0.7 + 0.5 * np.random.default_rng(0).normal(0.3, 0.8, 1_000_000))
    # A million draws give this spread to about 0.2%.
    found = scale.std(np.array([0.3]), np.array([0.8]))[0]
    assert found == pytest.approx(draws.std(), rel=0.01)
    lower, upper = scale.interval(np.array([0.3]), np.array([0.8]), 0.9)
    np.testing.assert_allclose([lower[0], upper[0]], np.quantile(draws, [0.05, 0.95]), rtol=0.01)


def test_state_holds_everything():
    scale = InputScale(np.array([1.0, 2.0]), np.array([0.1, 1 / 3]))
    back = InputScale.from_state(scale.to_state())
    np.testing.assert_array_equal(back.scale, scale.scale)
    np.testing.assert_array_equal(back.centre, scale.centre)
    target = TargetScale(True, 0.1, 1 / 3)
    assert TargetScale.from_state(target.to_state()) == target
