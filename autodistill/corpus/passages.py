"""Fixed-length passages: windows of one document, ready for an encoder.

A window never crosses from one document into the next, so a token of a held-out
document can be in no training passage.

Axes:  batch = passages;  length = sequence_length, with special tokens and padding.
"""

import dataclasses
from typing import SupportsIndex

import numpy as np
from tokenizers import Tokenizer

from autodistill.corpus.store import TokenStore
from autodistill.errors import CorpusError

HELD_OUT_LEAST = 2  # below, quality has no standard error


@dataclasses.dataclass(frozen=True)
class SpecialTokens:
    """The ids that frame, fill and hide text. ``unk`` is None where there is none."""

    cls: int
    sep: int
    pad: int
    mask: int
    unk: int | None = None

    @classmethod
    def from_tokenizer(cls, tokenizer: Tokenizer) -> "SpecialTokens":
        """Look up BERT's names for them.

        Raises:
            CorpusError: The tokenizer lacks one; it is not BERT's.
        """
        names = {"cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}
        looked_up = {field: tokenizer.token_to_id(name) for field, name in names.items()}
        ids = {field: token for field, token in looked_up.items() if token is not None}
        if len(ids) < len(names):
            missing = [name for field, name in names.items() if field not in ids]
            raise CorpusError(
                f"expected a BERT tokenizer with {', '.join(names.values())}; this one lacks "
                f"{', '.join(missing)}. Fill in SpecialTokens by hand"
            )
        return cls(**ids, unk=tokenizer.token_to_id("[UNK]"))

    def ids(self) -> tuple[int, ...]:
        """Return all of them, without None."""
        return tuple(token for token in dataclasses.astuple(self) if token is not None)


class PassageSource:
    """The passages of one side of a corpus; a grain ``RandomAccessDataSource``.

    Each document is cut into windows of ``sequence_length - 2`` tokens. Its last,
    shorter window is kept if it has ``min_tokens`` or is all there is of the
    document. Passage ``i`` is ``[CLS] window [SEP] [PAD] ...``.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        held_out: bool,
        sequence_length: int,
        special: SpecialTokens,
        min_tokens: int = 16,
    ) -> None:
        """Lay out the windows; reads no tokens.

        Raises:
            ValueError: ``sequence_length`` is below 3 or ``min_tokens`` below 1.
        """
        if sequence_length < 3:
            raise ValueError(
                f"sequence_length must be at least 3, for [CLS], a token and [SEP]; "
                f"got {sequence_length}"
            )
        if min_tokens < 1:
            raise ValueError(f"min_tokens must be at least 1; got {min_tokens}")
        self.held_out = held_out
        self.sequence_length = sequence_length
        self.special = special
        self.min_tokens = min_tokens
        self._store = store
        window = sequence_length - 2
        documents = np.flatnonzero(store.held_out == held_out)
        tokens = np.diff(store.offsets)[documents]
        # a document that is short as a whole is kept: a sentence is a text too
        keeps_last = (tokens % window >= min_tokens) | ((tokens > 0) & (tokens < window))
        windows = tokens // window + keeps_last  # of each document
        first = np.cumsum(windows) - windows  # the passage at which each document starts
        within = np.arange(windows.sum()) - np.repeat(first, windows)
        self._start = np.repeat(store.offsets[documents], windows) + within * window
        self._tokens = np.minimum(np.repeat(tokens, windows) - within * window, window)
        self._document = np.repeat(documents, windows).astype(np.int32)

    def __len__(self) -> int:
        return len(self._start)

    def __repr__(self) -> str:
        return (
            f"PassageSource({self._store.folder.name!r}, held_out={self.held_out}, "
            f"sequence_length={self.sequence_length}, min_tokens={self.min_tokens})"
        )

    def __getitem__(self, index: SupportsIndex) -> dict[str, np.ndarray]:
        """Return one passage: the arrays of ``gather`` without their batch axis.

        Raises:
            IndexError: ``index`` is not in ``[0, len(self))``.
        """
        batch = self.gather(np.array([index.__index__()]))
        return {name: values[0] for name, values in batch.items()}

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return many passages at once.

        Args:
            indices: (batch,) integers in ``[0, len(self))``, in any order.

        Returns:
            ``input_ids`` (batch, length) int32; ``attention_mask`` (batch, length)
            int32, 0 over padding; ``document`` (batch,) int32, the document's place
            in the store; ``passage`` (batch,) int32, ``indices`` themselves, by which
            a teacher's cached outputs are found.

        Raises:
            IndexError: An index is out of range; negative ones are.
        """
        indices = np.asarray(indices)
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(
                f"passage indices must lie in [0, {len(self)}); "
                f"got {indices.min()} to {indices.max()}"
            )
        tokens = self._tokens[indices][:, None]  # (batch, 1)
        place = np.arange(self.sequence_length)[None, :] - 1  # of a token in its window
        inside = (place >= 0) & (place < tokens)
        where = self._start[indices][:, None] + np.where(inside, place, 0)
        input_ids = np.where(inside, self._store.tokens[where], self.special.pad).astype(np.int32)
        input_ids[:, 0] = self.special.cls
        input_ids[place == tokens] = self.special.sep
        return {
            "input_ids": input_ids,
            "attention_mask": (place <= tokens).astype(np.int32),
            "document": self._document[indices],
            "passage": indices.astype(np.int32),
        }


def passage_sources(
    store: TokenStore,
    *,
    sequence_length: int,
    special: SpecialTokens,
    batch_size: int,
    min_tokens: int = 16,
) -> tuple[PassageSource, PassageSource]:
    """Return the training side, of a batch at least, and the held-out side.

    Raises:
        CorpusError: There are fewer than ``batch_size`` training passages, or fewer
            than two held-out ones.
        ValueError: As ``PassageSource`` does.
    """
    train, held_out = (
        PassageSource(
            store,
            held_out=side,
            sequence_length=sequence_length,
            special=special,
            min_tokens=min_tokens,
        )
        for side in (False, True)
    )
    require_batch(train, batch_size)
    if len(held_out) < HELD_OUT_LEAST:
        raise CorpusError(
            f"expected at least {HELD_OUT_LEAST} held-out passages of {sequence_length} tokens to "
            f"judge on; the text gives {len(held_out)}. Add text, or use shorter sequences"
        )
    return train, held_out


def require_batch(source: PassageSource, batch_size: int) -> None:
    """Check that a source fills one batch.

    Raises:
        CorpusError: It has fewer than ``batch_size`` passages.
        ValueError: ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    if len(source) < batch_size:
        side = "held-out" if source.held_out else "training"
        raise CorpusError(
            f"expected at least {batch_size} {side} passages of {source.sequence_length} tokens "
            f"for one batch; the text gives {len(source)}. Add text, or use a smaller batch or "
            "shorter sequences"
        )
