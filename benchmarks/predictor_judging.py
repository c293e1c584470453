"""What the benchmarks of the predictors share: splits, scores and their record.

A split depends on its seed alone: a permutation of the rows, of which the first are
learned from and the next ones, or all others, are held out. Seeds 0 to 9 are
reported. Whatever was chosen (kernels, priors, columns, trees) was chosen on the
seeds 100 to 104 of the same tables, never on those.
"""

import argparse
import json
import os
import platform
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from predictors import GPPredictor, Predictor, XGBPredictor, select
from predictors.metrics import covered

SEEDS = range(10)
NUMBERS = re.compile(r"\[[-+.\deE,\s]+\]")  # lists of them, which are for machines: one line each
Maker = Callable[[np.ndarray, np.ndarray], Any]  # X (n, d), y (n,) -> fitted predictor
Score = Callable[[np.ndarray, np.ndarray], float | None]  # truth, predicted


def ours(log_target: bool, *, selected: bool = True) -> dict[str, Maker]:
    """The estimators of this package, and if asked what ``select`` makes of them."""

    def chosen(X: np.ndarray, y: np.ndarray) -> Predictor:
        return select(X, y, log_target=log_target, random_state=0).predictor

    makers: dict[str, Maker] = {
        "gp": lambda X, y: GPPredictor(log_target=log_target).fit(X, y),
        "xgb": lambda X, y: XGBPredictor(log_target=log_target).fit(X, y),
    }
    return makers | ({"selected": chosen} if selected else {})


def split(
    n_rows: int, n_train: int, seed: int, n_test: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from, and rows held out (all others by default)."""
    order = np.random.default_rng(seed).permutation(n_rows)
    last = n_rows if n_test is None else n_train + n_test
    return order[:n_train], order[n_train:last]


def judge(
    X: np.ndarray,  # (n, d)
    y: np.ndarray,  # (n,)
    makers: dict[str, Maker],
    scores: dict[str, Score],
    *,
    n_train: int,
    n_test: int | None = None,
    seeds: Sequence[int] = SEEDS,
    held_out: Callable[[int, int], tuple[np.ndarray, np.ndarray]] | None = None,
) -> dict[str, Any]:
    """Each maker's scores on held-out rows, and the coverage of 90% intervals where it has them.

    ``held_out`` gives, for a number of rows and a seed, rows to learn from, of which
    the first ``n_train`` are taken, and rows to judge on; by default ``split`` does.
    """
    found: dict[str, dict[str, list[float]]] = {}
    kinds: dict[str, list[str]] = {}
    for seed in seeds:
        if held_out is None:
            train, test = split(len(y), n_train, seed, n_test)
        else:
            train, test = held_out(len(y), seed)
            train = train[:n_train]
        for name, make in makers.items():
            model = make(X[train], y[train])
            kinds.setdefault(name, []).append(getattr(model, "kind", ""))
            row = {s: score(y[test], model.predict(X[test])) for s, score in scores.items()}
            if hasattr(model, "predict_interval"):
                row["coverage90"] = covered(y[test], *model.predict_interval(X[test]))
            for key, value in row.items():
                found.setdefault(name, {}).setdefault(key, []).append(float(value))  # type: ignore[arg-type]
    record: dict[str, Any] = {
        name: {key: summary(values) for key, values in rows.items()} for name, rows in found.items()
    }
    if "selected" in record:
        record["selected"]["kinds"] = {k: kinds["selected"].count(k) for k in kinds["selected"]}
    return record


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean and spread (standard deviation) over the seeds, and the value of each."""
    return {
        "mean": round(float(np.mean(values)), 5),
        "spread": round(float(np.std(values)), 5),
        "seeds": [round(float(value), 5) for value in values],
    }


def show(title: str, record: dict[str, Any]) -> None:
    """One line for each model."""
    print(title)
    for name, scores in record.items():
        cells = [
            f"{key} {value['mean']:.4f} ± {value['spread']:.4f}"
            for key, value in scores.items()
            if isinstance(value, dict) and "mean" in value
        ]
        print(f"  {name:<28} {'  '.join(cells)}", flush=True)


def write(script: str, protocol: str, results: Any) -> None:
    """The JSON beside a script."""
    path = Path(script)
    record = {
        "command": f"python benchmarks/{path.name}",
        "protocol": protocol,
        "seeds": list(SEEDS),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "results": results,
    }
    text = NUMBERS.sub(lambda found: " ".join(found[0].split()), json.dumps(record, indent=1))
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def _processor() -> str:
    """Its name where the system tells it, else its architecture."""
    told = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", told.read_text()) if told.exists() else None
    return found[1] if found else platform.machine()


def parse(doc: str) -> argparse.Namespace:
    """The one flag that every script has."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--data", type=Path, default=None, help="folder of the public data sets")
    return parser.parse_args()
