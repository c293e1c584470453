"""Command line: ``python -m predictors fit | predict | suggest | adapt | score``."""

import argparse
import os
import sys
from collections.abc import Sequence

from predictors.errors import PredictorError

EXAMPLES = """\
examples:
  python -m predictors fit data/latency/tpu-v4i.csv --out tpu-v4i.json
      compare the kinds of predictor on held-out rows, keep the best
  python -m predictors predict tpu-v4i.json students.csv --out predicted.csv
      students.csv has one column per architecture field, one row per student
  python -m predictors score tpu-v4i.json fresh-measurements.csv
      how good is the predictor on rows that it has not seen?

a new device, from ten measurements:
  python -m predictors suggest --sources data/latency/*.csv -k 10 --out to_measure.csv
  python -m predictors adapt --sources data/latency/*.csv --measurements new.csv --out new.json
  python -m predictors score new.json held_out.csv

Bad input ends with a message and exit code 2. Rows are counted from 0, lines of a file
from 1. What is worth a look, such as another workload than the predictor's, is a "note:"
on standard error.
"""
SOURCES = "latency tables of known devices; each workload of a table counts as a device"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    from predictors import commands  # loads here, so that --help need not wait for it

    try:
        getattr(commands, options.run)(options)
    except PredictorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m predictors",
        description="Learn the latency of encoder architectures on one device from a table of "
        "measurements, and predict it for others; or on a new device, from the tables of known "
        "ones and a few measurements.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands_ = parser.add_subparsers(
        required=True, metavar="fit | predict | suggest | adapt | score"
    )
    _add_fit(commands_)
    _add_predict(commands_)
    _add_suggest(commands_)
    _add_adapt(commands_)
    _add_score(commands_)
    return parser


def _add_fit(parsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = parsers.add_parser(
        "fit",
        help="latency table -> predictor file",
        description="Fit a predictor of log latency on the measured rows of a latency table.",
    )
    parser.add_argument("table", metavar="TABLE.csv", help="latency table of one target")
    parser.add_argument("--out", required=True, metavar="F.json", help="predictor file to write")
    parser.add_argument(
        "--kind",
        choices=("gp", "xgb", "best"),
        default="best",
        help="gp: Gaussian process (few rows, smooth); xgb: boosted trees (many rows, rugged); "
        "best: the one with the lower cross-validated error, or their blend (default)",
    )
    _add_seed(parser)
    _add_workload(parser)
    parser.set_defaults(run="fit")


def _add_predict(parsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = parsers.add_parser(
        "predict",
        help="predictor file + architectures -> predictions",
        description="Write the architectures with four more columns: predicted (median), std, "
        "lower90 and upper90 (a 90%% interval), all in ms for a latency predictor.",
    )
    parser.add_argument("predictor", metavar="F.json", help="file written by fit or adapt")
    parser.add_argument(
        "architectures",
        metavar="ARCHS.csv",
        help="one row per architecture, with the fields of the fit; other columns are kept",
    )
    parser.add_argument("--out", metavar="OUT.csv", help="file to write (default: standard output)")
    _add_other_target(parser)
    parser.set_defaults(run="predict")


def _add_suggest(parsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = parsers.add_parser(
        "suggest",
        help="tables of known devices -> what to measure on a new one",
        description="Choose the architectures whose latencies on a new device would tell most "
        "about all the others, judged by the known devices.",
    )
    parser.add_argument("--sources", nargs="+", required=True, metavar="T.csv", help=SOURCES)
    parser.add_argument("-k", type=int, default=10, help="how many to measure (default 10)")
    parser.add_argument("--out", required=True, metavar="OUT.csv", help="file to write")
    parser.add_argument(
        "--pool",
        metavar="ARCHS.csv",
        help="architectures to choose from (default: those of the sources); names may stand "
        "beside their fields",
    )
    parser.add_argument(
        "--measurements",
        metavar="NEW.csv",
        help="latency table of the new device, if some were measured: choose the next ones",
    )
    _add_seed(parser)
    _add_workload(parser)
    parser.set_defaults(run="suggest")


def _add_adapt(parsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = parsers.add_parser(
        "adapt",
        help="tables of known devices + a few measurements -> predictor of the new device",
        description="Predict a new device from known ones and a latency table with a few of its "
        "measurements.",
    )
    parser.add_argument("--sources", nargs="+", required=True, metavar="T.csv", help=SOURCES)
    parser.add_argument(
        "--measurements", required=True, metavar="NEW.csv", help="latency table of the new device"
    )
    parser.add_argument("--out", required=True, metavar="F.json", help="predictor file to write")
    _add_seed(parser)
    _add_workload(parser)
    parser.set_defaults(run="adapt")


def _add_score(parsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = parsers.add_parser(
        "score",
        help="predictor file + latency table -> errors, parity plot",
        description="Compare predictions with the measured rows of a latency table: MAPE, RMSE, "
        "rank correlations, coverage of the 90%% intervals, and a parity plot.",
    )
    parser.add_argument("predictor", metavar="F.json", help="file written by fit or adapt")
    parser.add_argument("table", metavar="TABLE.csv", help="latency table to compare with")
    parser.add_argument(
        "--plot", metavar="PAGE.html", help="also write the parity plot as a page (needs plotly)"
    )
    _add_other_target(parser)
    _add_workload(parser)
    parser.set_defaults(run="score")


def _add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=_seed, default=0, help="same seed, same result (default 0)")


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"a seed lies from 0 to {2**32 - 1}; got {text}")
    return value


def _add_other_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--other-target",
        action="store_true",
        help="go on, with a note, where rows were measured on another target or device_kind than "
        "the predictor's",
    )


def _add_workload(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("rows of one workload (default: all rows of the table)")
    group.add_argument("--batch-size", type=int, metavar="N")
    group.add_argument("--sequence-length", type=int, metavar="N")
    group.add_argument("--dtype", metavar="NAME")


if __name__ == "__main__":
    sys.exit(main())
