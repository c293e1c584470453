"""What the teacher says of the training passages: computed once, kept on disk.

All students of a search, and later searches on the same text, share one cache.
Its folder is named by the teacher's fingerprint and a digest of the passages,
so a cache of another teacher or text is never read. Rows are written in order
and the count of finished rows after them: a killed run goes on from there.

Axes: n = passages, L = sequence, e = output width.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from autodistill.distill.blocks import in_blocks
from autodistill.distill.passage_set import PassageSet
from autodistill.errors import TeacherError
from autodistill.teacher import Teacher, pool

FORMAT = 1
ROWS_PER_CALL = 64


@dataclass(frozen=True)
class TeacherOutputs:
    """Targets of the students.

    Attributes:
        states: (n, L, e) float16, memory-mapped. For a masked-LM teacher its
            last hidden states. For an embedding teacher each token's share of
            the passage embedding, so that pooling them gives it exactly; where
            pooling is not linear there is no such share, and these are the last
            hidden states.
        passages: (n, e) float32 embeddings; None for a masked-LM teacher.
    """

    states: np.ndarray
    passages: np.ndarray | None


Progress = Callable[[int, int], None]


def teacher_outputs(
    teacher: Teacher,
    passages: PassageSet,
    *,
    cache_dir: Path,
    progress: Progress | None = None,
) -> TeacherOutputs:
    """Outputs of the teacher for these passages, from the cache or computed into it.

    Args:
        teacher: Runs only for rows that the cache lacks.
        passages: What it reads.
        cache_dir: The cache's folder is made in here.
        progress: Called with rows done and rows in all.

    Raises:
        TeacherError: The cache cannot be written, for instance on a full disk.
    """
    folder = cache_dir / f"{teacher.fingerprint}-{_digest(passages)}"
    n, length = passages.input_ids.shape
    width = _state_width(teacher)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        states = _open_rows(folder / "states.f16", (n, length, width), np.float16)
        embeddings = _open_rows(folder / "passages.f32", (n, teacher.output_width), np.float32)
        done = _rows_done(folder, n)
        run = _forward(teacher)
        for begin in range(done, n, ROWS_PER_CALL):
            end = min(begin + ROWS_PER_CALL, n)
            rows = np.arange(begin, begin + ROWS_PER_CALL) % n  # one shape, so one program
            out_states, out_passages = run(passages.input_ids[rows], passages.attention_mask[rows])
            states[begin:end] = out_states[: end - begin]
            if out_passages is not None:
                embeddings[begin:end] = out_passages[: end - begin]
            if end == n or (begin // ROWS_PER_CALL) % 16 == 15:
                states.flush()
                embeddings.flush()
                _mark_done(folder, end)
            if progress is not None:
                progress(end, n)
    except OSError as error:
        raise TeacherError(
            f"the teacher's outputs cannot be kept in {folder}: {error.strerror or error}; "
            f"they need {n * length * width * 2 / 1e6:,.0f} MB: free some space, or set "
            "--cache-dir or a smaller --steps"
        ) from error
    return TeacherOutputs(states, embeddings if teacher.pooling is not None else None)


def _forward(
    teacher: Teacher,
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray | None]]:
    """The teacher as a compiled function of one block of passages."""
    definition, state = nnx.split(teacher.encoder)
    pooling = teacher.pooling

    @jax.jit
    def run(
        state: nnx.State, ids: jax.Array, mask: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        hidden = nnx.merge(definition, state)(ids, mask)
        if pooling is None:
            return _half(hidden), None
        passage = pooling.project(pool(hidden, mask, pooling.mode))
        shares = pooling.project(hidden) if pooling.is_linear else hidden
        if pooling.normalize:
            norm = jnp.linalg.norm(passage, axis=-1, keepdims=True).clip(1e-12)
            passage = passage / norm
            shares = shares / norm[:, None] if pooling.is_linear else shares
        return _half(shares), passage

    def call(ids: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        shares, passage = run(state, ids, mask)
        return np.asarray(shares), None if passage is None else np.asarray(passage)

    return call


def _half(states: jax.Array) -> jax.Array:
    """As float16, at the ends of its range where beyond: MobileBERT's [CLS] reaches 1e7."""
    largest = jnp.finfo(jnp.float16).max
    return jnp.clip(states, -largest, largest).astype(jnp.float16)


def embed_passages(teacher: Teacher, passages: PassageSet) -> np.ndarray:
    """The embeddings alone, (n, e) float32, not cached; for a few held-out passages."""
    run = _forward(teacher)

    def embeddings(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        _, vectors = run(ids, mask)
        assert vectors is not None, "only embedding teachers embed passages"
        return vectors

    return in_blocks(embeddings, passages.input_ids, passages.attention_mask, rows=ROWS_PER_CALL)


def _state_width(teacher: Teacher) -> int:
    if teacher.pooling is not None and teacher.pooling.is_linear:
        return teacher.output_width
    return teacher.config.hidden_size


def _digest(passages: PassageSet) -> str:
    digest = hashlib.sha256(f"{FORMAT} {passages.input_ids.shape}".encode())
    digest.update(passages.input_ids.tobytes())
    digest.update(passages.attention_mask.tobytes())
    return digest.hexdigest()[:16]


def _open_rows(path: Path, shape: tuple[int, ...], dtype: type) -> np.memmap:
    """A memory-mapped file of this size, its blocks reserved on the disk.

    Without the reservation a full disk would end the process by a signal at
    some later write, instead of an error here.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not path.exists() or path.stat().st_size != size:
        path.unlink(missing_ok=True)
        (path.parent / "done.json").unlink(missing_ok=True)
        with path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)


def _rows_done(folder: Path, n: int) -> int:
    try:
        done = int(json.loads((folder / "done.json").read_text())["rows"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return 0
    return done if 0 <= done <= n else 0


def _mark_done(folder: Path, rows: int) -> None:
    temporary = folder / "done.json.tmp"
    temporary.write_text(json.dumps({"rows": rows, "format": FORMAT}))
    temporary.replace(folder / "done.json")


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
