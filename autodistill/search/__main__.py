"""``python -m autodistill.search``: find students that are good and fast on one target."""

import hashlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field, replace
from inspect import getdoc
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from autodistill.distill.allocator import keep_freed_memory, restart_with_jemalloc
from autodistill.distill.memory import fits
from autodistill.errors import ArgumentError, AutoDistillError
from autodistill.space.load import load_space
from predictors.errors import PredictorError

MAX_SEED = 2**32 - 1  # of the shuffling of passages
MAX_POSITIONS = 512  # of every student, BERT's number
OUT_OF_MEMORY = "end what else uses memory, and the same command goes on; or use a smaller teacher"


@dataclass(frozen=True)
class Arguments:
    """Search for students of a teacher that are good and fast on one target.

    Times random students on the target, then proposes, measures and really
    distils one student after the other, and leaves the best, with a report, in
    the run folder. Stop it with Ctrl-C at any time: the same command goes on.

    Examples:

      python -m autodistill.search --budget 8

      python -m autodistill.search --budget 2h --teacher my-encoder/ --corpus texts/

      python -m autodistill.search --budget 20 --max-latency-ms 3 --space my-space.yaml
    """

    budget: str = "8"
    """Students to distil (8), or a time for the whole command (90s, 30m, 2h)."""
    teacher: Path | None = None
    """Hugging Face BERT or MobileBERT checkpoint, or sentence-transformers folder. Default: the
    MiniLM sentence encoder of the demo extra."""
    vocabulary: Path | None = None
    """The students' own words, a part of the teacher's: a vocab.txt (one token a line), a
    tokenizer.json, or a folder with either. Students are judged against the teacher cut to these.
    Default: all of the teacher's."""
    corpus: tuple[Path, ...] = ()
    """Text files, folders, .gz, or .jsonl with a text field. Default: the English documentation of
    Python and its scientific packages."""
    space: str = "mobilebert-mini"
    """A preset (mobilebert-mini, mobilebert, bert-mini, bert) or a YAML file."""
    target: str = "local"
    """What latency is measured on: local, cpu, gpu, tpu, onnx-cpu; cpu-roofline, tpu-v4i and other
    TPUs are estimated. ``python -m autodistill.profiler --list-targets`` shows all."""
    max_latency_ms: float | None = None
    """Hard limit on the measured latency."""
    max_params: int | None = None
    """Hard limit on the number of weights, word embeddings included."""
    batch_size: int = 1
    """Passages per call when latency is measured."""
    sequence_length: int = 128
    """Tokens per passage when latency is measured."""
    dtype: str = "float32"
    """Of the weights when latency is measured: float32 or bfloat16."""
    steps: int = 320
    """Training steps of each student, 1,024 tokens each."""
    training_dtype: Literal["float32", "bfloat16"] | None = None
    """Of states and of what a training step multiplies; weights and losses are float32. Default:
    bfloat16 where the device multiplies it natively, else float32."""
    samples: int = 24
    """Random architectures measured before the search begins."""
    seed: int = 0
    """Fixes all that is random."""
    run_dir: Path | None = None
    """Where everything is kept. Default: a folder under runs/ named after the settings."""
    cache_dir: Path = field(
        default_factory=lambda: (
            Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autodistill"
        )
    )
    """Tokenised text and teacher outputs, shared by all runs."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 is success, 2 bad input, 130 interrupted."""
    prog, about = "python -m autodistill.search", getdoc(Arguments)
    arguments = tyro.cli(Arguments, args=argv, prog=prog, description=about)
    began = time.monotonic()
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with fits("the search runs", OUT_OF_MEMORY):
            search(arguments, console, began=began)
    except (AutoDistillError, PredictorError) as error:
        message = Text.assemble(("error: ", "bold red"), str(error))
        Console(stderr=True).print(message, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print("interrupted; the same command with the same --run-dir goes on from here")
        return 130
    return 0


def search(arguments: Arguments, console: Console, *, began: float) -> None:
    """Resolve the arguments and run; cheap checks come before anything slow."""
    from autodistill.search.budget import Budget

    budget = Budget.parse(arguments.budget)
    space = load_space(arguments.space)
    # the rest loads here, after what can be refused without it
    from autodistill.distill.flash import FlashSettings
    from autodistill.distill.precision import best_dtype
    from autodistill.profiler import Workload
    from autodistill.profiler.choose import target_beside_training
    from autodistill.search.limits import Limits
    from autodistill.search.materials import TextSettings
    from autodistill.search.progress import Display
    from autodistill.search.run import Search
    from autodistill.search.settings import SearchSettings
    from autodistill.space.restrict import for_masked_lm
    from autodistill.teacher import (
        TeacherKind,
        demo_teacher_folder,
        load_teacher,
        restrict_to_file,
    )

    _check_positive(arguments)
    limits = Limits(arguments.max_latency_ms, arguments.max_params)
    workload = Workload(arguments.batch_size, arguments.sequence_length, arguments.dtype)
    with target_beside_training(arguments.target, arguments.cache_dir / "programs") as target:
        teacher = load_teacher(arguments.teacher or demo_teacher_folder())
        if arguments.vocabulary is not None:
            teacher = restrict_to_file(teacher, arguments.vocabulary)
        if teacher.kind is TeacherKind.MASKED_LM:
            space = for_masked_lm(space)
        longest = teacher.config.max_position_embeddings
        text = TextSettings(corpus=tuple(arguments.corpus))
        text = replace(text, passage_length=min(text.passage_length, longest))
        settings = SearchSettings(
            budget=budget,
            teacher=teacher,
            space=space,
            target=target,
            workload=workload,
            limits=limits,
            text=text,
            flash=FlashSettings(
                steps=arguments.steps,
                seed=arguments.seed,
                dtype=arguments.training_dtype or best_dtype(),
            ),
            run_dir=Path("runs"),
            cache_dir=arguments.cache_dir,
            samples=arguments.samples,
            corpus_key=text.corpus_key(),
        )
        run_dir = arguments.run_dir or Path("runs") / _run_name(settings.identity())
        settings = replace(settings, run_dir=run_dir)
        with Display(console) as display:
            display.say(f"[bold]run[/]       {escape(str(run_dir))}")
            Search(settings, display, began=began).run()


def _check_positive(arguments: Arguments) -> None:
    for name, least in (("steps", 1), ("samples", 4), ("seed", 0)):
        value = getattr(arguments, name)
        if value < least:
            raise ArgumentError(f"--{name} must be at least {least}; got {value}")
    if arguments.seed > MAX_SEED:
        raise ArgumentError(f"--seed must be at most {MAX_SEED}; got {arguments.seed}")
    if arguments.sequence_length > MAX_POSITIONS:
        raise ArgumentError(
            f"--sequence-length must be at most {MAX_POSITIONS}, the positions that students have; "
            f"got {arguments.sequence_length}"
        )


def _run_name(identity: dict[str, object]) -> str:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode())
    teacher, space, target = identity["teacher"], identity["space"], identity["target"]
    parts = [teacher["name"], space["name"], target["name"], digest.hexdigest()[:6]]  # type: ignore[index]
    return "-".join(str(part).replace("/", "_") for part in parts)


if __name__ == "__main__":
    restart_with_jemalloc()
    keep_freed_memory()
    sys.exit(main())
