"""What is the Gaussian process predictor's own."""

import numpy as np
import pytest

from predictors import GPPredictor, SubsetWarning


def wave(n, seed=0):
    X = np.random.default_rng(seed).uniform(-1, 1, (n, 2))
    return X, np.sin(3 * X[:, 0]) + X[:, 1]


def test_noise_free_rows_are_met():
    X, y = wave(60)
    new, truth = wave(200, seed=1)
    model = GPPredictor().fit(X, y)
    assert np.abs(model.predict(X) - y).max() < 0.02
    assert np.sqrt(np.mean((model.predict(new) - truth) ** 2)) < 0.05 * truth.std()


def test_straight_line_is_carried_on():
    X = np.arange(8.0)[:, None]
    assert GPPredictor().fit(X, 3 * X[:, 0] + 1).predict([[10.0]])[0] == pytest.approx(31, rel=0.1)


def test_spread_grows_away_from_the_rows():
    X, y = wave(30)
    _, std = GPPredictor().fit(X, y).predict([[0.0, 0.0], [3.0, 3.0], [9.0, 9.0]], return_std=True)
    assert std[0] < std[1] < std[2]


def test_spread_includes_the_noise():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(300, 1))
    _, std = GPPredictor().fit(X, 0.5 * rng.normal(size=300)).predict([[0.5]], return_std=True)
    # 300 rows give the noise to 1 / sqrt(600), some 4%.
    assert std[0] == pytest.approx(0.5, rel=0.15)


def test_more_rows_than_max_rows_are_thinned_with_a_warning():
    X, y = wave(50)
    with pytest.warns(SubsetWarning, match="fitting on 20 rows drawn from 50"):
        model = GPPredictor(max_rows=20).fit(X, y)
    assert len(model.posterior_.x) == 20
    assert model.n_rows_ == 50
    with pytest.warns(SubsetWarning):
        again = GPPredictor(max_rows=20).fit(X, y)
    with pytest.warns(SubsetWarning):
        other = GPPredictor(max_rows=20, random_state=1).fit(X, y)
    np.testing.assert_array_equal(again.posterior_.x, model.posterior_.x)
    assert not np.array_equal(other.posterior_.x, model.posterior_.x)


def test_search_on_a_subset_still_uses_every_row():
    X, y = wave(80)
    model = GPPredictor(max_search_rows=30).fit(X, y)
    assert len(model.posterior_.x) == 80
    assert np.abs(model.predict(X) - y).max() < 0.1


def test_vague_log_prediction_overflows_to_infinity_quietly():
    X = np.arange(5.0)[:, None]
    model = GPPredictor(log_target=True).fit(X, np.exp([0.0, 50, -50, 60, 1]))
    _, std = model.predict([[1e5]], return_std=True)
    assert std[0] == np.inf
