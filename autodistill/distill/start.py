"""Where a student starts: what the teacher makes of each word, in closed form.

A short run that starts at random spends itself on learning what words mean. So
a student starts from the best it can be without context. The word table of the
start is the mean of the teacher's token states at each word (shrunk towards a
linear function of the teacher's own word embedding, which serves the words that
were rarely or never seen); it is brought to the student's embedding width by
keeping the directions that matter most for the output. The blocks start at the
identity: whatever they add to the residual stream is multiplied by zero at
first. What remains to be learnt is context, which is what distinguishes
architectures.

A layer norm would bring every word to one size, and so lose how much each says: of a
passage's mean, rare words are the larger part. So where there are norms the table's first
column makes up the difference: with it all rows are of one size, and the norm divides all
by the same number. On students of MiniLM that is worth .03 of fidelity at the start and nothing
after 500 steps; short runs rank students better for it (``benchmarks/flash_start.py``).

Axes: n = passages, L = sequence, V = vocabulary, e = output width, k = kept.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from autodistill.distill.linear import fit_ridge, mean_word_embedding
from autodistill.distill.passage_set import PassageSet
from autodistill.distill.teacher_outputs import TeacherOutputs
from autodistill.models.checkpoint import HEAD_PREFIX, weight_shapes
from autodistill.models.config import EncoderConfig, MobileBertConfig
from autodistill.models.encoder import Encoder
from autodistill.models.heads import MaskedLMHead

PRIOR_COUNT = 5.0  # occurrences that the linear prior of a word's mean weighs
MAX_RIDGE_TOKENS = 100_000
ROWS_PER_CHUNK = 512
LONGEST = 0.95  # quantile of the rows' sizes over the text; longer ones are cut by the norm


@dataclass(frozen=True)
class WordStart:
    """A word table with its directions in order of importance.

    Attributes:
        table: (V, e), columns of zero mean and unit variance over the training
            tokens, the most important first.
        share: (V,) of each word in the training text, sum 1.
        unigram_log: (V,) log frequency of each word in the training text,
            smoothed; the start of a masked-LM head's bias.
    """

    table: np.ndarray
    share: np.ndarray
    unigram_log: np.ndarray


def contextual_word_means(
    word_embeddings: np.ndarray,  # (V, w)
    passages: PassageSet,
    states: np.ndarray,  # (n, L, e)
    *,
    prior_count: float = PRIOR_COUNT,
) -> np.ndarray:  # (V, e)
    """Mean teacher state at each word, shrunk towards a ridge on its embedding.

    The mean over ``c`` occurrences weighs ``c``, the ridge ``prior_count``.
    """
    vocabulary, width = len(word_embeddings), states.shape[-1]
    totals = np.zeros((vocabulary, width), np.float32)
    counts = np.zeros(vocabulary, np.float32)
    kept_words: list[np.ndarray] = []
    kept_states: list[np.ndarray] = []
    kept = 0
    for begin in range(0, len(passages), ROWS_PER_CHUNK):
        part = slice(begin, begin + ROWS_PER_CHUNK)
        real = passages.attention_mask[part].ravel() > 0
        words = passages.input_ids[part].ravel()[real]
        values = states[part].reshape(-1, width)[real].astype(np.float32)
        ones = np.ones(len(words), np.float32)
        which = sparse.csr_matrix((ones, (words, np.arange(len(words)))), (vocabulary, len(words)))
        totals += which @ values
        counts += np.bincount(words, minlength=vocabulary)
        if kept < MAX_RIDGE_TOKENS:
            kept_words.append(words)
            kept_states.append(values)
            kept += len(words)
    inputs = word_embeddings[np.concatenate(kept_words)]
    prior = fit_ridge(inputs, np.concatenate(kept_states), penalty=1e-3)(word_embeddings)
    return (totals + prior_count * prior) / (counts + prior_count)[:, None]


def word_start(
    word_embeddings: np.ndarray, passages: PassageSet, outputs: TeacherOutputs, *, pad: int
) -> WordStart:
    """The start that all students of a search share.

    For an embedding teacher, words are represented by ``contextual_word_means``
    and the directions are the principal ones of the passage embeddings that
    their mean predicts (reduced-rank regression). For a masked-LM teacher, whose
    students also score words by their table, they are the principal directions
    of the teacher's own table.
    """
    counts = np.bincount(
        passages.input_ids[passages.attention_mask > 0], minlength=len(word_embeddings)
    ).astype(np.float64)
    share = counts / counts.sum()
    if outputs.passages is None:
        table = word_embeddings - share @ word_embeddings
        directions = _principal(table * np.sqrt(share)[:, None])
    else:
        means = contextual_word_means(word_embeddings, passages, outputs.states)
        x = mean_word_embedding(means, passages.input_ids, passages.attention_mask)
        to_passage = fit_ridge(x, outputs.passages)
        predicted = to_passage(x)
        table = means @ to_passage.kernel
        directions = _principal(predicted - predicted.mean(0))
    table = table @ directions
    mean = share @ table
    std = np.sqrt(share @ (table - mean) ** 2)
    table = ((table - mean) / np.where(std > 1e-6, std, 1.0)).astype(np.float32)
    # A padded neighbour then adds nothing to a trigram, as at the end of a text.
    table[pad] = 0.0
    smoothed = (counts + 0.1) / (counts + 0.1).sum()
    return WordStart(table, share, np.log(smoothed).astype(np.float32))


def equal_sizes(rows: np.ndarray, share: np.ndarray) -> np.ndarray:  # (V, k), (V,) -> (V,)
    """A further column with which rows are of one size: that which few of the text exceed.

    Rows of zeros, which stand for no word, stay so; longer ones get nothing.
    """
    squares = (rows.astype(np.float64) ** 2).sum(1)
    order = np.argsort(squares)
    reached = np.searchsorted(np.cumsum(share[order]), LONGEST * share.sum())
    size = squares[order[min(int(reached), len(order) - 1)]]
    column = np.sqrt((size - squares).clip(0.0))
    return np.where(squares > 0, column, 0.0).astype(np.float32)


def _principal(rows: np.ndarray) -> np.ndarray:
    """Right singular vectors in order of singular value, as columns."""
    _, vectors = np.linalg.eigh(rows.T.astype(np.float64) @ rows.astype(np.float64))
    return vectors[:, ::-1].astype(np.float32)


def random_weights(
    config: EncoderConfig, rng: np.random.Generator, *, head: bool
) -> dict[str, np.ndarray]:
    """Weights of an untrained student: variance-preserving, norms at one."""
    shapes = weight_shapes(lambda rngs: Encoder(config, rngs))
    if head:
        inner = weight_shapes(lambda _: MaskedLMHead(config))
        shapes |= {HEAD_PREFIX + name: shape for name, shape in inner.items()}
    weights = {}
    for name in sorted(shapes):  # a fixed order of draws
        shape = shapes[name]
        if name.endswith("LayerNorm.weight"):
            value = np.ones(shape, np.float32)
        elif name.endswith("bias"):
            value = np.zeros(shape, np.float32)
        else:
            is_table = name.endswith("embeddings.weight")
            scale = 0.02 if is_table else 1.0 / np.sqrt(max(shape[-1], 1))
            value = rng.standard_normal(shape, np.float32) * np.float32(scale)
        weights[name] = value
    return weights


def random_start(
    config: EncoderConfig, rng: np.random.Generator, *, head: bool
) -> dict[str, np.ndarray]:
    """Weights of a student that begins at random, of any depth.

    Where no norm sets sums back to unit size, what is added is made small: each of the
    n sums in a row gets 1 / sqrt(n) of it, so that a stack of any depth keeps states,
    and gradients, of unit size. After [Zhang2019], section 3.

    References:
        [Zhang2019] Zhang, Dauphin, Ma. Fixup Initialization. https://arxiv.org/abs/1901.09321
    """
    weights = random_weights(config, rng, head=head)
    if has_layer_norm(config) or not isinstance(config, MobileBertConfig):
        return weights
    within = config.num_feedforward_networks + 1  # sums of a block's narrow states
    for name, value in weights.items():
        if name.endswith("output.bottleneck.dense.weight"):
            value /= np.float32(np.sqrt(config.num_hidden_layers))
        elif name.startswith("encoder.") and name.endswith("output.dense.weight"):
            value /= np.float32(np.sqrt(within))
    return weights


def started_weights(
    config: EncoderConfig, start: WordStart, rng: np.random.Generator, *, head: bool
) -> dict[str, np.ndarray]:
    """Weights of a student that begins as its word table with identity blocks."""
    weights = random_weights(config, rng, head=head)
    width, hidden = config.embedding_width, config.hidden_size
    table = np.zeros((len(start.table), width), np.float32)
    if has_layer_norm(config):
        kept = min(min(width, hidden) - 1, start.table.shape[1])
        table[:, 1 : kept + 1] = start.table[:, :kept]
        table[:, 0] = equal_sizes(table, start.share)
    else:
        kept = min(width, start.table.shape[1])
        table[:, :kept] = start.table[:, :kept]
    weights["embeddings.word_embeddings.weight"] = table
    # Positions beyond the training length then stay neutral.
    weights["embeddings.position_embeddings.weight"][:] = 0.0
    weights["embeddings.token_type_embeddings.weight"][:] = 0.0
    if isinstance(config, MobileBertConfig):
        _start_mobilebert(weights, width, hidden, trigram=config.trigram_input)
    else:
        for name, value in weights.items():
            if ".output.dense.weight" in name:
                value[:] = 0.0
    if head:
        weights[HEAD_PREFIX + "transform.dense.weight"] = np.eye(hidden, dtype=np.float32)
        if has_layer_norm(config):  # how long a row is scores no word
            weights[HEAD_PREFIX + "transform.dense.weight"][0, 0] = 0.0
        norm = HEAD_PREFIX + "transform.LayerNorm.weight"
        weights[norm] = np.full(hidden, 0.1 / np.sqrt(width), np.float32)
        weights[HEAD_PREFIX + "bias"] = start.unigram_log.copy()
    return weights


def has_layer_norm(config: EncoderConfig) -> bool:
    """Whether the states of a student are brought to one size."""
    return not isinstance(config, MobileBertConfig) or config.normalization_type == "layer_norm"


def _start_mobilebert(
    weights: dict[str, np.ndarray], width: int, hidden: int, *, trigram: bool
) -> None:
    """Each word's own features first, then random ones of it and its neighbours."""
    name = "embeddings.embedding_transformation.weight"  # (hidden, following | own | preceding)
    own = width if trigram else 0
    kept = min(width, hidden)
    weights[name][:kept] = 0.0
    weights[name][np.arange(kept), own + np.arange(kept)] = 1.0
    for key, value in weights.items():
        if key.endswith("output.bottleneck.dense.weight"):
            value[:] = 0.0
        elif key.startswith("encoder.") and key.endswith("output.dense.weight"):
            value *= 0.5  # keeps the sum of a stack of residuals near unit size
