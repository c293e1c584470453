"""HAT: latency from 100 measurements against HAT's own network fitted to 1,600.

    python benchmarks/predictor_hat.py [--data DIR]

Four devices, the ten columns that HAT uses, latency of encoder plus decoder. The
reference is HAT's predictor, a ReLU network 10-400-400-400-400-1 on standardised
columns and target, trained here by Adam on 1,600 rows of the same split; ours learn
from the first 100 of them. All are judged on the same 200 rows. ``counted`` adds
nine counts of weights and depth to the ten columns. Ten seeds; about half an hour on
one core, most of it the reference.

The network is trained for a fixed time, with none of its rows held back: HAT's batches
of 128, and its 5,000 steps at a rate of 1e-5 as a tenth as many, ten times as large.
On the split of seed 100, that is about where its held-out error is least on three
devices; on the fourth, the IWSLT model, that is after 16 of the 40 epochs. Stopped
early on a tenth of the rows instead, with the best weights kept, its mean relative
errors were .056, .0096, .026 and .088; so they are .055, .0099, .028 and .084.

What is left is noise of the measurements: on no device is the reference with 16 times
as many rows better than ours by more than a thousandth, and a process fitted to the
same 1,600 rows (``floor``, two seeds) tells how far more rows lead.
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

EPOCHS = 40  # of 13 steps: some 500
TRAIN, REFERENCE_TRAIN, TEST, ALL_SEEDS, FLOOR_SEEDS = 100, 1600, 200, range(10), range(2)
SCORES = {"mape": metrics.mape, "spearman": metrics.spearman}


class HatNetwork:
    """The reference: four hidden layers of 400."""

    def __init__(self, seed: int) -> None:
        self.network = MLPRegressor(
            hidden_layer_sizes=(400,) * 4,
            learning_rate_init=1e-4,
            batch_size=128,
            max_iter=EPOCHS,
            n_iter_no_change=EPOCHS,
            random_state=seed,
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
