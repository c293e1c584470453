"""Batches, each a pure function of its step.

Batch ``step`` depends on the passages, the batch size and the seed alone, not on
the batches before it. A run that resumes at a step therefore sees what an
uninterrupted run would have seen, with no state to save.

Axes:  batch = passages;  length = tokens of a passage, special ones and padding
included;  masked = places reserved for hidden tokens, ``ceil(rate * length)``.

References:
    [Devlin2019] Devlin, Chang, Lee, Toutanova. BERT: Pre-training of Deep
    Bidirectional Transformers. https://arxiv.org/abs/1810.04805, section 3.1.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import grain
import numpy as np

from autodistill.corpus.passages import PassageSource, SpecialTokens, require_batch

_MASK_SHARE = 0.8  # of the chosen tokens become [MASK] [Devlin2019]
_RANDOM_SHARE = 0.1  # become a random token; the others stay as they are


def training_batches(
    source: PassageSource, *, batch_size: int, seed: int, start_step: int = 0
) -> Iterator[dict[str, np.ndarray]]:
    """Yield shuffled batches without end, from batch ``start_step`` on.

    Each pass over the passages has an order of its own. A batch at the end of a
    pass is filled from the next, so all passages serve equally often.

    Args:
        source: The passages.
        batch_size: Passages per batch.
        seed: Fixes the order; from 0 to 2**32 - 1.
        start_step: The number of the first batch to yield.

    Returns:
        An endless iterator of ``source.gather``'s arrays.

    Raises:
        CorpusError: The source has fewer than ``batch_size`` passages.
        ValueError: ``batch_size``, ``seed`` or ``start_step`` is out of range.
    """
    require_batch(source, batch_size)
    rows = shuffled_rows(len(source), batch_size=batch_size, seed=seed, start_step=start_step)
    return (source.gather(batch) for batch in rows)


def shuffled_rows(
    count: int, *, batch_size: int, seed: int, start_step: int = 0
) -> Iterator[np.ndarray]:
    """Yield the rows of each batch, (batch,) integers below ``count``, without end.

    The order of ``training_batches``, for arrays that are indexed by row.

    Raises:
        ValueError: ``batch_size``, ``seed`` or ``start_step`` is out of range.
    """
    order = shuffled_order(count, batch_size=batch_size, seed=seed)
    if start_step < 0:
        raise ValueError(f"start_step must be at least 0; got {start_step}")
    return (order[step] for step in itertools.count(start_step))


def shuffled_order(count: int, *, batch_size: int, seed: int) -> grain.MapDataset:
    """What ``shuffled_rows`` yields, by step: the rows of batch ``step`` are ``order[step]``.

    Raises:
        ValueError: ``batch_size`` or ``seed`` is out of range.
    """
    if not 1 <= batch_size <= count:
        raise ValueError(f"batch_size must lie from 1 to {count} rows; got {batch_size}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie from 0 to 2**32 - 1; got {seed}")
    return grain.MapDataset.range(count).shuffle(seed).repeat().batch(batch_size)


class MaskedBatch(NamedTuple):
    """Input with tokens hidden, and what they were.

    Attributes:
        input_ids: (batch, length) int32, some tokens replaced.
        positions: (batch, masked) int32, the places to predict, ascending; 0 where unused.
        labels: (batch, masked) int32, the original tokens; ``pad`` where unused.
        weights: (batch, masked) float32, 1 where used and 0 where not.
    """

    input_ids: np.ndarray
    positions: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def mask_tokens(
    input_ids: np.ndarray,  # (batch, length) integers
    attention_mask: np.ndarray,  # (batch, length), 0 over padding
    *,
    seed: int,
    step: int,
    special: SpecialTokens,
    vocab_size: int,
    rate: float = 0.15,
) -> MaskedBatch:
    """Hide tokens for masked language modelling [Devlin2019].

    In each row ``rate`` of the tokens are chosen, rounded to a whole number and
    at least one. Of the chosen, 80% become ``[MASK]``, 10% a random token that is
    not special, and 10% stay. Special tokens and padding are never chosen; a row
    with nothing else has no used place.

    Args:
        input_ids: Framed passages; not changed.
        attention_mask: Of the same shape.
        seed: At least 0.
        step: At least 0; with ``seed``, the only source of randomness.
        special: Ids never chosen and never put in.
        vocab_size: Ids put in are below this.
        rate: Share of the tokens to choose, above 0 and at most 1.

    Returns:
        New arrays.

    Raises:
        ValueError: The shapes differ, or a number is out of range.
    """
    random = np.random.default_rng(np.random.SeedSequence([_checked(seed), _checked(step)]))
    shape = _checked_shape(input_ids, attention_mask)
    places = (len(input_ids), _places(shape[1], rate))
    plain = _plain(special, vocab_size)
    draws = _Draws(random.random(shape), random.random(places), random.choice(plain, places))
    return _masked(input_ids, attention_mask, draws, special, rate)


def mask_passages(
    input_ids: np.ndarray,  # (batch, length) integers
    attention_mask: np.ndarray,  # (batch, length), 0 over padding
    numbers: np.ndarray,  # (batch,) integers, at least 0
    *,
    seed: int,
    special: SpecialTokens,
    vocab_size: int,
    rate: float = 0.15,
) -> MaskedBatch:
    """As ``mask_tokens``, each row a function of its own number alone.

    So a passage can be hidden in the same way wherever it comes again: where its
    number is the same.

    Raises:
        ValueError: The shapes differ, or a number is out of range.
    """
    length = _checked_shape(input_ids, attention_mask)[1]
    count, plain = _places(length, rate), _plain(special, vocab_size)
    seeds = [[_checked(seed), _checked(int(number))] for number in numbers]
    rows = [np.random.default_rng(np.random.SeedSequence(one)) for one in seeds]
    uniform = np.array([row.random(length + 2 * count) for row in rows])
    draw, fate, which = np.split(uniform, [length, length + count], axis=1)
    draws = _Draws(draw, fate, plain[(which * len(plain)).astype(int)])
    return _masked(input_ids, attention_mask, draws, special, rate)


def _places(length: int, rate: float = 0.15) -> int:
    """Places that are reserved for hidden tokens in a row.

    Raises:
        ValueError: ``rate`` is out of range.
    """
    if not 0.0 < rate <= 1.0:
        raise ValueError(f"rate must lie above 0 and at most at 1; got {rate}")
    return math.ceil(rate * length)


class _Draws(NamedTuple):
    """What chance decides."""

    order: np.ndarray  # (batch, length); the places with the smallest are chosen
    fate: np.ndarray  # (batch, masked) in [0, 1): hidden, replaced or left
    replacement: np.ndarray  # (batch, masked) ids


def _masked(
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    draws: _Draws,
    special: SpecialTokens,
    rate: float,
) -> MaskedBatch:
    (batch, length), masked = input_ids.shape, draws.fate.shape[1]
    ids = input_ids.astype(np.int32)
    eligible = (attention_mask != 0) & ~np.isin(ids, special.ids())  # (batch, length)
    available = eligible.sum(axis=1)
    chosen = np.floor(rate * available + 0.5).astype(np.int64)
    chosen = np.minimum(np.clip(chosen, 1, masked), available)  # (batch,)

    # The places of the smallest of independent draws are a uniform choice.
    draw = np.where(eligible, draws.order, np.inf)
    candidates = np.argsort(draw, axis=1)[:, :masked]  # (batch, masked)
    used = np.arange(masked)[None, :] < chosen[:, None]
    order = np.argsort(np.where(used, candidates, length), axis=1, kind="stable")
    candidates = np.take_along_axis(candidates, order, axis=1)  # used places first, ascending

    positions = np.where(used, candidates, 0).astype(np.int32)
    labels = np.where(used, np.take_along_axis(ids, positions, axis=1), special.pad)
    written = np.where(
        draws.fate < _MASK_SHARE,
        special.mask,
        np.where(draws.fate < _MASK_SHARE + _RANDOM_SHARE, draws.replacement, labels),
    )
    hidden = ids.copy()
    rows = np.broadcast_to(np.arange(batch)[:, None], (batch, masked))
    hidden[rows[used], positions[used]] = written[used]
    return MaskedBatch(hidden, positions, labels.astype(np.int32), used.astype(np.float32))


def _plain(special: SpecialTokens, vocab_size: int) -> np.ndarray:
    """Ids below ``vocab_size`` that are words."""
    framing = [token for token in special.ids() if token < vocab_size]
    plain = np.delete(np.arange(vocab_size, dtype=np.int32), framing)
    if not plain.size:
        raise ValueError(f"vocab_size must exceed the special tokens; got {vocab_size}")
    return plain


def _checked(number: int) -> int:
    if number < 0:
        raise ValueError(f"seed and step (or passage numbers) must be at least 0; got {number}")
    return number


def _checked_shape(input_ids: np.ndarray, attention_mask: np.ndarray) -> tuple[int, int]:
    if input_ids.ndim != 2 or input_ids.shape != attention_mask.shape:
        raise ValueError(
            "input_ids and attention_mask must have one shape (batch, length); "
            f"got {input_ids.shape} and {attention_mask.shape}"
        )
    return input_ids.shape
