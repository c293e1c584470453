"""Batches of a run at length, each a function of its step."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from autodistill.corpus import SpecialTokens, mask_passages, shuffled_order
from autodistill.errors import ArgumentError

PASSAGES_PER_CALL = 1024  # where many are gone through


class Source(Protocol):
    """Passages by number: ``corpus.PassageSource`` or a ``PassageSet``."""

    def __len__(self) -> int: ...

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Batches:
    """Shuffled passages, with tokens hidden where ``special`` is given.

    Which tokens are hidden is a function of the passage and of the pass over the
    text: anew in every pass, or of a few copies by turns [Liu2019].

    References:
        [Liu2019] RoBERTa. https://arxiv.org/abs/1907.11692, section 4.1: static
        masking with copies was comparable to masks drawn anew.

    Attributes:
        source: The passages.
        size: Of a batch.
        seed: Of the order and of the masking.
        special: Ids that are never hidden, and the one that hides.
        vocab_size: Random replacements are drawn below it.
        copies: Ways in which each passage is hidden; one for each pass, if not given.

    Raises:
        ArgumentError: There are fewer passages than a batch takes.
    """

    source: Source
    size: int
    seed: int
    special: SpecialTokens | None = None
    vocab_size: int = 0
    copies: int | None = None

    def __post_init__(self) -> None:
        if self.size > len(self.source):
            raise ArgumentError(
                f"--batch-size must be at most {len(self.source)}, the passages of the text; "
                f"got {self.size}"
            )

    @cached_property
    def _order(self) -> Any:
        """Passages of each step; costs more to make than to ask."""
        return shuffled_order(len(self.source), batch_size=self.size, seed=self.seed)

    def at(self, step: int) -> dict[str, np.ndarray]:
        """The batch of a step: ``ids``, ``mask`` and the masked places; see ``views.py``."""
        return self.numbered(self.numbers(step, step + 1))

    def numbers(self, begin: int, end: int) -> np.ndarray:  # (steps * size,) int64
        """The texts of these steps in order: ``copy * passages + passage`` of each."""
        count = len(self.source)
        passages = np.concatenate([self._order[step] for step in range(begin, end)])
        if self.special is None:
            return passages.astype(np.int64)
        copies = np.arange(begin * self.size, end * self.size) // count
        if self.copies is not None:
            copies %= self.copies
        return copies * count + passages

    def all_numbers(self, begin: int, end: int) -> np.ndarray:  # (texts,) int64, ascending
        """The texts of these steps, each once."""
        count = len(self.source)
        copies = 1 if self.special is None else self.copies
        # So many steps hold a whole pass of each copy.
        if copies is not None and (end - begin) * self.size >= (copies + 1) * count:
            return np.arange(copies * count)
        return np.unique(self.numbers(begin, end))

    def numbered(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """These texts as a batch."""
        passages = self.source.gather(numbers % len(self.source))
        ids, mask = passages["input_ids"], passages["attention_mask"]
        if self.special is None:
            return {"ids": ids, "mask": mask}
        masked = mask_passages(
            ids, mask, numbers, seed=self.seed, special=self.special, vocab_size=self.vocab_size
        )
        return {
            "ids": masked.input_ids,
            "mask": mask,
            "positions": masked.positions,
            "labels": masked.labels,
            "weights": masked.weights,
        }


@dataclass(frozen=True)
class NumberedTexts:
    """Texts of these batches as the teacher reads them; see ``kept.Texts``.

    Attributes:
        batches: Where they are from.
        numbers: (n,) ascending.
    """

    batches: Batches
    numbers: np.ndarray = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """Of the passages' content, and of what hides tokens in them."""
        batches, digest = self.batches, hashlib.sha256()
        count = len(batches.source)
        hides = None if batches.special is None else (batches.seed, batches.vocab_size)
        digest.update(repr((count, batches.special, hides)).encode())
        digest.update(self.numbers.astype("<i8").tobytes())
        passages = np.unique(self.numbers % count)
        for begin in range(0, len(passages), PASSAGES_PER_CALL):
            found = batches.source.gather(passages[begin : begin + PASSAGES_PER_CALL])
            digest.update(found["input_ids"].tobytes())
            digest.update(found["attention_mask"].tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.numbers)

    def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The batch of these rows."""
        return self.batches.numbered(self.numbers[rows])

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Where these numbers are."""
        return np.searchsorted(self.numbers, numbers)
