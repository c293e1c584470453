"""Scores of a student that was never trained, as published: one batch, forward and back.

References:
    [Abdelfattah2021] Abdelfattah et al. Zero-cost proxies for lightweight NAS.
    https://arxiv.org/abs/2101.08134, section 3.2: gradient norm and SNIP.
"""

import jax
import jax.numpy as jnp
import numpy as np

from autodistill.distill.flash import FlashDistiller
from autodistill.distill.objectives import state_error
from autodistill.distill.start import random_weights
from autodistill.distill.student import Params, StudentProgram
from autodistill.models.config import EncoderConfig
from autodistill.teacher import pool

ROWS = 64


def untrained_scores(config: EncoderConfig, distiller: FlashDistiller) -> dict[str, float]:
    """``gradient_norm`` and ``snip`` at random weights, of the error of passage embeddings."""
    rng = np.random.default_rng(distiller.settings.seed)
    program = StudentProgram(config, pooling_mode="mean", normalize=True)
    params = program.parameters(random_weights(config, rng, head=False), head=False)
    table = {"table": params.pop("table")}
    targets = np.asarray(distiller.outputs.passages[:ROWS])
    kernel = rng.standard_normal((config.hidden_size, targets.shape[1]), np.float32)
    params["output"] = jnp.asarray(kernel / np.sqrt(config.hidden_size))
    ids, mask = (
        getattr(distiller.passages, name)[:ROWS] for name in ("input_ids", "attention_mask")
    )

    @jax.jit
    def scores(params: Params) -> tuple[jax.Array, jax.Array]:
        def loss(params: Params) -> jax.Array:
            pooled = pool(program.hidden(params | table, ids, mask), mask, "mean")
            return state_error(pooled @ params["output"], targets).mean()

        gradients = jax.grad(loss)(params)
        norms = jax.tree.map(jnp.linalg.norm, gradients)
        products = jax.tree.map(lambda w, g: jnp.abs(w * g).sum(), params, gradients)
        return sum(jax.tree.leaves(norms)), sum(jax.tree.leaves(products))

    norm, snip = scores(params)
    return {"gradient_norm": float(norm), "snip": float(snip)}
