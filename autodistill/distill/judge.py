"""Judge a student on passages that no student is trained on."""

from dataclasses import dataclass

import numpy as np

from autodistill.corpus import PassageSource
from autodistill.distill.passage_set import PassageSet, draw_passages
from autodistill.distill.quality import Estimate, accuracy, fidelity, neighbour_agreement
from autodistill.distill.student import Params, StudentProgram
from autodistill.distill.teacher_outputs import embed_passages
from autodistill.errors import CorpusError
from autodistill.teacher import Teacher, TeacherKind


@dataclass(frozen=True)
class Judged:
    """Quality on held-out passages."""

    quality: Estimate
    agreement: float | None


@dataclass(frozen=True)
class HeldOut:
    """Passages that no student is trained on, and the teacher's word on them."""

    passages: PassageSet
    embeddings: np.ndarray | None  # (n, e), of an embedding teacher


def judge(program: StudentProgram, params: Params, held_out: HeldOut) -> Judged:
    """Fidelity under an embedding teacher, else masked-token accuracy; see ``quality.py``."""
    held = held_out.passages
    if held_out.embeddings is not None:
        vectors = program.embed(params, held.input_ids, held.attention_mask)
        return Judged(
            fidelity(held_out.embeddings, vectors, held.documents),
            neighbour_agreement(held_out.embeddings, vectors),
        )
    masked = held.masked
    assert masked is not None, "held-out passages of a masked-LM teacher are masked"
    correct = program.correct(
        params,
        held.input_ids,
        held.attention_mask,
        masked.positions,
        masked.labels,
        masked.weights,
    )
    return Judged(accuracy(correct, masked.weights.sum(1), held.documents), None)


def make_held_out(teacher: Teacher, source: PassageSource, *, count: int, seed: int) -> HeldOut:
    """Passages to judge on, and what the teacher makes of them.

    Raises:
        CorpusError: A masked-LM teacher's tokenizer knows no word of the text.
    """
    if teacher.kind is TeacherKind.EMBEDDING:
        passages = draw_passages(source, count, seed=seed)
        return HeldOut(passages, embed_passages(teacher, passages))
    vocab_size = teacher.config.vocab_size
    passages = draw_passages(
        source, count, seed=seed, special=teacher.special, vocab_size=vocab_size
    )
    if passages.masked is None or not passages.masked.weights.any():
        raise CorpusError(
            "expected words to mask; the teacher's tokenizer knows none of the text. Is the "
            "--corpus in the teacher's language?"
        )
    return HeldOut(passages, None)
