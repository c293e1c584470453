"""One student in training, which can be looked at after any step and then go on.

With ``anytime.py`` a run of few steps is the beginning of a run of many: what a
search has spent on a short run is not lost when it wants a longer one.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autodistill.distill.student import Params
from autodistill.errors import TrainingError

CHECK_EVERY = 20

Progress = Callable[[int, int], None]
Losses = dict[str, jax.Array]
Step = Callable[[Params, Any, Params, dict[str, np.ndarray]], tuple[Params, Any, Losses]]


class FlashRun:
    """A student between its start and as many steps as are wanted.

    Args:
        step: Compiled: parameters, state, frozen parameters and a batch to new
            parameters, state and losses.
        batches: From a step on, without end.
        params: Trained; their buffers are taken.
        state: Of an optimiser with an average; see ``anytime.py``. Taken likewise.
        frozen: Parameters that stay.
        served: The parameters that a student is served with, from trained ones.
    """

    def __init__(
        self,
        step: Step,
        batches: Callable[[int], Iterator[dict[str, np.ndarray]]],
        params: Params,
        state: Any,
        frozen: Params,
        served: Callable[[Params], Params],
    ) -> None:
        self._step, self._batches = step, batches
        # compiled as a whole: piece by piece, each shape would be a program of its own
        self._serve = jax.jit(lambda params: served(jax.tree.map(jnp.copy, params)))
        self._params, self._state, self._frozen = params, state, frozen
        self.steps = 0
        self.losses: list[Losses] = []

    def advance(self, to: int, progress: Progress | None = None) -> None:
        """Train until ``to`` steps are done in all.

        Raises:
            TrainingError: The loss or a weight became infinite or NaN.
        """
        batches = self._batches(self.steps)
        while self.steps < to:
            self._params, self._state, losses = self._step(
                self._params, self._state, self._frozen, next(batches)
            )
            self.steps += 1
            self.losses.append(losses)
            if self.steps % CHECK_EVERY == 0 or self.steps == to:
                if not np.isfinite(loss := float(losses["loss"])):
                    raise TrainingError(
                        f"the loss became {loss} by step {self.steps}; the student diverged"
                    )
                if progress is not None:
                    progress(self.steps, to)
        # looked at where numpy is: on the device, each shape would be a program of its own
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(self._params)):
            raise TrainingError("the last step left weights that are not finite; it diverged")

    def params(self) -> Params:
        """The average so far, with all that a student is served with; a copy."""
        return self._serve(self._state.average | self._frozen)

    def arrays(self) -> list[np.ndarray]:
        """What ``restore`` needs, besides the count of steps."""
        return [np.array(leaf) for leaf in jax.tree.leaves((self._params, self._state))]

    def restore(self, steps: int, arrays: list[np.ndarray]) -> None:
        """Go on from where another run of the same student stood."""
        tree = jax.tree.structure((self._params, self._state))
        leaves = [jnp.array(array) for array in arrays]
        self._params, self._state = jax.tree.unflatten(tree, leaves)
        self.steps, self.losses = steps, []
