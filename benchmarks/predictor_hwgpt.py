"""HW-GPT-Bench: the order of 5,000 GPT-2 perplexities, learned from 100 of them.

    python benchmarks/predictor_hwgpt.py [--data DIR]

Perplexities of scale m, cut from one supernet. Kendall's tau on all other
architectures. ``raw`` are the published choices, 24 layers with two each;
``counted`` are what a general function makes of sequences over layers: logarithms,
as a few smooth curves over depth, and the ends. Ten seeds; about six minutes on two
cores.

Two thirds of all pairs differ in width and are ordered by anything. Within a width
perplexities differ by 0.4 to 1.2%, from 50 choices whose effects differ by width. A
tau of 0.98 needs 0.94 within a width, which is an R-squared of 0.99 there: ``floor``
says how many rows that takes (one seed each).
"""

from typing import Any

from predictor_judging import judge, ours, parse, show, write
from public_data import FOLDER, hwgpt_perplexity

from predictors import GPPredictor, metrics

TRAIN = 100
SCORES = {"kendall": metrics.kendall}


def main() -> None:
    """Judge, print a table, write the JSON."""
    import xgboost

    table = hwgpt_perplexity(parse(__doc__).data or FOLDER)
    results: dict[str, Any] = {}
    for name, X in (("raw", table.raw), ("counted", table.counted)):
        makers = ours(True, selected=name == "counted")
        makers |= {"plain XGBoost": lambda X, y: xgboost.XGBRegressor().fit(X, y)}
        results[name] = judge(X, table.y, makers, SCORES, n_train=TRAIN)
        show(f"{TRAIN} rows, {name}", results[name])
    tau = metrics.kendall(table.y, -table.parameters)
    results["parameter count"] = {"kendall": {"mean": round(tau, 5), "spread": 0.0}}
    results["floor"] = {}
    for rows in (200, 500, 1000, 2000):
        makers = {"gp": lambda X, y: GPPredictor(log_target=True).fit(X, y)}
        found = judge(table.counted, table.y, makers, SCORES, n_train=rows, seeds=[0])
        results["floor"][str(rows)] = found["gp"]["kendall"]["mean"]
    print(f"parameter count {tau:.4f}; floor by rows {results['floor']}")
    write(__file__, f"{TRAIN} rows to learn from, all others held out, log perplexity", results)


if __name__ == "__main__":
    main()
