"""Batches of a run at length, each a function of its step."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autodistill.corpus import SpecialTokens, mask_tokens, shuffled_rows


class Source(Protocol):
    """Passages by number: ``corpus.PassageSource`` or a ``PassageSet``."""

    def __len__(self) -> int: ...

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Batches:
    """Shuffled passages, with tokens hidden anew in every batch where ``special`` is given.

    Attributes:
        source: The passages.
        size: Of a batch.
        seed: Of the order and of the masking.
        special: Ids that are never hidden, and the one that hides.
        vocab_size: Random replacements are drawn below it.
    """

    source: Source
    size: int
    seed: int
    special: SpecialTokens | None = None
    vocab_size: int = 0

    def at(self, step: int) -> dict[str, np.ndarray]:
        """The batch of a step: ``ids``, ``mask`` and the masked places; see ``views.py``."""
        rows = shuffled_rows(
            len(self.source), batch_size=self.size, seed=self.seed, start_step=step
        )
        passages = self.source.gather(next(rows))
        ids, mask = passages["input_ids"], passages["attention_mask"]
        if self.special is None:
            return {"ids": ids, "mask": mask}
        masked = mask_tokens(
            ids,
            mask,
            seed=self.seed,
            step=step,
            special=self.special,
            vocab_size=self.vocab_size,
        )
        return {
            "ids": masked.input_ids,
            "mask": mask,
            "positions": masked.positions,
            "labels": masked.labels,
            "weights": masked.weights,
        }
