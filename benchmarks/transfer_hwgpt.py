"""GPT-2 latencies on each of fourteen devices from the thirteen others and ten measurements.

    python benchmarks/transfer_hwgpt.py

Data: HW-GPT-Bench, scale m: median latency of 10,000 decoders on nine GPUs and five
CPUs. The known devices are learned on 2,000 architectures; ten of the same 2,000 are
measured on the new device, at random or as suggested; 1,000 others are asked. Mean
relative error (MAPE). ``counted`` columns are width, depth, bias, sums of the heads
and MLP ratios over layers, and logarithms of the weights and multiply-adds as
published; ``raw`` ones are the published fields, layer by layer, with no count.

``floor`` is what a model reaches that was fitted to 2,000 measurements of the device
itself: the CPUs were timed with up to a tenth of noise, which no predictor can know.
``floor_of_mean`` is its mean.

Nothing was chosen on these seeds; architectures and seeds of the trials that were
looked at in development are others. Means and spreads are over ten seeds. Writes
``transfer_hwgpt.json``. Fifteen minutes on one core.

References:
    [HW-GPT-Bench] Sukthanker et al. HW-GPT-Bench: Hardware-Aware Architecture
    Benchmark for Language Models. NeurIPS 2024.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from transfer_trials import NewDevice, floor, known_devices, mean_over, show, trials, write

FOLDER = Path(os.environ.get("AUTODISTILL_PUBLIC_DATA", Path(__file__).parents[2] / "shared/data"))
N_TRAIN, N_QUERY = 2000, 1000
MEASUREMENTS = 10


def read(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Columns of both kinds, latency of each device, and weights of each architecture."""
    file = np.load(folder / "hwgptbench/hwgpt_m_latency_energy.npz")
    layers = file["n_layer"].astype(int)
    there = np.arange(file["n_head"].shape[1]) < layers[:, None]
    heads, ratio = (np.where(there, file[name], 0) for name in ("n_head", "mlp_ratio"))
    shape = np.column_stack([file["embed_dim"], layers, file["bias"]]).astype(float)
    sums = np.column_stack(
        [ratio.sum(axis=1), heads.sum(axis=1), np.log(file["flops"]), np.log(file["params"])]
    )
    columns = {
        "counted": np.hstack([shape, sums]),
        "raw": np.hstack([shape, heads, ratio]).astype(float),
    }
    latency = file["latency_median_ms"].astype(float)
    devices = {str(name): latency[:, i] for i, name in enumerate(file["devices"])}
    return columns, devices, file["params"]


def run(
    X: np.ndarray,
    devices: dict[str, np.ndarray],
    parameters: np.ndarray,
    train: np.ndarray,
    query: np.ndarray,
) -> dict[str, Any]:
    """Each device in turn as the new one."""
    results = {}
    for name, y in devices.items():
        known = known_devices({d: (X[train], devices[d][train]) for d in devices if d != name})
        device = NewDevice(name, X, y, train, query)
        results[name] = trials(known, device, MEASUREMENTS, parameters=parameters)
        show(name, results[name], "mape")
    mean = mean_over(list(results.values()))
    for name, y in devices.items():
        results[name]["floor"] = floor(NewDevice(name, X, y, train, query), train)
    return {
        "devices": results,
        "mean": mean,
        "floor_of_mean": float(np.mean([r["floor"]["mape"] for r in results.values()])),
    }


def main() -> None:
    """Run both kinds of columns, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    columns, devices, parameters = read(options.data)
    order = np.random.default_rng(2024).permutation(len(parameters))
    train, query = order[:N_TRAIN], order[N_TRAIN : N_TRAIN + N_QUERY]
    record: dict[str, Any] = {
        "metric": "MAPE at the query architectures",
        "measurements": MEASUREMENTS,
    }
    for kind, X in columns.items():
        print(kind, "columns")
        record[kind] = run(X, devices, parameters, train, query)
        mean = record[kind]["mean"]
        print({way: round(mean[way]["mape"]["mean"], 4) for way in mean})
        print("floor", round(record[kind]["floor_of_mean"], 4), flush=True)
        write(options.out, "python benchmarks/transfer_hwgpt.py", record)


if __name__ == "__main__":
    main()
