"""What an encoder costs as a sum over small programs that many encoders share.

The cost of a stack is linear in its depth once its weights are read where they
are used (see ``compiler.py``), and a block is a sum over what it is made of. For L
layers of F networks::

    cost = f(1) + (L - 1) [f(2) - f(1)]        plain blocks: one head, one plain network
         + L [h(heads) - h(1)]                 the attention between tokens
         + L F n(own shape) - L n(plain)       the networks
         + e(own width) - e(plain)             the word embedding

``f(k)`` is an encoder of k plain blocks, its widths and norm its own. ``h`` is what
a second block adds to a first, at one hidden width for all; ``n`` what a second
network adds to a chain of one; ``e`` the embeddings alone. Every term is a program
for the compiler, none is fitted; flops and bytes add up in the same way.

A space of 10**7 encoders consists of less than a thousand such programs.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from autodistill.models.config import EncoderConfig, MobileBertConfig

PLAIN_INTERMEDIATE_SIZE = 512
PLAIN_EMBEDDING_SIZE = 128
ATTENTION_HIDDEN_SIZE = 256  # at least, of the encoders that tell what heads cost


@dataclass(frozen=True)
class Part:
    """A small program.

    Attributes:
        kind: ``encoder``: ids and mask to last hidden states. ``networks``: a
            chain of as many feed-forward networks as ``config`` has layers.
            ``embeddings``: ids to the first hidden states.
        config: Shape of it; fields that its kind does not look at are plain.
    """

    kind: Literal["encoder", "networks", "embeddings"]
    config: EncoderConfig


def terms(config: EncoderConfig) -> Mapping[Part, int]:
    """The programs that an encoder's cost is the sum of, each with its factor."""
    found: defaultdict[Part, int] = defaultdict(int)
    layers = config.num_hidden_layers
    plain: EncoderConfig = config
    if isinstance(config, MobileBertConfig):
        plain = _plain(config)
        networks = layers * config.num_feedforward_networks
        for shape, factor in ((config, networks), (plain, -layers)):
            found[_networks(shape, 1)] -= factor
            found[_networks(shape, 2)] += factor
        found[_embeddings(config)] += 1
        found[_embeddings(plain)] -= 1
        for heads, factor in ((config.num_attention_heads, layers), (1, -layers)):
            attention = _attention(plain, heads)
            found[_encoder(attention, 1)] -= factor
            found[_encoder(attention, 2)] += factor
    found[_encoder(plain, 1)] += 2 - layers
    found[_encoder(plain, 2)] += layers - 1
    return {part: factor for part, factor in found.items() if factor}


def _plain(config: MobileBertConfig) -> MobileBertConfig:
    """The encoder whose blocks are alike but for what ``terms`` adds by itself."""
    return replace(
        config,
        num_attention_heads=1,
        num_feedforward_networks=1,
        intermediate_size=PLAIN_INTERMEDIATE_SIZE,
        hidden_act="relu",
        embedding_size=PLAIN_EMBEDDING_SIZE,
    )


def _encoder(config: EncoderConfig, layers: int) -> Part:
    return Part("encoder", replace(config, num_hidden_layers=layers))


def _attention(plain: MobileBertConfig, heads: int) -> MobileBertConfig:
    """An encoder of these heads; what else it is made of is the same for all."""
    narrow = plain.attention_width
    return MobileBertConfig(
        num_hidden_layers=1,
        hidden_size=max(ATTENTION_HIDDEN_SIZE, narrow),
        intra_bottleneck_size=narrow,
        num_attention_heads=heads,
        intermediate_size=PLAIN_INTERMEDIATE_SIZE,
        num_feedforward_networks=1,
        embedding_size=PLAIN_EMBEDDING_SIZE,
        normalization_type="no_norm",
        vocab_size=plain.vocab_size,
        max_position_embeddings=plain.max_position_embeddings,
        type_vocab_size=plain.type_vocab_size,
    )


def _networks(config: MobileBertConfig, count: int) -> Part:
    width = config.attention_width
    return Part(
        "networks",
        MobileBertConfig(
            num_hidden_layers=count,
            hidden_size=width,
            intra_bottleneck_size=width,
            num_attention_heads=1,
            intermediate_size=config.intermediate_size,
            num_feedforward_networks=1,
            normalization_type=config.normalization_type,
            hidden_act=config.hidden_act,
        ),
    )


def _embeddings(config: MobileBertConfig) -> Part:
    return Part(
        "embeddings",
        MobileBertConfig(
            num_hidden_layers=1,
            hidden_size=config.hidden_size,
            intra_bottleneck_size=config.hidden_size,
            num_attention_heads=1,
            intermediate_size=PLAIN_INTERMEDIATE_SIZE,
            num_feedforward_networks=1,
            embedding_size=config.embedding_size,
            normalization_type=config.normalization_type,
            trigram_input=config.trigram_input,
            vocab_size=config.vocab_size,
            max_position_embeddings=config.max_position_embeddings,
            type_vocab_size=config.type_vocab_size,
        ),
    )
