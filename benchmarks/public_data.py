"""Public measurements of transformers, as tables of named columns.

What the benchmarks of the predictors learn from and are judged on. Each reader
takes the folder that holds the data sets and returns plain arrays; nothing is
copied into this project. Every table comes with its columns as published
(``raw``) and with counts that follow from them by the arithmetic of a
transformer (``counted``): weights, multiply-adds, depth, and sums and means over
layers. A benchmark says which of the two it uses.

Sources, licence:
    [HAT] Wang et al. HAT: Hardware-Aware Transformers, ACL 2020. Latency tables of
    encoder-decoder transformers, MIT.
    [HW-GPT-Bench] Sukthanker et al., NeurIPS 2024. GPT-2 supernet perplexities,
    Apache-2.0.
    [LTS] Javaheripi et al. LiteTransformerSearch, NeurIPS 2022. Trained decoders, MIT.
    [FlexiBERT] Tuli et al., JAIR 2023. QNLI and SST-2 accuracies of small encoders,
    BSD-3.
    [EdgeTran] Tuli, Jha. EdgeTran, IEEE TMC 2023. Latency of heterogeneous encoders
    on seven device modes, BSD-3.
"""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(os.environ.get("AUTODISTILL_PUBLIC_DATA", Path(__file__).parents[2] / "shared/data"))
HAT_DEVICES = (
    "wmt14ende_cpu_xeon",
    "wmt14enfr_cpu_raspberrypi",
    "wmt14enfr_gpu_titanxp",
    "iwslt14deen_gpu_titanxp",
)
OPERATIONS = ("sa_sdp", "sa_wma", "l_dft", "l_dct", "c_5", "c_9", "c_13")


@dataclass(frozen=True)
class PublicTable:
    """Architectures with one measured value each.

    Attributes:
        raw: (rows, columns) the architecture as published, numbers only.
        raw_columns: Their names.
        counted: (rows, counts) what follows from it by arithmetic.
        counted_columns: Their names.
        y: (rows,) what was measured.
        parameters: (rows,) weights, the yardstick that each predictor must beat.
        groups: (rows,) which subset of the publication each row belongs to.
    """

    raw: np.ndarray
    raw_columns: tuple[str, ...]
    counted: np.ndarray
    counted_columns: tuple[str, ...]
    y: np.ndarray
    parameters: np.ndarray
    groups: np.ndarray

    @property
    def both(self) -> np.ndarray:
        """Raw columns and counts side by side."""
        return np.hstack([self.raw, self.counted])

    def take(self, rows: np.ndarray) -> "PublicTable":
        """Some rows, in this order."""
        return PublicTable(
            self.raw[rows],
            self.raw_columns,
            self.counted[rows],
            self.counted_columns,
            self.y[rows],
            self.parameters[rows],
            self.groups[rows],
        )


