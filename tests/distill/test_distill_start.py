"""The closed-form start of a student, against loops and against what it claims to be."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from autodistill.distill.flash import FlashDistiller
from autodistill.distill.linear import fit_ridge
from autodistill.distill.passage_set import PassageSet
from autodistill.distill.start import (
    WordStart,
    contextual_word_means,
    equal_sizes,
    random_start,
    random_weights,
    started_weights,
    word_start,
)
from autodistill.distill.student import StudentProgram
from autodistill.distill.teacher_outputs import TeacherOutputs
from autodistill.models.checkpoint import HEAD_PREFIX, build_encoder, build_head
from autodistill.models.config import BertConfig, EncoderConfig, MobileBertConfig

VOCABULARY = 60
SIZES = {"vocab_size": VOCABULARY, "max_position_embeddings": 32}
NO_NORM = MobileBertConfig(
    num_hidden_layers=3,
    hidden_size=32,
    num_attention_heads=2,
    intermediate_size=24,
    embedding_size=16,
    intra_bottleneck_size=16,
    num_feedforward_networks=2,
    **SIZES,
)
LAYER_NORM = MobileBertConfig(
    num_hidden_layers=3,
    hidden_size=32,
    num_attention_heads=2,
    intermediate_size=24,
    embedding_size=16,
    intra_bottleneck_size=16,
    num_feedforward_networks=1,
    normalization_type="layer_norm",
    hidden_act="gelu",
    **SIZES,
)
WIDE = MobileBertConfig(  # its embedding is wider than its hidden states
    num_hidden_layers=2,
    hidden_size=24,
    num_attention_heads=1,
    intermediate_size=24,
    embedding_size=40,
    intra_bottleneck_size=16,
    num_feedforward_networks=1,
    **SIZES,
)
BERT = BertConfig(3, 32, 2, 40, **SIZES)
SHAPES = {"no_norm": NO_NORM, "layer_norm": LAYER_NORM, "wide": WIDE, "bert": BERT}


def started(config: EncoderConfig, start: WordStart) -> StudentProgram:
    program = StudentProgram(config, pooling_mode="mean", normalize=False)
    weights = started_weights(config, start, np.random.default_rng(0), head=False)
    program.params = program.parameters(weights, head=False)  # type: ignore[attr-defined]
    return program


@pytest.fixture(scope="module")
def distiller(make_distiller: Callable[..., FlashDistiller]) -> FlashDistiller:
    return make_distiller()


def test_start_word_means_are_those_of_a_loop(passages: Callable[..., PassageSet]) -> None:
    few = passages(700, seed=3)  # more than a chunk
    rng = np.random.default_rng(4)
    states = rng.standard_normal((*few.input_ids.shape, 5)).astype(np.float16)
    embeddings = rng.standard_normal((VOCABULARY, 7)).astype(np.float32)
    got = contextual_word_means(embeddings, few, states, prior_count=3.0)

    inputs, targets = [], []
    seen: dict[int, list[np.ndarray]] = {word: [] for word in range(VOCABULARY)}
    for row in range(len(few)):
        for place in range(few.input_ids.shape[1]):
            if few.attention_mask[row, place]:
                word, state = int(few.input_ids[row, place]), states[row, place].astype(float)
                seen[word].append(state)
                inputs.append(embeddings[word])
                targets.append(state)
    prior = fit_ridge(np.array(inputs), np.array(targets), penalty=1e-3)(embeddings)
    wanted = [
        (np.sum(seen[word], axis=0) + 3.0 * prior[word]) / (len(seen[word]) + 3.0)
        for word in range(VOCABULARY)
    ]
    # Float32 sums of some hundred values of unit size against float64.
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_start_a_word_never_seen_has_its_prior(passages: Callable[..., PassageSet]) -> None:
    """If states are a linear function of the embedding, the prior is that function."""
    few = passages(200, seed=3)
    rng = np.random.default_rng(4)
    embeddings = rng.standard_normal((VOCABULARY + 4, 6)).astype(np.float32)
    linear = rng.standard_normal((6, 5)).astype(np.float32)
    means = contextual_word_means(embeddings, few, (embeddings @ linear)[few.input_ids])
    # The penalty, a thousandth of the inputs' variance, shortens the prior by about as much.
    wanted = embeddings @ linear
    assert np.abs(means - wanted).max() < 1e-2 * np.abs(wanted).max()


def test_start_table_is_standard_over_the_text_but_for_padding(distiller: FlashDistiller) -> None:
    table, train = distiller.start.table, distiller.passages
    words = train.input_ids[train.attention_mask > 0]
    np.testing.assert_allclose(table[words].mean(0), 0.0, atol=1e-4)
    std = table[words].std(0)
    assert ((np.abs(std - 1) < 1e-3) | (std < 1e-3)).all()
    assert (table[0] == 0).all()


def test_start_the_first_directions_explain_most(distiller: FlashDistiller) -> None:
    """The mean of the first k columns predicts the embeddings better than of the last k."""
    train, outputs = distiller.passages, distiller.outputs
    mask = train.attention_mask[..., None]
    means = (distiller.start.table[train.input_ids] * mask).sum(1) / mask.sum(1)

    def unexplained(columns: np.ndarray) -> float:
        ridge = fit_ridge(means[:, columns], outputs.passages)
        return float(((ridge(means[:, columns]) - outputs.passages) ** 2).sum())

    order = np.arange(means.shape[1])
    errors = [unexplained(order[:k]) for k in (2, 6, 12, 24)]
    assert errors == sorted(errors, reverse=True)
    assert unexplained(order[:6]) < unexplained(order[-6:])


def test_start_of_a_masked_lm_student_has_the_words_frequencies(
    passages: Callable[..., PassageSet],
) -> None:
    few = passages(100, seed=3)
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((VOCABULARY, 8)).astype(np.float32)
    states = np.zeros((*few.input_ids.shape, 8), np.float16)
    start = word_start(embeddings, few, TeacherOutputs(states, None), pad=0)
    counts = np.bincount(few.input_ids[few.attention_mask > 0], minlength=VOCABULARY) + 0.1
    np.testing.assert_allclose(np.exp(start.unigram_log), counts / counts.sum(), rtol=1e-5)
    weights = started_weights(BERT, start, np.random.default_rng(0), head=True)
    np.testing.assert_array_equal(weights[HEAD_PREFIX + "bias"], start.unigram_log)


@pytest.mark.parametrize("shape", SHAPES)
def test_start_blocks_are_identities(shape: str, distiller: FlashDistiller) -> None:
    """What comes out is what the embedding layer gives, whatever the depth."""
    program = started(SHAPES[shape], distiller.start)
    params = program.params  # type: ignore[attr-defined]
    train = distiller.passages
    ids, mask = train.input_ids[:8], train.attention_mask[:8]
    words = program.words(params, ids)
    hidden = np.asarray(program.hidden(params, jnp.asarray(ids), jnp.asarray(mask)))
    if shape in ("no_norm", "wide"):  # nothing is added, and nothing is rescaled
        np.testing.assert_array_equal(hidden, words)
    else:  # each of up to four norms divides what has variance 1 by sqrt(1 + 1e-5)
        np.testing.assert_allclose(hidden, words, atol=1e-5, rtol=1e-4)


def test_start_no_norm_student_pools_its_own_words(distiller: FlashDistiller) -> None:
    """Its first features are the mean of its words' rows: the table look-up itself."""
    program = started(NO_NORM, distiller.start)
    params = program.params  # type: ignore[attr-defined]
    train = distiller.passages
    mask = train.attention_mask[:, :, None]
    rows = distiller.start.table[train.input_ids][..., :16]
    pooled = program.pooled(params, train.input_ids, train.attention_mask)
    # Float32 sums of at most 20 values of unit size.
    np.testing.assert_allclose(pooled[:, :16], (rows * mask).sum(1) / mask.sum(1), atol=1e-5)
    alone = program.pooled_words(params, train.input_ids, train.attention_mask)
    np.testing.assert_allclose(pooled, alone, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_start_padding_changes_no_vector(shape: str, distiller: FlashDistiller) -> None:
    """Neighbours in a trigram included: the padded row of the table is zero."""
    config = SHAPES[shape]
    program = started(config, distiller.start)
    params = program.params  # type: ignore[attr-defined]
    train = distiller.passages
    short = np.flatnonzero(train.attention_mask.sum(1) == 10)[:2]
    ids, mask = train.input_ids[short], train.attention_mask[short]
    padded = program.pooled(params, ids, mask)
    bare = program.pooled(params, ids[:, :10], mask[:, :10])
    # Sums of other lengths round differently.
    np.testing.assert_allclose(padded, bare, atol=1e-5)


@pytest.mark.parametrize("shape", ["no_norm", "layer_norm", "bert"])
def test_start_masked_lm_scores_begin_at_the_frequencies(
    shape: str, make_distiller: Callable[..., FlashDistiller]
) -> None:
    start, config = make_distiller(head=True).start, SHAPES[shape]
    weights = started_weights(config, start, np.random.default_rng(0), head=True)
    encoder, head = build_encoder(config, weights), build_head(config, weights)
    hidden = encoder(jnp.asarray(np.full((1, 5), 7)))
    logits = head(hidden, jnp.asarray(weights["embeddings.word_embeddings.weight"]))
    spread = np.asarray(logits)[0] - start.unigram_log
    assert np.isfinite(spread).all() and np.abs(spread).max() < 5.0


def test_start_random_weights_depend_on_the_generator_alone() -> None:
    one, same, other = (
        random_weights(NO_NORM, np.random.default_rng(seed), head=True) for seed in (0, 0, 1)
    )
    assert all((one[name] == same[name]).all() for name in one)
    assert any((one[name] != other[name]).any() for name in one)
    assert all(np.isfinite(value).all() for value in one.values())


@pytest.mark.parametrize(
    ("depth", "norm"),
    [
        pytest.param(12, "no_norm", marks=pytest.mark.slow),
        (2, "no_norm"),
        (2, "layer_norm"),
    ],
)
def test_random_starts_of_any_depth_keep_states_and_gradients_in_bounds(
    depth: int, norm: str
) -> None:
    """Without a norm, the mean square of variance-preserving blocks grows tenfold with each."""
    config = MobileBertConfig(
        num_hidden_layers=depth,
        hidden_size=64,
        num_attention_heads=4,
        intermediate_size=64,
        embedding_size=32,
        intra_bottleneck_size=32,
        num_feedforward_networks=4,
        normalization_type=norm,
        **SIZES,
    )
    weights = random_start(config, np.random.default_rng(0), head=False)
    graph, state = nnx.split(build_encoder(config, weights))
    ids = jnp.asarray(np.random.default_rng(1).integers(5, VOCABULARY, (4, 16)))

    def size(state: nnx.State) -> jax.Array:
        return jnp.mean(nnx.merge(graph, state)(ids, jnp.ones_like(ids)) ** 2)

    value, gradient = jax.jit(jax.value_and_grad(size))(state)
    first = jnp.mean(build_encoder(config, weights).embeddings(ids, None) ** 2)
    assert 0.5 * first < value < 50 * first
    norms = [float(jnp.linalg.norm(leaf)) for leaf in jax.tree.leaves(gradient)]
    assert np.isfinite(norms).all() and max(norms) < 100 * value


def test_equal_sizes_make_rows_of_one_size() -> None:
    """But for those longer than nearly all of the text, and those that stand for no word."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 6)).astype(np.float32) * rng.uniform(0.2, 2, (200, 1))
    rows[0] = 0.0
    share = rng.uniform(size=200)
    share /= share.sum()
    column = equal_sizes(rows, share)
    squares = (rows**2).sum(1) + column**2
    assert column[0] == 0
    longer = (column == 0) & (np.arange(200) > 0)
    assert 0.02 < share[longer].sum() <= 0.05 + share.max()
    same = squares[~longer][1:]
    np.testing.assert_allclose(same, same[0], rtol=1e-5)  # sums of squares in float32
    assert (squares[longer] >= same[0] * (1 - 1e-5)).all()


@pytest.mark.parametrize("shape", ["layer_norm", "bert"])
def test_start_a_layer_norm_keeps_how_much_each_word_says(
    shape: str, distiller: FlashDistiller
) -> None:
    """The states' first features are the table's columns times one number for all words."""
    config = SHAPES[shape]
    sizes = np.random.default_rng(0).uniform(0.3, 1.5, (VOCABULARY, 1)).astype(np.float32)
    start = replace(distiller.start, table=distiller.start.table * sizes)
    program = started(config, start)
    params = program.params  # type: ignore[attr-defined]
    words = np.arange(5, VOCABULARY)[:, None]  # alone: no neighbours
    states = np.asarray(program.words(params, words))[:, 0]
    kept = min(config.embedding_width - 1, start.table.shape[1])
    features = states[:, 1 : kept + 1] - states.mean(1, keepdims=True)
    lengths = np.linalg.norm(start.table[words[:, 0], :kept], axis=1)
    short = lengths <= np.quantile(lengths, 0.7)  # the norm cuts the longest
    ratios = (np.linalg.norm(features, axis=1) / lengths)[short]
    # The norm also subtracts the mean of all features, and MobileBERT's random ones differ a
    # little in size from word to word. Of rows that were all brought to one length, the ratio
    # would vary as one over the length does.
    assert ratios.std() < 0.12 * ratios.mean()
    assert (1 / lengths[short]).std() > 0.25 * (1 / lengths[short]).mean()
