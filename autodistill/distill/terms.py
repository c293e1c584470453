"""What a term of a recipe's loss is.

A term binds a pure objective to what the models give: it says what it needs and what
it reads of the teacher, and compares two views under a layer map. Where the widths of
student and teacher differ, the student's states go through a learned projection, one
for each of its layers, which is trained with it and then thrown away. The terms are
in ``layer_terms.py`` and ``output_terms.py``.

Axes: B = batch, L = sequence, K = masked places.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

import jax

from autodistill.distill.layer_map import LayerMap, pairs
from autodistill.distill.quantities import Quantity
from autodistill.distill.train_step import Batch
from autodistill.distill.views import ArraysByName, View, applied


class Need(StrEnum):
    """What a term asks of teacher and student."""

    HEAD = "a masked-LM head on the teacher"
    EMBEDDING = "an embedding teacher"
    EQUAL_HEADS = "equal num_attention_heads"
    PROJECTIONS = "projections of mapped states"
    WORD_PROJECTION = "a projection of the embedding's output"
    BLOCKS = "layers that can be run from the teacher's states"
    WHOLE_BATCH = "all passages of a batch at once, three or more"


@dataclass(frozen=True)
class Compared:
    """All that a term may read.

    Attributes:
        student: What the student makes of the batch.
        teacher: What the teacher makes of it.
        layers: Which layer learns from which.
        batch: See ``views.py``.
        params: The student's, with projections.
        variances: Of the teacher's ``tokens`` and ``passages``, summed over the width.
    """

    student: View
    teacher: View
    layers: LayerMap
    batch: Batch
    params: ArraysByName
    variances: Mapping[str, float]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Layers of student and teacher that the map pairs, counted from 1."""
        return pairs(self.layers)

    def projected(self, layer: int) -> jax.Array:
        """A state of the student at the teacher's width."""
        states, name = self.student.states[layer], f"projection.{layer}"
        return applied(self.params, name, states) if f"{name}.kernel" in self.params else states


class Term(Protocol):
    """One kind of loss.

    Attributes:
        name: For records.
        kind: Of the positions that it has a value for: tokens (B, L), places (B, K)
            or passages (B,).
        needs: What it asks for.
    """

    kind: ClassVar[str]
    needs: ClassVar[frozenset[Need]]

    @property
    def name(self) -> str: ...

    def __call__(self, seen: Compared) -> jax.Array: ...

    def reads(self, layers: LayerMap, classes: int) -> set[Quantity]:
        """What it reads of the teacher under this map, so that it can be kept.

        Args:
            layers: Which layer learns from which.
            classes: How many classes of the teacher's distributions are kept.
        """
        ...
