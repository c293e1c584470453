"""Run the teacher over texts once, and keep what it says on disk.

One entry of the cache for each quantity: its name digests the teacher, the texts and
the quantity, so an entry of another teacher or text is never read. Which texts share
a block is fixed by their numbers alone, so rows that are computed again are the same.

Axes: n = texts, B = texts of a block.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

from autodistill.distill.cache_folder import CacheFolder, Entry, Layout
from autodistill.distill.quantities import Quantity, batch_key
from autodistill.distill.train_step import Batch
from autodistill.distill.views import teacher_view
from autodistill.errors import TeacherError
from autodistill.teacher import Teacher

FORMAT = 2  # to be raised where a quantity, or how tokens are hidden, changes
ROWS_PER_CALL = 64

Progress = Callable[[int, int], None]
Outputs = dict[str, dict[str, jax.Array]]  # field by field, by the quantity's name


class Texts(Protocol):
    """What the teacher reads, by number.

    Attributes:
        digest: Of all that it reads.
    """

    @property
    def digest(self) -> str: ...

    def __len__(self) -> int: ...

    def gather(self, rows: np.ndarray) -> Batch:
        """``ids``, ``mask`` and, where they are masked, ``positions`` of these."""
        ...


@dataclass(frozen=True)
class Kept:
    """What a teacher says of texts, once ``fill`` has been called.

    Attributes:
        teacher: The one.
        texts: In the order of the rows.
        entries: By quantity.
    """

    teacher: Teacher
    texts: Texts
    entries: dict[Quantity, Entry]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(entry.layout.size for entry in self.entries.values())

    def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Kept arrays of these texts, for a batch; see ``quantities.kept_view``."""
        batch: dict[str, np.ndarray] = {}
        for quantity, entry in self.entries.items():
            found = entry.rows[rows]
            batch |= {batch_key(quantity, field): found[field] for field in found.dtype.names or ()}
        return batch

    def close(self) -> None:
        """Let them be evicted."""
        for entry in self.entries.values():
            entry.close()


def layouts(
    teacher: Teacher, texts: Texts, quantities: Iterable[Quantity]
) -> dict[Quantity, Layout]:
    """Entries of these; shapes come from tracing the teacher, without running it."""
    wanted = sorted(quantities, key=lambda one: one.name)
    if not wanted:
        return {}
    one = _read(texts.gather(np.zeros(1, int)))
    shapes = jax.eval_shape(
        lambda weights, batch: _outputs(teacher, wanted, weights, batch, scan=True),
        dict(teacher.weights),
        one,
    )
    return {quantity: _layout(teacher, texts, quantity, shapes) for quantity in wanted}


def reserve(
    teacher: Teacher, texts: Texts, wanted: Mapping[Quantity, Layout], folder: CacheFolder
) -> Kept:
    """Open entries for these, new ones where there are none; the teacher is not run.

    Raises:
        CacheFullError: They do not fit; the message says why.
    """
    entries = folder.reserve(list(wanted.values()))
    return Kept(teacher, texts, dict(zip(wanted, entries, strict=True)))


