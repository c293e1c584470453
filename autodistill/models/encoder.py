"""An encoder of either family: token ids in, last hidden states out, and all between.

Axes: B = batch, L = sequence, C = hidden width.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from autodistill.models.bert import BertEmbeddings, BertLayer
from autodistill.models.config import BertConfig, EncoderConfig
from autodistill.models.layers import Attended, attention_bias
from autodistill.models.mobilebert import MobileBertEmbeddings, MobileBertLayer


@dataclass(frozen=True)
class Trace:
    """Everything that an encoder computes on its way.

    Under ``jit`` the parts that nobody reads are not computed for it.

    Attributes:
        hidden_states: What the first layer reads, then one (B, L, C) per layer.
        attended: Probabilities, queries, keys and values, one per layer.
    """

    hidden_states: tuple[jax.Array, ...]
    attended: tuple[Attended, ...]

    @property
    def attentions(self) -> tuple[jax.Array, ...]:
        """Attention probabilities, one (B, heads, L, L) per layer."""
        return tuple(one.probabilities for one in self.attended)


class Layers(nnx.Module):
    """The stack of blocks; ``layer`` is Hugging Face's name for the list."""

    def __init__(self, config: EncoderConfig) -> None:
        if isinstance(config, BertConfig):
            self.layer: nnx.List = nnx.List(
                [BertLayer(config) for _ in range(config.num_hidden_layers)]
            )
        else:
            self.layer = nnx.List(
                [MobileBertLayer(config) for _ in range(config.num_hidden_layers)]
            )


class Encoder(nnx.Module):
    """Embeddings and blocks; see ``build`` in ``checkpoint.py`` for one with weights."""

    def __init__(self, config: EncoderConfig, rngs: nnx.Rngs) -> None:
        if isinstance(config, BertConfig):
            self.embeddings: nnx.Module = BertEmbeddings(config, rngs)
        else:
            self.embeddings = MobileBertEmbeddings(config, rngs)
        self.encoder = Layers(config)

    def __call__(
        self,
        input_ids: jax.Array,  # (B, L) integers
        attention_mask: jax.Array | None = None,  # (B, L), 1 = token, 0 = padding
        token_type_ids: jax.Array | None = None,  # (B, L)
        *,
        scan: bool = False,
        dtype: Any = None,
    ) -> jax.Array:  # (B, L, C)
        """Last hidden states.

        Args:
            input_ids: Token ids.
            attention_mask: Which positions may be attended to; all, if absent.
            token_type_ids: Segment of each token; all 0, if absent.
            scan: Run the blocks as one compiled loop. Compiles in the time of
                one block; runs somewhat slower than the unrolled stack.
            dtype: Of the states from the embeddings on; the embeddings' own, if absent.
        """
        hidden = self.embeddings(input_ids, token_type_ids)
        if dtype is not None:
            hidden = hidden.astype(dtype)
        return self.run_layers(hidden, attention_mask, scan=scan)

    def trace(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        *,
        scan: bool = False,
    ) -> Trace:
        """As a call, keeping what every layer computed."""
        hidden = self.embeddings(input_ids, token_type_ids)
        return self.trace_layers(hidden, attention_mask, scan=scan)

    def run_layers(
        self,
        hidden: jax.Array,  # (B, L, C), what the first of them reads
        attention_mask: jax.Array | None,  # (B, L)
        begin: int = 0,
        end: int | None = None,
        *,
        scan: bool = False,
    ) -> jax.Array:  # (B, L, C)
        """Layers ``begin`` to ``end``, exclusive, on states that need not be the encoder's own."""
        run = self._run(hidden, attention_mask, begin, end, scan=scan, keep=False)
        return run.hidden_states[-1]

    def trace_layers(
        self,
        hidden: jax.Array,  # (B, L, C)
        attention_mask: jax.Array | None,  # (B, L)
        begin: int = 0,
        end: int | None = None,
        *,
        scan: bool = False,
    ) -> Trace:
        """As ``run_layers``, keeping what every layer computed."""
        return self._run(hidden, attention_mask, begin, end, scan=scan, keep=True)

    def _run(
        self,
        hidden: jax.Array,
        attention_mask: jax.Array | None,
        begin: int,
        end: int | None,
        *,
        scan: bool,
        keep: bool,
    ) -> Trace:
        """A trace of these layers; of the last state alone, unless ``keep``."""
        bias = attention_bias(attention_mask)
        layers = list(self.encoder.layer)[begin:end]
        states, attended = [hidden], []
        if not scan or not layers:
            for layer in layers:
                hidden, one = layer(hidden, bias)
                states = [*states, hidden] if keep else [hidden]
                attended += [one] if keep else []
            return Trace(tuple(states), tuple(attended))
        definition, _ = nnx.split(layers[0])
        stacked = jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *(nnx.split(layer)[1] for layer in layers)
        )

        def block(
            hidden: jax.Array, state: nnx.State
        ) -> tuple[jax.Array, tuple[jax.Array, Attended] | None]:
            hidden, one = nnx.merge(definition, state)(hidden, bias)
            return hidden, (hidden, one) if keep else None

        last, kept = jax.lax.scan(block, hidden, stacked)
        if kept is None:
            return Trace((last,), ())
        # The last state is the loop's own, so that where it is all that is read the
        # compiler keeps no others.
        states += [*(kept[0][i] for i in range(len(layers) - 1)), last]
        attended = [Attended(*(part[i] for part in kept[1])) for i in range(len(layers))]
        return Trace(tuple(states), tuple(attended))
