"""How long predictors take to fit and to predict 100,000 architectures.

    python benchmarks/predictor_speed.py

Twelve columns, a smooth response with noise. Wall time is that of this machine as
busy as it was (its load is recorded); processor time, over all threads, is what an
idle machine divides by its cores. Best of three; about five minutes on two cores.
Small fits, as a search asks for at every proposal, are medians of eight.

``transfer`` knows the tables of ``data/latency`` but one TPU generation, which is new and
measured ten times. Every known device has a model of its own, most of them Gaussian
processes of 500 rows, and each is asked about each row. So 100,000 rows take it longer
than a second on two cores, with standard deviations or without, as they take processes
of 2,000 rows and most blends.
"""

import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from predictor_judging import write

from predictors import (
    BlendPredictor,
    GPPredictor,
    Predictor,
    TransferPredictor,
    XGBPredictor,
    select,
)
from predictors.sources import matrices, read_sources, shared_columns

NEW_ROWS, COLUMNS = 100_000, 12
TABLES = Path(__file__).parents[1] / "data/latency"
NEW_DEVICE, MEASUREMENTS = "tpu-v6e, batch 1 ", 10


def rows(n: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth positive response to some of the columns."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 1, (n, columns))
    return X, np.exp(X[:, 0] + np.sin(4 * X[:, 1]) * X[:, 2] + 0.05 * rng.normal(size=n))


def transfer() -> tuple[TransferPredictor, np.ndarray, int]:
    """A predictor of a new device, rows to ask it about, and how many devices it knows."""
    devices = read_sources(sorted(TABLES.glob("*.csv")))
    columns = shared_columns(*((device.name, device.architectures) for device in devices))
    tables = matrices(devices, columns)
    new = next(name for name in tables if name.startswith(NEW_DEVICE))
    X, y = tables[new]
    generation = new.split(",")[0]
    known = {name: table for name, table in tables.items() if name.split(",")[0] != generation}
    rng = np.random.default_rng(0)
    measured = rng.permutation(len(X))[:MEASUREMENTS]
    model = TransferPredictor().fit_sources(known).fit(X[measured], y[measured])
    return model, X[rng.integers(len(X), size=NEW_ROWS)], len(known)


def predictions(model: Predictor, new: np.ndarray) -> dict[str, dict[str, float]]:
    """Times of the mean alone, and with the standard deviation."""
    return {
        f"predict {len(new):,}": best_of(3, partial(model.predict, new)),
        f"predict {len(new):,} with std": best_of(3, partial(model.predict, new, True)),
    }


def best_of(repeats: int, work: Callable[[], Any]) -> dict[str, float]:
    """Wall and processor seconds of the fastest of several calls."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"wall_s": round(min(walls), 3), "processor_s": round(min(cpus), 3)}


def main() -> None:
    """Time everything, print a table, write the JSON."""
    warnings.simplefilter("ignore")
    new, _ = rows(NEW_ROWS, COLUMNS, seed=1)
    results: dict[str, Any] = {"load_at_start": os.getloadavg()[0]}
    for n in (500, 2000, 5000):
        X, y = rows(n, COLUMNS)
        for make in (GPPredictor, XGBPredictor, BlendPredictor):
            model = make(log_target=True)
            timed = {"fit": best_of(1 if n > 500 else 3, partial(model.fit, X, y))}
            timed |= predictions(model, new)
            results[f"{model.kind}, {n} rows"] = timed
            print(f"{model.kind}, {n} rows: {timed}", flush=True)
    model, asked, n_known = transfer()
    name = f"transfer, {n_known} known devices, {MEASUREMENTS} measurements"
    results[name] = predictions(model, asked)
    results[name]["suggest 10 of 10,000"] = best_of(
        1, lambda: model.suggest(asked[:10_000], MEASUREMENTS)
    )
    print(f"{name}: {results[name]}", flush=True)
    for n, columns in ((10, 15), (30, 30), (60, 15), (60, 40)):
        times = []
        for seed in range(8):
            X, y = rows(n, columns, seed)
            times.append(best_of(1, partial(GPPredictor().fit, X, y))["processor_s"])
        results[f"gp, fit of {n} rows x {columns} columns"] = {
            "processor_s": round(float(np.median(times)), 4)
        }
    X, y = rows(200, COLUMNS)
    results["select, 200 rows"] = best_of(1, lambda: select(X, y, log_target=True, random_state=0))
    results["load_at_end"] = os.getloadavg()[0]
    print({name: value for name, value in results.items() if "fit of" in name or "select" in name})
    write(__file__, "best of three, seconds; numerical libraries as their defaults are", results)


if __name__ == "__main__":
    main()
