"""An encoder of either family: token ids in, last hidden states out.

Axes: B = batch, L = sequence, C = hidden width.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from autodistill.models.bert import BertEmbeddings, BertLayer
from autodistill.models.config import BertConfig, EncoderConfig
from autodistill.models.layers import attention_bias
from autodistill.models.mobilebert import MobileBertEmbeddings, MobileBertLayer


@dataclass(frozen=True)
class Trace:
    """Everything that an encoder computes on its way.

    Attributes:
        hidden_states: Embedding output, then one (B, L, C) per layer.
        attentions: One (B, heads, L, L) per layer.
    """

    hidden_states: tuple[jax.Array, ...]
    attentions: tuple[jax.Array, ...]


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
    ) -> jax.Array:  # (B, L, C)
        """Last hidden states.

        Args:
            input_ids: Token ids.
            attention_mask: Which positions may be attended to; all, if absent.
            token_type_ids: Segment of each token; all 0, if absent.
            scan: Run the blocks as one compiled loop. Compiles in the time of
                one block; runs somewhat slower than the unrolled stack.
        """
        hidden, bias = self._embed(input_ids, attention_mask, token_type_ids)
        if not scan:
            for layer in self.encoder.layer:
                hidden, _ = layer(hidden, bias)
            return hidden
        definition, _ = nnx.split(self.encoder.layer[0])
        states = [nnx.split(layer)[1] for layer in self.encoder.layer]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

        def block(hidden: jax.Array, state: nnx.State) -> tuple[jax.Array, None]:
            return nnx.merge(definition, state)(hidden, bias)[0], None

        return jax.lax.scan(block, hidden, stacked)[0]

    def trace(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
    ) -> Trace:
        """As a call, keeping all hidden states and attention probabilities."""
        hidden, bias = self._embed(input_ids, attention_mask, token_type_ids)
        states, attentions = [hidden], []
        for layer in self.encoder.layer:
            hidden, probabilities = layer(hidden, bias)
            states.append(hidden)
            attentions.append(probabilities)
        return Trace(tuple(states), tuple(attentions))

    def _embed(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None,
        token_type_ids: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array | None]:
        return self.embeddings(input_ids, token_type_ids), attention_bias(attention_mask)
