"""Other optimisers behind one call: ``(problem, evaluate, count, seed) -> seconds``.

Each asks ``evaluate`` about ``count`` architectures, one after the other, and says
how long it thought before each. All work on positions among the choices, one
variable a field, those that do not exist set aside before evaluation. On a table a
proposal is the row that is nearest to it.
"""

import json
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from search_problems import Problem

from autodistill.space import Architecture, SearchSpace

Evaluate = Callable[[list[Architecture]], np.ndarray]
Peer = Callable[[Problem, Evaluate, int, int], list[float]]
START = 10  # random evaluations before a model, where a method lets one choose
POPULATION = 20  # of evolutionary methods: three generations in sixty evaluations


def _space(problem: Problem) -> SearchSpace:
    return problem.peer_space or problem.space


def _member(space: SearchSpace, row: np.ndarray, rng: np.random.Generator) -> Architecture:
    """The member at these positions; a random one where rules forbid it."""
    settled = space.conditions.settle(np.asarray(row, np.int64)[None])
    return space.from_rows(settled)[0] if space.are_valid(settled)[0] else space.sample(1, rng)[0]


def random_search(problem: Problem, evaluate: Evaluate, count: int, seed: int) -> list[float]:
    """Members drawn by chance, all different."""
    for member in problem.space.sample_distinct(count, np.random.default_rng(seed)):
        evaluate([member])
    return [0.0] * count


def nsga2(problem: Problem, evaluate: Evaluate, count: int, seed: int) -> list[float]:
    """pymoo's NSGA-II."""
    from autodistill.search.evolution import evolve

    asked = 0

    def score(architectures: Any) -> np.ndarray:
        nonlocal asked
        kept = list(architectures)[: max(count - asked, 0)]
        asked += len(kept)
        found = np.full((len(architectures), 2), 1e6)
        for i, architecture in enumerate(kept):
            found[i] = evaluate([problem.of_peers(architecture)])[0]
        return found

    began = time.perf_counter()
    evolve(
        _space(problem),
        score,
        excess=lambda architectures: np.zeros(len(architectures)),
        objectives=2,
        start=[],
        population=POPULATION,
        generations=2 * count // POPULATION,
        seed=seed,
    )
    return [(time.perf_counter() - began) / count] * asked


def optuna_search(sampler: Callable[[Any, int], Any]) -> Peer:
    """A sampler of Optuna."""

    def run(problem: Problem, evaluate: Evaluate, count: int, seed: int) -> list[float]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore")
        study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler(optuna, seed))
        space, rng, seconds = _space(problem), np.random.default_rng(seed), []
        for _ in range(count):
            began = time.perf_counter()
            trial = study.ask()
            row = []
            for name, values in space.choices.items():
                if all(type(v) in (int, float) for v in values):
                    row.append(trial.suggest_int(name, 0, len(values) - 1))
                else:
                    row.append(trial.suggest_categorical(name, list(range(len(values)))))
            seconds.append(time.perf_counter() - began)
            member = problem.of_peers(_member(space, np.array(row), rng))
            value = evaluate([member])[0]
            study.tell(trial, value.tolist())
        return seconds

    return run


def botorch_search(problem: Problem, evaluate: Evaluate, count: int, seed: int) -> list[float]:
    """BoTorch's qLogNEHVI, maximised by its local search over discrete choices."""
    import torch
    from botorch.acquisition.multi_objective.logei import (
        qLogNoisyExpectedHypervolumeImprovement,
    )
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import ModelListGP, SingleTaskGP
    from botorch.models.transforms import Standardize
    from botorch.optim import optimize_acqf_discrete_local_search
    from botorch.sampling import SobolQMCNormalSampler
    from gpytorch.mlls import SumMarginalLogLikelihood

    warnings.simplefilter("ignore")
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    space, rng = _space(problem), np.random.default_rng(seed)
    lengths = np.array([len(values) for values in space.choices.values()])
    seconds, x, y = [0.0] * START, [], []
    for member in space.sample_distinct(START, rng):
        x.append(space.to_indices([member])[0] / np.maximum(lengths - 1, 1))
        y.append(-evaluate([problem.of_peers(member)])[0])
    choices = [torch.linspace(0, 1, int(n), dtype=torch.double) for n in lengths]
    while len(y) < count:
        began = time.perf_counter()
        train, goal = torch.tensor(np.array(x)), torch.tensor(np.array(y))
        models = [
            SingleTaskGP(train, goal[:, j : j + 1], outcome_transform=Standardize(1))
            for j in range(2)
        ]
        model = ModelListGP(*models)
        fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        worst, best = goal.min(0).values, goal.max(0).values
        acquisition = qLogNoisyExpectedHypervolumeImprovement(
            model,
            ref_point=worst - 0.1 * (best - worst),
            X_baseline=train,
            sampler=SobolQMCNormalSampler(torch.Size([64]), seed=seed),
            prune_baseline=True,
        )
        found, _ = optimize_acqf_discrete_local_search(
            acquisition, q=1, discrete_choices=choices, num_restarts=4, raw_samples=256,
            max_batch_size=512,
        )  # fmt: skip
        row = np.rint(found[0].numpy() * (lengths - 1))
        seconds.append(time.perf_counter() - began)
        member = _member(space, row, rng)
        x.append(space.to_indices([member])[0] / np.maximum(lengths - 1, 1))
        y.append(-evaluate([problem.of_peers(member)])[0])
    return seconds


def vizier_search(python: Path) -> Peer:
    """OSS Vizier's GP-UCB-PE, in the environment of another interpreter."""

    def run(problem: Problem, evaluate: Evaluate, count: int, seed: int) -> list[float]:
        space, rng, seconds = _space(problem), np.random.default_rng(seed), []
        start = {
            "choices": [len(values) for values in space.choices.values()],
            "objectives": problem.front.shape[1],
            "seed": seed,
        }
        script = Path(__file__).with_name("search_vizier.py")
        with subprocess.Popen(
            [python, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdin is not None and process.stdout is not None, "both are pipes"
            print(json.dumps(start), file=process.stdin, flush=True)
            while True:
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError(f"{python} {script} ended after {len(seconds)} suggestions")
                suggested = json.loads(line)
                seconds.append(suggested["seconds"])
                member = problem.of_peers(_member(space, np.array(suggested["row"]), rng))
                values = evaluate([member])[0].tolist()
                if len(seconds) == count:
                    return seconds  # its input ends, and so does the process
                print(json.dumps({"values": values}), file=process.stdin, flush=True)

    return run


PEERS: dict[str, Peer] = {
    "random": random_search,
    "nsga2": nsga2,
    "optuna-nsga2": optuna_search(
        lambda optuna, seed: optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
    ),
    "optuna-tpe": optuna_search(
        lambda optuna, seed: optuna.samplers.TPESampler(n_startup_trials=START, seed=seed)
    ),
    "optuna-gp": optuna_search(
        lambda optuna, seed: optuna.samplers.GPSampler(n_startup_trials=START, seed=seed)
    ),
    "botorch": botorch_search,
}
