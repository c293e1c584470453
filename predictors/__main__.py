"""Command line: ``python -m predictors fit | predict | score``."""

import argparse
import csv
import math
import sys
from collections.abc import Sequence

from predictors import metrics
from predictors.errors import PredictorError, TableError
from predictors.features import encode, read_architectures
from predictors.gp import GPPredictor
from predictors.persist import load
from predictors.protocol import Predictor
from predictors.selection import CrossValidation, select
from predictors.table import read_table, workload_features
from predictors.xgb import XGBPredictor

COVERAGE = 0.9
PREDICTED = ("predicted", "std", "lower90", "upper90")

EXAMPLES = """\
examples:
  python -m predictors fit data/latency/tpu-v4i.csv --out tpu-v4i.json
      compare both kinds of predictor on held-out rows, keep the better one
  python -m predictors predict tpu-v4i.json students.csv --out predicted.csv
      students.csv has one column per architecture field, one row per student
  python -m predictors score tpu-v4i.json fresh-measurements.csv
      how good is the predictor on rows that it has not seen?

Bad input ends with a message and exit code 2.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except PredictorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m predictors",
        description="Learn the latency of encoder architectures on one device from a table of "
        "measurements, and predict it for others.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="fit | predict | score")

    fit = commands.add_parser(
        "fit",
        help="latency table -> predictor file",
        description="Fit a predictor of log latency on the measured rows of a latency table.",
    )
    fit.add_argument("table", metavar="TABLE.csv", help="latency table of one target")
    fit.add_argument("--out", required=True, metavar="F.json", help="predictor file to write")
    fit.add_argument(
        "--kind",
        choices=("gp", "xgb", "best"),
        default="best",
        help="gp: Gaussian process (few rows, smooth); xgb: boosted trees (many rows, rugged); "
        "best: the one with the lower cross-validated error (default)",
    )
    fit.add_argument("--seed", type=int, default=0, help="same seed, same predictor (default 0)")
    fit.set_defaults(run=_fit)

    predict = commands.add_parser(
        "predict",
        help="predictor file + architectures -> predictions",
        description="Write the architectures with four more columns: predicted (median), std, "
        "lower90 and upper90 (a 90%% interval), all in ms for a latency predictor.",
    )
    predict.add_argument("predictor", metavar="F.json", help="file written by fit")
    predict.add_argument(
        "architectures",
        metavar="ARCHS.csv",
        help="one row per architecture, with the fields of the fit; other columns are kept",
    )
    predict.add_argument(
        "--out", metavar="OUT.csv", help="file to write (default: standard output)"
    )
    predict.set_defaults(run=_predict)

    score = commands.add_parser(
        "score",
        help="predictor file + latency table -> errors",
        description="Compare predictions with the measured rows of a latency table.",
    )
    score.add_argument("predictor", metavar="F.json", help="file written by fit")
    score.add_argument("table", metavar="TABLE.csv", help="latency table to compare with")
    score.set_defaults(run=_score)
    return parser


def _fit(options: argparse.Namespace) -> None:
    table = read_table(options.table)
    X, y, columns = table.matrix()
    kinds: dict[str, Predictor] = {"gp": GPPredictor(), "xgb": XGBPredictor()}
    if options.kind != "best":
        kinds = {options.kind: kinds[options.kind]}
    selection = select(X, y, log_target=True, random_state=options.seed, candidates=kinds)
    selection.predictor.save(options.out, columns=columns, target=table.target)
    print(f"target {table.target}: {len(y)} measured rows, {len(columns)} columns")
    for name, score in selection.scores.items():
        print(f"{name:>4}: {_summary(score)}")
    print(f"saved {selection.name} to {options.out}")


def _predict(options: argparse.Namespace) -> None:
    predictor = load(options.predictor)
    architectures = read_architectures(options.architectures)
    clash = [name for name in PREDICTED if name in architectures[0]]
    if clash:
        raise TableError(
            f"{options.architectures} already has the columns {', '.join(clash)}; rename them"
        )
    X = encode(architectures, predictor.column_names_)
    median, std = predictor.predict(X, return_std=True)
    lower, upper = predictor.predict_interval(X, COVERAGE)
    lines = [[*architectures[0], *PREDICTED]] + [
        [str(value) for value in (*architecture.values(), *map(float, numbers))]
        for architecture, *numbers in zip(architectures, median, std, lower, upper, strict=True)
    ]
    if options.out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(lines)
        return
    try:
        with open(options.out, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
    except OSError as error:
        raise TableError(f"cannot write {options.out}: {error.strerror}") from error


def _score(options: argparse.Namespace) -> None:
    predictor = load(options.predictor)
    table = read_table(options.table)
    _, y, _ = table.matrix()
    X = encode([workload_features(row) for row in table.measured], predictor.column_names_)
    median = predictor.predict(X)
    lower, upper = predictor.predict_interval(X, COVERAGE)
    print(f"predictor of {predictor.target_name_}, measured on {table.target}: {len(y)} rows")
    print(f"MAPE      {_percent(metrics.mape(y, median))}")
    print(f"RMSE      {metrics.rmse(y, median):.6g} ms")
    print(f"Spearman  {_decimal(metrics.spearman(y, median))}")
    print(f"Kendall   {_decimal(metrics.kendall(y, median))}")
    print(f"coverage  {_percent(metrics.covered(y, lower, upper))} of rows in their 90% interval")


def _summary(score: CrossValidation) -> str:
    return (
        f"held-out MAPE {_percent(score.mape)}, RMSE of log latency {score.rmse:.4f}, "
        f"Spearman {_decimal(score.spearman)}, 90% interval holds {_percent(score.coverage90)}"
    )


def _percent(share: float | None) -> str:
    return "undefined" if share is None else f"{100 * share:.2f}%"


def _decimal(value: float) -> str:
    return "undefined (constant)" if math.isnan(value) else f"{value:.4f}"


if __name__ == "__main__":
    sys.exit(main())
