"""Error scales against closed forms, and intervals against what they promise."""

import numpy as np
import pytest
from scipy.stats import norm

from predictors import GPPredictor, InputError, XGBPredictor
from predictors.calibration import KEPT, PRIOR_ROWS, ErrorScale


def test_many_normal_errors_leave_a_model_as_it_is():
    std = np.full(100_000, 0.3)
    scale = ErrorScale.of(std * np.random.default_rng(0).normal(size=len(std)), std)
    # One part in sqrt(2 n) of the spread, and about two of the quantiles.
    assert scale.spread == pytest.approx(1, abs=0.01)
    for coverage in (0.5, 0.9, 0.99):
        assert scale.half_width(coverage) == pytest.approx(norm.ppf(0.5 + coverage / 2), rel=0.03)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_a_model_too_sure_or_unsure_is_rescaled(factor):
    errors = np.random.default_rng(0).normal(size=20_000)
    scale = ErrorScale.of(factor * errors, np.ones(len(errors)))
    assert scale.spread == pytest.approx(factor, rel=0.03)
    assert scale.half_width(0.9) == pytest.approx(factor * norm.ppf(0.95), rel=0.03)


def test_heavy_tails_widen_outer_intervals_and_not_inner_ones():
    """Nine in ten errors of size 1, one in ten of size 10: coverage is exact all the same."""
    rng = np.random.default_rng(0)
    sizes = np.where(rng.uniform(size=40_000) < 0.1, 10.0, 1.0)
    errors = sizes * rng.normal(size=len(sizes))
    scale = ErrorScale.of(errors[::2], np.ones(len(errors) // 2))
    for coverage in (0.5, 0.8, 0.9, 0.97):
        held = np.mean(np.abs(errors[1::2]) <= scale.half_width(coverage))
        assert held == pytest.approx(coverage, abs=0.015)
    assert scale.spread == pytest.approx(np.sqrt(0.9 + 0.1 * 100), rel=0.05)


def test_few_rows_are_weighed_against_a_normal():
    errors = np.array([0.5, -1.0, 2.0, 0.1])
    scale = ErrorScale.of(errors, np.ones(4))
    spread = np.sqrt((PRIOR_ROWS + np.sum(errors**2)) / (PRIOR_ROWS + 4))
    assert scale.spread == pytest.approx(spread)
    # 0.9 * 5 rows is beyond the fourth: the normal, unless the largest error asks for more.
    trust = 4 / (PRIOR_ROWS + 4)
    normal = spread * norm.ppf(0.95)
    assert scale.half_width(0.9) == pytest.approx((1 - trust) * normal + trust * 2.0)
    normal = spread * norm.ppf(0.995)
    assert scale.half_width(0.99) == pytest.approx(normal)
    # 0.5 * 5 rounds up to the third smallest of 0.1, 0.5, 1, 2.
    trust = 4 / (4 + PRIOR_ROWS)
    expected = (1 - trust) * spread * norm.ppf(0.75) + trust * 1.0
    assert scale.half_width(0.5) == pytest.approx(expected)


def test_none_is_the_normal():
    assert ErrorScale.none().spread == 1
    assert ErrorScale.none().half_width(0.9) == pytest.approx(norm.ppf(0.95))


@pytest.mark.parametrize("coverage", [0.0, 1.0, 90.0, -0.1])
def test_coverage_is_a_share(coverage):
    with pytest.raises(InputError, match="between 0 and 1"):
        ErrorScale.none().half_width(coverage)


def test_state_holds_everything_and_stays_small():
    errors = np.random.default_rng(0).normal(size=3000)
    scale = ErrorScale.of(errors, np.ones(3000))
    back = ErrorScale.from_state(scale.to_state())
    np.testing.assert_array_equal(back.ratios, scale.ratios)
    assert (back.spread, back.n_rows) == (scale.spread, 3000)
    assert len(scale.ratios) == KEPT


@pytest.mark.parametrize(
    "predictor",
    [GPPredictor(), XGBPredictor(n_trees=40, learning_rate=0.3)],
    ids=lambda predictor: predictor.kind,
)
@pytest.mark.parametrize("n", [30, 60])
def test_intervals_hold_what_they_promise(predictor, n):
    """Six tables of many columns and heavy-tailed noise: 90% of new rows lie inside.

    600 new rows each; tables of 30 rows differ by some 8 points, so their mean is
    known to 3.
    """
    held = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.integers(0, 5, (n + 600, 12)) / 4.0
        noise = 0.1 * rng.standard_t(3, len(X))
        y = X @ rng.normal(size=12) + np.sin(3 * X[:, 0]) * X[:, 1] + noise
        model = predictor.fit(X[:n], y[:n])
        lower, upper = model.predict_interval(X[n:], 0.9)
        held.append(np.mean((lower <= y[n:]) & (y[n:] <= upper)))
    assert 0.82 < np.mean(held) < 0.97


@pytest.mark.parametrize("n", [1, 5, 20, 600])
def test_a_higher_coverage_is_never_a_narrower_interval(n):
    errors = np.random.default_rng(n).standard_t(2, n)
    scale = ErrorScale.of(errors, np.ones(n))
    widths = [scale.half_width(coverage) for coverage in np.linspace(0.01, 0.999, 300)]
    assert (np.diff(widths) >= -1e-12).all()
