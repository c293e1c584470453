"""How many evaluations a search needs: ours, its ablations, and other optimisers.

    python3 -m venv peers && peers/bin/pip install -e ".[test]" optuna botorch
    peers/bin/python benchmarks/search_efficiency.py --seeds 10
    peers/bin/python benchmarks/search_efficiency.py --seeds 3 --problems hwgpt-h100 --methods ours
    peers/bin/python benchmarks/search_efficiency.py --seeds 1 --problems hwgpt-h100 \\
        --methods vizier --vizier-python vizier/bin/python    # see search_vizier.py
    peers/bin/python benchmarks/search_efficiency.py --seeds 1 --problems hwgpt-h100 \\
        --methods ours --alone    # seconds a suggestion, nothing else running

Needs HW-GPT-Bench and HELP under ``../shared/data`` (see ``search_problems.py``). Each
(problem, method, seed) is one line of ``search_efficiency.jsonl``; what is there is not
run again, so that an interrupted run goes on. A run of 60 evaluations takes half a
minute on one core for ours, seconds for random, NSGA-II and TPE, five to twenty minutes
for the Gaussian processes of Optuna, BoTorch and Vizier (whose program is compiled anew
at every suggestion), which therefore have fewer seeds. ``search_efficiency.json`` holds
the means and spreads over seeds, with their number, and what was not run;
``docs/search_efficiency.html`` the curves, both written anew at every end (``--seeds
0`` does only that). Seconds a suggestion grow with whatever else ran on the machine,
except those of runs with ``--alone``.

The figure is the hypervolume of what was evaluated, noise taken off, as a share of
the best front known: that of a search with as many evaluations as it likes, and of all
records together. The reference lies a tenth of the front's span beyond its ends.

``ours`` is told what a user of this toolkit would know: features of architectures,
and the latency predictor of a table of 200 other architectures. No peer has a way to
be told; ``ours-blind`` is told nothing either. Settings were chosen on the device a40
with seeds from 100 on; the problems and seeds reported were not tuned on.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import plotly.graph_objects as go
from search_peers import PEERS, Evaluate, vizier_search
from search_problems import PROBLEMS, Problem, make_problem

from autodistill.search import BayesianSearch, described, scorer
from autodistill.search.acquisition import expected_improvement, nondominated

HERE = Path(__file__).resolve().parent
OUT = HERE / "search_efficiency.json"
STEPS = (10, 20, 30, 40, 50, 60)
REPORTED = ("hwgpt-h100", "hwgpt-cpu", "hwgpt-h100-noisy", "fbnet", "mobilebert")
Method = Callable[[Problem, Evaluate, int, int], list[float]]


def ours(
    *, features: bool = True, known: bool = True, batch: int = 1, noise: bool = True
) -> Method:
    """Our search, told more or less, in batches or not."""

    def run(problem: Problem, evaluate: Evaluate, count: int, seed: int) -> list[float]:
        search = BayesianSearch(
            problem.space,
            seed=seed,
            features=problem.features if features else (lambda a: np.empty((len(a), 0))),
            known=problem.known if known else None,
            quantities=problem.quantities,
            constraints=problem.limits,
        )
        seconds: list[float] = []
        while len(seconds) < count:
            began = time.perf_counter()
            asked = search.ask(min(batch, count - len(seconds)))
            seconds += [(time.perf_counter() - began) / len(asked)] * len(asked)
            declared = problem.noise_std if noise and problem.noise_std.any() else None
            search.tell(asked, evaluate(asked), noise_std=declared)
        return seconds

    return run


@contextmanager
def changed(target: Any, name: str, value: Any) -> Iterator[None]:
    """One part of the search replaced."""
    with mock.patch.object(target, name, value):
        yield


def ablated(method: Method, target: Any, name: str, value: Any) -> Method:
    """A method with one part of the search replaced."""

    def run(problem: Problem, evaluate: Evaluate, count: int, seed: int) -> list[float]:
        with changed(target, name, value):
            return method(problem, evaluate, count, seed)

    return run


def certain_improvement(
    mean: np.ndarray, std: np.ndarray, front: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """Improvement at the predicted mean: as if predictions were sure."""
    return expected_improvement(mean, 0 * std, front, reference)


def optimistic_improvement(
    mean: np.ndarray, std: np.ndarray, front: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """Improvement one standard deviation below the mean: a lower confidence bound."""
    return expected_improvement(mean - std, 0 * std, front, reference)


METHODS: dict[str, Method] = {
    "ours": ours(),
    "ours-batch-4": ours(batch=4),
    "ours-without-known": ours(known=False),
    "ours-without-features": ours(features=False),
    "ours-blind": ours(features=False, known=False),
    "ours-blind-no-layer-sums": ablated(
        ours(features=False, known=False), described, "LEAST_GROUP", 10_000
    ),
    "ours-without-noise-model": ours(noise=False),
    "ours-greedy": ablated(ours(), scorer, "expected_improvement", certain_improvement),
    "ours-confidence-bound": ablated(
        ours(), scorer, "expected_improvement", optimistic_improvement
    ),
    **PEERS,
}
VIZIER = "vizier"  # with an interpreter of its own
NOISE_ALONE = {"ours-without-noise-model"}


def run_one(
    problem_name: str, problem: Problem, name: str, method: Method, seed: int, count: int
) -> dict:
    """One record."""
    rng = np.random.default_rng([seed, 99])
    seen, true = [], []

    def evaluate(architectures: Any) -> np.ndarray:
        values = problem.values(list(architectures))
        seen.extend(architectures)
        true.extend(values)
        return values + problem.noise_std * rng.standard_normal(values.shape)

    began = time.perf_counter()
    seconds = method(problem, evaluate, count, seed)
    values = np.array(true)[:count]
    return {
        "problem": problem_name,
        "method": name,
        "seed": seed,
        "values": values.round(7).tolist(),
        "feasible": problem.feasible(seen[:count], values).tolist(),
        "suggestion_s": [round(s, 4) for s in seconds],
        "total_s": round(time.perf_counter() - began, 1),
        "load": round(os.getloadavg()[0], 1),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def key_of(record: dict) -> tuple[str, str, int]:
    """What is not run twice, but to be timed, and counted once."""
    return record["problem"], record["method"], record["seed"]


def read_records(path: Path) -> list[dict]:
    """Whole lines; one torn by a crash is run again."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def summarise(records: list[dict], problems: dict[str, Problem]) -> dict[str, Any]:
    """Means and standard deviations over seeds, by problem and method."""
    summary: dict[str, Any] = {}
    for name, problem in problems.items():
        mine = list({key_of(r): r for r in records if r["problem"] == name}.values())
        found = [np.array(r["values"])[np.array(r["feasible"], bool)] for r in mine]
        everything = np.vstack([problem.front, *found])
        front = everything[nondominated(everything)]
        methods: dict[str, Any] = {}
        for method in dict.fromkeys(r["method"] for r in mine):
            chosen = [r for r in mine if r["method"] == method]
            length = min(len(r["values"]) for r in chosen)  # a slow peer may be cut short
            steps = [k for k in STEPS if k <= length]
            curves = np.array([_curve(r, problem, front, steps) for r in chosen])
            methods[method] = {
                "seeds": len(chosen),
                "share_of_hypervolume": dict(zip(steps, curves.mean(0).round(4), strict=True)),
                "spread": dict(zip(steps, curves.std(0).round(4), strict=True)),
                "suggestion_s": _seconds(chosen),
                "feasible": round(float(np.mean([np.mean(r["feasible"]) for r in chosen])), 3),
            }  # fmt: skip
        summary[name] = {
            "architectures": problem.space.size if problem.space.size < 2**53 else
            f"{problem.space.size:.3g}",
            "front": len(front), **problem.facts, "methods": methods,
        }  # fmt: skip
    return summary


