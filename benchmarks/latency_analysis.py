"""What the latency tables say: which choices cost time on each target, and which shapes win.

    python benchmarks/latency_analysis.py    # 2 s for each target and batch size, one core

Reads ``data/latency/*.csv`` and writes ``latency_analysis.json`` beside this script, with
all figures, and ``docs/latency.md``, one page of them. Three questions, for each target
and batch size with enough rows:

1. Which fields matter. log(latency) is regressed on the logarithms of the fields, and on
   an indicator for each category. A coefficient is an elasticity (the power of latency
   that goes with the field, all others held), or the logarithm of a ratio of categories;
   its standard error allows for unequal variances, HC3 of [MacKinnon1985]. A field's
   share of the variance is what it adds to R^2, averaged over all orders in which the
   fields can enter [Lindeman1980]; shares sum to R^2, whatever the fields' correlation.
2. At constant weights, deep and thin or shallow and wide. Encoders whose blocks have
   about as many weights as MobileBERT's, by depth. As few were measured, and those
   differ in normalisation and activation too, random encoders of nearly that size, with
   MobileBERT's normalisation and activation, are predicted as well.
3. Do targets agree on the order of the encoders (Spearman).

Only encoders of the ``mobilebert`` space enter 1 and 2.

Axes: n = encoders, d = columns, f = fields.

References:
    [Lindeman1980] Lindeman, Merenda, Gold. Introduction to Bivariate and Multivariate
    Analysis, p. 119; as "lmg" in Grömping. Relative Importance for Linear Regression in
    R: The Package relaimpo. Journal of Statistical Software 17(1), 2006, section 2.
    [MacKinnon1985] MacKinnon, White. Some heteroskedasticity-consistent covariance matrix
    estimators with improved finite sample properties. Journal of Econometrics 29.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from latency_page import LAYERS, MEASURED_WITHIN, PREDICTED_WITHIN, finding, page

from autodistill.space import Architecture, SearchSpace, Value
from autodistill.space.cost import Cost, encoder_cost, encoder_features
from predictors import GPPredictor, LatencyRow, LatencyTable, read_table
from predictors.metrics import spearman

ROOT = Path(__file__).parents[1]
SPACE = SearchSpace.preset("mobilebert")
assert SPACE.baseline is not None
MOBILEBERT = SPACE.baseline
VOCABULARY = 30522  # weights of the blocks do not depend on it
LEAST_ROWS = 100  # of a section; ten for each coefficient
LEAST_COMMON = 30  # encoders that two targets must share to be compared


@dataclass(frozen=True)
class Section:
    """The measured encoders of one target at one batch size.

    Attributes:
        rows: Measured ones of the ``mobilebert`` space, and no others.
        others: Measured ones outside the space, as BERT_BASE.
    """

    target: str
    batch_size: int
    rows: tuple[LatencyRow, ...]
    others: tuple[LatencyRow, ...]

    @property
    def name(self) -> str:
        return f"{self.target}, batch {self.batch_size}"

    @property
    def architectures(self) -> list[dict[str, Value]]:
        """As the space says them."""
        return [{field: row.architecture[field] for field in SPACE.fields} for row in self.rows]

    @property
    def latency_ms(self) -> np.ndarray:  # (n,)
        return np.array([row.latency_ms for row in self.rows], float)


def sections(table: LatencyTable) -> list[Section]:
    """One for each batch size of a table, in order.

    Raises:
        ValueError: Measured rows differ in device, statistic, dtype or length.
    """
    for name in ("device_kind", "statistic", "dtype", "sequence_length"):
        if len(found := sorted({str(getattr(row, name)) for row in table.measured})) > 1:
            raise ValueError(
                f"{table.target}: expected one {name} in a table; got {', '.join(found)}; "
                "keep one table for each"
            )
    result = []
    for batch_size in sorted({row.batch_size for row in table.measured}):
        rows = [row for row in table.measured if row.batch_size == batch_size]
        inside = [row for row in rows if _in_space(row.architecture)]
        outside = [row for row in rows if not _in_space(row.architecture)]
        result.append(Section(str(table.target), batch_size, tuple(inside), tuple(outside)))
    return result


def _in_space(row: Mapping[str, Value]) -> bool:
    return (
        set(SPACE.fields) <= set(row)
        and row.get("model_type", "mobilebert") == "mobilebert"
        and not row.get("use_bottleneck_attention", False)
    )


# 1. Which fields matter


def log_columns(
    architectures: Sequence[Mapping[str, Value]], reference: Mapping[str, Value]
) -> tuple[np.ndarray, list[tuple[str, Value | None]]]:
    """Columns for a regression of log latency, less the fields that do not vary.

    Returns:
        (n, d), and the names: (field, None) is the logarithm of a number, (field, value)
        is 1 where a category has that value, which is not the reference's.
    """
    columns: list[np.ndarray] = []
    names: list[tuple[str, Value | None]] = []
    for field, usual in reference.items():
        values = [architecture[field] for architecture in architectures]
        if len(set(values)) == 1:
            continue
        if isinstance(usual, bool | str):
            for value in sorted(set(values) - {usual}, key=str):
                columns.append(np.array([v == value for v in values], float))
                names.append((field, value))
        else:
            columns.append(np.log(np.array(values, float)))
            names.append((field, None))
    return np.stack(columns, axis=1), names


def regression(
    x: np.ndarray,  # (n, d)
    y: np.ndarray,  # (n,)
) -> tuple[np.ndarray, np.ndarray, float]:
    """Least squares with an intercept.

    Returns:
        Coefficients (d,), their HC3 standard errors (d,) [MacKinnon1985], and R^2.
    """
    design = np.column_stack([np.ones(len(y)), x])
    inverse = np.linalg.pinv(design)  # (1 + d, n)
    coefficients = inverse @ y
    residuals = y - design @ coefficients
    leverage = np.sum(design * inverse.T, axis=1)
    # A row of leverage 1 is fitted exactly, whatever its value: it says nothing of the error.
    scaled = np.where(leverage < 1 - 1e-9, residuals / np.maximum(1 - leverage, 1e-9), 0)
    errors = np.sqrt(np.sum((inverse * scaled) ** 2, axis=1))
    return coefficients[1:], errors[1:], float(1 - residuals.var() / y.var())


def variance_shares(
    x: np.ndarray,  # (n, d)
    y: np.ndarray,  # (n,)
    groups: Sequence[Sequence[int]],
) -> np.ndarray:  # (f,)
    """What each group of columns adds to R^2, averaged over all orders [Lindeman1980].

    Sums to the R^2 of all columns. Takes 2**f small regressions.
    """
    together = np.corrcoef(np.column_stack([x, y]), rowvar=False)
    f = len(groups)

    def explained(members: Sequence[int]) -> float:
        columns = [column for member in members for column in groups[member]]
        if not columns:
            return 0.0
        within, with_y = together[np.ix_(columns, columns)], together[columns, -1]
        return float(with_y @ np.linalg.pinv(within, hermitian=True) @ with_y)

    r2 = {
        members: explained(members)
        for size in range(f + 1)
        for members in combinations(range(f), size)
    }
    shares = np.zeros(f)
    for members, before in r2.items():
        # the share of all orders in which exactly these members come before the next
        if len(members) == f:
            continue
        weight = math.factorial(len(members)) * math.factorial(f - len(members) - 1)
        for member in set(range(f)) - set(members):
            after = r2[tuple(sorted((*members, member)))]
            shares[member] += weight / math.factorial(f) * (after - before)
    return shares


def field_effects(
    architectures: Sequence[Mapping[str, Value]],
    latency_ms: np.ndarray,  # (n,)
    reference: Mapping[str, Value] = MOBILEBERT,
) -> dict[str, Any]:
    """Share, and elasticity or ratios, of every field that varies."""
    x, names = log_columns(architectures, reference)
    y = np.log(latency_ms)
    coefficients, errors, r2 = regression(x, y)
    fields = list(dict.fromkeys(field for field, _ in names))
    groups = [[j for j, (field, _) in enumerate(names) if field == f] for f in fields]
    effects: dict[str, dict[str, Any]] = {
        field: {"share": float(share)}
        for field, share in zip(fields, variance_shares(x, y, groups), strict=True)
    }
    for (field, value), coefficient, error in zip(names, coefficients, errors, strict=True):
        if value is None:
            effects[field] |= {"elasticity": float(coefficient), "standard_error": float(error)}
        else:
            ratios = effects[field].setdefault("ratios", {})
            ratios[f"{value} / {reference[field]}"] = {
                "ratio": float(np.exp(coefficient)),
                "standard_error_of_log": float(error),
            }
    return {
        "r_squared": r2,
        "log_latency_std": float(y.std()),
        "constant_fields": [field for field in reference if field not in fields],
        "fields": effects,
    }


def costs(architectures: Sequence[Mapping[str, Value]]) -> list[Cost]:
    """Counts of encoders of the space."""
    return [encoder_cost(a, family="mobilebert", vocab_size=VOCABULARY) for a in architectures]


def ranks_by_one_count(rows: Sequence[LatencyRow], counted: Sequence[Cost]) -> dict[str, Any]:
    """Spearman of latency with one count alone; None where a row lacks it."""
    latency = np.array([row.latency_ms for row in rows], float)
    counts: dict[str, list[float | None]] = {
        "flops": [row.flops for row in rows],
        "encoder_parameters": [cost.encoder_parameters for cost in counted],
        "bytes_accessed": [row.bytes_accessed for row in rows],
        "sequential_depth": [cost.sequential_depth for cost in counted],
    }
    return {
        name: None
        if any(value is None for value in values)
        else _number(spearman(latency, np.array(values, float)))
        for name, values in counts.items()
    }


# 2. Deep and thin, or shallow and wide


def depth_bins(counted: Sequence[Cost], layers: Sequence[int]) -> dict[str, dict[str, np.ndarray]]:
    """Masks (n,) of the bins: by layers, and by products in sequence against MobileBERT's."""
    mine = costs([MOBILEBERT])[0].sequential_depth
    depth, n_layers = np.array([cost.sequential_depth for cost in counted]), np.array(layers)
    return {
        "layers": {
            name: (n_layers >= low) & (n_layers <= high) for name, (low, high) in LAYERS.items()
        },
        "sequence": {
            "half of MobileBERT's or less": 2 * depth <= mine,
            "more than half": (2 * depth > mine) & (depth <= mine),
            "more than MobileBERT's": depth > mine,
        },
    }


