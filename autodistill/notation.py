"""One line for an architecture, short enough for a table."""

from collections.abc import Iterable, Mapping

Value = int | float | str | bool

# Field name -> how its value is written, in the order of reading.
SHORT = {
    "num_hidden_layers": "{}L",
    "hidden_size": "{}h",
    "intra_bottleneck_size": "{}b",
    "num_attention_heads": "{}a",
    "intermediate_size": "{}f",
    "num_feedforward_networks": "x{}",
    "embedding_size": "e{}",
    "normalization_type": "{}",
    "hidden_act": "{}",
}
SHORT_LEGEND = (
    "L layers, h hidden size, b bottleneck, a attention heads, f feed-forward size, "
    "x stacked feed-forwards, e embedding size"
)


def short_architecture(architecture: Mapping[str, Value], omit: Iterable[str] = ()) -> str:
    """One line for an architecture; fields without a short form as ``name=value``.

    Example:
        >>> short_architecture({"num_hidden_layers": 6, "hidden_size": 256, "bias": True})
        '6L 256h bias=True'
    """
    omit = set(omit)
    words = [
        form.format(architecture[name])
        for name, form in SHORT.items()
        if name in architecture and name not in omit
    ]
    others = [name for name in architecture if name not in SHORT and name not in omit]
    return " ".join(words + [f"{name}={architecture[name]}" for name in others])
