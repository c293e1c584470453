"""What an architecture costs, by counting: weights, multiply-adds, depth.

The counts are exact for the encoders in ``models`` and need no array. They are
the architecture knowledge that surrogates are given as features: a latency or
an accuracy is far closer to linear in their logarithms than in the choices.

Axes: n = architectures, d = features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autodistill.models.config import BertConfig
from autodistill.space.architecture import Value
from autodistill.space.families import encoder_config

FEATURES = (
    "log_encoder_parameters",
    "log_embedding_parameters",
    "log_multiply_adds",
    "log_sequential_depth",
    "log_hidden_size",
    "log_num_hidden_layers",
)


@dataclass(frozen=True)
class Cost:
    """Counts of one encoder.

    Attributes:
        embedding_parameters: Word, position and segment tables, and what widens
            and normalises them.
        encoder_parameters: All blocks.
        multiply_adds: Per token, blocks and the widening of embeddings;
            attention between tokens is left out, as it depends on the length.
        sequential_depth: Matrix products that must wait for each other.
    """

    embedding_parameters: int
    encoder_parameters: int
    multiply_adds: int
    sequential_depth: int

    @property
    def parameters(self) -> int:
        """All weights of the encoder."""
        return self.embedding_parameters + self.encoder_parameters


def encoder_cost(architecture: Mapping[str, Value], *, family: str, vocab_size: int) -> Cost:
    """Count one encoder.

    Example:
        >>> from autodistill.space import SearchSpace
        >>> mobilebert = SearchSpace.preset("mobilebert").baseline
        >>> cost = encoder_cost(mobilebert, family="mobilebert", vocab_size=30522)
        >>> round(cost.parameters / 1e6, 1)
        24.6
    """
    config = encoder_config(architecture, family=family, vocab_size=vocab_size)
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    tables = (config.max_position_embeddings + config.type_vocab_size) * hidden + 2 * hidden
    if isinstance(config, BertConfig):
        products = 4 * hidden * hidden + 2 * hidden * inner
        biases = 4 * hidden + inner + hidden
        norms = 4 * hidden
        embedding = vocab_size * hidden + tables
        block, widening, depth = products + biases + norms, 0, 6
    else:
        narrow, stack = config.attention_width, config.num_feedforward_networks
        width = config.embedding_width
        # two bottlenecks in; query and key; value from the hidden width; output;
        # the stack; one bottleneck out
        products = (
            2 * hidden * narrow
            + 2 * narrow * narrow
            + hidden * narrow
            + narrow * narrow
            + stack * 2 * narrow * inner
            + narrow * hidden
        )
        biases = 2 * narrow + 3 * narrow + narrow + stack * (inner + narrow) + hidden
        norms = 2 * (2 * narrow + narrow + stack * narrow + hidden)
        widening = 3 * width * hidden
        embedding = vocab_size * width + tables + widening + hidden
        block, depth = products + biases + norms, 6 + 2 * stack
    return Cost(
        embedding_parameters=embedding,
        encoder_parameters=layers * block,
        multiply_adds=layers * products + widening,
        sequential_depth=layers * depth + (1 if widening else 0),
    )


def encoder_features(
    architectures: Sequence[Mapping[str, Value]], *, family: str, vocab_size: int
) -> np.ndarray:  # (n, d)
    """``FEATURES`` of each architecture, natural logarithms."""
    rows = []
    for architecture in architectures:
        cost = encoder_cost(architecture, family=family, vocab_size=vocab_size)
        rows.append(
            (
                cost.encoder_parameters,
                cost.embedding_parameters,
                cost.multiply_adds,
                cost.sequential_depth,
                architecture["hidden_size"],
                architecture["num_hidden_layers"],
            )
        )
    return np.log(np.asarray(rows, np.float64).reshape(len(rows), len(FEATURES)))