def same_size(counted: Sequence[Cost], within: float) -> np.ndarray:  # (n,)
    """Which encoders have about MobileBERT's weights in their blocks."""
    mine = costs([MOBILEBERT])[0].encoder_parameters
    weights = np.array([cost.encoder_parameters for cost in counted], float)
    return np.abs(weights / mine - 1) <= within


def mobilebert_like(seed: int, draws: int) -> list[Architecture]:
    """Random encoders of MobileBERT's size, normalisation and activation."""
    own = {f: [MOBILEBERT[f]] for f in ("normalization_type", "hidden_act")}
    space = SearchSpace({**SPACE.choices, **own}, family="mobilebert")
    drawn = space.sample_distinct(draws, np.random.default_rng(seed))
    kept = same_size(costs(drawn), PREDICTED_WITHIN)
    return [one for one, keep in zip(drawn, kept, strict=True) if keep]


def predictor_features(architectures: Sequence[Mapping[str, Value]]) -> np.ndarray:  # (n, d)
    """Logarithms of fields and counts, and an indicator for each category."""
    columns = [
        np.array([a[field] != usual for a in architectures], float)
        if isinstance(usual, str)
        else np.log([float(a[field]) for a in architectures])
        for field, usual in MOBILEBERT.items()
    ]
    counts = encoder_features(architectures, family="mobilebert", vocab_size=VOCABULARY)
    return np.column_stack([*columns, counts])


