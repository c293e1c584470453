"""The schedule of rates: every step counts."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from autodistill.distill.optimiser import make_optimiser


def moved(steps: int, *, rate: float = 0.1) -> np.ndarray:
    """How far each step moves a weight whose gradient is constant: Adam's step is the rate."""
    optimiser = make_optimiser(steps=steps, learning_rate=rate, weight_decay=0.0)
    params = {"w": jnp.zeros(1)}
    state, path = optimiser.init(params), [0.0]
    for _ in range(steps):
        updates, state = optimiser.update({"w": jnp.full(1, 0.5)}, state, params)
        params = optax.apply_updates(params, updates)
        path.append(float(params["w"][0]))
    return -np.diff(path)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 100])
def test_no_step_is_without_effect(steps: int) -> None:
    path = moved(steps)
    assert path.min() > 0
    assert path.max() == pytest.approx(0.1, rel=1e-3)


def test_rates_rise_over_a_twentieth_and_fall_to_zero_after_the_last() -> None:
    path = moved(100)
    np.testing.assert_allclose(path[:5], [0.02, 0.04, 0.06, 0.08, 0.1], rtol=1e-3)
    np.testing.assert_allclose(path[5:], 0.1 * (1 - np.arange(95) / 95), rtol=1e-3)
