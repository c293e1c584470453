"""A process given exact, noisy and imagined values, against joint Gaussians written out."""

import numpy as np
import pytest

from autodistill.search.processes import LEAST_NUGGET, Process
from predictors import GPPredictor


def example(n=12, *, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((n, 3))
    y = np.sin(3 * x[:, 0]) + x[:, 1] + noise * rng.standard_normal(n)
    return x, y, GPPredictor(random_state=0).fit(x, y)


def joint(process, rows):
    """Covariance of the true values at scaled rows, in the unit of the target."""
    scale = process.predictor.target_scale_.scale
    prior = process.covariance(rows, rows) + process.nugget * np.eye(len(rows))
    return prior * scale**2


def test_exact_values_are_themselves_and_predictions_interpolate():
    x, y, predictor = example()
    process = Process.of(predictor, x, y, np.zeros(len(y)))
    given = process.imagine(np.empty((0, 3)), np.zeros((1, len(y))))
    np.testing.assert_allclose(given.values, y[None], rtol=1e-12)
    mean, std = given.predict(np.random.default_rng(1).random((5, 3)))
    expected = predictor.predict(np.random.default_rng(1).random((5, 3)), return_std=True)
    # the predictor adds a jitter of 1e-12 of its covariance where this adds none
    np.testing.assert_allclose(mean[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(std, expected[1], rtol=1e-3, atol=1e-3 * y.std())


def test_pending_values_are_drawn_from_their_joint_posterior():
    x, y, predictor = example()
    process = Process.of(predictor, x, y, np.zeros(len(y)))
    pending = np.random.default_rng(2).random((3, 3))
    draws = np.random.default_rng(3).standard_normal((20_000, len(y) + 3))
    values = process.imagine(pending, draws).values
    rows = predictor.input_scale_.apply(np.vstack([x, pending]))
    prior = joint(process, rows)
    n = len(y)
    gain = prior[n:, :n] @ np.linalg.inv(prior[:n, :n])
    centre = predictor.target_scale_.centre
    np.testing.assert_allclose(values[:, :n], np.tile(y, (20_000, 1)), rtol=1e-12)
    covariance = prior[n:, n:] - gain @ prior[:n, n:]
    spread = np.sqrt(np.diag(covariance))
    # standard errors are 1 / sqrt(20,000) of the spread: four of them, and 5% of covariances
    np.testing.assert_allclose(
        values[:, n:].mean(0), centre + gain @ (y - centre), atol=0.03 * spread.max()
    )
    np.testing.assert_allclose(np.cov(values[:, n:].T), covariance, atol=0.05 * spread.max() ** 2)


def test_noisy_values_are_drawn_about_what_neighbours_say():
    x, y, predictor = example(noise=0.3)
    variance = np.where(np.arange(len(y)) < 9, 0.09, 0.0)  # the last three are exact
    process = Process.of(predictor, x, y, variance)
    draws = np.random.default_rng(3).standard_normal((20_000, len(y)))
    values = process.imagine(np.empty((0, 3)), draws).values
    prior = joint(process, predictor.input_scale_.apply(x))
    gain = prior @ np.linalg.inv(prior + np.diag(variance))
    centre = predictor.target_scale_.centre
    covariance = prior - gain @ prior
    np.testing.assert_allclose(values.mean(0), centre + gain @ (y - centre), atol=0.01)
    np.testing.assert_allclose(np.cov(values.T), covariance, atol=0.005)
    np.testing.assert_allclose(values[:, 9:], np.tile(y[9:], (20_000, 1)), atol=1e-6)


def test_given_a_draw_predictions_are_those_of_a_process_told_it():
    x, y, predictor = example()
    process = Process.of(predictor, x, y, np.zeros(len(y)))
    pending, new = np.random.default_rng(2).random((2, 3)), np.random.default_rng(4).random((6, 3))
    given = process.imagine(pending, np.random.default_rng(3).standard_normal((2, len(y) + 2)))
    mean, std = given.predict(new)
    rows = predictor.input_scale_.apply(np.vstack([x, pending, new]))
    prior, n = joint(process, rows), len(y) + 2
    gain = prior[n:, :n] @ np.linalg.inv(prior[:n, :n])
    centre = predictor.target_scale_.centre
    for drawn in range(2):
        expected = centre + gain @ (given.values[drawn] - centre)
        np.testing.assert_allclose(mean[drawn], expected, rtol=1e-4, atol=1e-5)
    covariance = prior[n:, n:] - gain @ prior[:n, n:]
    np.testing.assert_allclose(std**2, np.diag(covariance), rtol=1e-3, atol=1e-6)


def test_what_leaves_one_out_is_refitting_without_it():
    x, y, predictor = example(noise=0.1)
    process = Process.of(predictor, x, y, np.full(len(y), 0.01))
    residual, std = process.leave_one_out()
    scale = predictor.target_scale_.scale
    prior = joint(process, process.x) / scale**2 + np.diag(process.noise)
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        gain = prior[i, rest] @ np.linalg.inv(prior[np.ix_(rest, rest)])
        assert residual[i] == pytest.approx(process.z[i] - gain @ process.z[rest], abs=1e-8)
        assert std[i] ** 2 == pytest.approx(prior[i, i] - gain @ prior[rest, i], rel=1e-6)


def test_declared_noise_is_taken_off_what_the_columns_do_not_explain():
    x, y, predictor = example(n=40, noise=0.3)
    unexplained = predictor.error_scale_.spread**2 * predictor.posterior_.kernel.noise
    scale = predictor.target_scale_.scale
    half = Process.of(predictor, x, y, np.full(40, unexplained * scale**2 / 2))
    assert half.nugget == pytest.approx(unexplained / 2)
    more = Process.of(predictor, x, y, np.full(40, unexplained * scale**2 * 2))
    assert more.nugget == LEAST_NUGGET


def test_far_from_all_that_is_told_nothing_breaks_down():
    """Told rows that hardly differ in a column: others lie 1e12 of its units away, and the
    variance there is 1e48 times that of the told. Both ends stay what they are."""
    x, y, _ = example()
    x[:, 2] = 1e-12 * np.arange(len(y))
    process = Process.of(GPPredictor(random_state=0).fit(x, y), x, y, np.zeros(len(y)))
    far = np.array([[0.5, 0.5, 1.0], [0.2, 0.5, 0.9], [0.2, 0.5, 0.9]])
    given = process.imagine(far, np.random.default_rng(0).standard_normal((4, len(y) + 3)))
    np.testing.assert_allclose(given.values[:, : len(y)], np.tile(y, (4, 1)), rtol=1e-9)
    mean, std = given.predict(np.vstack([x[:2], far]))
    assert np.isfinite(mean).all() and (std > 0).all()
    assert np.isfinite(np.stack(process.leave_one_out())).all()
