"""BERT's encoder [Devlin2018], in Hugging Face's layout.

References:
    [Devlin2018] Devlin et al. BERT: Pre-training of Deep Bidirectional
    Transformers. https://arxiv.org/abs/1810.04805
"""

import jax
from flax import nnx

from autodistill.models.config import BertConfig
from autodistill.models.layers import (
    Attended,
    Attention,
    Intermediate,
    ResidualOutput,
    embed,
    normalization,
    position_rows,
    type_rows,
    word_rows,
)


class BertEmbeddings(nnx.Module):
    """Sum of word, position and segment embeddings, normalised."""

    def __init__(self, config: BertConfig, rngs: nnx.Rngs) -> None:
        width = config.hidden_size
        self.word_embeddings = embed(config.vocab_size, width, rngs)
        self.position_embeddings = embed(config.max_position_embeddings, width, rngs)
        self.token_type_embeddings = embed(config.type_vocab_size, width, rngs)
        self.LayerNorm = normalization("layer_norm", width, config.layer_norm_eps)

    def __call__(self, input_ids: jax.Array, token_type_ids: jax.Array | None) -> jax.Array:
        return self.LayerNorm(
            word_rows(self.word_embeddings, input_ids)
            + position_rows(self.position_embeddings, input_ids.shape[1])
            + type_rows(self.token_type_embeddings, token_type_ids)
        )


class BertLayer(nnx.Module):
    """Attention, then one feed-forward network."""

    def __init__(self, config: BertConfig) -> None:
        width, epsilon = config.hidden_size, config.layer_norm_eps
        heads = config.num_attention_heads
        self.attention = Attention(width, width, heads, "layer_norm", epsilon)
        self.intermediate = Intermediate(width, config.intermediate_size, config.hidden_act)
        self.output = ResidualOutput(config.intermediate_size, width, "layer_norm", epsilon)

    def __call__(self, hidden: jax.Array, bias: jax.Array | None) -> tuple[jax.Array, Attended]:
        x, attended = self.attention(hidden, hidden, hidden, bias)
        return self.output(self.intermediate(x), x), attended
