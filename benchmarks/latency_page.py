"""What ``latency_analysis.py`` found, as one page of text: ``docs/latency.md``."""

from collections.abc import Mapping, Sequence
from typing import Any

LAYERS = {"4-8": (1, 8), "9-16": (9, 16), "17-24": (17, 24)}
MEASURED_WITHIN = 0.2  # of MobileBERT's weights
PREDICTED_WITHIN = 0.05
TIE = 0.05  # ratios nearer to 1 are called no difference; about the predictor's error


def verdict(shallow: float | None, deep: float | None) -> str:
    """Who wins against MobileBERT: students of few layers, or with longer sequences."""
    wins = {
        "wider and shallower": shallow is not None and shallow < 1 - TIE,
        "thinner and deeper": deep is not None and deep < 1 - TIE,
    }
    if all(wins.values()):
        assert shallow is not None and deep is not None
        return (
            f"both win, {'wider and shallower' if shallow <= deep else 'thinner and deeper'} more"
        )
    return next((f"{name} wins" for name, true in wins.items() if true), "neither wins")


def finding(name: str, size: Mapping[str, Any]) -> str:
    """The sentence of a section."""
    if "skipped" in size:
        return f"{name}: no comparison, as {size['skipped']}."
    layers, sequence = size["predicted"]["layers"], size["predicted"]["sequence"]
    deep = sequence["more than MobileBERT's"]["median"]
    times = [f"with {depth} layers {_times(one['median'])}" for depth, one in layers.items()]
    return (
        f"{name}: at MobileBERT's size {verdict(layers['4-8']['median'], deep)}: the median "
        f"encoder takes {', '.join(times)} its time, and {_times(deep)} where it has more "
        "products in sequence than MobileBERT (predicted)."
    )


def page(result: Mapping[str, Any]) -> str:
    """``docs/latency.md``."""
    parts = result["sections"]
    estimates = [p["target"] for p in parts if p["statistic"] == "compiler_estimate"]
    lines = [
        "# What the latency tables say",
        "",
        "Written by `python benchmarks/latency_analysis.py`, which says how each figure is made. "
        "All figures are in [`latency_analysis.json`](../benchmarks/latency_analysis.json), the "
        "tables in [`data/`](../data/README.md).",
        "",
    ]
    if estimates:
        lines += [
            "**Times of TPUs are estimates.** On "
            f"{', '.join(dict.fromkeys(estimates))}, latency is `compiler_estimate`: what the TPU "
            "compiler expects, not a timing. What follows holds of that estimate.",
            "",
        ]
    if timed := list(dict.fromkeys(p["target"] for p in parts if p["statistic"] == "median")):
        lines += [f"Timed, as the median of runs: {', '.join(timed)}.", ""]
    if result["skipped"]:
        lines += [f"Left out: {'; '.join(result['skipped'])}.", ""]
    if not parts:
        return "\n".join([*lines, "No table has enough rows yet.", ""])
    return "\n".join(
        [*lines, *_field_lines(parts), *_size_lines(result), *_agreement_lines(result["agreement"])]
    )


