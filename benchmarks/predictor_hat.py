"""HAT: latency from 100 measurements against HAT's own network fitted to 1,600.

    python benchmarks/predictor_hat.py [--data DIR]

Four devices, the ten columns that HAT uses, latency of encoder plus decoder. The
reference is HAT's predictor, a ReLU network 10-400-400-400-400-1 on standardised
columns and target, trained here by Adam on 1,600 rows of the same split; ours learn
from the first 100 of them. All are judged on the same 200 rows. ``counted`` adds
nine counts of weights and depth to the ten columns. Ten seeds; about 20 minutes on
two cores, most of it the reference.

What is left is noise of the measurements: the reference with 16 times as many rows
is hardly better than ours, and a process fitted to the same 1,600 rows (``floor``,
two seeds) tells how far more rows lead.
"""

import warnings
from typing import Any

import numpy as np
from predictor_judging import judge, ours, parse, show, split, summary, write
from public_data import FOLDER, HAT_DEVICES, hat
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from predictors import GPPredictor, metrics
from predictors.scaling import InputScale, TargetScale

TRAIN, REFERENCE_TRAIN, TEST, ALL_SEEDS, FLOOR_SEEDS = 100, 1600, 200, range(10), range(2)
SCORES = {"mape": metrics.mape, "spearman": metrics.spearman}


class HatNetwork:
    """The reference: four hidden layers of 400, stopped when a tenth held out says so."""

    def __init__(self, seed: int) -> None:
        self.network = MLPRegressor(
            hidden_layer_sizes=(400,) * 4, early_stopping=True, random_state=seed
        )

    def fit(self, X: np.ndarray, y: np.ndarray) -> "HatNetwork":
        """Standardise, then train."""
        self.inputs, self.target = InputScale.of(X), TargetScale.of(y, log=False)
        self.network.fit(self.inputs.apply(X).astype(np.float32), self.target.apply(y))
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """In the unit of y."""
        return self.target.median(self.network.predict(self.inputs.apply(X).astype(np.float32)))


def held_out(n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the reference, the first of which are ours, and the rows both are judged on."""
    test, train = split(n_rows, TEST, seed, REFERENCE_TRAIN)
    return train, test


def reference(X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """HAT's network, and a process, on 1,600 rows."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, seeds in (("HAT's network, 1600 rows", ALL_SEEDS), ("floor, gp 1600", FLOOR_SEEDS)):
        for seed in seeds:
            train, test = held_out(len(y), seed)
            model = HatNetwork(seed) if "HAT" in name else GPPredictor(log_target=True)
            predicted = model.fit(X[train], y[train]).predict(X[test])
            for key, score in SCORES.items():
                found.setdefault(name, {}).setdefault(key, []).append(
                    float(score(y[test], predicted) or 0.0)
                )
    return {name: {k: summary(v) for k, v in rows.items()} for name, rows in found.items()}


def main() -> None:
    """Judge every device, print a table, write the JSON."""
    folder = parse(__doc__).data or FOLDER
    warnings.simplefilter("ignore", ConvergenceWarning)
    results: dict[str, Any] = {}
    for device in HAT_DEVICES:
        table = hat(device, folder)
        results[device] = {}
        for name, X in (("raw", table.raw), ("counted", table.both)):
            makers = ours(True, selected=name == "raw")
            record = judge(
                X, table.y, makers, SCORES, n_train=TRAIN, seeds=ALL_SEEDS, held_out=held_out
            )
            results[device][f"ours, {TRAIN} rows, {name}"] = record
            show(f"{device}, {name}", record)
        results[device]["reference"] = reference(table.raw, table.y)
        show(device, results[device]["reference"])
    write(__file__, f"{TRAIN} rows to learn from, {TEST} held out, target ms, log scale", results)


if __name__ == "__main__":
    main()
