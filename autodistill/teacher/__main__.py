"""``python -m autodistill.teacher``: adapt a teacher, or choose words of it, for distillation."""

import os
import signal
import sys
from dataclasses import dataclass, field
from inspect import getdoc
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from autodistill.distill.allocator import advice, keep_freed_memory, restart_with_jemalloc
from autodistill.distill.memory import fits
from autodistill.errors import ArgumentError, AutoDistillError

PROG = "python -m autodistill.teacher"
OBJECTIVES = ("mlm",)
RECORD = "adaptation.json"  # in the adapted teacher's folder
ArgumentsT = TypeVar("ArgumentsT")
INTERRUPTED = "interrupted; the same command goes on from the last checkpoint"
USAGE = f"""usage: {PROG} adapt [options]
       {PROG} vocabulary [options]

  adapt       continue the training of a teacher on a text, before it is distilled
  vocabulary  the tokens of a teacher that a text needs most, as a vocabulary for students

with --help, each says more"""


@dataclass(frozen=True)
class AdaptArguments:
    """Continue the masked-LM training of an encoder on a text.

    An encoder without a masked-LM head is given one: recipes that need the
    teacher's scores (mobilebert, distilbert) then apply to it. The folder of --out
    is a Hugging Face checkpoint, which transformers.AutoModelForMaskedLM and
    --teacher load; adaptation.json in it says for how many tokens it was trained, and
    how many masked words it guesses. State is kept beside it, in OUT.training, while training goes
    on: stop it at any time, the same command goes on from the last checkpoint.

    Examples:

      python -m autodistill.teacher adapt --steps 20000 --out runs/minilm-mlm

      python -m autodistill.teacher adapt --teacher bert-base-uncased/ --corpus medical/ \\
          --steps 50000 --batch-size 256 --accumulate 8 --out runs/bert-medical
    """

    teacher: Path | None = None
    """Hugging Face BERT or MobileBERT checkpoint, or sentence-transformers folder. Default: the
    MiniLM sentence encoder of the demo extra."""
    corpus: tuple[Path, ...] = ()
    """Text files, folders, .gz, or .jsonl with a text field. Default: the English documentation of
    Python and its scientific packages."""
    objective: str = "mlm"
    """What is trained: mlm, to guess masked words."""
    steps: int = 10_000
    """Training steps."""
    out: Path | None = None
    """Folder of the adapted teacher. Needed."""
    batch_size: int = 32
    """Passages per step, over all devices."""
    accumulate: int = 1
    """Micro-batches that each batch is cut into, to save memory. Raised where memory is short."""
    sequence_length: int = 128
    """Tokens per passage."""
    learning_rate: float = 1e-4
    """Peak; it rises over a twentieth of the steps and then falls to zero."""
    weight_decay: float = 0.01
    """Of AdamW, on matrices."""
    seed: int = 0
    """Fixes the order of passages and the masking."""
    held_out_passages: int = 768
    """Passages that the teacher is judged on, at most."""
    checkpoint_every: int | None = None
    """Steps between checkpoints. Default: a twentieth of the steps."""
    log_every: int = 20
    """Steps to one record of the loss."""
    unroll: bool = False
    """Compile every layer on its own: faster steps, a slower start."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Of states and of what a step multiplies; weights and losses are float32. Default: bfloat16
    where the device multiplies it natively, else float32."""
    cache_dir: Path = field(
        default_factory=lambda: (
            Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autodistill"
        )
    )
    """Tokenised text, shared by all runs."""


