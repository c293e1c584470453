"""The optimiser of every training run here."""

import jax
import optax


def make_optimiser(
    *, steps: int, learning_rate: float, weight_decay: float
) -> optax.GradientTransformation:
    """AdamW under a clipped gradient; decay on matrices only.

    The rate rises linearly over the first 5% of the steps and then falls to zero, which
    is that of the step after the last: a run of one step learns.
    """
    warmup = max(steps // 20, 1)
    schedule = optax.join_schedules(
        [
            optax.linear_schedule(learning_rate / warmup, learning_rate, max(warmup - 1, 1)),
            optax.linear_schedule(learning_rate, 0.0, max(steps - warmup, 1)),
        ],
        [warmup],
    )
    return adamw(schedule, weight_decay=weight_decay)


def adamw(rate: optax.Schedule, *, weight_decay: float) -> optax.GradientTransformation:
    """AdamW under a clipped gradient; decay on matrices only."""
    # Clipping and moments run over one long vector: one kernel each instead of one
    # per weight, which compiles in about two thirds of the time.
    direction = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b1=0.9, b2=0.98))
    return optax.chain(
        optax.flatten(direction),
        optax.add_decayed_weights(
            weight_decay, mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree)
        ),
        optax.scale_by_learning_rate(rate),
    )
