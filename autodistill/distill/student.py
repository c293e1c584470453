"""A student: what is trained, and what it returns when it is served.

Axes: B = batch, L = sequence, H = hidden width, e = output width,
K = masked places.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from autodistill.distill.blocks import in_blocks
from autodistill.models.checkpoint import (
    HEAD_PREFIX,
    Weights,
    build_encoder,
    build_head,
    count_parameters,
    weights_of,
)
from autodistill.models.config import EncoderConfig
from autodistill.models.encoder import Encoder
from autodistill.teacher import pool

Params = dict[str, Any]


@dataclass(frozen=True)
class Student:
    """A distilled encoder with its output layer or head.

    Attributes:
        config: Its shape.
        weights: Encoder, and head where there is one, by checkpoint name.
        kernel: (H, e) of the layer from hidden states to the teacher's output;
            served by students of embedding teachers only.
        bias: (e,) of the same.
        has_head: Whether ``weights`` hold a masked-LM head.
    """

    config: EncoderConfig
    weights: Weights
    kernel: np.ndarray
    bias: np.ndarray
    has_head: bool

    @property
    def parameters(self) -> int:
        """Weights that serving needs."""
        own = count_parameters(self.weights)
        return own if self.has_head else own + self.kernel.size + self.bias.size


class StudentProgram:
    """The functions of one architecture over its trainable parameters.

    Parameters are a dictionary of pytrees: ``table``, the word embeddings, apart
    from the rest of the ``encoder``, as it may be frozen; ``head``; and
    ``output`` with ``kernel`` and ``bias``.
    """

    def __init__(self, config: EncoderConfig, *, pooling_mode: str, normalize: bool) -> None:
        self.config, self.pooling_mode, self.normalize = config, pooling_mode, normalize
        self._encoder: Any = None
        self._head: Any = None
        self.hidden_block: Callable[..., jax.Array] = jax.jit(self.hidden)
        self.pooled_block: Callable[..., jax.Array] = jax.jit(self._pooled_block)
        self.word_block: Callable[..., jax.Array] = jax.jit(self._word_block)
        self.pooled_word_block: Callable[..., jax.Array] = jax.jit(self._pooled_word_block)
        self.correct_block: Callable[..., jax.Array] = jax.jit(self._correct_block)

    def parameters(self, weights: Weights, *, head: bool) -> Params:
        """Trainable parameters from arrays by name, without the output layer."""
        encoder = build_encoder(self.config, weights)
        self._encoder, *states = nnx.split(encoder, nnx.PathContains("word_embeddings"), ...)
        table, rest = states
        params: Params = {"table": table, "encoder": rest}
        if head:
            self._head, params["head"] = nnx.split(build_head(self.config, weights))
        return params

    def hidden(
        self, params: Params, ids: jax.Array, mask: jax.Array, dtype: str = "float32"
    ) -> jax.Array:
        """Last hidden states, (B, L, H), of this dtype; the blocks run as one compiled loop."""
        return self._module(params)(ids, mask, scan=True, dtype=dtype)

    def logits(self, params: Params, hidden: jax.Array) -> jax.Array:
        """Scores over the vocabulary of given hidden states."""
        (table,) = jax.tree.leaves(params["table"])
        return nnx.merge(self._head, params["head"])(hidden, table.astype(hidden.dtype))

    def finished(self, params: Params) -> Student:
        """Arrays by name, off the device."""
        weights = weights_of(self._module(params))
        if "head" in params:
            head = weights_of(nnx.merge(self._head, params["head"]))
            weights |= {HEAD_PREFIX + name: value for name, value in head.items()}
        output = params["output"]
        return Student(
            self.config,
            weights,
            np.asarray(output["kernel"], np.float32),
            np.asarray(output["bias"], np.float32),
            "head" in params,
        )

    def states(self, params: Params, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Last hidden states of many passages, (n, L, H)."""
        body = _body(params)
        return in_blocks(lambda i, m: self.hidden_block(body, i, m), ids, mask)

    def pooled(self, params: Params, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Pooled hidden states of many passages, (n, H), before the output layer."""
        body = _body(params)
        return in_blocks(lambda i, m: self.pooled_block(body, i, m), ids, mask)

    def words(self, params: Params, ids: np.ndarray) -> np.ndarray:
        """Output of the embedding layers alone, (n, L, H), without any block."""
        body = _body(params)
        return in_blocks(lambda i: self.word_block(body, i), ids)

    def pooled_words(self, params: Params, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The same, pooled, (n, H)."""
        body = _body(params)
        return in_blocks(lambda i, m: self.pooled_word_block(body, i, m), ids, mask)

    def embed(self, params: Params, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Passage vectors as served, (n, e)."""
        kernel, bias = (np.asarray(params["output"][name]) for name in ("kernel", "bias"))
        vectors = self.pooled(params, ids, mask) @ kernel + bias
        if not self.normalize:
            return vectors
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-12)

    def correct(
        self,
        params: Params,
        ids: np.ndarray,
        mask: np.ndarray,
        positions: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray,
    ) -> np.ndarray:
        """Masked tokens guessed right per passage, (n,)."""
        body = _body(params) | {"head": params["head"]}
        return in_blocks(
            lambda *block: self.correct_block(body, *block),
            ids,
            mask,
            positions,
            labels,
            weights,
        )

    def _pooled_block(self, params: Params, ids: jax.Array, mask: jax.Array) -> jax.Array:
        return pool(self.hidden(params, ids, mask), mask, self.pooling_mode)

    def _module(self, params: Params) -> Encoder:
        return nnx.merge(self._encoder, params["table"], params["encoder"])

    def _word_block(self, params: Params, ids: jax.Array) -> jax.Array:
        return self._module(params).embeddings(ids, jnp.zeros_like(ids))

    def _pooled_word_block(self, params: Params, ids: jax.Array, mask: jax.Array) -> jax.Array:
        return pool(self._word_block(params, ids), mask, self.pooling_mode)

    def _correct_block(
        self,
        params: Params,
        ids: jax.Array,
        mask: jax.Array,
        positions: jax.Array,
        labels: jax.Array,
        weights: jax.Array,
    ) -> jax.Array:
        hidden = self.hidden(params, ids, mask)
        masked = jnp.take_along_axis(hidden, positions[..., None], axis=1)
        guesses = self.logits(params, masked).argmax(-1)
        return ((guesses == labels) * weights).sum(-1)


def _body(params: Params) -> Params:
    """What states come from. One program serves it, whatever layers there are beside it."""
    return {name: params[name] for name in ("table", "encoder")}
