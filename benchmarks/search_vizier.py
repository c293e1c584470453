"""OSS Vizier's GP-UCB-PE as a process: suggestions out, values in, a JSON line each.

    python3 -m venv vizier && vizier/bin/pip install "google-vizier[jax]" \\
        jax==0.4.35 jaxlib==0.4.35 flax==0.10.2 chex==0.1.88 \\
        orbax-checkpoint==0.11.0 optax==0.2.4

``search_efficiency.py --vizier-python vizier/bin/python`` starts it: google-vizier
0.1.24 needs equinox 0.11.7, which needs a jax older than ours. The first line in is
``{"choices": [3, 2, ...], "objectives": 2, "seed": 0}``; then ``{"row": [...],
"seconds": 1.0}`` goes out and ``{"values": [...]}`` comes in, until the input ends.

Every field is a category. As numbers, three choices a field, nothing but the centre
would come for long: in many dimensions the trust region around what was evaluated is
smaller than the step from one choice to the next.
"""

import json
import sys
import time
from typing import Any

import jax
from vizier import algorithms as vza
from vizier import pyvizier as vz
from vizier._src.algorithms.designers import gp_ucb_pe


def problem_of(choices: list[int], objectives: int) -> vz.ProblemStatement:
    """Categories, and objectives to minimise."""
    problem = vz.ProblemStatement()
    for i, count in enumerate(choices):
        problem.search_space.root.add_categorical_param(f"x{i}", [str(j) for j in range(count)])
    for j in range(objectives):
        problem.metric_information.append(
            vz.MetricInformation(f"y{j}", goal=vz.ObjectiveMetricGoal.MINIMIZE)
        )
    return problem


def main() -> None:
    """Suggest, wait for the values, suggest again."""
    jax.config.update("jax_enable_x64", True)  # as Vizier's own service does
    start: dict[str, Any] = json.loads(sys.stdin.readline())
    fields = len(start["choices"])
    designer = gp_ucb_pe.VizierGPUCBPEBandit(
        problem_of(start["choices"], start["objectives"]), rng=jax.random.PRNGKey(start["seed"])
    )
    number = 0
    while True:
        began = time.perf_counter()
        number += 1
        trial = designer.suggest(1)[0].to_trial(number)
        row = [int(str(trial.parameters.get_value(f"x{i}"))) for i in range(fields)]
        print(json.dumps({"row": row, "seconds": time.perf_counter() - began}), flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        values = json.loads(line)["values"]
        trial.complete(vz.Measurement({f"y{j}": value for j, value in enumerate(values)}))
        designer.update(vza.CompletedTrials([trial]), vza.ActiveTrials())


if __name__ == "__main__":
    main()
