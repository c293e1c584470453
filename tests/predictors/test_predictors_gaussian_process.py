"""The process against naive float64 formulas and scikit-learn."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Exponentiation, Matern

from predictors import gaussian_process as process
from predictors.gaussian_process import Kernel
from predictors.threads import one_blas_thread

D = 3
KERNEL = Kernel(np.array([0.7, 2.0, 5.0]), np.array([1.5, 0.8, 3.0]), 1.3, 0.4, 0.2, 0.05)


@pytest.fixture(autouse=True)
def one_thread():
    with one_blas_thread():
        yield


def data(n=25, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D))
    return x, np.sin(x[:, 0]) + 0.3 * x[:, 1] + 0.1 * rng.normal(size=n)


def naive_kernel(a, b, kernel=KERNEL):
    """Pair by pair, from the definition."""
    k = np.empty((len(a), len(b)))
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            r = np.sqrt(5 * np.sum(((p - q) / kernel.lengthscales) ** 2))
            s = np.sum(p * q / kernel.trend_lengthscales**2)
            k[i, j] = (
                kernel.matern * (1 + r + r**2 / 3) * np.exp(-r)
                + kernel.linear * (1 + s)
                + kernel.quadratic * s**2
            )
    return k


def test_covariance_is_its_definition():
    x, _ = data()
    # Distances are expanded squares: half the digits are lost near zero distance.
    np.testing.assert_allclose(KERNEL(x[:9], x), naive_kernel(x[:9], x), atol=1e-12)
    np.testing.assert_allclose(KERNEL.diagonal(x), np.diag(naive_kernel(x, x)), rtol=1e-12)


def test_posterior_is_the_closed_form():
    x, z = data()
    new = np.random.default_rng(1).normal(size=(7, D)) * 2
    k = naive_kernel(x, x) + KERNEL.noise * np.eye(len(x))
    cross = naive_kernel(new, x)
    mean = cross @ np.linalg.inv(k) @ z
    covariance = naive_kernel(new, new) - cross @ np.linalg.inv(k) @ cross.T
    posterior = process.condition(KERNEL, x, z)
    found_mean, found_std = process.predict_mean_and_std(posterior, new)
    # The jitter of 1e-12 of the trace is about 1e-9 of the noise.
    np.testing.assert_allclose(found_mean, mean, rtol=1e-8)
    np.testing.assert_array_equal(found_mean, process.predict_mean(posterior, new))
    np.testing.assert_allclose(found_std, np.sqrt(np.diag(covariance) + KERNEL.noise), rtol=1e-8)


def test_posterior_is_that_of_scikit_learn():
    x, z = data()
    # With one lengthscale t the trend is v_linear + v_linear / t**2 (x.y) + (v_quadratic /
    # t**4) (x.y)**2; (v / t**2) (sigma_0**2 + x.y) with sigma_0 = t is its linear part.
    t, rough = 1.7, np.array([0.7, 2.0, 5.0])
    kernel = Kernel(rough, np.full(D, t), 1.3, 0.4, 0.2, 0.05)
    other = (
        ConstantKernel(1.3) * Matern(rough, nu=2.5)
        + ConstantKernel(0.4 / t**2) * DotProduct(t)
        + ConstantKernel(0.2 / t**4) * Exponentiation(DotProduct(1e-150), 2)
    )
    model = GaussianProcessRegressor(other, alpha=0.05, optimizer=None).fit(x, z)
    new = np.random.default_rng(2).normal(size=(5, D))
    mean, std = model.predict(new, return_std=True)
    found_mean, found_std = process.predict_mean_and_std(process.condition(kernel, x, z), new)
    np.testing.assert_allclose(found_mean, mean, rtol=1e-8)
    np.testing.assert_allclose(found_std, np.sqrt(std**2 + 0.05), rtol=1e-8)


@pytest.mark.parametrize("groups", [np.arange(8), np.array([3, 1, 1, 0, 3, 3, 2, 5])])
def test_leave_one_out_is_leaving_each_group_out(groups):
    x, z = data(8)
    residuals, stds = np.empty(8), np.empty(8)
    for group in set(groups):
        left = groups == group
        rest = process.condition(KERNEL, x[~left], z[~left])
        mean, stds[left] = process.predict_mean_and_std(rest, x[left])
        residuals[left] = z[left] - mean
    found = process.leave_one_out(process.condition(KERNEL, x, z), groups)
    np.testing.assert_allclose(found[0], residuals, rtol=1e-8)
    np.testing.assert_allclose(found[1], stds, rtol=1e-8)


def test_many_rows_leave_the_mean_and_widen_the_spread_a_little(monkeypatch):
    x, z = data(300)
    new = np.random.default_rng(1).normal(size=(200, D))
    mean, std = process.predict_mean_and_std(process.condition(KERNEL, x, z), new)
    monkeypatch.setattr(process, "VARIANCE_ROWS", 100)
    same, wider = process.predict_mean_and_std(process.condition(KERNEL, x, z), new)
    np.testing.assert_array_equal(same, mean)
    assert (wider >= std - 1e-12).all()
    # A third of the rows, if they are the telling ones, say nearly all that the rows say.
    assert np.median(wider / std) < 1.15


def test_telling_rows_are_the_pivots_of_the_brute_force_choice():
    """Each next row is the one with the largest variance given those chosen before."""
    x, _ = data(30)
    k, chosen = naive_kernel(x, x), []
    for _ in range(6):
        given = k[np.ix_(chosen, chosen)]
        known = k[:, chosen] @ np.linalg.solve(given, k[chosen]) if chosen else np.zeros_like(k)
        left = np.diag(k - known).copy()
        left[chosen] = -np.inf
        chosen.append(int(np.argmax(left)))
    np.testing.assert_array_equal(process.telling_rows(KERNEL, x, 6), np.sort(chosen))


def test_first_version_had_one_lengthscale_in_its_trend():
    theta = np.log([0.7, 2.0, 5.0, 1.3, 0.4, 0.05])
    x, _ = data(6)
    wiggles = Kernel(np.array([0.7, 2.0, 5.0]), np.ones(D), 1.3, 0.0, 0.0, 0.05)
    expected = naive_kernel(x, x, wiggles) + 0.4 * (1 + x @ x.T / D)
    found = Kernel.of_first_version(theta)
    np.testing.assert_allclose(found(x, x), expected, atol=1e-12)
    assert found.noise == pytest.approx(0.05)


def test_state_holds_the_kernel():
    back = Kernel.from_state(KERNEL.to_state())
    assert back.to_state() == KERNEL.to_state()
    with pytest.raises(ValueError, match="'trend_lengthscales' must have the shape"):
        Kernel.from_state({**KERNEL.to_state(), "lengthscales": [1.0]})


@pytest.mark.parametrize("n", [11, 2500])
def test_prediction_in_chunks_is_prediction_at_once(monkeypatch, n):
    """The second with threads."""
    x, z = data()
    posterior = process.condition(KERNEL, x, z)
    new = np.random.default_rng(4).normal(size=(n, D))
    parts = process.predict_mean_and_std(posterior, new)
    monkeypatch.setattr(process, "CHUNK_ROWS", 4 if n < 100 else 2 * n)
    monkeypatch.setattr(process, "THREADED_ROWS", 8 if n < 100 else 4 * n)
    for part, at_once in zip(parts, process.predict_mean_and_std(posterior, new), strict=True):
        np.testing.assert_allclose(part, at_once, rtol=1e-10)


def test_no_rows_give_no_predictions():
    x, z = data()
    mean, std = process.predict_mean_and_std(process.condition(KERNEL, x, z), np.empty((0, D)))
    assert mean.shape == std.shape == (0,)


def test_inverse_reports_a_broken_factor():
    with pytest.raises(np.linalg.LinAlgError, match="dpotri"):
        process.inverse(np.zeros((2, 2)))
