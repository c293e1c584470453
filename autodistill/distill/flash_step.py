"""The training step of one student, compiled ahead of its weights.

Programs depend on shapes alone, and compiling them takes seconds on one core. So they are
compiled in a thread of their own, while the weights that training begins with are fitted.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import numpy as np
import optax

from autodistill.distill.flash_loss import FlashLoss
from autodistill.distill.flash_run import Step
from autodistill.distill.student import Params, StudentProgram

T = TypeVar("T")

# layers that are scaled while they are trained: by ``FlashLoss.output_scale``, which the loss
# divides by, and which is taken off what is served
OUTPUTS = ("output", "token_output")


@dataclass(frozen=True)
class FlashStep:
    """Compiled programs.

    Attributes:
        begin: From parameters to copies with their output layers scaled, and the
            optimiser's state: what the first step takes.
        step: See ``flash_run.Step``; takes the buffers of its first two arguments.
        seconds: That tracing and compiling took.
    """

    begin: Callable[[Params], tuple[Params, Any]]
    step: Step
    seconds: float


def compile_step(
    program: StudentProgram,
    loss: FlashLoss,
    optimiser: optax.GradientTransformation,
    params: Params,
    frozen: Params,
    batch: dict[str, np.ndarray],
) -> FlashStep:
    """Compile for trees like these, of arrays or of their shapes.

    Args:
        program: The student's; only its shapes matter.
        loss: Of a batch.
        optimiser: Of what is trained.
        params: Those that are trained, with all layers of ``OUTPUTS``.
        frozen: Those that stay.
        batch: What a step reads.
    """
    began = time.perf_counter()

    def begin(params: Params) -> tuple[Params, Any]:
        for name in OUTPUTS:
            params[name] = jax.tree.map(lambda leaf: leaf * loss.output_scale, params[name])
        return params, optimiser.init(params)

    def step(
        params: Params, state: Any, frozen: Params, batch: dict[str, jax.Array]
    ) -> tuple[Params, Any, dict[str, jax.Array]]:
        gradients, parts = jax.grad(
            lambda trained: loss(program, trained | frozen, batch), has_aux=True
        )(params)
        updates, state = optimiser.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, parts

    trained, state = jax.eval_shape(begin, params)
    return FlashStep(
        jax.jit(begin).lower(params).compile(),
        jax.jit(step, donate_argnums=(0, 1)).lower(trained, state, frozen, batch).compile(),
        time.perf_counter() - began,
    )


@contextmanager
def meanwhile(work: Callable[[], T]) -> Iterator[Future[T]]:
    """Do ``work`` in a thread. Leaving waits for its end, after an error or Ctrl-C too."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool.submit(work)
