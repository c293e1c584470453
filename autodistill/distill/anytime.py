"""Training that may stop at any step: a constant rate, and a running average of weights.

A schedule that falls to zero has its end in it: a shorter run is no part of a longer
one. With a constant rate every short run is the beginning of every longer one, so one
run gives all its lengths, and a run that promises much goes on from where it stands.
What a falling rate does, to take out the noise of the last steps, an average over the
last part of the path does as well [Sandler2023; Haegele2024]. The average here weighs
step ``t`` by about ``t**power`` [Shamir2013]: it forgets the beginning at the pace at
which the run grows, so that no length need be known.

References:
    [Shamir2013] Shamir and Zhang. Stochastic gradient descent for non-smooth
    optimization: convergence results and optimal averaging schemes.
    https://arxiv.org/abs/1212.1824, section 4.
    [Sandler2023] Sandler et al. Training trajectories, mini-batch losses and the
    curious role of the learning rate. https://arxiv.org/abs/2301.02312
    [Haegele2024] Haegele et al. Scaling laws and compute-optimal training beyond
    fixed training durations. https://arxiv.org/abs/2405.18392
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from autodistill.distill.optimiser import adamw


class AveragedState(NamedTuple):
    """State of an optimiser, and the average of where it has been."""

    inner: Any
    average: Any
    step: jax.Array


def averaged(inner: optax.GradientTransformation, *, power: float) -> optax.GradientTransformation:
    """The same steps, with the average of the weights after each of them kept in the state.

    Args:
        inner: What makes the steps; it must be given parameters.
        power: Step ``t`` weighs about ``t**power``; 0 is the plain mean.
    """

    def init(params: Any) -> AveragedState:
        # a copy, as the buffers of parameters and state are both given away
        return AveragedState(
            inner.init(params), jax.tree.map(jnp.copy, params), jnp.zeros((), jnp.int32)
        )

    def update(
        gradients: Any, state: AveragedState, params: Any = None
    ) -> tuple[Any, AveragedState]:
        updates, inner_state = inner.update(gradients, state.inner, params)
        step = state.step + 1
        share = (power + 1.0) / (step + power)
        after = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda a, p: a + share * (p - a), state.average, after)
        return updates, AveragedState(inner_state, average, step)

    return optax.GradientTransformation(init, update)


def make_anytime_optimiser(
    *, learning_rate: float, weight_decay: float, warmup: int, power: float
) -> optax.GradientTransformation:
    """AdamW at a rate that rises over ``warmup`` steps and stays, with averaged weights."""
    # the first step already moves: a run of one step is a run
    rate = optax.linear_schedule(learning_rate / warmup, learning_rate, max(warmup - 1, 1))
    return averaged(adamw(rate, weight_decay=weight_decay), power=power)
