"""The search for a kernel against naive densities and finite differences."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal, norm
from scipy.stats import t as student

from predictors import gaussian_process as process
from predictors import hyperparameters
from predictors.hyperparameters import Prior, kernel_of
from predictors.threads import one_blas_thread

D = 3
PHI = np.array([-0.4, 0.1, 0.9, -0.3, *np.log([1.3, 0.4, 0.2, 0.05])])


@pytest.fixture(autouse=True)
def one_thread():
    with one_blas_thread():
        yield


def data(n=25, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D))
    return x, np.sin(x[:, 0]) + 0.3 * x[:, 1] + 0.1 * rng.normal(size=n)


def test_phi_says_the_kernel():
    kernel = kernel_of(PHI)
    expected = np.sqrt(D) * np.exp([-0.7, -0.2, 0.6])
    np.testing.assert_allclose(kernel.lengthscales, expected)
    np.testing.assert_allclose(kernel.trend_lengthscales, expected)
    assert (kernel.matern, kernel.linear) == pytest.approx((1.3, 0.4))
    assert (kernel.quadratic, kernel.noise) == pytest.approx((0.2, 0.05))


def test_objective_is_the_log_density():
    """Differences between two phi, as the objective drops a constant."""
    x, z = data()
    prior = Prior()

    def naive(phi):
        kernel = kernel_of(phi)
        k = kernel(x, x) + kernel.noise * np.eye(len(x))
        return -(
            multivariate_normal(np.zeros(len(x)), k).logpdf(z)
            + student(prior.degrees, scale=prior.deviation).logpdf(phi[:D]).sum()
            + norm(0, prior.common).logpdf(phi[D])
            + norm(prior.mean, prior.std).logpdf(phi[D + 1 :]).sum()
        )

    def ours(phi):
        return hyperparameters.negative_log_posterior(phi, x, z, prior)[0]

    other = PHI + np.linspace(-1, 1, len(PHI))
    assert ours(other) - ours(PHI) == pytest.approx(naive(other) - naive(PHI), rel=1e-7)


@pytest.mark.parametrize("shift", [-1.0, 0.0, 0.8])
def test_gradient_is_that_of_the_objective(shift):
    x, z = data()
    prior, phi = Prior(), PHI + shift

    def value(point):
        return hyperparameters.negative_log_posterior(point, x, z, prior)[0]

    # The error of one-sided differences with a step of 1e-6 is about 1e-5.
    np.testing.assert_allclose(
        hyperparameters.negative_log_posterior(phi, x, z, prior)[1],
        approx_fprime(phi, value, 1e-6),
        rtol=1e-4,
        atol=1e-3,
    )


@pytest.mark.parametrize("n_starts", [1, 3])
def test_search_ends_at_a_stationary_point_within_bounds(n_starts):
    x, z = data(40)
    prior = Prior()
    phi, converged = hyperparameters.most_probable_phi(
        x, z, n_starts=n_starts, rng=np.random.RandomState(0)
    )
    lower, upper = prior.bounds(D)
    assert converged
    assert (lower <= phi).all() and (phi <= upper).all()
    _, gradient = hyperparameters.negative_log_posterior(phi, x, z, prior)
    inside = (lower < phi) & (phi < upper)
    assert np.abs(gradient[inside]).max() < hyperparameters.CONVERGED_GRADIENT


def test_search_finds_which_column_matters():
    x = np.random.default_rng(3).normal(size=(60, 2))
    phi, _ = hyperparameters.most_probable_phi(
        x, np.sin(3 * x[:, 0]), n_starts=1, rng=np.random.RandomState(0)
    )
    assert phi[0] < phi[1] - 1  # at least e times shorter


def test_search_survives_the_corners_of_its_bounds():
    """Columns that span eight units under the shortest lengthscales: K must stay positive."""
    rng = np.random.default_rng(0)
    x, z = 8 * rng.normal(size=(200, 20)), rng.normal(size=200)
    lower, upper = Prior().bounds(20)
    corner = np.concatenate([lower[:21], upper[21:24], lower[24:]])
    value, gradient = hyperparameters.negative_log_posterior(corner, x, z, Prior())
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_held_out_errors_are_those_of_rows_not_seen():
    """Without steps of the search they are those of the kernel itself, fold by fold."""
    x, z = data(20)
    folds = [np.arange(0, 10), np.arange(10, 20)]
    errors, stds = hyperparameters.held_out_errors(PHI, x, z, folds)
    for fold, rest in (folds, folds[::-1]):
        found = hyperparameters.most_probable_phi(
            x[rest], z[rest], n_starts=1, rng=np.random.RandomState(0)
        )[0]
        posterior = process.condition(kernel_of(found), x[rest], z[rest])
        mean, std = process.predict_mean_and_std(posterior, x[fold])
        # A search cut short has come most of the way to its end.
        assert np.corrcoef(z[fold] - mean, errors[fold])[0, 1] > 0.8
        assert np.median(stds[fold] / std) == pytest.approx(1, abs=0.5)


def test_held_out_errors_do_not_know_the_row():
    x, z = data(20)
    folds = [np.arange(0, 10), np.arange(10, 20)]
    changed = z.copy()
    changed[3] += 5
    before, _ = hyperparameters.held_out_errors(PHI, x, z, folds)
    after, _ = hyperparameters.held_out_errors(PHI, x, changed, folds)
    assert after[3] - before[3] == pytest.approx(5)
    np.testing.assert_array_equal(np.delete(after[:10], 3), np.delete(before[:10], 3))
