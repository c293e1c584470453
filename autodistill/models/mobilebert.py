"""MobileBERT's encoder [Sun2020], in Hugging Face's layout.

References:
    [Sun2020] Sun et al. MobileBERT: a Compact Task-Agnostic BERT for
    Resource-Limited Devices. https://arxiv.org/abs/2004.02984
"""

import jax
import jax.numpy as jnp
from flax import nnx

from autodistill.models.config import MobileBertConfig
from autodistill.models.layers import (
    Attended,
    Attention,
    Intermediate,
    Linear,
    ResidualOutput,
    embed,
    normalization,
    position_rows,
    type_rows,
    word_rows,
)

# Two norms of the reference implementation take PyTorch's default epsilon and
# not the config's: the one of the embeddings and the last one of the FFN stack.
_DEFAULT_EPSILON = 1e-5


class MobileBertEmbeddings(nnx.Module):
    """Narrow word embeddings, joined with both neighbours' and widened."""

    def __init__(self, config: MobileBertConfig, rngs: nnx.Rngs) -> None:
        width, narrow = config.hidden_size, config.embedding_size
        inputs = 3 * narrow if config.trigram_input else narrow
        self.word_embeddings = embed(config.vocab_size, narrow, rngs)
        self.position_embeddings = embed(config.max_position_embeddings, width, rngs)
        self.token_type_embeddings = embed(config.type_vocab_size, width, rngs)
        self.embedding_transformation = Linear(inputs, width)
        self.LayerNorm = normalization(config.normalization_type, width, _DEFAULT_EPSILON)
        self.trigram_input = config.trigram_input
        self.widen = config.trigram_input or narrow != width

    def __call__(self, input_ids: jax.Array, token_type_ids: jax.Array | None) -> jax.Array:
        words = word_rows(self.word_embeddings, input_ids)  # (B, L, E)
        if self.trigram_input:
            following = jnp.pad(words[:, 1:], ((0, 0), (0, 1), (0, 0)))
            preceding = jnp.pad(words[:, :-1], ((0, 0), (1, 0), (0, 0)))
            words = jnp.concatenate([following, words, preceding], axis=-1)
        if self.widen:
            words = self.embedding_transformation(words)
        return self.LayerNorm(
            words
            + position_rows(self.position_embeddings, input_ids.shape[1])
            + type_rows(self.token_type_embeddings, token_type_ids)
        )


class BottleneckLayer(nnx.Module):
    """Narrow the hidden states to the intra-bottleneck width."""

    def __init__(self, config: MobileBertConfig) -> None:
        narrow = config.intra_bottleneck_size
        self.dense = Linear(config.hidden_size, narrow)
        self.LayerNorm = normalization(config.normalization_type, narrow, config.layer_norm_eps)

    def __call__(self, hidden: jax.Array) -> jax.Array:
        return self.LayerNorm(self.dense(hidden))


class Bottleneck(nnx.Module):
    """Inputs of a block: for query and key, for value, and for the residual."""

    def __init__(self, config: MobileBertConfig) -> None:
        self.input = BottleneckLayer(config)
        self.narrow_attention = config.use_bottleneck_attention
        self.shared = config.key_query_shared_bottleneck
        if self.shared:
            self.attention = BottleneckLayer(config)

    def __call__(self, hidden: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        residual = self.input(hidden)
        if self.narrow_attention:
            return residual, residual, residual
        return (self.attention(hidden) if self.shared else hidden), hidden, residual


class FeedForward(nnx.Module):
    """One network of the stack, with its own residual."""

    def __init__(self, config: MobileBertConfig) -> None:
        width, inner = config.attention_width, config.intermediate_size
        self.intermediate = Intermediate(width, inner, config.hidden_act)
        self.output = ResidualOutput(inner, width, config.normalization_type, config.layer_norm_eps)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.output(self.intermediate(x), x)


class MobileBertOutput(nnx.Module):
    """The last feed-forward output, and the way back to the hidden width."""

    def __init__(self, config: MobileBertConfig) -> None:
        width, kind = config.attention_width, config.normalization_type
        self.dense = Linear(config.intermediate_size, width)
        self.LayerNorm = normalization(kind, width, _DEFAULT_EPSILON)
        self.use_bottleneck = config.use_bottleneck
        if self.use_bottleneck:
            self.bottleneck = ResidualOutput(width, config.hidden_size, kind, config.layer_norm_eps)

    def __call__(self, x: jax.Array, residual: jax.Array, hidden: jax.Array) -> jax.Array:
        narrow = self.LayerNorm(self.dense(x) + residual)
        return self.bottleneck(narrow, hidden) if self.use_bottleneck else narrow


class MobileBertLayer(nnx.Module):
    """Bottleneck, attention, a stack of feed-forward networks, and back."""

    def __init__(self, config: MobileBertConfig) -> None:
        width = config.attention_width
        self.use_bottleneck = config.use_bottleneck
        value_width = width if config.use_bottleneck_attention else config.hidden_size
        self.attention = Attention(
            width,
            value_width,
            config.num_attention_heads,
            config.normalization_type,
            config.layer_norm_eps,
        )
        self.intermediate = Intermediate(width, config.intermediate_size, config.hidden_act)
        self.output = MobileBertOutput(config)
        if self.use_bottleneck:
            self.bottleneck = Bottleneck(config)
        self.ffn = nnx.List(
            [FeedForward(config) for _ in range(config.num_feedforward_networks - 1)]
        )

    def __call__(self, hidden: jax.Array, bias: jax.Array | None) -> tuple[jax.Array, Attended]:
        if self.use_bottleneck:
            query, value, residual = self.bottleneck(hidden)
        else:
            query, value, residual = hidden, hidden, hidden
        x, attended = self.attention(query, value, residual, bias)
        for network in self.ffn:
            x = network(x)
        return self.output(self.intermediate(x), x, hidden), attended
