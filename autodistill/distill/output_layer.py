"""The layers from a student's states to its teacher's outputs, in closed form.

Axes: n = passages, L = sequence, e = output width.
"""

import jax
import jax.numpy as jnp
import numpy as np

from autodistill.distill.linear import Ridge, fit_ridge, fit_ridge_by_left_out
from autodistill.distill.passage_set import PassageSet
from autodistill.distill.student import Params, StudentProgram

ROWS_FOR_TOKEN_FIT = 512

Layer = dict[str, jax.Array]  # kernel and bias


def fit_output(
    program: StudentProgram,
    params: Params,
    passages: PassageSet,
    targets: np.ndarray,  # (n, e)
    *,
    words_only: bool = False,
) -> Layer:
    """From pooled states to passage embeddings, by least squares.

    Args:
        program: The student's functions.
        params: Its weights.
        passages: What it reads.
        targets: The teacher's embeddings of these.
        words_only: Fit to the output of the embedding layers, without any block.
    """
    pooled = program.pooled_words if words_only else program.pooled
    inputs = pooled(params, passages.input_ids, passages.attention_mask)
    return as_layer(fit_ridge(inputs, np.asarray(targets)))


def refit_output(
    program: StudentProgram,
    params: Params,
    passages: PassageSet,
    targets: np.ndarray,  # (n, e)
) -> Layer:
    """The output layer that there is, corrected by least squares.

    What is fitted is what the present layer leaves, shrunk towards no correction as far
    as rows left out ask for it: a few hundred passages then do, where a layer fitted from
    nothing needs thousands.
    """
    pooled = program.pooled(params, passages.input_ids, passages.attention_mask)
    present = params["output"]
    kernel, bias = np.asarray(present["kernel"]), np.asarray(present["bias"])
    correction = fit_ridge_by_left_out(pooled, targets - (pooled @ kernel + bias))
    return as_layer(Ridge(kernel + correction.kernel, bias + correction.bias))


def fit_token_output(
    program: StudentProgram,
    params: Params,
    passages: PassageSet,
    states: np.ndarray,  # (n, L, e)
    regressed: np.ndarray,  # (rows, L), where states count
    *,
    words_only: bool = True,
) -> Layer:
    """From the student's state of each token to the teacher's, on the first passages.

    Args:
        program: The student's functions.
        params: Its weights.
        passages: What it reads.
        states: The teacher's.
        regressed: Above 0 where states count.
        words_only: Fit to the output of the embedding layers, without any block.
    """
    rows = slice(0, ROWS_FOR_TOKEN_FIT)
    real = regressed[rows] > 0
    ids, mask = passages.input_ids[rows], passages.attention_mask[rows]
    features = program.words(params, ids) if words_only else program.states(params, ids, mask)
    return as_layer(fit_ridge(features[real], states[rows][real].astype(np.float32)))


def as_layer(ridge: Ridge) -> Layer:
    """On the device."""
    return {"kernel": jnp.asarray(ridge.kernel), "bias": jnp.asarray(ridge.bias)}
