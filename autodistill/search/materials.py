"""What a search works on, made once: text, teacher outputs, targets, reference line.

Everything here is cached on disk by content, so that a resumed or repeated
search finds it.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from autodistill.corpus import (
    Document,
    TokenStore,
    builtin_documents,
    builtin_fingerprint,
    expected_characters,
    fingerprint,
    passage_sources,
    prepare,
    read_documents,
)
from autodistill.distill.flash import FlashDistiller, FlashSettings, HeldOut
from autodistill.distill.linear import fit_ridge, mean_word_embedding
from autodistill.distill.passage_set import PassageSet, draw_passages
from autodistill.distill.quality import accuracy, fidelity, neighbour_agreement
from autodistill.distill.start import word_start
from autodistill.distill.teacher_outputs import (
    TeacherOutputs,
    embed_passages,
    masked_correct,
    teacher_outputs,
)
from autodistill.errors import CorpusError
from autodistill.search.progress import Display
from autodistill.teacher import Teacher, TeacherKind

HELD_OUT_FRACTION = 0.1


@dataclass(frozen=True)
class TextSettings:
    """Which text, and how much of it.

    Attributes:
        corpus: Files and folders; empty for the built-in English.
        passage_length: Tokens of a passage, special ones included.
        passages_per_step: Training passages to one step of training. More than a
            step takes, as the start and the output layer are fitted on all of
            them; more than there are is all there are.
        held_out_passages: Passages that students are judged on, at most.
    """

    corpus: tuple[Path, ...] = ()
    passage_length: int = 64
    passages_per_step: int = 20
    held_out_passages: int = 768

    def documents(self) -> Iterable[Document]:
        """The text itself; the built-in English takes some ten seconds.

        Raises:
            CorpusError: It is missing or unreadable.
        """
        return read_documents(self.corpus) if self.corpus else builtin_documents()

    def corpus_key(self) -> str:
        """Identifies the text, so that another one is never taken for it."""
        return fingerprint(self.corpus) if self.corpus else builtin_fingerprint()


@dataclass(frozen=True)
class Line:
    """A level that students are compared with."""

    name: str
    quality: float
    agreement: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the study."""
        return asdict(self)


@dataclass(frozen=True)
class Materials:
    """Ready to distil."""

    distiller: FlashDistiller
    corpus_text: str
    reference: Line
    teacher_line: Line


def tokenised(
    teacher: Teacher, text: TextSettings, cache_dir: Path, display: Display
) -> TokenStore:
    """The corpus as token ids on disk.

    Raises:
        CorpusError: The text is missing, unreadable or too little.
    """
    with display.bar("reading and tokenising text") as advance:

        def progress(_: str, share: float) -> None:
            advance(int(100 * share), 100)

        return prepare(
            text.documents,
            teacher.tokenizer,
            cache_dir=cache_dir / "tokens",
            cache_key=text.corpus_key(),
            held_out_fraction=HELD_OUT_FRACTION,
            expected_characters=expected_characters(text.corpus) if text.corpus else None,
            progress=progress,
        )


def make_materials(
    teacher: Teacher,
    store: TokenStore,
    text: TextSettings,
    flash: FlashSettings,
    *,
    cache_dir: Path,
    display: Display,
) -> Materials:
    """Run the teacher once over the text and fit what is linear.

    Raises:
        CorpusError: Too little text for a single batch, or no word that the
            teacher's tokenizer knows.
        TeacherError: The outputs fit neither on disk nor in memory.
    """
    train_source, held_source = passage_sources(
        store,
        sequence_length=text.passage_length,
        special=teacher.special,
        batch_size=flash.batch_size,
    )
    masking: dict[str, Any] = {}
    if teacher.kind is TeacherKind.MASKED_LM:
        masking = {"special": teacher.special, "vocab_size": teacher.config.vocab_size}
    wanted = text.passages_per_step * flash.steps
    train = draw_passages(train_source, wanted, seed=flash.seed, **masking)
    held = draw_passages(held_source, text.held_out_passages, seed=flash.seed, **masking)
    for passages in (train, held):
        if passages.masked is not None and not passages.masked.weights.any():
            raise CorpusError(
                "expected words to mask; the teacher's tokenizer knows none of the text. Is the "
                "--corpus in the teacher's language?"
            )
    with display.bar("teacher reads the training text") as advance:
        outputs = teacher_outputs(
            teacher,
            train,
            cache_dir=cache_dir / "teacher",
            remedy="free some space, or set another --cache-dir or a smaller --steps",
            progress=advance,
            on_wait=lambda: display.say("another run has the teacher read this text; waiting"),
            on_memory=lambda why: display.say(f"[bold]outputs[/]   {escape(why)}"),
        )
    start = word_start(teacher.word_embeddings, train, outputs, pad=teacher.special.pad)
    if teacher.kind is TeacherKind.EMBEDDING:
        embeddings = embed_passages(teacher, held)
        reference = linear_reference(teacher, train, outputs, held, embeddings)
        teacher_line = Line("teacher", 1.0, 1.0)
    else:
        embeddings = None
        reference = commonest_token(train, held)
        teacher_line = _teacher_accuracy(teacher, held)
    distiller = FlashDistiller(teacher, train, outputs, start, HeldOut(held, embeddings), flash)
    return Materials(distiller, store.summary.describe(), reference, teacher_line)


def linear_reference(
    teacher: Teacher,
    train: PassageSet,
    outputs: TeacherOutputs,
    held: PassageSet,
    embeddings: np.ndarray,
) -> Line:
    """The teacher's embedding, predicted by ridge from its mean word embedding.

    Fitted on the training passages, judged as students are. It costs a table
    look-up, so a student under it is not worth serving.
    """
    assert outputs.passages is not None, "an embedding teacher embeds passages"
    table = teacher.word_embeddings
    x = mean_word_embedding(table, train.input_ids, train.attention_mask)
    ridge = fit_ridge(x, np.asarray(outputs.passages))
    predicted = ridge(mean_word_embedding(table, held.input_ids, held.attention_mask))
    return Line(
        "ridge from mean word embedding",
        fidelity(embeddings, predicted, held.documents).value,
        neighbour_agreement(embeddings, predicted),
    )


def commonest_token(train: PassageSet, held: PassageSet) -> Line:
    """Accuracy of always guessing the commonest masked token of the training text."""
    assert train.masked is not None and held.masked is not None, "masked passages are needed"
    guess = np.bincount(train.masked.labels[train.masked.weights > 0]).argmax()
    right = ((held.masked.labels == guess) * held.masked.weights).sum(1)
    total = held.masked.weights.sum(1)
    return Line("commonest token", accuracy(right, total, held.documents).value, None)


def _teacher_accuracy(teacher: Teacher, held: PassageSet) -> Line:
    assert held.masked is not None, "masked passages are needed"
    right = masked_correct(teacher, held)
    value = accuracy(right, held.masked.weights.sum(1), held.documents).value
    return Line("teacher", value, None)
