"""The passages that all students of a search are trained on, as arrays.

Axes: n = passages, L = sequence, K = places reserved for masked tokens.
"""

from dataclasses import dataclass
from itertools import islice

import numpy as np

from autodistill.corpus import PassageSource, SpecialTokens, mask_tokens, training_batches


@dataclass(frozen=True)
class Masked:
    """Which tokens are hidden: see ``corpus.MaskedBatch``."""

    positions: np.ndarray  # (n, K)
    labels: np.ndarray  # (n, K)
    weights: np.ndarray  # (n, K)


@dataclass(frozen=True)
class PassageSet:
    """Passages in a fixed order; with tokens hidden, for a masked-LM teacher."""

    input_ids: np.ndarray  # (n, L) int32
    attention_mask: np.ndarray  # (n, L) int32
    documents: np.ndarray  # (n,) int32
    masked: Masked | None = None

    def __len__(self) -> int:
        return len(self.input_ids)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """These passages, under the names of ``corpus.PassageSource.gather``."""
        return {
            "input_ids": self.input_ids[indices],
            "attention_mask": self.attention_mask[indices],
            "document": self.documents[indices],
        }


def draw_passages(
    source: PassageSource,
    count: int,
    *,
    seed: int,
    special: SpecialTokens | None = None,
    vocab_size: int | None = None,
    batch_size: int = 32,
) -> PassageSet:
    """The first ``count`` passages of the seeded order, fewer if there are fewer.

    Args:
        source: Where they come from; none is drawn twice.
        count: How many at most.
        seed: Of the order and of the masking.
        special: Given with ``vocab_size`` to hide tokens; block ``k`` of
            ``batch_size`` passages is masked as step ``k`` of this seed.
        vocab_size: Random replacements are drawn below it.
        batch_size: Passages per block.

    Raises:
        ValueError: ``count`` or ``batch_size`` is not positive.
    """
    if count < 1 or batch_size < 1:
        raise ValueError(f"count and batch_size must be positive; got {count} and {batch_size}")
    count = min(count, len(source))
    block = min(batch_size, count)
    blocks = list(islice(training_batches(source, batch_size=block, seed=seed), -(-count // block)))
    arrays = {
        name: np.concatenate([b[name] for b in blocks])[:count]
        for name in ("input_ids", "attention_mask", "document")
    }
    ids, masked = arrays["input_ids"], None
    if special is not None and vocab_size is not None:
        parts = [
            mask_tokens(
                ids[begin : begin + block],
                arrays["attention_mask"][begin : begin + block],
                seed=seed,
                step=step,
                special=special,
                vocab_size=vocab_size,
            )
            for step, begin in enumerate(range(0, count, block))
        ]
        ids = np.concatenate([part.input_ids for part in parts])
        masked = Masked(
            np.concatenate([part.positions for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.weights for part in parts]),
        )
    return PassageSet(ids, arrays["attention_mask"], arrays["document"], masked)
