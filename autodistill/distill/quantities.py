"""What of a teacher can be kept on disk, and how.

A quantity is taken from a view of the teacher as arrays to be kept, one row per
passage, and later put back into a view, within half precision: 11 bits of each value.
Whatever the terms of a recipe read can be kept; attention probabilities are made again
from queries and keys.

Axes: B = batch, L = sequence, K = masked places, C = width, k = classes kept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp

from autodistill.distill.attention import attention_scores
from autodistill.distill.train_step import Batch
from autodistill.distill.views import Likeliest, View
from autodistill.models.config import EncoderConfig

LARGEST = float(jnp.finfo(jnp.float16).max)

Fields = Mapping[str, jax.Array]


class Quantity(Protocol):
    """One thing that a teacher says of a passage.

    Attributes:
        name: Says all that decides it, the passage and the teacher apart.
        layer: The layer of the teacher that must be run for it; None for all.
    """

    @property
    def name(self) -> str: ...

    @property
    def layer(self) -> int | None: ...

    def take(self, view: View) -> dict[str, jax.Array]:
        """Arrays to be kept, their first axis the batch."""
        ...


@dataclass(frozen=True, order=True)
class State:
    """The hidden state of a layer; 0 is the embedding's.

    A token with a value beyond float16 (MobileBERT's first reaches 1e7) is kept
    divided by a power of two.
    """

    layer: int

    @property
    def name(self) -> str:
        """With the layer."""
        return f"state {self.layer}"

    def take(self, view: View) -> dict[str, jax.Array]:
        """(B, L, C) values and (B, L) scales, float16."""
        return _scaled(view.states[self.layer])


@dataclass(frozen=True, order=True)
class Attention:
    """Queries, keys or values of a layer."""

    layer: int
    of: str  # query, key or value

    @property
    def name(self) -> str:
        """With the layer."""
        return f"{self.of} {self.layer}"

    def take(self, view: View) -> dict[str, jax.Array]:
        """(B, L, C) values and (B, L) scales, float16."""
        return _scaled(view.attended[self.layer][self.of])


@dataclass(frozen=True)
class TokenOutputs:
    """``View.tokens``; of a masked-LM teacher its last hidden states.

    Values beyond float16 are brought to its ends.
    """

    name: str = "tokens"
    layer: int | None = None

    def take(self, view: View) -> dict[str, jax.Array]:
        """(B, L, e) values, float16."""
        tokens = view.states[max(view.states)] if view.tokens is None else view.tokens
        return {"values": jnp.clip(tokens, -LARGEST, LARGEST).astype(jnp.float16)}


@dataclass(frozen=True)
class PassageOutputs:
    """``View.passages``: so few numbers that they are kept in float32."""

    name: str = "passages"
    layer: int | None = None

    def take(self, view: View) -> dict[str, jax.Array]:
        """(B, e) values, float32."""
        assert view.passages is not None, "an embedding teacher embeds passages"
        return {"values": view.passages.astype(jnp.float32)}


@dataclass(frozen=True)
class SoftTargetOutputs:
    """The likeliest classes at the masked places, and their log-probabilities.

    These are kept in float32, as what is missing of the whole probability is what
    they leave of 1.
    """

    temperature: float
    classes: int
    layer: int | None = None

    @property
    def name(self) -> str:
        """With its numbers."""
        return f"soft targets, {self.classes} classes, temperature {self.temperature!r}"

    def take(self, view: View) -> dict[str, jax.Array]:
        """(B, K, k) log-probabilities and classes."""
        assert view.logits is not None, "a masked-LM teacher scores words"
        logits = view.logits.astype(jnp.float32) / self.temperature
        kept = min(self.classes, logits.shape[-1])
        values, classes = jax.lax.top_k(jax.nn.log_softmax(logits, axis=-1), kept)
        small = logits.shape[-1] <= 2**16
        return {"values": values, "classes": classes.astype(jnp.uint16 if small else jnp.int32)}


def batch_key(quantity: Quantity, field: str) -> str:
    """Where a batch holds an array that was kept."""
    return f"teacher/{quantity.name}/{field}"


def kept_view(config: EncoderConfig, quantities: Iterable[Quantity], batch: Batch) -> View:
    """The teacher's view, as far as a batch with kept arrays tells it."""
    states: dict[int, jax.Array] = {}
    attended: dict[int, dict[str, jax.Array]] = {}
    likeliest: dict[float, Likeliest] = {}
    tokens = passages = None
    for quantity in quantities:
        prefix = batch_key(quantity, "")
        fields = {k.removeprefix(prefix): v for k, v in batch.items() if k.startswith(prefix)}
        match quantity:
            case State(layer):
                states[layer] = _unscaled(fields)
            case Attention(layer, of):
                attended.setdefault(layer, {})[of] = _unscaled(fields)
            case TokenOutputs():
                tokens = fields["values"].astype(jnp.float32)
            case PassageOutputs():
                passages = fields["values"]
            case SoftTargetOutputs(temperature):
                classes = fields["classes"].astype(jnp.int32)
                likeliest[temperature] = Likeliest(fields["values"], classes)
    for one in attended.values():
        if {"query", "key"} <= one.keys():
            scores = attention_scores(one["query"], one["key"], config.num_attention_heads)
            hidden = jnp.finfo(jnp.float32).min
            scores = jnp.where(batch["mask"][:, None, None, :] > 0, scores, hidden)
            one["probabilities"] = jax.nn.softmax(scores, axis=-1)
    return View(config, states, attended, None, tokens, passages, likeliest)


def _scaled(states: jax.Array) -> dict[str, jax.Array]:  # (B, L, C)
    largest = jnp.abs(states.astype(jnp.float32)).max(-1)
    exponent = jnp.ceil(jnp.log2(jnp.maximum(largest / LARGEST, 1.0)))
    scale = jnp.ldexp(jnp.float32(1), jnp.clip(exponent, 0, 15).astype(jnp.int32))
    values = jnp.clip(states / scale[..., None], -LARGEST, LARGEST)
    return {"values": values.astype(jnp.float16), "scale": scale.astype(jnp.float16)}


def _unscaled(fields: Fields) -> jax.Array:
    values, scale = fields["values"], fields["scale"]
    return values.astype(jnp.float32) * scale.astype(jnp.float32)[..., None]
