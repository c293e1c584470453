"""Rows, latencies, times and sizes as the command writes them."""

import math
from collections.abc import Mapping

from autodistill.notation import short_architecture
from autodistill.space.architecture import Value

STATISTICS = {
    "median": "the median of timed runs",
    "compiler_estimate": "the compiler's own estimate, not a timing",
}
# What every BERT encoder has alike, in the fields that MobileBERT adds.
_BERT_OMITS = (
    "intra_bottleneck_size",
    "num_feedforward_networks",
    "embedding_size",
    "normalization_type",
)


def labelled(statistic: str, compiler: str = "compiler") -> str:
    """A statistic as the table names it, and what it is.

    Example:
        >>> labelled("compiler_estimate", compiler="TPU compiler")
        "compiler_estimate: the TPU compiler's own estimate, not a timing"
    """
    return f"{statistic}: {STATISTICS[statistic].replace('compiler', compiler, 1)}"


def compiler_of(target: str) -> str:
    """Whose estimate a target gives."""
    return "TPU compiler" if target.startswith("tpu") else "compiler"


def short_row(architecture: Mapping[str, Value]) -> str:
    """One line for the architecture of a table's row.

    Example:
        >>> short_row({"num_hidden_layers": 6, "hidden_size": 256, "model_type": "bert"})
        '6L 256h bert'
    """
    omit = {"model_type", "use_bottleneck_attention"}
    words = []
    if architecture.get("model_type") == "bert":
        omit.update(_BERT_OMITS)
        words.append("bert")
    if architecture.get("use_bottleneck_attention"):
        words.append("narrow")
    return " ".join([short_architecture(architecture, omit=omit), *words])


def milliseconds(value: float | None) -> str:
    """A latency to three digits.

    Example:
        >>> milliseconds(0.58214), milliseconds(1234.5), milliseconds(None)
        ('0.582 ms', '1234 ms', 'failed')
    """
    if value is None:
        return "failed"
    digits = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:.{digits}f} ms"


def size(count: float) -> str:
    """Bytes as people say them.

    Example:
        >>> size(812e6), size(2.345e9)
        ('812 MB', '2.3 GB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    Example:
        >>> plural(1, "row"), plural(2000, "row")
        ('1 row', '2,000 rows')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