def bin_summary(
    ratio: np.ndarray,  # (n,)
    inside: np.ndarray,  # (n,)
    architectures: Sequence[Mapping[str, Value]] | None = None,
) -> dict[str, Any]:
    """Count, median and deciles of a bin, and its best encoder if they are given."""
    chosen = ratio[inside]
    summary: dict[str, Any] = {"n": len(chosen), "median": None}
    if len(chosen):
        low, median, high = np.quantile(chosen, (0.1, 0.5, 0.9))
        summary |= {"median": float(median), "decile_1": float(low), "decile_9": float(high)}
        if architectures is not None:
            best = int(np.flatnonzero(inside)[np.argmin(chosen)])
            summary["best"] = {"ratio": float(ratio[best]), **architectures[best]}
    return summary


def size_comparison(
    architectures: Sequence[Mapping[str, Value]],
    latency_ms: np.ndarray,  # (n,)
    like: Sequence[Mapping[str, Value]],
    seed: int,
) -> dict[str, Any]:
    """Latency over MobileBERT's at its size, by depth: measured, and predicted for ``like``."""
    mine = [i for i, a in enumerate(architectures) if dict(a) == dict(MOBILEBERT)]
    if not mine:
        return {"skipped": "MobileBERT is not measured here"}
    own_ms = float(latency_ms[mine[0]])
    ratio, counted = latency_ms / own_ms, costs(architectures)
    near = same_size(counted, MEASURED_WITHIN)
    kin = np.array(
        [all(a[f] == v for f, v in MOBILEBERT.items() if isinstance(v, str)) for a in architectures]
    )
    layers = [int(a["num_hidden_layers"]) for a in architectures]

    gp = GPPredictor(log_target=True, random_state=seed, n_starts=1)
    gp.fit(predictor_features(architectures), latency_ms)
    predicted = gp.predict(predictor_features(like)) / own_ms
    like_bins = depth_bins(costs(like), [int(a["num_hidden_layers"]) for a in like])

    # log latency on log weights, log layers and the categories: depth at constant weights
    x, names = log_columns(architectures, MOBILEBERT)
    fixed = [j for j, (_, value) in enumerate(names) if value is not None]
    weights = np.log([cost.encoder_parameters for cost in counted])
    slope, error, r2 = regression(
        np.column_stack([np.log(layers), weights, x[:, fixed]]), np.log(latency_ms)
    )
    return {
        "mobilebert_ms": own_ms,
        "n_measured": int(near.sum()),
        "measured": {
            axis: {
                name: bin_summary(ratio, near & inside, architectures)
                | {"of_its_kind": bin_summary(ratio, near & inside & kin)}
                for name, inside in bins.items()
            }
            for axis, bins in depth_bins(counted, layers).items()
        },
        "n_predicted": len(like),
        "predictor_error": float(gp.training_error_),
        "predicted": {
            axis: {name: bin_summary(predicted, inside) for name, inside in bins.items()}
            for axis, bins in like_bins.items()
        },
        "layers_at_constant_weights": {
            "elasticity": float(slope[0]),
            "standard_error": float(error[0]),
            "twice_the_layers": float(2 ** slope[0]),
            "r_squared": r2,
        },
    }


