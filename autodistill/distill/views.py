"""What student and teacher make of a batch: all that a loss may compare.

Both are pure functions of weights, arrays by checkpoint name, and a batch. Under
``jit`` what no loss reads is not computed.

A batch holds ``ids`` and ``mask``, (B, L); where tokens are hidden also
``positions``, ``labels`` and ``weights`` of the masked places, (B, K).

Axes: B = batch, L = sequence, K = masked places, C = hidden width, V = vocabulary,
e = width of the teacher's embedding.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp

from autodistill.distill.train_step import Batch
from autodistill.models.checkpoint import build_encoder, build_head
from autodistill.models.config import EncoderConfig
from autodistill.models.product import product
from autodistill.teacher import Pooling, Teacher, TeacherKind, pool

TABLE = "embeddings.word_embeddings.weight"

ArraysByName = Mapping[str, jax.Array]


class Likeliest(NamedTuple):
    """The classes that a teacher gives most probability."""

    log_probabilities: jax.Array  # (B, K, k)
    classes: jax.Array  # (B, K, k) integers


@dataclass(frozen=True)
class View:
    """What one model makes of a batch.

    Attributes:
        config: Its shape.
        states: Hidden states by number: 0 of the embedding, ``i`` of layer ``i``;
            (B, L, C) each. Layers that were not asked for are not there.
        attended: What the attention of layer ``i`` computed, by the names of
            ``models.layers.Attended``.
        logits: (B, K, V) scores at the masked places, under a masked-LM teacher.
        tokens: (B, L, e) each token's share of the passage embedding, under an
            embedding teacher; where its pooling is not linear, its last hidden state.
        passages: (B, e) embeddings of the passages, under an embedding teacher.
        likeliest: In the place of ``logits`` where a teacher's outputs were kept: what
            is left of them, by temperature.
        run_layers: Of a student: layers ``begin`` to ``end``, exclusive, on given states.
    """

    config: EncoderConfig
    states: Mapping[int, jax.Array]
    attended: Mapping[int, Mapping[str, jax.Array]]
    logits: jax.Array | None
    tokens: jax.Array | None
    passages: jax.Array | None
    likeliest: Mapping[float, Likeliest] = field(default_factory=dict)
    run_layers: Callable[[jax.Array, int, int], jax.Array] | None = None


def teacher_view(
    teacher: Teacher,
    weights: ArraysByName,
    batch: Batch,
    *,
    depth: int,
    scan: bool,
    dtype: str = "float32",
) -> View:
    """The teacher's, from its first ``depth`` layers; what follows only where these are all.

    The other arguments are as for ``student_view``.
    """
    encoder = build_encoder(teacher.config, weights)
    hidden = encoder.embeddings(batch["ids"], None).astype(dtype)
    trace = encoder.trace_layers(hidden, batch["mask"], 0, depth, scan=scan)
    logits = tokens = passages = None
    if depth == teacher.config.num_hidden_layers:
        if teacher.kind is TeacherKind.MASKED_LM:
            if "positions" in batch:
                logits = masked_logits(teacher.config, weights, trace.hidden_states[-1], batch)
        else:
            assert teacher.pooling is not None, "an embedding teacher pools"
            tokens, passages = shares(teacher.pooling, trace.hidden_states[-1], batch["mask"])
    return View(
        teacher.config,
        dict(enumerate(trace.hidden_states)),
        {i: one._asdict() for i, one in enumerate(trace.attended, 1)},
        logits,
        tokens,
        passages,
    )


def student_view(
    config: EncoderConfig,
    pooling: Pooling | None,
    params: ArraysByName,
    batch: Batch,
    *,
    begin: int,
    depth: int,
    scan: bool,
    dtype: str = "float32",
) -> View:
    """The student's, from its first ``depth`` layers.

    Args:
        config: Its shape.
        pooling: Of its teacher; None under a masked-LM teacher.
        params: Weights of the encoder, and of head or output layers.
        batch: See above.
        begin: Layers up to this one are frozen: no gradient passes into them, and
            they are not in the view.
        depth: Layers that are run.
        scan: Run them as one compiled loop.
        dtype: Of states; the weights are of one that fits, see ``precision.as_multiplied``.
    """
    encoder = build_encoder(config, params)
    hidden = encoder.embeddings(batch["ids"], None).astype(dtype)
    if begin:
        lower = encoder.run_layers(hidden, batch["mask"], 0, begin, scan=scan)
        hidden = jax.lax.stop_gradient(lower)
    trace = encoder.trace_layers(hidden, batch["mask"], begin, depth, scan=scan)
    logits = tokens = passages = None
    if depth == config.num_hidden_layers:
        last = trace.hidden_states[-1]
        if pooling is None:
            logits = masked_logits(config, params, last, batch)
        else:
            tokens = applied(params, "token_output", last)
            passages = applied(params, "output", pool(last, batch["mask"], pooling.mode))
    return View(
        config,
        dict(enumerate(trace.hidden_states, begin)),
        {i: one._asdict() for i, one in enumerate(trace.attended, begin + 1)},
        logits,
        tokens,
        passages,
        run_layers=lambda given, first, last: encoder.run_layers(
            given.astype(dtype), batch["mask"], first, last, scan=scan
        ),
    )


def masked_logits(
    config: EncoderConfig, weights: ArraysByName, hidden: jax.Array, batch: Batch
) -> jax.Array:  # (B, K, V)
    """Scores over the vocabulary at the masked places."""
    where = jnp.take_along_axis(hidden, batch["positions"][..., None], axis=1)
    return build_head(config, weights)(where, weights[TABLE].astype(hidden.dtype))


def shares(
    pooling: Pooling, hidden: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:  # (B, L, e), (B, e)
    """Each token's share of the passage embedding, and that embedding.

    Where pooling is not linear there is no such share; then the first are the
    hidden states.
    """
    hidden = hidden.astype(jnp.float32)
    passage = pooling.project(pool(hidden, mask, pooling.mode))
    tokens = pooling.project(hidden) if pooling.is_linear else hidden
    if pooling.normalize:
        norm = jnp.linalg.norm(passage, axis=-1, keepdims=True).clip(1e-12)
        passage = passage / norm
        tokens = tokens / norm[:, None] if pooling.is_linear else tokens
    return tokens, passage


def applied(params: ArraysByName, layer: str, x: jax.Array) -> jax.Array:
    """``x @ kernel + bias`` of the layer of this name.

    The layer is kept larger by the root of its width: Adam's steps have one size
    for all weights, and one of them would otherwise overthrow a fitted layer.
    """
    kernel, bias = params[f"{layer}.kernel"], params[f"{layer}.bias"]
    return (product(x, kernel) + bias) / kernel.shape[1] ** 0.5
