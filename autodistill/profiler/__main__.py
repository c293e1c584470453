"""``python -m autodistill.profiler``: build a latency table, or compare two."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.text import Text

from autodistill.errors import ArgumentError, AutoDistillError
from autodistill.space.load import load_space
from predictors.errors import PredictorError

if TYPE_CHECKING:
    from autodistill.profiler.job import Job
    from autodistill.space import Architecture

PROG = "python -m autodistill.profiler"
DEFAULT_SAMPLES = 100
WIDTH = 120  # of tables where there is no terminal
INTERRUPTED = "interrupted; the same command goes on from here"


@dataclass(frozen=True)
class Arguments:
    """Build a latency table: measure encoders of a search space on one target.

    Rows go to the table as they are measured. Stop it with Ctrl-C at any time:
    the same command goes on, and one with more samples adds to the table. What
    the table holds is not measured again, failures included.

    Examples:

      python -m autodistill.profiler --list-targets
      python -m autodistill.profiler --target cpu --samples 200 --dry-run
      python -m autodistill.profiler --target tpu-v4i --samples 500 --include-baselines \\
          --batch-size 1 8 --out data/latency/tpu-v4i.csv
      python -m autodistill.profiler --target cpu --architectures mine.csv
      python -m autodistill.profiler compare ESTIMATES.csv TIMINGS.csv

    The last joins two tables by architecture and workload and says how far they
    lie apart. Bad input ends with a message and exit code 2.
    """

    space: str = "mobilebert"
    """A preset (mobilebert, mobilebert-mini, bert, bert-mini) or a YAML file."""
    target: str = "local"
    """What latency is measured on; --list-targets shows all."""
    samples: int | None = None
    """Architectures drawn from the space, spread evenly over it. Default: 100, or 0 where
    --architectures is given."""
    architectures: Path | None = None
    """Architectures to measure, of either family: a .csv with one column per field (a latency table
    will do), .json or .jsonl."""
    include_baselines: bool = False
    """Measure BERT_BASE, DistilBERT, TinyBERT4, TinyBERT6, MobileBERT and MobileBERT-TINY too."""
    batch_size: tuple[int, ...] = (1,)
    """Passages per call, one or more numbers; each architecture is measured under all."""
    sequence_length: int = 128
    """Tokens per passage."""
    dtype: str | None = None
    """Of the weights: float32 or bfloat16. Default: bfloat16 for targets called tpu, else
    float32."""
    vocab_size: int = 30522
    """Rows of the word embedding; a column of the table where it is not BERT's 30,522."""
    seed: int = 0
    """Fixes which architectures are drawn, and the order of measuring."""
    out: Path | None = None
    """The table; one that is there is continued. Default: latency/TARGET.csv."""
    precision: float | None = None
    """Timed targets: runs go on until the median is known this well, relatively, or for
    --max-seconds. Default: 0.02."""
    max_seconds: float | None = None
    """Timed targets: timed seconds of each architecture at most; on a noisy machine more of
    them make two builds differ less. Default: 3."""
    time_limit_s: float = 300.0
    """An architecture that takes longer, compilation included, has failed; for compiled targets,
    one of its programs."""
    processes: int | None = None
    """Compiled TPU targets: architectures compiled at once. Default: one per usable core."""
    whole_programs: bool = False
    """Compiled TPU targets: each architecture as one unrolled program, with the prefetching that a
    sum of shared parts has to leave out; slow, and a table of its own."""
    cache_dir: Path = field(
        default_factory=lambda: (
            Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autodistill"
        )
    )
    """Compiled TPU targets: costs of programs, which many architectures share."""
    dry_run: bool = False
    """Say what would be measured and how long it will take, from three of the architectures;
    write nothing."""
    list_targets: bool = False
    """Show the targets and end."""