# 3. Do targets agree


def agreement(chosen: Sequence[Section]) -> dict[str, Any]:
    """Spearman between sections over the encoders that both measured; None if too few."""
    times = [
        {frozenset(row.architecture.items()): row.latency_ms for row in (*s.rows, *s.others)}
        for s in chosen
    ]
    rho: list[list[float | None]] = []
    common: list[list[int]] = []
    for first in times:
        both = [[key for key in first if key in second] for second in times]
        common.append([len(keys) for keys in both])
        rho.append(
            [
                _number(
                    spearman(
                        np.array([first[key] for key in keys], float),
                        np.array([second[key] for key in keys], float),
                    )
                )
                if len(keys) >= LEAST_COMMON
                else None
                for keys, second in zip(both, times, strict=True)
            ]
        )
    return {"sections": [section.name for section in chosen], "spearman": rho, "common": common}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def analyse(tables: Mapping[str, LatencyTable], *, seed: int, draws: int) -> dict[str, Any]:
    """All figures of these tables, by file name, as values that JSON can hold."""
    found = [section for table in tables.values() for section in sections(table)]
    chosen = [section for section in found if len(section.rows) >= LEAST_ROWS]
    like = mobilebert_like(seed, draws) if chosen else []
    parts = []
    for section in chosen:
        architectures, latency = section.architectures, section.latency_ms
        size = size_comparison(architectures, latency, like, seed)
        first = section.rows[0]
        parts.append(
            {
                "name": section.name,
                "target": section.target,
                "batch_size": section.batch_size,
                "sequence_length": first.sequence_length,
                "dtype": first.dtype,
                "device_kind": first.device_kind,
                "statistic": first.statistic,
                "rows": len(section.rows),
                "effects": field_effects(architectures, latency),
                "ranks": ranks_by_one_count(section.rows, costs(architectures)),
                "size": size,
                "finding": finding(section.name, size),
            }
        )
    return {
        "seed": seed,
        "draws": draws,
        "mobilebert": dict(MOBILEBERT),
        "mobilebert_products_in_sequence": costs([MOBILEBERT])[0].sequential_depth,
        "skipped": [f"{name} (no rows measured)" for name, t in tables.items() if not t.measured]
        + [
            f"{s.name} ({len(s.rows)} rows measured, {LEAST_ROWS} needed)"
            for s in found
            if s not in chosen
        ],
        "sections": parts,
        "agreement": agreement(chosen),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=Path, default=ROOT / "data" / "latency")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "latency.md")
    parser.add_argument("--draws", type=int, default=20_000, help="random encoders, of any size")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    paths = sorted(arguments.tables.glob("*.csv"))
    if not paths:
        parser.error(f"no tables in {arguments.tables}; build one with autodistill.profiler")
    result = analyse(
        {path.name: read_table(path) for path in paths}, seed=arguments.seed, draws=arguments.draws
    )
    arguments.out.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    arguments.page.write_text(page(result), encoding="utf-8")
    for part in result["sections"]:
        print(part["finding"])
    for name in result["skipped"]:
        print(f"left out: {name}")


if __name__ == "__main__":
    main()
