"""Architectures and times as people read them, for reports and terminals."""

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


def duration(seconds: float) -> str:
    """Seconds as people say them.

    Example:
        >>> duration(8.4), duration(95), duration(5000)
        ('8 s', '1 min 35 s', '1 h 23 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