def timings(records: list[dict]) -> dict[str, Any]:
    """Seconds a suggestion with nothing else on the machine, by problem and method."""
    alone = [r for r in records if r.get("alone")]
    names = dict.fromkeys((r["problem"], r["method"]) for r in alone)
    return {
        f"{problem}, {method}": {
            "seeds": len(chosen), "cores": chosen[0]["cores"], **_seconds(chosen)
        }
        for problem, method in names
        if (chosen := [r for r in alone if (r["problem"], r["method"]) == (problem, method)])
    }  # fmt: skip


def _seconds(records: list[dict]) -> dict[str, float]:
    seconds = np.concatenate([r["suggestion_s"] for r in records])
    median, late = np.percentile(seconds, [50, 95])
    return {
        "mean": round(float(seconds.mean()), 3), "median": round(float(median), 3),
        "95th_percentile": round(float(late), 3), "max": round(float(seconds.max()), 3),
    }  # fmt: skip


def _curve(
    record: dict, problem: Problem, front: np.ndarray, steps: Sequence[int] = STEPS
) -> list[float]:
    values, feasible = np.array(record["values"]), np.array(record["feasible"], bool)
    return [problem.share(values[:k][feasible[:k]], front) for k in steps]


def draw(summary: dict[str, Any], path: Path) -> None:
    """One figure for each problem, in one page; plotly's script comes from the net."""
    parts = []
    for name, content in summary.items():
        figure = go.Figure()
        for method, result in content["methods"].items():
            mean = np.array(list(result["share_of_hypervolume"].values()))
            spread = np.array(list(result["spread"].values()))
            figure.add_scatter(
                x=list(result["share_of_hypervolume"]),
                y=mean,
                error_y={"array": spread, "thickness": 1},
                name=f"{method} ({result['seeds']})",
            )
        figure.update_layout(
            title=f"{name}: share of the true hypervolume, mean and spread over (seeds)",
            xaxis_title="evaluations",
            yaxis_title="share",
            template="plotly_white",
        )
        parts.append(figure.to_html(full_html=False, include_plotlyjs=False if parts else "cdn"))
    path.write_text(
        "<!doctype html><meta charset='utf-8'><title>Search efficiency</title>" + "".join(parts),
        encoding="utf-8",
    )


