"""What the benchmarks of ``TransferPredictor`` have in common: trials and their summary.

A trial is one new device, one draw of measurements (at random, or suggested from
as many random rows), and the errors at the query rows. Each benchmark says which
devices are known, which rows may be measured and which are asked.
"""

import copy
import json
import platform
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sklearn
import xgboost
from predictor_judging import NUMBERS

from predictors import GPPredictor, TransferPredictor, XGBPredictor, metrics
from predictors.source_model import fit_source

SEEDS = range(10)
POOL_ROWS = 1000  # drawn anew for each seed; suggestions are made among these


@dataclass(frozen=True)
class NewDevice:
    """One device that is new, and where it may be measured and is asked.

    Attributes:
        name: Of the device.
        X: (rows, columns) of every architecture.
        y: (rows,) latency.
        pool: Indices of rows that may be measured.
        query: Indices of rows that errors are reported for.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    pool: np.ndarray
    query: np.ndarray


def known_devices(
    sources: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    computed: Collection[str] = (),
    log_target: bool = True,
) -> TransferPredictor:
    """A predictor that has learned the sources, of which some may be computed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TransferPredictor(log_target=log_target).fit_sources(sources, computed=computed)


def trials(
    known: TransferPredictor,
    device: NewDevice,
    k: int,
    *,
    seeds: range = SEEDS,
    trees: bool = True,
    parameters: np.ndarray | None = None,  # (rows,)
    computed: Collection[str] = (),
) -> dict[str, Any]:
    """Errors on one new device from k measurements: ours, and what they are compared with.

    ``gp alone`` and, if ``trees``, ``xgb alone`` are fitted to the random measurements only.

    ``best known device`` is the one measured source that errs least on the query rows,
    found in hindsight, its model scaled to the k measurements. ``parameters`` is
    a power law of the parameter count fitted to them.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        pool = rng.permutation(device.pool)[:POOL_ROWS]
        chosen = {
            "random": pool[:k],
            "suggested": pool[known.suggest(device.X[pool], k)],
        }
        for way, rows in chosen.items():
            model = copy.copy(known).fit(device.X[rows], device.y[rows])
            found.setdefault(way, []).append(_errors(model, device))
        rows = chosen["random"]
        lonely: dict[str, Any] = {"gp alone": GPPredictor(log_target=True)}
        if trees:
            lonely["xgb alone"] = XGBPredictor(log_target=True)
        for name, alone in lonely.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                alone.fit(device.X[rows], device.y[rows])
            found.setdefault(name, []).append(_errors(alone, device))
        found.setdefault("best known device", []).append(_best_known(known, device, rows, computed))
        if parameters is not None:
            law = np.polyfit(np.log(parameters[rows]), np.log(device.y[rows]), 1)
            predicted = np.exp(np.polyval(law, np.log(parameters[device.query])))
            found.setdefault("parameters", []).append(_point_errors(device, predicted))
    return {way: _summary(errors) for way, errors in found.items()}


def floor(device: NewDevice, rows: np.ndarray) -> dict[str, float]:
    """Errors of the best of our models of one device, fitted to all these rows of its own."""
    model = fit_source(device.X[rows], np.log(device.y[rows]), np.random.RandomState(0))
    return _point_errors(device, np.exp(model.predict(device.X[device.query])))


def mean_over(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean over devices of each way's mean figures, and its spread over seeds."""
    ways = results[0].keys()
    return {
        way: {
            figure: {
                "mean": float(np.mean([r[way][figure]["mean"] for r in results])),
                "std_over_seeds": float(
                    np.std(np.mean([r[way][figure]["seeds"] for r in results], axis=0), ddof=1)
                ),
            }
            for figure in results[0][way]
        }
        for way in ways
    }


def write(path: Path, command: str, record: dict[str, Any]) -> None:
    """Write the JSON of a benchmark, with when and with what it was made."""
    header = {
        "command": command,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seeds": len(SEEDS),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
            "xgboost": xgboost.__version__,
        },
    }
    rounded = json.loads(json.dumps({**header, **record}), parse_float=lambda x: round(float(x), 5))
    text = NUMBERS.sub(lambda found: " ".join(found[0].split()), json.dumps(rounded, indent=1))
    path.write_text(text + "\n", encoding="utf-8")


def show(name: str, result: dict[str, Any], figure: str) -> None:
    """One line of the table in the terminal."""
    cells = [f"{way} {result[way][figure]['mean']:.4f}" for way in result]
    covered = [f"{result[way]['coverage90']['mean']:.3f}" for way in ("random", "suggested")]
    print(f"{name:<16} {'  '.join(cells)}  coverage {' '.join(covered)}", flush=True)


def _errors(model: Any, device: NewDevice) -> dict[str, float]:
    X, y = device.X[device.query], device.y[device.query]
    covered = metrics.covered(y, *model.predict_interval(X, 0.9))
    return {**_point_errors(device, model.predict(X)), "coverage90": covered}


def _point_errors(device: NewDevice, predicted: np.ndarray) -> dict[str, float]:
    y = device.y[device.query]
    return {
        "mape": float(np.mean(np.abs(predicted - y) / y)),
        # Constant predictions order nothing.
        "spearman": float(np.nan_to_num(metrics.spearman(y, predicted))),
    }


def _best_known(
    known: TransferPredictor, device: NewDevice, rows: np.ndarray, computed: Collection[str]
) -> dict[str, float]:
    sources, candidates = known.known_, []
    for name, scale, model in zip(sources.names, sources.scales, sources.models, strict=True):
        if name not in computed:
            measured, asked = (
                np.log(scale.median(model.predict(device.X[part]))) for part in (rows, device.query)
            )
            shift = np.mean(np.log(device.y[rows]) - measured)
            candidates.append(_point_errors(device, np.exp(asked + shift)))
    return {
        "mape": min(errors["mape"] for errors in candidates),
        "spearman": max(errors["spearman"] for errors in candidates),
    }


def _summary(errors: list[dict[str, float]]) -> dict[str, Any]:
    return {
        figure: {
            "mean": float(np.mean([e[figure] for e in errors])),
            "std": float(np.std([e[figure] for e in errors], ddof=min(1, len(errors) - 1))),
            "seeds": [e[figure] for e in errors],
        }
        for figure in errors[0]
    }
