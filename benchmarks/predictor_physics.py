"""What the physics of an encoder is worth as columns of a latency predictor.

    python benchmarks/predictor_physics.py

The TPU tables of this project at batch 1: 20, 50 and 200 encoders to learn from, 200
others to be judged on, with and without the eight columns of
``autodistill.space.physics``. Ten seeds; about two minutes on two cores.
"""

from pathlib import Path
from typing import Any

import numpy as np
from predictor_judging import judge, ours, show, write

from autodistill.space.physics import with_physics
from predictors import LatencyTable, metrics, read_table

FOLDER = Path(__file__).parents[1] / "data" / "latency"
TABLES = ("tpu-v4i", "tpu-v6e")
SCORES = {"mape": metrics.mape}


def one_workload(table: LatencyTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrix, matrix with physics, and latencies of the rows at batch 1."""
    rows = tuple(row for row in table.measured if row.batch_size == 1)
    X, y, columns = LatencyTable(table.fields, rows).matrix()
    joined, _ = with_physics(X, columns, [row.architecture for row in rows])
    return X, joined, y


def main() -> None:
    """Judge, print a table, write the JSON."""
    results: dict[str, Any] = {}
    for name in TABLES:
        X, joined, y = one_workload(read_table(FOLDER / f"{name}.csv"))
        results[name] = {"rows": len(y)}
        for n_train in (20, 50, 200):
            for label, matrix in (("as in the table", X), ("with physics", joined)):
                makers = ours(True, selected=False)
                found = judge(matrix, y, makers, SCORES, n_train=n_train, n_test=200)
                results[name][f"{n_train} rows, {label}"] = found
                show(f"{name}, {n_train} rows, {label}", found)
    write(__file__, "20, 50, 200 rows to learn from, 200 held out, log latency", results)


if __name__ == "__main__":
    main()