def main() -> None:
    """Run what is missing, then write the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="from 0 on")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=60)
    parser.add_argument("--problems", nargs="+", default=REPORTED, choices=list(PROBLEMS))
    names = [*METHODS, VIZIER]
    parser.add_argument("--methods", nargs="+", default=names, choices=names)
    parser.add_argument("--vizier-python", type=Path, help="interpreter that has google-vizier")
    parser.add_argument("--alone", action="store_true", help="time: nothing else is running")
    parser.add_argument("--runs-only", action="store_true", help="no summary; it takes a minute")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()

    methods = METHODS | (
        {VIZIER: vizier_search(options.vizier_python)} if options.vizier_python else {}
    )
    if VIZIER in options.methods and VIZIER not in methods:
        print("vizier is left out: it needs --vizier-python", flush=True)
    path = options.out.with_suffix(".jsonl")
    done = {key_of(r) for r in read_records(path) if r.get("alone") or not options.alone}
    problems = {name: make_problem(name) for name in options.problems}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name, problem in problems.items():
            for method in (m for m in options.methods if m in methods):
                skip = method in NOISE_ALONE and not problem.noise_std.any()
                if skip or (name, method, seed) in done:
                    continue
                record = run_one(
                    name, problem, method, methods[method], seed, options.evaluations
                ) | ({"alone": True, "cores": os.cpu_count()} if options.alone else {})
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
                share = _curve(record, problem, problem.front)
                print(f"{name:18} {method:26} {seed:3} {np.round(share, 3)}", flush=True)
    if options.runs_only:
        return
    records = read_records(path)
    present = dict.fromkeys(r["problem"] for r in records)
    summary = summarise(records, {n: problems.get(n) or make_problem(n) for n in present})
    record = {
        "command": "python benchmarks/search_efficiency.py",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "figure": "hypervolume as a share of the true front's, after 10, 20, ..., 60 evaluations",
        "not_run": [name for name in names if name not in {r["method"] for r in records}],
        "suggestion_s_alone": timings(records),
        "problems": summary,
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if options.out == OUT:
        draw(summary, HERE.parent / "docs" / "search_efficiency.html")


if __name__ == "__main__":
    main()