def _field_lines(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    fields = list(_SHORT)
    shares, powers, ranks = [], [], []
    for part in parts:
        effects = part["effects"]["fields"]
        shares.append(
            [part["name"], str(part["rows"])]
            + [_percent(effects[f]["share"]) if f in effects else "" for f in fields]
            + [_percent(part["effects"]["r_squared"])]
        )
        powers.append([part["name"], *(_effect(effects.get(field)) for field in fields)])
        ranks.append([part["name"], *(_two(value) for value in part["ranks"].values())])
    headings = [_SHORT[field] for field in fields]
    return [
        "## What matters",
        "",
        "Share of the variance of log latency that a field explains, in %, over random encoders of "
        "the `mobilebert` space. *All* is what the fields explain together, each as a power; the "
        "rest is curvature and interplay.",
        "",
        *_table(["", "n", *headings, "all"], shares),
        "",
        "The power of latency that goes with a number, or the ratio of times: `layer_norm` over "
        "`no_norm`, `gelu` over `relu`. 1.0 is proportional, 0 is free.",
        "",
        *_table(["", *headings], powers),
        "",
        "How well one count alone ranks the encoders (Spearman):",
        "",
        *_table(["", "FLOPs", "encoder weights", "bytes", "products in sequence"], ranks),
        "",
    ]


def _size_lines(result: Mapping[str, Any]) -> list[str]:
    parts, mobilebert = result["sections"], result["mobilebert"]
    ratios, bests = [], []
    for part in parts:
        size = part["size"]
        if "skipped" in size:
            continue
        predicted, measured = size["predicted"], size["measured"]
        ratios.append(
            [part["name"]]
            + [_two(predicted["layers"][name]["median"]) for name in LAYERS]
            + [_two(predicted["sequence"]["more than MobileBERT's"]["median"])]
            + [f"{100 * size['predictor_error']:.0f}%"]
            + [_measured(measured["layers"][name]) for name in LAYERS]
            + [_two(size["layers_at_constant_weights"]["twice_the_layers"])]
        )
        bests.append(
            [part["name"], *(_shape(measured["layers"][name].get("best")) for name in LAYERS)]
        )
    return [
        "## Deep and thin, or shallow and wide",
        "",
        "Latency over MobileBERT's, of encoders with as many weights in their blocks. It has "
        f"{mobilebert['num_hidden_layers']} layers of {mobilebert['num_feedforward_networks']} "
        f"feed-forward networks, {result['mobilebert_products_in_sequence']} products in sequence; "
        "no encoder of the space has more layers, but some have more products in sequence.",
        "",
        *[f"- {part['finding']}" for part in parts],
        "",
        f"Predicted: medians over random encoders within {PREDICTED_WITHIN:.0%} of its weights, "
        "with its normalisation and activation, by a Gaussian process (*error*: leave one out). "
        "Measured: medians, and in brackets counts, of those of the table within "
        f"{MEASURED_WITHIN:.0%}; first of MobileBERT's normalisation and activation, then of any, "
        "which are mostly slower. *x2* is the factor of time for twice the layers at constant "
        "weights, from a regression over all encoders.",
        "",
        *_table(
            [
                "",
                *(f"{name}, predicted" for name in LAYERS),
                "longer sequence, predicted",
                "error",
                *(f"{name}, measured" for name in LAYERS),
                "x2",
            ],
            ratios,
        ),
        "",
        "The fastest measured one of each bin: ratio, then layers x hidden/bottleneck, "
        "networks x inner width.",
        "",
        *_table(["", *(f"{name} layers" for name in LAYERS)], bests),
        "",
    ]


def _agreement_lines(matrix: Mapping[str, Any]) -> list[str]:
    names = matrix["sections"]
    lines = ["## Do targets agree", "", "Spearman over the encoders that both measured."]
    batches = sorted({name.rpartition(" ")[2] for name in names}, key=int)
    for batch in batches:
        chosen = [i for i, name in enumerate(names) if name.rpartition(" ")[2] == batch]
        if len(chosen) < 2:
            continue
        short = [names[i].partition(",")[0] for i in chosen]
        rows = [
            [short[k], *(_two(matrix["spearman"][i][j], digits=3) for j in chosen)]
            for k, i in enumerate(chosen)
        ]
        lines += ["", f"Batch {batch}:", "", *_table(["", *short], rows)]
    pairs = []
    for i, first in enumerate(names):
        for j, second in enumerate(names):
            target, _, batch = first.rpartition(", ")
            if i < j and second.startswith(f"{target}, "):
                rho = _two(matrix["spearman"][i][j], digits=3)
                pairs.append(f"{target} {rho}")
    if pairs:
        lines += ["", f"Between the batch sizes of one target: {', '.join(pairs)}."]
    if len(lines) == 3:
        lines += ["", "One table so far: nothing to compare."]
    return [*lines, ""]


_SHORT = {
    "num_hidden_layers": "layers",
    "hidden_size": "hidden",
    "intra_bottleneck_size": "bottleneck",
    "num_attention_heads": "heads",
    "intermediate_size": "inner",
    "num_feedforward_networks": "networks",
    "embedding_size": "embedding",
    "normalization_type": "norm",
    "hidden_act": "activation",
}


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    marks = ["---", *["--:"] * (len(headings) - 1)]
    return ["| " + " | ".join(cells) + " |" for cells in (headings, marks, *rows)]


def _effect(effect: Mapping[str, Any] | None) -> str:
    if effect is None:
        return ""
    if "elasticity" in effect:
        return _two(effect["elasticity"])
    return ", ".join(f"x{one['ratio']:.2f}" for one in effect["ratios"].values())


def _measured(one: Mapping[str, Any]) -> str:
    kin = one["of_its_kind"]
    return f"{_two(kin['median'])} ({kin['n']}); {_two(one['median'])} ({one['n']})"


def _shape(best: Mapping[str, Any] | None) -> str:
    if best is None:
        return "none"
    return (
        f"{best['ratio']:.2f}: {best['num_hidden_layers']} x {best['hidden_size']}/"
        f"{best['intra_bottleneck_size']}, {best['num_feedforward_networks']} x "
        f"{best['intermediate_size']}, {best['normalization_type']}, {best['hidden_act']}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _two(value: float | None, digits: int = 2) -> str:
    text = "-" if value is None else f"{value:.{digits}f}"
    return text[1:] if text.startswith("-0") and float(text) == 0 else text


def _times(value: float | None) -> str:
    return "(none)" if value is None else f"{value:.2f}x"