@dataclass(frozen=True)
class VocabularyArguments:
    """Choose the tokens of a teacher that a text needs most.

    They are written one a line, for --vocabulary of autodistill.distill and
    autodistill.search. Special tokens are kept, and each character of the text,
    so that words that are left out are spelled in shorter pieces.

    Example:

      python -m autodistill.teacher vocabulary --corpus texts/ --size 8000 --out vocab.txt
    """

    teacher: Path | None = None
    """Checkpoint or folder of a teacher whose tokenizer is WordPiece. Default: the MiniLM sentence
    encoder of the demo extra."""
    corpus: tuple[Path, ...] = ()
    """Text files, folders, .gz, or .jsonl with a text field. Default: the English documentation of
    Python and its scientific packages."""
    size: int = 8000
    """Tokens, at most."""
    out: Path | None = None
    """The file to write; it must not exist. Needed."""
    cache_dir: Path = field(
        default_factory=lambda: (
            Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autodistill"
        )
    )
    """Tokenised text, shared by all runs."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 is success, 2 bad input, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] not in (["adapt"], ["vocabulary"]):
        helped = argv[:1] in (["--help"], ["-h"])
        print(USAGE, file=sys.stdout if helped else sys.stderr)
        return 0 if helped else 2
    console = Console()
    try:
        if argv[0] == "adapt":
            with fits("the run is prepared", "use a smaller teacher, or end what else uses memory"):
                adapt(_parsed(AdaptArguments, argv), console)
        else:
            vocabulary(_parsed(VocabularyArguments, argv), console)
    except AutoDistillError as error:
        message = Text.assemble(("error: ", "bold red"), str(error))
        Console(stderr=True).print(message, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print(INTERRUPTED if argv[0] == "adapt" else "interrupted")
        return 130
    return 0


def _parsed(kind: type[ArgumentsT], argv: list[str]) -> ArgumentsT:
    arguments = tyro.cli(
        kind,
        args=argv[1:],
        prog=f"{PROG} {argv[0]}",
        description=getdoc(kind),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return arguments


def adapt(arguments: AdaptArguments, console: Console) -> None:
    """Resolve the arguments and run; cheap checks come before anything slow."""
    check(arguments)
    assert arguments.out is not None, "checked"
    # the rest loads here, after what can be refused without it
    import jax

    from autodistill.corpus import passage_sources
    from autodistill.distill.adapt import AdaptSettings, as_masked_lm
    from autodistill.distill.adapt import adapt as run
    from autodistill.distill.adapt import identity as identity_of
    from autodistill.distill.judge import make_held_out
    from autodistill.distill.precision import best_dtype
    from autodistill.distill.progress import TrainingProgress
    from autodistill.distill.run_folder import begun_dtype, check_folder, write_result
    from autodistill.distill.trainer import TrainSettings, check_split
    from autodistill.export import check_replaceable, save_student
    from autodistill.search.materials import TextSettings, tokenised
    from autodistill.search.progress import Display
    from autodistill.teacher import demo_teacher_folder, load_teacher

    out = arguments.out.resolve()
    state = out.with_name(f"{out.name}.training")
    settings = AdaptSettings(
        steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        unroll=arguments.unroll,
        dtype=arguments.dtype or begun_dtype(state) or best_dtype(),
        train=TrainSettings(
            batch_size=arguments.batch_size,
            accumulate=arguments.accumulate,
            weight_decay=arguments.weight_decay,
            log_every=arguments.log_every,
            checkpoint_every=arguments.checkpoint_every or max(arguments.steps // 20, 1),
        ),
    )
    check_replaceable(out)
    teacher = load_teacher(arguments.teacher or demo_teacher_folder())
    if teacher.folder.is_relative_to(out) or out.is_relative_to(teacher.folder):
        raise ArgumentError(f"--out must not be the teacher's own folder; got {arguments.out}")
    longest = teacher.config.max_position_embeddings
    if arguments.sequence_length > longest:
        raise ArgumentError(
            f"--sequence-length must be at most {longest}, the positions that the teacher has; "
            f"got {arguments.sequence_length}"
        )
    text = TextSettings(tuple(arguments.corpus), arguments.sequence_length)
    identity = {
        "corpus": text.corpus_key(),
        "sequence_length": arguments.sequence_length,
        "held_out_passages": arguments.held_out_passages,
    }
    check_split(settings.train, len(jax.devices()))
    check_folder(state, identity_of(teacher, settings, identity))

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    head = "its own head" if teacher.head is not None else "a new masked-LM head"
    say(f"[bold]teacher[/]   {escape(teacher.name)}: {teacher.kind.words}, {head}")
    for note in teacher.notes:
        say(f"          {escape(note)}")
    if faster := advice(jax.default_backend()):
        say(f"[bold]faster[/]    {faster}")
    with Display(console) as display:
        store = tokenised(teacher, text, arguments.cache_dir, display)
    train, held_source = passage_sources(
        store,
        sequence_length=arguments.sequence_length,
        special=teacher.special,
        batch_size=arguments.batch_size,
    )
    masked = as_masked_lm(teacher)
    held = make_held_out(
        masked, held_source, count=arguments.held_out_passages, seed=arguments.seed
    )
    with TrainingProgress(console, arguments.steps) as progress:
        result = run(
            teacher,
            train,
            held,
            state,
            settings,
            text=identity,
            on_record=progress,
            on_notice=lambda text: say(escape(text)),
        )
    save_student(result.student, masked, out)
    write_result(out / RECORD, {**identity_of(teacher, settings, identity), **result.record()})
    quality, start = result.judged.quality, result.start.quality
    say(
        f"[bold]quality[/]   masked-token accuracy {quality.value:.3f} ± "
        f"{quality.standard_error:.3f} on held-out text (at the start {start.value:.3f})"
    )
    say(f"[bold]speed[/]     {result.tokens_per_s:,.0f} tokens a second")
    say(f"[bold]teacher[/]   {escape(str(out))}; its state, {escape(str(state))}, may be deleted")


def vocabulary(arguments: VocabularyArguments, console: Console) -> None:
    """Count the tokens of the text and write the commonest."""
    out = arguments.out
    if out is None:
        raise ArgumentError("--out FILE is needed: where the tokens go, as vocab.txt")
    if out.suffix != ".txt" or out.exists() or not out.parent.is_dir():
        raise ArgumentError(
            f"--out must be a new file that ends in .txt, in a folder that exists; got {out}"
        )
    from tokenizers import models

    from autodistill.search.materials import TextSettings, tokenised
    from autodistill.search.progress import Display
    from autodistill.teacher import demo_teacher_folder, load_teacher
    from autodistill.teacher.frequent import frequent_tokens

    teacher = load_teacher(arguments.teacher or demo_teacher_folder())
    if not isinstance(teacher.tokenizer.model, models.WordPiece):
        kind = type(teacher.tokenizer.model).__name__
        raise ArgumentError(f"--teacher must read with WordPiece; {teacher.name} does with {kind}")
    with Display(console) as display:
        store = tokenised(teacher, TextSettings(arguments.corpus), arguments.cache_dir, display)
    tokens = frequent_tokens(teacher, store.tokens, arguments.size)
    ids = teacher.tokenizer.get_vocab(with_added_tokens=True)
    kept = np.isin(np.arange(len(ids)), [ids[token] for token in tokens])
    try:
        out.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    except OSError as error:
        raise ArgumentError(f"{out} cannot be written: {error.strerror or error}") from error
    console.print(
        f"{len(tokens):,} of {teacher.config.vocab_size:,} tokens, "
        f"{kept[store.tokens].mean():.2%} of the text: {escape(str(out))}",
        highlight=False,
        soft_wrap=True,
    )


def check(arguments: AdaptArguments) -> None:
    """Refuse what nothing can be done with."""
    if arguments.out is None:
        raise ArgumentError("--out FOLDER is needed: where the adapted teacher goes")
    if arguments.objective not in OBJECTIVES:
        raise ArgumentError(
            f"--objective must be one of {', '.join(OBJECTIVES)}; got {arguments.objective!r}"
        )
    for name, least in (("sequence_length", 3), ("held_out_passages", 2), ("checkpoint_every", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            flag = "--" + name.replace("_", "-")
            raise ArgumentError(f"{flag} must be at least {least}; got {value}")
    if not 0 <= arguments.weight_decay < float("inf"):
        raise ArgumentError(f"--weight-decay must be at least 0; got {arguments.weight_decay}")


if __name__ == "__main__":
    restart_with_jemalloc()
    keep_freed_memory()
    sys.exit(main())
