"""The running average against explicit weights; the steps against the optimiser alone."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import gammaln

from autodistill.distill.anytime import averaged, make_anytime_optimiser


def path(optimiser, steps: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Weights after each step on seeded gradients, (steps, 3), and the averages."""
    params = {"a": jnp.array([1.0, -2.0, 3.0])}
    state, visited, averages = optimiser.init(params), [], []
    rng = np.random.default_rng(0)
    for _ in range(steps):
        gradients = {"a": jnp.asarray(rng.normal(size=3), jnp.float32)}
        updates, state = optimiser.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        visited.append(np.asarray(params["a"]))
        if hasattr(state, "average"):
            averages.append(np.asarray(state.average["a"]))
    return np.array(visited), averages


@pytest.mark.parametrize("power", [0.0, 1.0, 8.0])
def test_average_weighs_steps_by_a_rising_polynomial(power):
    """Unrolled, step ``t`` has weight ``Gamma(t + power) / Gamma(t)``: ``t**power`` for large t."""
    visited, averages = path(averaged(optax.sgd(0.1), power=power), 12)
    for count in (1, 2, 12):
        t = np.arange(1, count + 1)
        weights = np.exp(gammaln(t + power) - gammaln(t))
        expected = weights @ visited[:count] / weights.sum()
        np.testing.assert_allclose(averages[count - 1], expected, rtol=1e-5)


def test_averaging_leaves_the_steps_as_they_are():
    plain, _ = path(optax.adam(0.1), 5)
    kept, _ = path(averaged(optax.adam(0.1), power=8.0), 5)
    np.testing.assert_array_equal(plain, kept)


def test_rate_rises_over_the_warm_up_and_stays():
    """Adam's first steps on one constant gradient have the length of the rate."""
    optimiser = make_anytime_optimiser(learning_rate=0.4, weight_decay=0.0, warmup=4, power=8.0)
    params = jnp.zeros(())
    state, lengths = optimiser.init(params), []
    for _ in range(8):
        updates, state = optimiser.update(jnp.ones(()), state, params)
        lengths.append(-float(updates))
    np.testing.assert_allclose(lengths, [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4], rtol=1e-3)
