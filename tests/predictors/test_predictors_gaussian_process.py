"""The process against naive float64 formulas and scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal, norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern

from predictors import gaussian_process as process
from predictors.threads import one_blas_thread

D = 3


@pytest.fixture(autouse=True)
def one_thread():
    with one_blas_thread():
        yield


THETA = np.log([0.7, 2.0, 5.0, 1.3, 0.4, 0.05])


def data(n=25, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D))
    return x, np.sin(x[:, 0]) + 0.3 * x[:, 1] + 0.1 * rng.normal(size=n)


def naive_kernel(a, b, theta):
    """Pair by pair, from the definition."""
    lengths, (matern, linear, _) = np.exp(theta[:-3]), np.exp(theta[-3:])
    k = np.empty((len(a), len(b)))
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            r = np.sqrt(5 * np.sum(((p - q) / lengths) ** 2))
            k[i, j] = matern * (1 + r + r**2 / 3) * np.exp(-r) + linear * (1 + p @ q / len(p))
    return k


def test_covariance_is_its_definition():
    x, _ = data()
    # Distances are expanded squares: half the digits are lost near zero distance.
    np.testing.assert_allclose(
        process.covariance(x[:9], x, THETA), naive_kernel(x[:9], x, THETA), atol=1e-12
    )


def test_posterior_is_the_closed_form():
    x, z = data()
    new = np.random.default_rng(1).normal(size=(7, D)) * 2
    k = naive_kernel(x, x, THETA) + np.exp(THETA[-1]) * np.eye(len(x))
    cross = naive_kernel(new, x, THETA)
    mean = cross @ np.linalg.inv(k) @ z
    covariance = naive_kernel(new, new, THETA) - cross @ np.linalg.inv(k) @ cross.T
    posterior = process.condition(THETA, x, z)
    found_mean, found_std = process.predict_mean_and_std(posterior, new)
    # K has a condition number near 1e3, so about 1e-12 is left of float64.
    np.testing.assert_allclose(found_mean, mean, rtol=1e-10)
    np.testing.assert_allclose(found_mean, process.predict_mean(posterior, new), rtol=1e-12)
    np.testing.assert_allclose(
        found_std, np.sqrt(np.diag(covariance) + np.exp(THETA[-1])), rtol=1e-10
    )


def test_posterior_is_that_of_scikit_learn():
    x, z = data()
    lengths, (matern, linear, noise) = np.exp(THETA[:-3]), np.exp(THETA[-3:])
    # v (1 + x.y / d) = (v / d) (sigma_0**2 + x.y) with sigma_0 = sqrt(d).
    kernel = ConstantKernel(matern) * Matern(lengths, nu=2.5) + ConstantKernel(
        linear / D
    ) * DotProduct(np.sqrt(D))
    other = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(x, z)
    new = np.random.default_rng(2).normal(size=(5, D))
    mean, std = other.predict(new, return_std=True)
    found_mean, found_std = process.predict_mean_and_std(process.condition(THETA, x, z), new)
    np.testing.assert_allclose(found_mean, mean, rtol=1e-9)
    np.testing.assert_allclose(found_std, np.sqrt(std**2 + noise), rtol=1e-9)


def test_objective_is_the_log_density():
    """Differences between two thetas, as the objective drops a constant."""
    x, z = data()
    prior = process.Prior.of(D)

    def naive(theta):
        k = naive_kernel(x, x, theta) + np.exp(theta[-1]) * np.eye(len(x))
        likelihood = multivariate_normal(np.zeros(len(x)), k).logpdf(z)
        return -likelihood - norm.logpdf(theta, prior.mean, prior.std).sum()

    def ours(theta):
        return process.negative_log_posterior(theta, x, z, prior)[0]

    other = THETA + np.linspace(-1, 1, len(THETA))
    assert ours(other) - ours(THETA) == pytest.approx(naive(other) - naive(THETA), rel=1e-8)


@pytest.mark.parametrize("shift", [-1.0, 0.0, 0.8])
def test_gradient_is_that_of_the_objective(shift):
    x, z = data()
    prior = process.Prior.of(D)
    theta = THETA + shift

    def value(point):
        return process.negative_log_posterior(point, x, z, prior)[0]

    # Central error of one-sided differences with a step of 1e-6 is about 1e-5.
    np.testing.assert_allclose(
        process.negative_log_posterior(theta, x, z, prior)[1],
        approx_fprime(theta, value, 1e-6),
        rtol=1e-4,
        atol=1e-3,
    )


def test_leave_one_out_is_leaving_each_out():
    x, z = data(8)
    left_out = [
        z[i]
        - process.predict_mean(
            process.condition(THETA, np.delete(x, i, 0), np.delete(z, i)), x[i : i + 1]
        )[0]
        for i in range(len(x))
    ]
    found = process.leave_one_out_residuals(process.condition(THETA, x, z))
    np.testing.assert_allclose(found, left_out, rtol=1e-9)


def test_search_ends_at_a_stationary_point_within_bounds():
    x, z = data(40)
    prior = process.Prior.of(D)
    theta, converged = process.most_probable_theta(x, z, n_starts=3, rng=np.random.RandomState(0))
    assert converged
    assert (prior.lower <= theta).all() and (theta <= prior.upper).all()
    _, gradient = process.negative_log_posterior(theta, x, z, prior)
    assert np.abs(gradient).max() < process.CONVERGED_GRADIENT


def test_search_finds_which_column_matters():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 2))
    theta, _ = process.most_probable_theta(
        x, np.sin(3 * x[:, 0]), n_starts=3, rng=np.random.RandomState(0)
    )
    assert theta[0] < theta[1] - 1  # at least e times shorter


def test_prediction_in_chunks_is_prediction_at_once(monkeypatch):
    x, z = data()
    posterior = process.condition(THETA, x, z)
    new = np.random.default_rng(4).normal(size=(11, D))
    whole = process.predict_mean_and_std(posterior, new)
    monkeypatch.setattr(process, "CHUNK_ROWS", 4)
    for part, at_once in zip(process.predict_mean_and_std(posterior, new), whole, strict=True):
        np.testing.assert_allclose(part, at_once, rtol=1e-12)


def test_no_rows_give_no_predictions():
    x, z = data()
    mean, std = process.predict_mean_and_std(process.condition(THETA, x, z), np.empty((0, D)))
    assert mean.shape == std.shape == (0,)


def test_inverse_reports_a_broken_factor():
    with pytest.raises(np.linalg.LinAlgError, match="dpotri"):
        process._inverse(np.zeros((2, 2)))
