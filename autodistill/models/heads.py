"""Masked-LM heads, tied to the word embeddings as Hugging Face ties them."""

import jax
import jax.numpy as jnp
from flax import nnx

from autodistill.models.activations import ACTIVATION_FUNCTIONS
from autodistill.models.config import EncoderConfig, MobileBertConfig
from autodistill.models.layers import Linear, normalization
from autodistill.models.product import product, unfolded_transpose


class Transform(nnx.Module):
    """Dense, activation, layer norm (always layer norm, whatever the encoder has)."""

    def __init__(self, config: EncoderConfig) -> None:
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = normalization("layer_norm", config.hidden_size, config.layer_norm_eps)
        self.activation = config.hidden_act

    def __call__(self, hidden: jax.Array) -> jax.Array:
        return self.LayerNorm(ACTIVATION_FUNCTIONS[self.activation](self.dense(hidden)))


class MaskedLMHead(nnx.Module):
    """Scores over the vocabulary; call it on masked positions only.

    MobileBERT's embeddings are narrower than its hidden states; the rest of the
    output matrix is ``dense``, (vocab, hidden - embedding), stored transposed.
    """

    def __init__(self, config: EncoderConfig) -> None:
        self.transform = Transform(config)
        self.bias = nnx.Param(jax.ShapeDtypeStruct((config.vocab_size,), jnp.float32))
        self.split = isinstance(config, MobileBertConfig)
        if self.split:
            rest = config.hidden_size - config.embedding_width
            self.dense = Linear(config.vocab_size, rest, use_bias=False)

    def __call__(
        self,
        hidden: jax.Array,  # (*batch, hidden)
        word_embeddings: jax.Array,  # (vocab, embedding)
    ) -> jax.Array:  # (*batch, vocab)
        x = self.transform(hidden)
        width = word_embeddings.shape[1]
        logits = product(x[..., :width], unfolded_transpose(word_embeddings))
        if self.split and x.shape[-1] > width:
            logits = logits + product(x[..., width:], self.dense.kernel[...].T)
        return logits + self.bias[...]
