"""LiteTransformerSearch: the order of trained decoders, learned from 100 of them.

    python benchmarks/predictor_lts.py [--data DIR]

Validation perplexity of GPT-2 and Transformer-XL on lm1b and WikiText-103. For each
of the four tasks, a kind of decoder on a corpus, 100 of its decoders are learned
from, whatever group they are of; Spearman's correlation is taken on the others of
each group. The reference is the authors': weights of attention and feed-forward
networks, on the same decoders. Columns are weights by part, widths and depth. Ten
seeds; about four minutes on two cores. Coverage is meant over all groups of a task:
the errors of small groups are of another size than those of the rest.
"""

from typing import Any

import numpy as np
from predictor_judging import SEEDS, ours, parse, show, split, summary, write
from public_data import FOLDER, lts_perplexity

from predictors import metrics

TASKS = ("GPT2_lm1b", "GPT2_wt103", "TransXL_lm1b", "TransXL_wt103")
TRAIN = 100


def main() -> None:
    """Judge every group, print a table, write the JSON."""
    folder = parse(__doc__).data or FOLDER
    results: dict[str, Any] = {}
    for task in TASKS:
        table = lts_perplexity(task, folder)
        found: dict[str, dict[str, dict[str, list[float]]]] = {}
        for seed in SEEDS:
            train, test = split(len(table.y), TRAIN, seed)
            fitted = {n: m(table.counted[train], table.y[train]) for n, m in ours(True).items()}
            for group in np.unique(table.groups):
                rows = test[table.groups[test] == group]
                y, said = table.y[rows], found.setdefault(str(group), {})
                weights = said.setdefault("parameter count", {"spearman": []})
                weights["spearman"].append(metrics.spearman(y, -table.parameters[rows]))
                for name, model in fitted.items():
                    scores = said.setdefault(name, {"spearman": [], "coverage90": []})
                    scores["spearman"].append(
                        metrics.spearman(y, model.predict(table.counted[rows]))
                    )
                    bounds = model.predict_interval(table.counted[rows])
                    scores["coverage90"].append(metrics.covered(y, *bounds))
            for name, model in fitted.items():
                bounds = model.predict_interval(table.counted[test])
                everything = found.setdefault(f"{task}, all groups", {}).setdefault(
                    name, {"coverage90": []}
                )
                everything["coverage90"].append(metrics.covered(table.y[test], *bounds))
        for group, models in found.items():
            results[group] = {
                name: {key: summary(values) for key, values in scores.items()}
                for name, scores in models.items()
            }
            show(group, results[group])
    write(__file__, f"{TRAIN} decoders of a task to learn from, the others held out", results)


if __name__ == "__main__":
    main()
