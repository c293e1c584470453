"""What an encoder costs to run, as columns for a latency predictor.

A latency is nearly a product of powers of how much is computed, how much is moved
and how many steps must wait for each other, so the columns are natural logarithms of
such counts. They are exact for the encoders in ``models`` and need no array.

Axes: n = architectures, d = columns of physics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from autodistill.errors import SpaceError, TeacherError
from autodistill.models.config import FAMILIES, BertConfig, EncoderConfig, MobileBertConfig
from autodistill.space.architecture import Value

TILE = 128  # rows and columns of a systolic array; vector units work in such lanes, too
PHYSICS = (
    "log_block_weights",
    "log_multiply_adds",
    "log_tiled_multiply_adds",
    "log_multiply_adds_per_layer",
    "log_attention_scores",
    "log_elementwise",
    "log_bytes_moved",
    "log_sequential_depth",
)


@dataclass(frozen=True)
class Work:
    """What one call of an encoder does.

    Attributes:
        block_weights: Numbers in all blocks, biases and norms included.
        multiply_adds: Of all matrix products, attention between tokens included.
        tiled_multiply_adds: The same with every width rounded up to ``TILE``.
        attention_scores: Elements that go through a softmax.
        elementwise: Elements that matrix products of blocks give, each of which is
            biased, normalised, activated or added to something.
        bytes_moved: Weights read once, and what those products read and write.
        sequential_depth: Matrix products that must wait for each other.
        layers: Blocks.
    """

    block_weights: int
    multiply_adds: int
    tiled_multiply_adds: int
    attention_scores: int
    elementwise: int
    bytes_moved: int
    sequential_depth: int
    layers: int


def work_of(
    architecture: Mapping[str, Value],
    *,
    batch_size: int = 1,
    sequence_length: int = 128,
    bytes_per_number: int = 2,
) -> Work:
    """Count one encoder.

    Args:
        architecture: A row of a latency table or an architecture of a space, with
            ``model_type`` ``bert`` or ``mobilebert``; fields of the other family
            and those that it lacks do not count, or take their defaults.
        batch_size: Passages of one call.
        sequence_length: Tokens of each.
        bytes_per_number: 2 for bfloat16, 4 for float32.

    Raises:
        SpaceError: ``model_type`` or other fields are missing or cannot be used.

    Example:
        >>> bert_base = {"model_type": "bert", "num_hidden_layers": 12, "hidden_size": 768,
        ...              "num_attention_heads": 12, "intermediate_size": 3072}
        >>> round(work_of(bert_base).block_weights / 1e6, 1)
        85.1
    """
    for name, value in (
        ("batch_size", batch_size),
        ("sequence_length", sequence_length),
        ("bytes_per_number", bytes_per_number),
    ):
        if value < 1:
            raise SpaceError(f"{name} must be at least 1; got {value}")
    config = _config(architecture)
    layers, tokens = config.num_hidden_layers, batch_size * sequence_length
    products = block_products(config)
    mixing = 2 * config.attention_width * sequence_length  # scores and values, each token
    tiled_mixing = 2 * config.num_attention_heads * _tiled(config.head_size)
    tiled_mixing *= _tiled(sequence_length)
    inner = sum(rows * columns for rows, columns in products) + mixing
    tiled = sum(_tiled(rows) * _tiled(columns) for rows, columns in products) + tiled_mixing
    widening = _widening(config)
    weights = layers * block_weights(config)
    scores = layers * batch_size * config.num_attention_heads * sequence_length**2
    moved = layers * tokens * sum(rows + columns for rows, columns in products) + 2 * scores
    return Work(
        block_weights=weights,
        multiply_adds=tokens * (layers * inner + widening * config.hidden_size),
        tiled_multiply_adds=tokens
        * (layers * tiled + (_tiled(widening) * _tiled(config.hidden_size) if widening else 0)),
        attention_scores=scores,
        elementwise=layers * tokens * sum(columns for _, columns in products),
        bytes_moved=bytes_per_number * (weights + moved),
        sequential_depth=layers * _block_depth(config) + (1 if widening else 0),
        layers=layers,
    )


def block_products(config: EncoderConfig) -> list[tuple[int, int]]:
    """Inputs and outputs of every weight matrix of one block."""
    hidden, inner = config.hidden_size, config.intermediate_size
    if isinstance(config, BertConfig):
        return [(hidden, hidden)] * 4 + [(hidden, inner), (inner, hidden)]
    narrow = config.attention_width
    value = narrow if config.use_bottleneck_attention else hidden
    return [
        *[(hidden, narrow)] * _bottlenecks(config),
        *[(narrow, narrow)] * 2,
        (value, narrow),
        (narrow, narrow),
        *[(narrow, inner), (inner, narrow)] * config.num_feedforward_networks,
        *[(narrow, hidden)] * config.use_bottleneck,
    ]


def block_weights(config: EncoderConfig) -> int:
    """Numbers in one block: matrices, their biases, and two for each normalised element."""
    products = block_products(config)
    numbers = sum((rows + 1) * columns for rows, columns in products)
    if isinstance(config, BertConfig):
        return numbers + 4 * config.hidden_size
    norms = _bottlenecks(config) + 1 + config.num_feedforward_networks
    widened = config.hidden_size * config.use_bottleneck
    return numbers + 2 * (norms * config.attention_width + widened)


def physics_columns(
    architectures: Sequence[Mapping[str, Value]],
    *,
    batch_size: int = 1,
    sequence_length: int = 128,
    bytes_per_number: int = 2,
) -> np.ndarray:  # (n, d)
    """``PHYSICS`` of each architecture, natural logarithms.

    A row that has ``batch_size`` or ``sequence_length`` itself, as the features of a
    latency table may, is counted with those.

    Raises:
        SpaceError: As ``work_of``; the row is named.
    """
    counts = []
    for index, architecture in enumerate(architectures):
        workload: dict[str, Any] = {
            "batch_size": architecture.get("batch_size", batch_size),
            "sequence_length": architecture.get("sequence_length", sequence_length),
        }
        try:
            work = work_of(architecture, bytes_per_number=bytes_per_number, **workload)
        except SpaceError as error:
            raise SpaceError(f"row {index}: {error}") from error
        counts.append(
            (
                work.block_weights,
                work.multiply_adds,
                work.tiled_multiply_adds,
                work.multiply_adds / work.layers,
                work.attention_scores,
                work.elementwise,
                work.bytes_moved,
                work.sequential_depth,
            )
        )
    return np.log(np.array(counts, np.float64).reshape(len(counts), len(PHYSICS)))


def with_physics(
    X: np.ndarray,  # (n, columns)
    columns: Sequence[str],
    architectures: Sequence[Mapping[str, Value]],  # n
    **workload: int,
) -> tuple[np.ndarray, tuple[str, ...]]:  # (n, columns + d)
    """A table's matrix and its column names, with those of ``PHYSICS`` behind.

    Args:
        X: As ``LatencyTable.matrix`` gives it.
        columns: Names of its columns.
        architectures: The rows that X encodes, in the same order.
        **workload: As for ``physics_columns``.

    Raises:
        SpaceError: Their numbers differ, a name is taken, or as ``physics_columns``.
    """
    if np.shape(X) != (len(architectures), len(columns)):
        raise SpaceError(
            f"X must have the shape {(len(architectures), len(columns))} of {len(architectures)} "
            f"architectures and {len(columns)} columns; got {np.shape(X)}"
        )
    if taken := sorted(set(PHYSICS) & set(columns)):
        raise SpaceError(f"the matrix already has the columns {', '.join(taken)}")
    physics = physics_columns(architectures, **workload)
    return np.hstack([np.asarray(X, np.float64), physics]), (*columns, *PHYSICS)


def _widening(config: EncoderConfig) -> int:
    """Inputs of the product that brings word embeddings to the hidden width; 0 without it."""
    if isinstance(config, BertConfig):
        return 0
    if config.trigram_input:
        return 3 * config.embedding_size
    return config.embedding_size if config.embedding_size != config.hidden_size else 0


def _bottlenecks(config: MobileBertConfig) -> int:
    """Narrowing products of a block: one of the input, one that query and key share."""
    if not config.use_bottleneck:
        return 0
    return 2 if config.key_query_shared_bottleneck else 1


def _block_depth(config: EncoderConfig) -> int:
    """Query, scores, mixing, output and a network; bottlenecks and more networks."""
    if isinstance(config, BertConfig):
        return 6
    return 4 + 2 * config.num_feedforward_networks + 2 * config.use_bottleneck


def _tiled(width: int) -> int:
    return -(-width // TILE) * TILE


def _config(architecture: Mapping[str, Value]) -> EncoderConfig:
    family = architecture.get("model_type")
    if family not in FAMILIES:
        raise SpaceError(f"model_type must be one of {', '.join(FAMILIES)}; got {family!r}")
    known = {field.name for field in fields(FAMILIES[str(family)])}
    values: dict[str, Any] = {k: v for k, v in architecture.items() if k in known}
    if values.get("use_bottleneck_attention"):
        values["key_query_shared_bottleneck"] = False
    try:
        return FAMILIES[str(family)](**values)
    except (TeacherError, TypeError) as error:
        raise SpaceError(str(error)) from error
