"""One step of training, as a pure function to be compiled.

A loss gives one value per position, and says of which kind the positions are; the
batch's weights of that kind say which of them count. The step sums the values and
divides by the count over the whole batch, so that neither micro-batches nor devices
change a mean.

Axes: B = batch; A = micro-batches.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding

Params = dict[str, jax.Array]
Batch = Mapping[str, Any]


class Part(NamedTuple):
    """One term of a loss.

    Attributes:
        factor: Its weight in the sum.
        kind: Which of the batch's weights say what counts and what is padding.
        values: One per position of that kind.
    """

    factor: float
    kind: str
    values: jax.Array


Loss = Callable[[Params, Any, Batch], dict[str, Part]]


class State(NamedTuple):
    """What a step takes and gives."""

    params: Params  # those that the phase trains
    rest: "Rest"


class Rest(NamedTuple):
    """The state that is not parameters."""

    optimiser: Any
    step: jax.Array  # steps done, over all phases
    sums: dict[str, jax.Array]  # of the losses since the last record
    first_bad: jax.Array  # the step at which something was not finite; 0 for none
    bad: dict[str, jax.Array]  # the losses of that step


def loss_names(loss: Loss, params: Params, constants: Any, batch: Batch) -> list[str]:
    """What a record of this loss holds, from its shapes alone."""

    def values(*arguments: Any) -> dict[str, jax.Array]:
        return {name: part.values for name, part in loss(*arguments).items()}

    return ["loss", *jax.eval_shape(values, params, constants, batch)]


def make_step(
    loss: Loss,
    weights: Callable[[Batch], dict[str, jax.Array]],
    optimiser: optax.GradientTransformation,
    accumulate: int,
    micro_sharding: NamedSharding,
) -> Callable[[State, Params, Any, Batch], State]:
    """One step of training, to be compiled."""

    def micro_loss(
        trained: Params, frozen: Params, constants: Any, batch: Batch, totals: dict[str, jax.Array]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        counts = weights(batch)
        means, total = {}, jnp.float32(0)
        for name, part in loss(frozen | trained, constants, batch).items():
            count = counts[part.kind].astype(jnp.float32)
            # What is padding may be anything, NaN too.
            values = jnp.where(count > 0, part.values, 0.0)
            means[name] = jnp.sum(values * count) / totals[part.kind]
            total += part.factor * means[name]
        return total, {"loss": total, **means}

    gradients_of = jax.grad(micro_loss, has_aux=True)

    def step(state: State, frozen: Params, constants: Any, batch: Batch) -> State:
        totals = {kind: jnp.maximum(jnp.sum(w), 1.0) for kind, w in weights(batch).items()}
        if accumulate == 1:
            gradients, means = gradients_of(state.params, frozen, constants, batch, totals)
        else:

            def add(carry: Any, micro: Batch) -> tuple[Any, None]:
                found = gradients_of(state.params, frozen, constants, micro, totals)
                return jax.tree.map(jnp.add, carry, found), None

            micros = {
                name: jax.lax.with_sharding_constraint(
                    jnp.moveaxis(rows.reshape(-1, accumulate, *rows.shape[1:]), 1, 0),
                    micro_sharding,
                )
                for name, rows in batch.items()
            }
            zeros = jax.tree.map(jnp.zeros_like, (state.params, state.rest.sums))
            (gradients, means), _ = jax.lax.scan(add, zeros, micros)
        updates, optimiser_state = optimiser.update(gradients, state.rest.optimiser, state.params)
        rest, number = state.rest, state.rest.step + 1
        # One vector, as the optimiser has it: one sum instead of one for each weight.
        gradient = jnp.concatenate([jnp.ravel(one) for one in jax.tree.leaves(gradients)])
        sound = jnp.isfinite(means["loss"]) & jnp.isfinite(optax.tree.norm(gradient))
        newly_bad = (rest.first_bad == 0) & ~sound
        return State(
            optax.apply_updates(state.params, updates),
            Rest(
                optimiser_state,
                number,
                jax.tree.map(jnp.add, rest.sums, means),
                jnp.where(newly_bad, number, rest.first_bad),
                jax.tree.map(lambda old, new: jnp.where(newly_bad, new, old), rest.bad, means),
            ),
        )

    return step
