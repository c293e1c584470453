"""A TPU generation that is new, from the others and ten measurements.

    python benchmarks/transfer_tpu.py

Data: the tables ``data/latency/tpu*.csv`` of this project, MobileBERT students at
batch 1. Each generation in turn is new; the others are known by their whole tables.
Of its rows, 300 drawn anew for each seed may be measured; all the others are asked.
Mean relative error (MAPE) from 10 and from 20 measurements, at random or as suggested.
Generations with fewer than 400 such rows are left out and named. All tables hold
the same architectures, so the known devices have measured those that are asked: that
is how the tables are used.

``raw`` columns are the fields of the tables; ``counted`` ones add logarithms of
depth and of the multiply-adds of the parts of a block, by arithmetic on the fields.
``own 300`` is a Gaussian process fitted to all the 300 rows of the new generation.

Looked at in development: other seeds of the same tables. Means and spreads are over
ten seeds. Writes ``transfer_tpu.json``. Ten minutes on one core.
"""

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from transfer_trials import SEEDS, NewDevice, known_devices, mean_over, show, trials, write

from predictors import GPPredictor, encode, feature_columns, metrics, read_table

FOLDER = Path(__file__).parents[1] / "data/latency"
LEAST_ROWS = 400
POOL = 300
MEASUREMENTS = (10, 20)

Table = tuple[list[dict[str, Any]], np.ndarray]


def read(folder: Path) -> tuple[dict[str, Table], dict[str, int]]:
    """Architectures and latencies of each generation; and those with too few rows."""
    tables: dict[str, Table] = {}
    incomplete: dict[str, int] = {}
    for path in sorted(folder.glob("tpu*.csv")):
        rows = [
            row
            for row in read_table(path).measured
            if row.batch_size == 1 and row.architecture["model_type"] == "mobilebert"
        ]
        if len(rows) < LEAST_ROWS:
            incomplete[path.stem] = len(rows)
            continue
        latency = np.array([row.latency_ms for row in rows], dtype=float)
        tables[path.stem] = ([dict(row.architecture) for row in rows], latency)
    return tables, incomplete


def counts(architectures: list[dict[str, Any]]) -> np.ndarray:
    """Logarithms of depth and of the multiply-adds, for each token, of the parts of a block."""
    width, inner, bottleneck, stacked, layers = (
        np.array([a[field] for a in architectures], dtype=float)
        for field in (
            "hidden_size",
            "intermediate_size",
            "intra_bottleneck_size",
            "num_feedforward_networks",
            "num_hidden_layers",
        )
    )
    projections, attention = 2 * width * bottleneck, 4 * bottleneck**2
    feed_forward = 2 * stacked * bottleneck * inner
    parts = [np.ones_like(width), stacked, projections, attention, feed_forward]
    parts.append(projections + attention + feed_forward)
    return np.log(np.stack([layers * part for part in parts], axis=1))


def run(matrices: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Each generation in turn as the new one; one trial for each seed, as each has its split."""
    results: dict[str, dict[str, Any]] = {f"{k} measurements": {} for k in MEASUREMENTS}
    for name, (X, y) in matrices.items():
        known = known_devices({d: table for d, table in matrices.items() if d != name})
        single: dict[int, list[dict[str, Any]]] = {k: [] for k in MEASUREMENTS}
        for seed in SEEDS:
            order = np.random.default_rng(1000 + seed).permutation(len(y))
            device = NewDevice(name, X, y, order[:POOL], order[POOL:])
            own = _own(device)
            for k in MEASUREMENTS:
                found = trials(known, device, k, seeds=range(seed, seed + 1), trees=False)
                single[k].append({**found, "own 300": own})
        for k in MEASUREMENTS:
            result = {
                way: {
                    figure: _over_seeds([found[way][figure]["mean"] for found in single[k]])
                    for figure in figures
                }
                for way, figures in single[k][0].items()
            }
            results[f"{k} measurements"][name] = result
            show(f"{name}, {k}", result, "mape")
    return {
        which: {"devices": found, "mean": mean_over(list(found.values()))}
        for which, found in results.items()
    }


def _over_seeds(values: list[float]) -> dict[str, Any]:
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)),
        "seeds": values,
    }


def _own(device: NewDevice) -> dict[str, dict[str, float]]:
    model = GPPredictor(log_target=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(device.X[device.pool], device.y[device.pool])
    error = metrics.mape(device.y[device.query], model.predict(device.X[device.query]))
    return {"mape": {"mean": float(error or 0.0)}}


def main() -> None:
    """Run both kinds of columns and both numbers of measurements, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    tables, incomplete = read(options.data)
    everything = [a for architectures, _ in tables.values() for a in architectures]
    columns = feature_columns(everything)
    record: dict[str, Any] = {
        "metric": "MAPE at the query architectures",
        "rows": {name: len(y) for name, (_, y) in tables.items()},
        "left_out": incomplete,
    }
    print("rows", record["rows"], "left out", incomplete)
    raw = {name: (encode(a, columns), y) for name, (a, y) in tables.items()}
    counted = {name: (np.hstack([raw[name][0], counts(a)]), y) for name, (a, y) in tables.items()}
    for kind, matrices in (("counted", counted), ("raw", raw)):
        print(kind, "columns")
        record[kind] = run(matrices)
        for which, result in record[kind].items():
            print(which, {way: round(f["mape"]["mean"], 4) for way, f in result["mean"].items()})
        write(options.out, "python benchmarks/transfer_tpu.py", record)


if __name__ == "__main__":
    main()
