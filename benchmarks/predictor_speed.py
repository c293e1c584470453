"""How long predictors take to fit and to predict 100,000 architectures.

    python benchmarks/predictor_speed.py

Twelve columns, a smooth response with noise. Wall time is that of this machine as
busy as it was (its load is recorded); processor time, over all threads, is what an
idle machine divides by its cores. Best of three; about two minutes on two cores.
Small fits, as a search asks for at every proposal, are medians of eight.
"""

import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from predictor_judging import write

from predictors import GPPredictor, XGBPredictor, select

NEW_ROWS, COLUMNS = 100_000, 12


def rows(n: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth positive response to some of the columns."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 1, (n, columns))
    return X, np.exp(X[:, 0] + np.sin(4 * X[:, 1]) * X[:, 2] + 0.05 * rng.normal(size=n))


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
    for n in (500, 2000):
        X, y = rows(n, COLUMNS)
        for make in (GPPredictor, XGBPredictor):
            model = make(log_target=True)
            timed = {"fit": best_of(1 if n > 500 else 3, partial(model.fit, X, y))}
            timed["predict 100,000"] = best_of(3, partial(model.predict, new))
            timed["predict 100,000 with std"] = best_of(3, partial(model.predict, new, True))
            results[f"{model.kind}, {n} rows"] = timed
            print(f"{model.kind}, {n} rows: {timed}", flush=True)
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
