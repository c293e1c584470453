"""Stop a run that cannot be saved, with its cause."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from autodistill.distill.phase import Phase
from autodistill.distill.train_step import State
from autodistill.errors import TrainingError

DIVERGED = 20.0  # times the loss that a phase began with
# Or times this, where it began with less, as a copy of the teacher does, near 0: the first
# steps move that away, to many times nothing. It is about what nats, distances of unit
# vectors and shares of a variance are for a student that knows nothing.
SIZEABLE = 1.0


def check_losses(
    phase: Phase, state: State, record: dict[str, Any], earlier: list[dict[str, Any]]
) -> None:
    """Stop a run that cannot be saved, saying since when and through what."""
    first_bad = int(state.rest.first_bad)
    advice = "use a lower --learning-rate or a larger --batch-size"
    if first_bad:
        values = {name: float(value) for name, value in state.rest.bad.items()}
        bad = [f"{name} is {v}" for name, v in values.items() if not np.isfinite(v)]
        cause = ", ".join(bad) or "the gradient is not finite, though the loss is"
        raise TrainingError(
            f"training diverged at step {first_bad} of phase {phase.name} (learning rate "
            f"{phase.learning_rate:g}): {cause}; {advice}"
        )
    if earlier and record["loss"] > DIVERGED * max(earlier[0]["loss"], SIZEABLE):
        raise TrainingError(
            f"training diverged by step {record['step']} of phase {phase.name} (learning rate "
            f"{phase.learning_rate:g}): the loss is {record['loss']:.3g}, which began at "
            f"{earlier[0]['loss']:.3g}; {advice}"
        )


def check_weights(phase: Phase, state: State, step: int) -> None:
    """No checkpoint is made of weights that are not finite."""
    bad = [name for name, leaf in state.params.items() if not bool(jnp.isfinite(leaf).all())]
    if bad:
        raise TrainingError(
            f"training diverged by step {step} of phase {phase.name}: {len(bad)} weights are not "
            f"finite, {bad[0]} among them; use a lower --learning-rate"
        )