def hat(device: str, folder: Path = FOLDER) -> PublicTable:
    """Latency in ms of encoder plus decoder, by the ten averaged fields [HAT]."""
    with open(folder / f"hat/{device}_all.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    columns = tuple(lines[0])[:10]
    raw = np.array([[float(line[c]) for c in columns] for line in lines])
    y = np.array(
        [float(row["latency_mean_encoder"]) + float(row["latency_mean_decoder"]) for row in lines]
    )
    of = dict(zip(columns, raw.T, strict=True))
    encoder, decoder = (
        (of[f"{s}_embed_dim"], of[f"{s}_layer_num"], of[f"{s}_ffn_embed_dim_avg"])
        for s in ("encoder", "decoder")
    )
    counts = {}
    for side, (width, layers, inner) in (("encoder", encoder), ("decoder", decoder)):
        # attention has a fixed inner width of 512 in this space
        counts[f"log_{side}_attention"] = np.log(layers * width)
        counts[f"log_{side}_feed_forward"] = np.log(layers * width * inner)
    reads = decoder[1] * of["decoder_arbitrary_ende_attn_avg"] * encoder[0]
    counts["log_cross_attention"] = np.log(reads)
    counts["log_depth"] = np.log(encoder[1] + decoder[1])
    weights = sum(4 * w * 512 * n + 2 * n * w * f for w, n, f in (encoder, decoder))
    counts["log_parameters"] = np.log(weights)
    return _table(of, counts, y, weights)


def hwgpt_perplexity(folder: Path = FOLDER) -> PublicTable:
    """Perplexity of GPT-2 of scale m, cut from one supernet [HW-GPT-Bench]."""
    file = np.load(folder / "hwgptbench/hwgpt_m_perplexity.npz")
    width, layers = file["embed_dim"].astype(float), file["n_layer"].astype(int)
    there = np.arange(file["n_head"].shape[1]) < layers[:, None]
    heads, ratio = (np.where(there, file[f], 0).astype(float) for f in ("n_head", "mlp_ratio"))
    raw = {"embed_dim": width, "n_layer": layers.astype(float), "bias": file["bias"].astype(float)}
    for layer in range(there.shape[1]):
        raw[f"n_head_{layer}"], raw[f"mlp_ratio_{layer}"] = heads[:, layer], ratio[:, layer]
    counts = {
        "log_embed_dim": np.log(width),
        "n_layer": layers.astype(float),
        "bias": raw["bias"],
        **_depth_moments("log_n_head", np.log(np.maximum(heads, 1)), 3),
        **_depth_moments("log_mlp_ratio", np.log(np.maximum(ratio, 1)), 4),
        **_depth_moments("n_head_is_12", heads == 12, 2),  # what no monotone curve tells
        **_depth_moments("mlp_ratio_is_3", ratio == 3, 3),
    }
    for depth in sorted(set(layers.tolist()))[:-1]:
        counts[f"is_{depth}_layers"] = (layers == depth).astype(float)
    for layer in (0, 21, 22, 23):  # the ends, which no smooth curve over depth describes
        counts[f"log_mlp_ratio_{layer}"] = np.log(np.maximum(ratio[:, layer], 1))
        counts[f"log_n_head_{layer}"] = np.log(np.maximum(heads[:, layer], 1))
    weights = 4 * layers * width**2 + 2 * ratio.sum(axis=1) * width**2
    return _table(raw, counts, file["perplexity"].astype(float), weights)


def lts_perplexity(task: str, folder: Path = FOLDER) -> PublicTable:
    """Validation perplexity of trained decoders of one task [LTS].

    Args:
        task: ``GPT2_lm1b``, ``GPT2_wt103``, ``TransXL_lm1b`` or ``TransXL_wt103``:
            one kind of decoder, trained on one corpus.
        folder: Where the data sets are.
    """
    text = (folder / "lts/lts_ground_truth.jsonl").read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    records = [r for r in records if task in r["group"] and r.get("ppl_valid_ppl") is not None]
    n, most = len(records), max(r["n_layer"] for r in records)
    inner, heads, there = np.zeros((n, most)), np.zeros((n, most)), np.zeros((n, most), bool)
    for i, r in enumerate(records):
        there[i, : r["n_layer"]] = True
        inner[i, : r["n_layer"]], heads[i, : r["n_layer"]] = r["d_inner"], r["n_head"]
    of = {f: np.array([float(r[f]) for r in records]) for f in ("n_layer", "d_model", "div_val")}
    given = np.array([float(r["d_embed"]) for r in records])
    of["d_embed"] = np.where(given > 0, given, of["d_model"])
    raw = dict(of)
    for layer in range(most):
        raw[f"d_inner_{layer}"], raw[f"n_head_{layer}"] = inner[:, layer], heads[:, layer]
    attention, feed_forward, embedding = (
        np.array([r[f"params_{part}"] for r in records]) for part in ("Attn", "FFN", "AdaEmb")
    )
    counts = {
        "div_val": of["div_val"],
        "n_head_mean": heads.sum(axis=1) / of["n_layer"],
        "log_n_layer": np.log(of["n_layer"]),
        "log_d_model": np.log(of["d_model"]),
        "log_d_embed": np.log(of["d_embed"]),
        "log_attention": np.log(attention),
        "log_feed_forward": np.log(feed_forward),
        "log_embedding": np.log(embedding),
        "log_parameters": np.log(attention + feed_forward),
    }
    y = np.array([r["ppl_valid_ppl"] for r in records])
    groups = np.array([r["group"] for r in records])
    return _table(raw, counts, y, attention + feed_forward, groups)


def flexibert_accuracy(task: str, folder: Path = FOLDER) -> PublicTable:
    """Dev accuracy on ``QNLI`` or ``SST-2``, mean of the published runs [FlexiBERT]."""
    text = (folder / "flexibert/flexibert_small_history.json").read_text(encoding="utf-8")
    records = [r for r in json.loads(text) if r["task"] == task]
    models = [r["model"] for r in records]
    layers = np.array([m["l"] for m in models])
    there = np.arange(layers.max()) < layers[:, None]

    def per_layer(field: str, number: Any = float) -> np.ndarray:
        rows = np.zeros(there.shape)
        for row, model in zip(rows, models, strict=True):
            row[: model["l"]] = [number(value) for value in model[field]]
        return rows

    fields = {
        "heads": per_layer("a"),
        "width": per_layer("h"),
        "inner": per_layer("f"),
        "is_wma": per_layer("s", lambda kind: float(kind == "wma")),
    }
    raw = {"layers": layers.astype(float)}
    raw |= {f"{f}_{i}": v[:, i] for f, v in fields.items() for i in range(there.shape[1])}
    weights = (4 * fields["width"] ** 2 + 2 * fields["width"] * fields["inner"]).sum(axis=1)
    counts: dict[str, np.ndarray] = {}
    for field, values in fields.items():
        counts |= _over_layers(field, values, there)
    counts |= {"log_parameters": np.log(weights), "log_layers": np.log(layers)}
    y = np.array([r["value"] for r in records])
    return _table(raw, counts, y, weights)


def edgetran_devices(folder: Path = FOLDER) -> dict[str, int]:
    """Number of architectures measured on each device mode [EdgeTran]."""
    modes = [key.split("_", 1)[1] for key in _edgetran(folder)]
    return {mode: modes.count(mode) for mode in sorted(set(modes))}


def edgetran_latency(device: str, folder: Path = FOLDER) -> PublicTable:
    """Latency in ms of encoders whose layers differ in width and operations [EdgeTran]."""
    records = [v for k, v in _edgetran(folder).items() if k.split("_", 1)[1] == device]
    models = [r["model_dict"] for r in records]
    rows = [_edgetran_counts(model) for model in models]
    counts = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    most = max(model["l"] for model in models)
    raw: dict[str, np.ndarray] = {"layers": np.array([float(m["l"]) for m in models])}
    for layer in range(most):
        parts = [_edgetran_layer(model, layer) for model in models]
        for name in parts[0]:
            raw[f"{name}_{layer}"] = np.array([part[name] for part in parts])
    y = 1e3 * np.array([r["performance"]["latency"] for r in records])
    return _table(raw, counts, y, np.exp(counts["log_parameters"]))


def _edgetran(folder: Path) -> dict[str, Any]:
    text = (folder / "edgetran/codesign_dataset.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


def _edgetran_layer(model: Mapping[str, Any], layer: int) -> dict[str, float]:
    """What one layer is made of; zeros where the model has no such layer."""
    if layer >= model["l"]:
        return dict.fromkeys(("width", "inner", "networks", *OPERATIONS), 0.0)
    heads = [head.rsplit("_", 1) for head in model["o"][layer]]
    return {
        "width": float(model["h"][layer]),
        "inner": float(sum(model["f"][layer])),
        "networks": float(len(model["f"][layer])),
        **{kind: sum(float(w) for k, w in heads if k == kind) for kind in OPERATIONS},
    }


def _edgetran_counts(model: Mapping[str, Any]) -> dict[str, float]:
    """Sums over layers: weights by kind, number of networks and of each operation."""
    layers = [_edgetran_layer(model, layer) for layer in range(model["l"])]
    feed_forward = 0.0
    for width, stack in zip(model["h"], model["f"], strict=True):
        path = [width, *stack, width]
        feed_forward += sum(a * b for a, b in pairwise(path))
    widths = {kind: sum(layer[kind] * layer["width"] for layer in layers) for kind in OPERATIONS}
    attention = sum(widths.values())
    projections = sum(a * b for a, b in pairwise(model["h"]))
    depth = sum(len(stack) + 3 for stack in model["f"])
    totals = {
        "log_parameters": feed_forward + 4 * attention,
        "log_feed_forward": feed_forward,
        "log_attention": attention,
        "log_depth": depth,
        "log_layers": model["l"],
        "log_projections": 1 + projections,
        "log_width": np.mean(model["h"]),
        "log_networks": sum(len(stack) for stack in model["f"]),
    }
    heads = [head.rsplit("_", 1)[0] for stack in model["o"] for head in stack]
    counts = {f"number_of_{kind}": float(heads.count(kind)) for kind in OPERATIONS}
    counts |= {f"width_of_{kind}": np.sqrt(value) for kind, value in widths.items()}
    counts["number_of_heads"] = float(len(heads))
    return {name: float(np.log(value)) for name, value in totals.items()} | counts


def _over_layers(name: str, values: np.ndarray, there: np.ndarray) -> dict[str, np.ndarray]:
    """Sum, mean, spread and trend of a field over the layers that are there; (n, layers)."""
    n = there.sum(axis=1)
    mean = values.sum(axis=1) / n
    place = np.where(there, (np.arange(there.shape[1]) - (n[:, None] - 1) / 2) / n[:, None], 0)
    gap = np.where(there, values - mean[:, None], 0)
    return {
        f"{name}_sum": values.sum(axis=1),
        f"{name}_mean": mean,
        f"{name}_spread": np.sqrt((gap**2).sum(axis=1) / n),
        f"{name}_trend": (gap * place).sum(axis=1),
    }


def _depth_moments(name: str, values: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Values over the depth, (n, layers), zero where there is no layer, as smooth curves.

    The sums of the values times each of ``count`` Legendre polynomials of the depth.
    """
    curves = np.polynomial.legendre.legvander(np.linspace(-1, 1, values.shape[1]), count - 1)
    moments = values.astype(float) @ curves
    return {f"{name}_moment_{order}": moments[:, order] for order in range(count)}


def _table(
    raw: Mapping[str, np.ndarray],
    counts: Mapping[str, np.ndarray],
    y: np.ndarray,
    parameters: np.ndarray,
    groups: Sequence[str] | np.ndarray | None = None,
) -> PublicTable:
    return PublicTable(
        np.column_stack(list(raw.values())),
        tuple(raw),
        np.column_stack(list(counts.values())),
        tuple(counts),
        y,
        parameters,
        np.asarray(groups if groups is not None else [""] * len(y)),
    )
