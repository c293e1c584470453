"""Ridge regression against scikit-learn; word means against a loop."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from autodistill.distill.linear import fit_ridge, fit_ridge_by_left_out, mean_word_embedding


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 3.0])
@pytest.mark.parametrize(("n", "inputs"), [(60, 5), (8, 20)])
def test_ridge_is_that_of_scikit_learn(penalty, n, inputs):
    """More columns than rows too; the penalty is in units of the columns' mean variance."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(n, inputs)) * rng.uniform(0.1, 5, inputs) + 7).astype(np.float32)
    y = rng.normal(size=(n, 3)).astype(np.float32) - 4
    alpha = penalty * n * x.var(axis=0, dtype=np.float64).mean()
    reference = Ridge(alpha=alpha, solver="svd").fit(x.astype(float), y)
    layer = fit_ridge(x, y, penalty=penalty)
    assert layer.kernel.shape == (inputs, 3)
    assert layer.kernel.dtype == layer.bias.dtype == np.float32
    # Kept as float32; with 8 rows and the least penalty the system is 1e4 times worse.
    np.testing.assert_allclose(layer.kernel, reference.coef_.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer(x), reference.predict(x.astype(float)), atol=1e-4)


def test_the_bias_is_not_penalised():
    x = np.random.default_rng(0).normal(size=(30, 4))
    layer = fit_ridge(x, np.full((30, 2), 1000.0), penalty=100.0)
    np.testing.assert_allclose(layer(x), 1000.0, rtol=1e-6)


def test_scaling_the_inputs_does_not_change_the_predictions():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    plain, scaled = fit_ridge(x, y)(x), fit_ridge(1000 * x, y)(1000 * x)
    np.testing.assert_allclose(scaled, plain, atol=1e-5)  # float32 kernels


def test_constant_inputs_predict_the_mean():
    y = np.random.default_rng(0).normal(size=(10, 2))
    layer = fit_ridge(np.ones((10, 3)), y)
    np.testing.assert_allclose(layer(np.ones((1, 3))), y.mean(0)[None], atol=1e-6)


def test_a_constant_column_is_harmless():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    wide = np.hstack([x, np.full((50, 1), 5.0)])
    # The unit of the penalty is the mean variance, here of one more column.
    with_constant = fit_ridge(wide, y, penalty=4 / 3 * 1e-2)
    np.testing.assert_allclose(with_constant(wide), fit_ridge(x, y)(x), atol=1e-5)


def test_word_means_are_those_of_a_loop():
    """More passages than one block, of any length, one of padding alone."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(50, 7)).astype(np.float32)
    ids = rng.integers(0, 50, (300, 9))
    lengths = rng.integers(1, 10, 300)
    lengths[17] = 0
    mask = (np.arange(9) < lengths[:, None]).astype(np.int32)
    expected = [
        np.mean([table[word] for word in row[:length]], axis=0) if length else np.zeros(7)
        for row, length in zip(ids, lengths, strict=True)
    ]
    found = mean_word_embedding(table, ids, mask)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)  # float32 sums of nine


@pytest.mark.parametrize("noise", [0.01, 1.0, 30.0])
def test_penalty_is_the_one_that_predicts_left_out_rows_best(noise):
    """Against fitting again without each row; noise moves the choice across the range."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(24, 6)) + 3
    y = x @ rng.normal(size=(6, 2)) + noise * rng.normal(size=(24, 2))
    penalties = (1e-3, 1e-1, 1.0, 10.0)
    alphas = [p * 24 * x.var(axis=0).mean() for p in penalties]

    def left_out_error(alpha: float) -> float:
        errors = []
        for i in range(24):
            rest = np.arange(24) != i
            # the mean is taken with the row left in, as its leverage allows for
            model = Ridge(alpha=alpha).fit(x[rest], y[rest])
            errors.append(((model.predict(x[i : i + 1]) - y[i]) ** 2).sum())
        return float(np.sum(errors))

    best = int(np.argmin([left_out_error(alpha) for alpha in alphas]))
    chosen = fit_ridge_by_left_out(x, y, penalties=penalties)
    expected = fit_ridge(x, y, penalty=penalties[best])
    np.testing.assert_allclose(chosen.kernel, expected.kernel, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(chosen.bias, expected.bias, rtol=1e-5, atol=1e-5)
