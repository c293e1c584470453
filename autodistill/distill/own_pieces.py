"""How near a teacher that reads its students' pieces comes to the teacher with its own.

Students with a smaller vocabulary are judged against the teacher cut to their
words (``teacher/restrict.py``). This is what that judgement cannot see: what the
teacher itself loses by reading a text in more, and some unknown, pieces.

Axes: n = texts, L = the longest of them in pieces.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from autodistill.corpus import Document
from autodistill.distill.passage_set import PassageSet
from autodistill.distill.quality import Estimate, fidelity
from autodistill.distill.teacher_outputs import embed_passages
from autodistill.teacher import Teacher, TeacherKind

TEXTS = 128
DOCUMENTS = 4096  # that the texts are taken from, at even distances
CHARACTERS_PER_TOKEN = 3  # fewer than English has, so that few texts are cut


@dataclass(frozen=True)
class OwnPieces:
    """A teacher cut to its students' words, beside the whole teacher.

    Attributes:
        kind: The teacher's.
        texts: What the rest is measured on.
        fidelity: Of its embeddings to the whole teacher's; None for a masked-LM
            teacher, and for a single text.
        pieces: That whole texts are to it, for one that they are to the whole teacher.
        unknown: The share of its pieces that are the unknown word.
        whole_unknown: The same share of the whole teacher.
    """

    kind: TeacherKind
    texts: int
    fidelity: Estimate | None
    pieces: float
    unknown: float
    whole_unknown: float

    def describe(self) -> list[str]:
        """Lines for people."""
        lines = [
            f"on {self.texts} sample texts, students' pieces are {self.pieces:.2f} times as many "
            f"as the teacher's; {self.unknown:.1%} of them are unknown, "
            f"{self.whole_unknown:.1%} of its"
        ]
        if self.kind is TeacherKind.MASKED_LM:
            lines.append("students are judged by their own words, masked in their own pieces")
        elif self.fidelity is not None:
            lines.append(
                f"the teacher that reads them has fidelity {self.fidelity.value:.3f} ± "
                f"{self.fidelity.standard_error:.3f} to itself; students are judged against it"
            )
        return lines

    def to_record(self) -> dict[str, Any]:
        """Plain data for the files of a run."""
        return {**asdict(self), "kind": self.kind.value}


def own_pieces(
    teacher: Teacher, documents: Iterable[Document], *, sequence_length: int
) -> OwnPieces:
    """Read the beginnings of some documents both ways: half a minute of a CPU for MiniLM.

    Args:
        teacher: Cut to its students' words.
        documents: No more than the first few thousand are read.
        sequence_length: Pieces at which a text is cut to be embedded, as passages are.

    Raises:
        CorpusError: The documents cannot be read.
    """
    assert teacher.whole is not None, "of students with a vocabulary of their own"
    characters = CHARACTERS_PER_TOKEN * sequence_length
    beginnings = [one.text.strip()[:characters] for one in islice(documents, DOCUMENTS)]
    texts = beginnings[:: -(-len(beginnings) // TEXTS)] if beginnings else []
    near = None
    if teacher.kind is TeacherKind.EMBEDDING and len(texts) > 1:
        read, whole = (_read(one, texts, sequence_length) for one in (teacher, teacher.whole))
        near = fidelity(
            embed_passages(teacher.whole, whole), embed_passages(teacher, read), read.documents
        )
    count, unknown = _count(teacher, texts)
    whole_count, whole_unknown = _count(teacher.whole, texts)
    return OwnPieces(
        kind=teacher.kind,
        texts=len(texts),
        fidelity=near,
        pieces=count / max(whole_count, 1),
        unknown=unknown / max(count, 1),
        whole_unknown=whole_unknown / max(whole_count, 1),
    )


def _encoder(teacher: Teacher) -> Tokenizer:
    encoder = Tokenizer.from_str(teacher.tokenizer.to_str())
    encoder.encode_special_tokens = True  # "[MASK]" in a text is plain text
    encoder.no_truncation()
    encoder.no_padding()
    return encoder


def _read(teacher: Teacher, texts: list[str], length: int) -> PassageSet:
    encoder = _encoder(teacher)
    encoder.enable_truncation(length)
    encoder.enable_padding(pad_id=teacher.special.pad, length=length)
    encodings = encoder.encode_batch(texts)
    ids = np.array([one.ids for one in encodings], np.int32).reshape(-1, length)
    mask = np.array([one.attention_mask for one in encodings], np.int32).reshape(-1, length)
    return PassageSet(ids, mask, np.arange(len(texts), dtype=np.int32))


def _count(teacher: Teacher, texts: list[str]) -> tuple[int, int]:
    """Pieces of whole texts, and the unknown ones among them."""
    encodings = _encoder(teacher).encode_batch(texts, add_special_tokens=False)
    pieces = [piece for one in encodings for piece in one.ids]
    return len(pieces), pieces.count(teacher.special.unk) if teacher.special.unk is not None else 0
