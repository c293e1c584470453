"""What the teacher says of a fixed set of passages, for the short runs of a search.

Computed once and kept on disk (``kept.py``): all students of a search, and later
searches on the same text, share it. Where the disk has no room, it is held in memory.

Axes: n = passages, L = sequence, e = output width, K = masked places, k = classes kept.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from autodistill.distill.blocks import in_blocks
from autodistill.distill.cache_folder import GIB, LIMIT, CacheFolder, CacheFullError, gib
from autodistill.distill.kept import (
    ROWS_PER_CALL,
    Kept,
    Progress,
    computed,
    fill,
    layouts,
    reserve,
    teacher_program,
)
from autodistill.distill.passage_set import PassageSet
from autodistill.distill.quantities import (
    PassageOutputs,
    Quantity,
    SoftTargetOutputs,
    TokenOutputs,
)
from autodistill.distill.train_step import Batch
from autodistill.errors import TeacherError
from autodistill.teacher import Teacher, TeacherKind

CLASSES = 64  # the likeliest of the vocabulary, of which the probabilities are kept
IN_MEMORY = 4 * GIB  # bytes that are held there at most, where the disk has no room


@dataclass(frozen=True)
class TeacherOutputs:
    """Targets of the students.

    Attributes:
        states: (n, L, e) float16, memory-mapped where they are kept. For a masked-LM teacher its
            last hidden states. For an embedding teacher each token's share of
            the passage embedding, so that pooling them gives it exactly; where
            pooling is not linear there is no such share, and these are the last
            hidden states.
        passages: (n, e) float32 embeddings; None for a masked-LM teacher.
        soft: (n,) records of the likeliest classes at the masked places and their
            log-probabilities, ``values`` and ``classes``, (K, k) each; None where no
            tokens are hidden.
        kept: Where they lie on disk, if they do; not evicted as long as this is held.
    """

    states: np.ndarray
    passages: np.ndarray | None
    soft: np.ndarray | None = None
    kept: Kept | None = None


@dataclass(frozen=True)
class PassageTexts:
    """A passage set as the teacher reads it; see ``kept.Texts``."""

    passages: PassageSet

    @cached_property
    def digest(self) -> str:
        """Of ids and masks, and of where tokens are hidden."""
        digest = hashlib.sha256(repr(self.passages.input_ids.shape).encode())
        digest.update(self.passages.input_ids.tobytes())
        digest.update(self.passages.attention_mask.tobytes())
        if self.passages.masked is not None:
            digest.update(self.passages.masked.positions.tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.passages)

    def gather(self, rows: np.ndarray) -> Batch:
        """``ids`` and ``mask`` of these, and ``positions`` where tokens are hidden."""
        found, masked = self.passages.gather(rows), self.passages.masked
        batch = {"ids": found["input_ids"], "mask": found["attention_mask"]}
        return batch if masked is None else batch | {"positions": masked.positions[rows]}


def teacher_outputs(
    teacher: Teacher,
    passages: PassageSet,
    *,
    cache_dir: Path | None,
    limit: int = LIMIT,
    remedy: str = "free some space",
    progress: Progress | None = None,
    on_wait: Callable[[], None] = lambda: None,
    on_memory: Callable[[str], None] = lambda _: None,
) -> TeacherOutputs:
    """Outputs of the teacher for these passages, from the cache or computed into it.

    Args:
        teacher: Runs only for rows that the cache lacks.
        passages: What it reads.
        cache_dir: Folder of the cache; None to compute them in memory and write nothing.
        limit: Bytes that all its entries may take; older ones are evicted. Outputs that
            do not fit are computed in memory, up to ``IN_MEMORY``.
        remedy: What helps where memory does not suffice either, for the error.
        progress: Called with rows done and rows in all.
        on_wait: Called where another process computes them, which is waited for.
        on_memory: Told, for people, that they are held in memory, and why.

    Raises:
        TeacherError: They fit neither on disk nor in memory, or the disk refuses what it
            had room for.
    """
    texts, tokens, whole = PassageTexts(passages), TokenOutputs(), PassageOutputs()
    soft = SoftTargetOutputs(1.0, CLASSES)
    quantities: list[Quantity] = [tokens]
    if teacher.kind is TeacherKind.EMBEDDING:
        quantities.append(whole)
    elif passages.masked is not None:
        quantities.append(soft)
    wanted = layouts(teacher, texts, quantities)
    kept = None
    if cache_dir is not None:
        try:
            kept = reserve(teacher, texts, wanted, CacheFolder(cache_dir, limit))
        except CacheFullError as error:
            needed = sum(layout.size for layout in wanted.values())
            why = f"they need {gib(needed)}, and {error} ({cache_dir})"
            if needed > IN_MEMORY:
                raise TeacherError(
                    f"the teacher's outputs fit neither on disk nor in memory: {why}; at most "
                    f"{gib(IN_MEMORY)} are held in memory: {remedy}"
                ) from error
            on_memory(f"the teacher's outputs are held in memory: {why}")
    if kept is None:
        rows = computed(teacher, texts, wanted, progress=progress)
    else:
        fill([kept], progress=progress, on_wait=on_wait)
        rows = {quantity: entry.rows for quantity, entry in kept.entries.items()}
    passage = rows[whole]["values"] if whole in rows else None
    return TeacherOutputs(rows[tokens]["values"], passage, rows.get(soft), kept)


def embed_passages(teacher: Teacher, passages: PassageSet) -> np.ndarray:
    """The embeddings alone, (n, e) float32, not cached; for a few held-out passages."""
    whole = PassageOutputs()
    run = teacher_program(teacher, [whole])

    def embeddings(ids: np.ndarray, mask: np.ndarray) -> jax.Array:
        return run({"ids": ids, "mask": mask})[whole.name]["values"]

    return in_blocks(embeddings, passages.input_ids, passages.attention_mask, rows=ROWS_PER_CALL)


def masked_correct(teacher: Teacher, passages: PassageSet) -> np.ndarray:
    """Masked tokens that the teacher's head ranks first, per passage, (n,)."""
    assert teacher.head is not None and passages.masked is not None, "a masked-LM teacher"
    encoder, encoder_state = nnx.split(teacher.encoder)
    head, head_state = nnx.split(teacher.head)
    table = jnp.asarray(teacher.word_embeddings)

    @jax.jit
    def run(
        encoder_state: nnx.State,
        head_state: nnx.State,
        ids: jax.Array,
        mask: jax.Array,
        positions: jax.Array,
        labels: jax.Array,
        weights: jax.Array,
    ) -> jax.Array:
        hidden = nnx.merge(encoder, encoder_state)(ids, mask)
        where = jnp.take_along_axis(hidden, positions[..., None], axis=1)
        guesses = nnx.merge(head, head_state)(where, table).argmax(-1)
        return ((guesses == labels) * weights).sum(-1)

    masked = passages.masked
    return in_blocks(
        lambda *block: run(encoder_state, head_state, *block),
        passages.input_ids,
        passages.attention_mask,
        masked.positions,
        masked.labels,
        masked.weights,
        rows=ROWS_PER_CALL,
    )