@dataclass(frozen=True)
class CompareArguments:
    """Say how far two latency tables lie apart, on the rows they have in common.

    Meant for estimates against timings; any two tables of one space will do.

    Example:

      python -m autodistill.profiler compare data/latency/tpu-v4i.csv data/latency/tpu.csv
    """

    first: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ESTIMATES.csv")]
    """A latency table; the estimates."""
    second: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TIMINGS.csv")]
    """Another; the timings, which relative differences are of."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 is success, 2 bad input, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    command: Callable[[Console], None]
    if argv[:1] == ["compare"]:
        about = getdoc(CompareArguments)
        two = tyro.cli(CompareArguments, args=argv[1:], prog=f"{PROG} compare", description=about)
        command = lambda console: compare(two, console)  # noqa: E731
    else:
        config = (tyro.conf.FlagCreatePairsOff,)
        about = getdoc(Arguments)
        arguments = tyro.cli(Arguments, args=argv, prog=PROG, description=about, config=config)
        command = lambda console: profile(arguments, console)  # noqa: E731
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        command(console)
    except (AutoDistillError, PredictorError) as error:
        message = Text.assemble(("error: ", "bold red"), str(error))
        Console(stderr=True).print(message, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print(INTERRUPTED)
        return 130
    return 0


def profile(arguments: Arguments, console: Console) -> None:
    """Build the table, or say what it would take; cheap checks come first."""
    if arguments.list_targets:
        list_targets(console)
        return
    space = load_space(arguments.space)
    # the rest loads here, after what can be refused without it
    from autodistill.profiler.choose import TargetOptions, check_dtype, choose_target, close_target
    from autodistill.profiler.job import Job
    from autodistill.profiler.plan import default_dtype, make_plan, workloads_of

    options = TargetOptions(
        arguments.precision,
        arguments.max_seconds,
        arguments.time_limit_s,
        arguments.processes,
        arguments.cache_dir / "programs",
        arguments.whole_programs,
    )
    target = choose_target(arguments.target, options)
    dtype = arguments.dtype or default_dtype(arguments.target)
    check_dtype(arguments.target, dtype)
    given = []
    if arguments.architectures:
        given = read_given(arguments.architectures, arguments.vocab_size)
    samples = arguments.samples
    if samples is None:
        samples = 0 if arguments.architectures else DEFAULT_SAMPLES
    plan = make_plan(
        space,
        samples=samples,
        given=given,
        baselines=arguments.include_baselines,
        workloads=workloads_of(arguments.batch_size, arguments.sequence_length, dtype),
        vocab_size=arguments.vocab_size,
        seed=arguments.seed,
    )
    out = arguments.out or Path("latency") / f"{arguments.target}.csv"
    if out.suffix != ".csv":
        raise ArgumentError(f"--out is a table and its name must end in .csv; got {out}")
    job = Job(target, plan, out, arguments.seed)
    try:
        run = dry_run if arguments.dry_run else build
        run(job, arguments, console)
    finally:
        close_target(target)


def build(job: "Job", arguments: Arguments, console: Console) -> None:
    """Measure all rows that the table lacks, and sum up."""
    from autodistill.profiler.job import known_rows
    from autodistill.profiler.progress import Progress
    from autodistill.profiler.summary import (
        baseline_table,
        effort_lines,
        known_line,
        latency_lines,
        next_lines,
    )

    plan = job.plan
    with job.opened() as builder:
        introduce(job, arguments, console)
        known = known_rows(builder, plan)
        todo = len(plan.todo(known))
        say(console, known_line(len(known), todo))
        with Progress(console, known=len(known), total=len(plan.rows)) as progress:
            job.measure(builder, progress)
        rows = known_rows(builder, plan)
        say(console, *latency_lines(plan, rows))
        if (table := baseline_table(plan, rows)) is not None:
            console.print(table)
        if job.target.statistic == "median":
            say(console, str(builder.drift()))
    say(console, *effort_lines(todo, elapsed_s=progress.elapsed_s, peak_bytes=progress.peak_bytes))
    say(console, *next_lines(job.out, rows))


def dry_run(job: "Job", arguments: Arguments, console: Console) -> None:
    """Say what would be measured, and how long it will take."""
    from autodistill.profiler.summary import known_line, trial_lines

    known = job.rows()
    introduce(job, arguments, console)
    todo = len(job.plan.todo(known))
    say(console, known_line(len(known), todo))
    if todo:
        with console.status("measuring up to three architectures under each workload"):
            trial = job.try_out()
        say(console, *trial_lines(trial, job.plan, todo))
    say(console, "dry run: nothing was written")


def read_given(path: Path, vocab_size: int) -> "list[tuple[str, Architecture]]":
    """Family and architecture of each that a file gives."""
    from autodistill.profiler.architecture_file import read_architectures

    return list(read_architectures(path, vocab_size))


def compare(arguments: CompareArguments, console: Console) -> None:
    """Join two tables and say how far they lie apart."""
    from autodistill.profiler.compare import compare_tables
    from autodistill.profiler.compare_text import comparison_tables
    from predictors.table import read_table

    tables = [read_table(path) for path in (arguments.first, arguments.second)]
    comparison = compare_tables(*tables)
    for part in comparison_tables(comparison, [str(arguments.first), str(arguments.second)]):
        if isinstance(part, str):
            say(console, part)
        else:
            console.print(part)


def list_targets(console: Console) -> None:
    """All targets by name, with what each does."""
    from autodistill.profiler.targets import TARGETS

    width = max(map(len, TARGETS))
    for name, (what, _) in TARGETS.items():
        say(console, f"{name:<{width}}  {what}")


def introduce(job: "Job", arguments: Arguments, console: Console) -> None:
    """What is measured, on what, into which file."""
    from autodistill.profiler.summary import introduction

    given = arguments.dtype is not None
    say(console, *introduction(job.plan, job.target, job.out, dtype_given=given))


def say(console: Console, *lines: str) -> None:
    """Lines as they are, however long."""
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


if __name__ == "__main__":
    sys.exit(main())
