"""``python -m autodistill.distill``: distil one student at length."""

import os
import signal
import sys
from dataclasses import dataclass, field, replace
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from autodistill.distill.allocator import advice, keep_freed_memory, restart_with_jemalloc
from autodistill.distill.memory import fits
from autodistill.errors import ArgumentError, AutoDistillError

if TYPE_CHECKING:
    from autodistill.distill.targets import CacheSettings

PROG = "python -m autodistill.distill"
MOST_GIB = 2**33 - 1  # all that a file system can address
INTERRUPTED = "interrupted; the same command goes on from the last checkpoint"


@dataclass(frozen=True)
class Arguments:
    """Distil one student at length, by a known recipe.

    State goes to the folder of --out as it is made. Stop it with Ctrl-C at any
    time, or lose power: the same command goes on from the last checkpoint, and
    ends with the student that an uninterrupted run would have given. The student
    is in OUT/student, for transformers and sentence-transformers to load.

    Examples:

      python -m autodistill.distill --list-recipes

      python -m autodistill.distill --architecture mobilebert-mini --recipe embedding \\
          --steps 20000 --out runs/mini

      python -m autodistill.distill --teacher bert-base-uncased/ --architecture TinyBERT6 \\
          --recipe distilbert --steps 100000 --batch-size 256 --accumulate 4 \\
          --corpus texts/ --out runs/six-layers

      python -m autodistill.distill --architecture best.json --recipe minilm --steps 5000 \\
          --out runs/best --teacher-cache /big/disk/teacher --cache-gib 200
    """

    teacher: Path | None = None
    """Hugging Face BERT or MobileBERT checkpoint, or sentence-transformers folder. Default: the
    MiniLM sentence encoder of the demo extra."""
    vocabulary: Path | None = None
    """The student's own words, a part of the teacher's: a vocab.txt (one token a line), a
    tokenizer.json, or a folder with either. The student is judged against the teacher cut to
    these. Default: all of the teacher's."""
    architecture: str = "mobilebert-mini"
    """The student's shape: a file with one architecture (.csv, .json, .jsonl), a space
    (mobilebert-mini, mobilebert, bert-mini, bert: its baseline), or a published encoder
    (DistilBERT, TinyBERT4, MobileBERT, ...)."""
    recipe: str = "autodistill"
    """autodistill, embedding, mobilebert, distilbert, tinybert, minilm or nas-bert;
    --list-recipes says what each does."""
    start: Literal["random", "words", "teacher-layers"] | None = None
    """How weights begin: at random; as the teacher's word meanings in closed form; or as the
    teacher's layers, copied where only the depth differs, and cut down for a smaller BERT of a
    BERT. Default: as the recipe has it; autodistill and embedding begin with the teacher's layers
    where the student's shape allows, else with words."""
    start_from: Path | None = None
    """Folder of an already distilled student of near shape, as OUT/student of another run: weights
    begin with its, as far as both shapes have them."""
    steps: int = 10_000
    """Training steps over all stages of the recipe."""
    out: Path | None = None
    """Folder of this run: state, losses, result, student. Needed."""
    corpus: tuple[Path, ...] = ()
    """Text files, folders, .gz, or .jsonl with a text field. Default: the English documentation of
    Python and its scientific packages."""
    batch_size: int = 32
    """Passages per step, over all devices."""
    accumulate: int = 1
    """Micro-batches that each batch is cut into, to save memory. Raised where memory is short."""
    sequence_length: int = 128
    """Tokens per passage."""
    learning_rate: float | None = None
    """Peak of every stage. Default: each stage's own, as the recipe has it."""
    weight_decay: float = 0.01
    """Of AdamW, on matrices."""
    seed: int = 0
    """Fixes the first weights, the order of passages and the masking."""
    fitted_passages: int = 4096
    """Passages that what has a closed form is fitted on."""
    held_out_passages: int = 768
    """Passages that the student is judged on, at most."""
    checkpoint_every: int | None = None
    """Steps between checkpoints. Default: a twentieth of the steps."""
    log_every: int = 20
    """Steps to one record of losses, in OUT/losses.jsonl."""
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
    """Tokenised text and teacher outputs, shared by all runs."""
    teacher_cache: str | None = None
    """Folder where the teacher's outputs for the training text are kept, so that it runs once for
    all passes; or off: it then runs at every step. Default: teacher in --cache-dir. Outputs that
    do not fit are computed at every step, and the run says so; those of --fitted-passages are
    then held in memory. Other students share phases that go over all of the text, under one
    text, --sequence-length and recipe, with masked words also one --seed and --mask-copies;
    shorter phases only with the same --steps, --batch-size, --seed and layers too."""
    cache_gib: float = 20.0
    """The most that this cache may take. What was used longest ago is deleted to make room, never
    what a run is using; where a larger limit has filled it further, no more than the room that is
    needed."""
    soft_targets: int = 64
    """Of the teacher's distribution at a masked place, the likeliest words that are kept; all
    others count as one. For recipes with soft targets."""
    mask_copies: int = 4
    """Ways in which the words of a passage are masked, by turns, where outputs are kept: the
    teacher reads each once. Where nothing is kept, every pass over the text is masked anew."""
    list_recipes: bool = False
    """Show the recipes and end."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 is success, 2 bad input, 130 interrupted."""
    config = (tyro.conf.FlagCreatePairsOff,)
    about = getdoc(Arguments)
    arguments = tyro.cli(Arguments, args=argv, prog=PROG, description=about, config=config)
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if arguments.list_recipes:
            list_recipes(console)
        else:
            with fits("the run is prepared", "use a smaller teacher, or end what else uses memory"):
                distil(arguments, console)
    except AutoDistillError as error:
        message = Text.assemble(("error: ", "bold red"), str(error))
        Console(stderr=True).print(message, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print(INTERRUPTED)
        return 130
    return 0


def list_recipes(console: Console) -> None:
    """Each recipe with its source."""
    from autodistill.distill.recipes import RECIPES

    for one in RECIPES.values():
        line = f"[bold]{one.name:<12}[/] {escape(one.summary)}"
        console.print(line, highlight=False, soft_wrap=True)
        console.print(f"{'':<12} {escape(one.source)}", highlight=False, soft_wrap=True)


def distil(arguments: Arguments, console: Console) -> None:
    """Resolve the arguments and run; cheap checks come before anything slow."""
    if arguments.out is None:
        raise ArgumentError("--out FOLDER is needed: where the run is kept, as runs/mine")
    from autodistill.distill.recipe import Start
    from autodistill.distill.recipes import get_recipe

    recipe = get_recipe(arguments.recipe)
    if arguments.start_from is not None:
        if arguments.start is not None:
            raise ArgumentError("--start and --start-from exclude each other; give one of them")
        recipe = replace(recipe, start=Start.STUDENT)
    elif arguments.start is not None:
        recipe = replace(recipe, start=Start(arguments.start))
    # the rest loads here, after what can be refused without it
    import jax

    from autodistill.corpus import passage_sources
    from autodistill.distill.beginning import make_material
    from autodistill.distill.full import (
        FullDistillation,
        FullSettings,
        early_identity,
        make_batches,
    )
    from autodistill.distill.inherit import load_donor
    from autodistill.distill.judge import make_held_out
    from autodistill.distill.own_pieces import own_pieces
    from autodistill.distill.precision import best_dtype
    from autodistill.distill.progress import TrainingProgress
    from autodistill.distill.recipe import plan, settled
    from autodistill.distill.run_folder import begun, begun_dtype, check_folder, write_result
    from autodistill.distill.shape import student_config
    from autodistill.distill.targets import make_targets
    from autodistill.distill.trainer import TrainSettings, check_split
    from autodistill.export import save_student
    from autodistill.search.materials import TextSettings, tokenised
    from autodistill.search.progress import Display
    from autodistill.teacher import demo_teacher_folder, load_teacher, restrict_to_file

    check_counts(arguments)
    cache = cache_settings(arguments)
    settings = FullSettings(
        steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        unroll=arguments.unroll,
        dtype=arguments.dtype or begun_dtype(arguments.out) or best_dtype(),
        train=TrainSettings(
            batch_size=arguments.batch_size,
            accumulate=arguments.accumulate,
            weight_decay=arguments.weight_decay,
            log_every=arguments.log_every,
            checkpoint_every=arguments.checkpoint_every or max(arguments.steps // 20, 1),
        ),
    )
    teacher = load_teacher(arguments.teacher or demo_teacher_folder())
    if arguments.vocabulary is not None:
        teacher = restrict_to_file(teacher, arguments.vocabulary)
    longest = teacher.config.max_position_embeddings
    if arguments.sequence_length > longest:
        raise ArgumentError(
            f"--sequence-length must be at most {longest}, the positions that the teacher has; "
            f"got {arguments.sequence_length}"
        )
    config = student_config(arguments.architecture, teacher)
    donor = load_donor(arguments.start_from, teacher, config) if arguments.start_from else None
    recipe = settled(recipe, teacher, config)
    planned = plan(recipe, teacher, config, steps=arguments.steps)
    text = TextSettings(tuple(arguments.corpus), arguments.sequence_length)
    identity = {
        "corpus": text.corpus_key(),
        "sequence_length": arguments.sequence_length,
        "fitted_passages": arguments.fitted_passages,
        "held_out_passages": arguments.held_out_passages,
    }
    check_split(settings.train, len(jax.devices()))
    known = {**early_identity(recipe, teacher, config, settings, donor), "text": identity}
    check_folder(arguments.out, known)

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    say(f"[bold]run[/]       {escape(str(arguments.out))}")
    kind, millions = teacher.kind.words, teacher.parameters / 1e6
    say(f"[bold]teacher[/]   {escape(teacher.name)}: {kind}, {millions:.1f}M parameters")
    for note in teacher.notes:
        say(f"          {escape(note)}")
    pieces = None
    if teacher.whole is not None:
        with console.status("teacher reads some text in the student's pieces"):
            pieces = own_pieces(
                teacher, text.documents(), sequence_length=arguments.sequence_length
            )
        for line in pieces.describe():
            say(f"          {escape(line)}")
    phases = ", ".join(f"{one.name} ({one.steps:,})" for one in planned)
    say(f"[bold]recipe[/]    {recipe.name}: {escape(phases)} steps, in {settings.dtype}")
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
        less = "use fewer --fitted-passages, a shorter --sequence-length or a smaller teacher"
        with (
            fits("the teacher reads some of the text", less),
            display.bar("teacher reads some of the text") as advance,
        ):
            material = make_material(
                teacher,
                train,
                recipe,
                count=arguments.fitted_passages,
                seed=arguments.seed,
                cache=cache,
                progress=advance,
                on_memory=lambda why: say(f"[bold]outputs[/]   {escape(why)}"),
            )
        less = "use fewer --held-out-passages, a shorter --sequence-length or a smaller teacher"
        with fits("the teacher reads the held-out text", less):
            held = make_held_out(
                teacher, held_source, count=arguments.held_out_passages, seed=arguments.seed
            )
    earlier, done = begun(arguments.out) or ({}, 0)
    targets = make_targets(
        teacher,
        planned,
        make_batches(teacher, train, settings),
        cache,
        begun=earlier.get("teacher_outputs"),
        done=done,
    )
    for line in targets.describe():
        say(f"[bold]outputs[/]   {escape(line)}")
    if cache and any(phase.kept for phase in targets.phases):
        say(f"[bold]cache[/]     {escape(str(cache.folder))}, up to {arguments.cache_gib:g} GiB")
    run = FullDistillation(
        recipe,
        teacher,
        config,
        source=train,
        held_out=held,
        material=material,
        settings=settings,
        targets=targets,
        donor=donor,
    )
    with TrainingProgress(console, arguments.steps) as progress:
        result = run.run(
            arguments.out,
            text=identity,
            on_record=progress,
            on_teacher=progress.teacher,
            on_wait=lambda: say("another run has the teacher read this text; waiting for it"),
            on_notice=lambda text: say(escape(text)),
        )
    save_student(result.student, teacher, arguments.out / "student")
    record = {**result.to_record(), **run.identity(), "text": identity}
    if pieces is not None:
        record["own_pieces"] = pieces.to_record()
    write_result(arguments.out / "result.json", record)
    for line in result.summary():
        say(line)
    say(f"[bold]student[/]   {escape(str(arguments.out / 'student'))}")


def cache_settings(arguments: Arguments) -> "CacheSettings | None":
    """Where the teacher's outputs are kept; None for nowhere."""
    from autodistill.distill.cache_folder import GIB
    from autodistill.distill.targets import CacheSettings

    if not 0 <= arguments.cache_gib <= MOST_GIB:
        raise ArgumentError(
            f"--cache-gib must lie from 0 to {MOST_GIB:,}; got {arguments.cache_gib:g}"
        )
    folder = Path(arguments.teacher_cache or arguments.cache_dir / "teacher")
    limit = int(arguments.cache_gib * GIB)
    settings = CacheSettings(folder, limit, arguments.soft_targets, arguments.mask_copies)
    return None if arguments.teacher_cache == "off" else settings


def check_counts(arguments: Arguments) -> None:
    """Refuse numbers that nothing can be done with."""
    least = {
        "steps": 1,
        "sequence_length": 3,
        "fitted_passages": 2,
        "held_out_passages": 2,
        "checkpoint_every": 1,
    }
    for name, lowest in least.items():
        value = getattr(arguments, name)
        if value is not None and value < lowest:
            flag = "--" + name.replace("_", "-")
            raise ArgumentError(f"{flag} must be at least {lowest}; got {value}")
    if not 0 <= arguments.weight_decay < float("inf"):
        raise ArgumentError(f"--weight-decay must be at least 0; got {arguments.weight_decay}")


if __name__ == "__main__":
    restart_with_jemalloc()
    keep_freed_memory()
    sys.exit(main())