def fill(
    kept: Sequence[Kept],
    *,
    progress: Progress | None = None,
    on_wait: Callable[[], None] = lambda: None,
) -> None:
    """Check what is there, and run the teacher for what is not.

    Args:
        kept: All of one teacher and the same texts, so that it runs once for them.
        progress: Called with texts done and texts in all.
        on_wait: Called where another process fills one of them, which is waited for.

    Raises:
        TeacherError: The disk refuses.
    """
    teacher, texts, n = kept[0].teacher, kept[0].texts, len(kept[0].texts)
    entries = {q: entry for one in kept for q, entry in one.entries.items()}
    names = sorted(entries, key=lambda one: entries[one].layout.name)  # all wait in one order
    with ExitStack() as locks:
        for quantity in names:
            locks.enter_context(entries[quantity].writing(on_wait))
        lacking = {quantity: ~entries[quantity].sound() for quantity in names}
        lacking = {quantity: rows for quantity, rows in lacking.items() if rows.any()}
        if not lacking:
            return
        run = teacher_program(teacher, lacking)
        try:
            for begin in range(0, n, ROWS_PER_CALL):
                end = min(begin + ROWS_PER_CALL, n)
                if not any(rows[begin:end].any() for rows in lacking.values()):
                    continue
                outputs = jax.device_get(run(texts.gather(_block(begin, n))))
                for quantity, rows in lacking.items():
                    packed = _packed(outputs[quantity.name], entries[quantity].layout.dtype)
                    for row in begin + np.flatnonzero(rows[begin:end]):
                        entries[quantity].write(int(row), packed[row - begin])
                if progress is not None:
                    progress(end, n)
        except OSError as error:
            raise TeacherError(
                f"the teacher's outputs cannot be kept: {error.strerror or error}; free some space"
            ) from error


def computed(
    teacher: Teacher,
    texts: Texts,
    wanted: Mapping[Quantity, Layout],
    *,
    progress: Progress | None = None,
) -> dict[Quantity, np.ndarray]:
    """The rows that ``fill`` would keep, in memory; nothing is written."""
    rows = {quantity: np.empty(layout.rows, layout.dtype) for quantity, layout in wanted.items()}
    run, n = teacher_program(teacher, wanted), len(texts)
    for begin in range(0, n, ROWS_PER_CALL):
        end = min(begin + ROWS_PER_CALL, n)
        outputs = jax.device_get(run(texts.gather(_block(begin, n))))
        for quantity, found in rows.items():
            found[begin:end] = _packed(outputs[quantity.name], found.dtype)[: end - begin]
        if progress is not None:
            progress(end, n)
    return rows


def teacher_program(teacher: Teacher, quantities: Iterable[Quantity]) -> Callable[[Batch], Outputs]:
    """The teacher as a compiled function of one block of texts."""
    wanted = list(quantities)
    weights = jax.device_put(dict(teacher.weights))
    run = jax.jit(lambda weights, batch: _outputs(teacher, wanted, weights, batch, scan=False))
    return lambda batch: run(weights, _read(batch))


def _block(begin: int, n: int) -> np.ndarray:  # (ROWS_PER_CALL,)
    """Texts that are read together; of one number, so that one program reads them all."""
    return np.arange(begin, begin + ROWS_PER_CALL) % n


def _outputs(
    teacher: Teacher,
    wanted: list[Quantity],
    weights: dict[str, jax.Array],
    batch: Batch,
    *,
    scan: bool,
) -> Outputs:
    layers = teacher.config.num_hidden_layers
    depth = max(layers if one.layer is None else one.layer for one in wanted)
    view = teacher_view(teacher, weights, batch, depth=depth, scan=scan)
    return {one.name: one.take(view) for one in wanted}


def _read(batch: Batch) -> dict[str, np.ndarray]:
    """What the teacher reads of a batch."""
    return {name: batch[name] for name in ("ids", "mask", "positions") if name in batch}


def _layout(teacher: Teacher, texts: Texts, quantity: Quantity, shapes: Any) -> Layout:
    fields = sorted(shapes[quantity.name].items())
    dtype = np.dtype([(f, np.dtype(a.dtype).newbyteorder("<"), a.shape[1:]) for f, a in fields])
    about = {
        "format": FORMAT,
        "teacher": teacher.fingerprint,
        "texts": texts.digest,
        "quantity": quantity.name,
        "row": str(dtype),
    }
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
    return Layout(name, len(texts), dtype, {**about, "teacher_name": teacher.name})


def _packed(fields: dict[str, np.ndarray], dtype: np.dtype) -> np.ndarray:
    """Arrays side by side, one record per row."""
    packed = np.empty(len(next(iter(fields.values()))), dtype)
    for name, values in fields.items():
        packed[name] = values
    return packed
