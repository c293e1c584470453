"""What is kept of a teacher: every term has the loss that it has without a cache."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autodistill.distill.layer_terms import (
    AttentionProbabilities,
    AttentionScores,
    Blocks,
    CosineStates,
    FeatureMap,
    HiddenStates,
    Relations,
    WordStates,
)
from autodistill.distill.output_terms import (
    MaskedLM,
    PassageCosine,
    PassageEmbedding,
    PassageSimilarity,
    SoftTargets,
    TokenStates,
)
from autodistill.distill.quantities import (
    SoftTargetOutputs,
    State,
    batch_key,
    kept_view,
)
from autodistill.distill.terms import Compared
from autodistill.distill.views import View, teacher_view

ROWS, WIDTH, HEADS, VOCABULARY = 8, 24, 2, 60
LAYERS = (1, 2)
LAYER_TERMS = (
    WordStates(),
    HiddenStates(),
    CosineStates(),
    *(FeatureMap(part) for part in ("normalised", "mean", "variance")),
    AttentionProbabilities(),
    AttentionScores(),
    *(Relations(of) for of in ("query", "key", "value")),
    Blocks(),
)
TERMS = {
    "masked": (MaskedLM(), SoftTargets(), SoftTargets(temperature=2.0), *LAYER_TERMS),
    "embedding": (TokenStates(), PassageEmbedding(), PassageCosine(), PassageSimilarity()),
}


def student(length: int) -> View:
    """Of random numbers: what matters is the teacher's side."""
    random = np.random.default_rng(5)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(random.standard_normal(shape), jnp.float32)

    def attended() -> dict[str, jax.Array]:
        scores = normal(ROWS, HEADS, length, length)
        parts = {of: normal(ROWS, length, WIDTH) for of in ("query", "key", "value")}
        return {"probabilities": jax.nn.softmax(scores), **parts}

    return View(
        SimpleNamespace(num_attention_heads=HEADS),
        {i: normal(ROWS, length, WIDTH) for i in range(3)},
        {i: attended() for i in (1, 2)},
        normal(ROWS, 3, VOCABULARY),
        normal(ROWS, length, WIDTH),
        normal(ROWS, WIDTH),
        run_layers=lambda hidden, begin, end: hidden * 0.5 + begin - end,
    )


@pytest.fixture(scope="module", params=["masked", "embedding"])
def compared(request, make_tiny_teacher, passages):
    """Losses of all terms without a cache, and through arrays as they are kept."""
    head = request.param == "masked"
    terms, teacher = TERMS[request.param], make_tiny_teacher(head=head)
    text = passages(ROWS, seed=3, masked=head)
    batch = {"ids": text.input_ids, "mask": text.attention_mask}
    if head:
        batch |= vars(text.masked)
    quantities = sorted(
        set().union(*(term.reads(LAYERS, VOCABULARY) for term in terms)), key=lambda one: one.name
    )
    ours = student(text.input_ids.shape[1])
    scale = {"tokens": 1.0, "passages": 1.0}

    def losses(theirs: View, batch) -> list[jax.Array]:
        return [term(Compared(ours, theirs, LAYERS, batch, {}, scale)) for term in terms]

    @jax.jit
    def live(weights, batch):
        theirs = teacher_view(teacher, weights, batch, depth=2, scan=False)
        kept = {
            batch_key(one, field): value
            for one in quantities
            for field, value in one.take(theirs).items()
        }
        return losses(theirs, batch), kept

    @jax.jit
    def from_kept(batch):
        return losses(kept_view(teacher.config, quantities, batch), batch)

    expected, kept = live(dict(teacher.weights), batch)
    found = from_kept(batch | kept)
    weights = {"tokens": batch["mask"], "passages": np.ones(ROWS), "places": batch.get("weights")}
    return terms, expected, found, weights, kept


def test_quantities_every_term_has_the_loss_that_it_has_without(compared) -> None:
    """Kept values are within 2**-11 of themselves, and losses here are of order 1 and more."""
    terms, expected, found, weights, _ = compared
    for term, one, other in zip(terms, expected, found, strict=True):
        counts = weights[term.kind] > 0
        assert np.abs(one[counts]).max() > 0.01, term
        np.testing.assert_allclose(
            other[counts], one[counts], rtol=2e-3, atol=2e-3, err_msg=str(term)
        )


def test_quantities_all_classes_give_the_whole_divergence(compared) -> None:
    """And passages, which are float32 too; what is left is the order of float32 sums."""
    terms, expected, found, weights, _ = compared
    exact = (SoftTargets, PassageEmbedding, PassageCosine, PassageSimilarity, MaskedLM)
    checked = 0
    for term, one, other in zip(terms, expected, found, strict=True):
        if isinstance(term, exact):
            counts = weights[term.kind] > 0
            np.testing.assert_allclose(other[counts], one[counts], rtol=1e-5, atol=1e-6)
            checked += 1
    assert checked >= 2


def test_quantities_are_half_as_large(compared) -> None:
    """But for the few that are not: passages, probabilities of words, one scale per token."""
    for name, value in compared[-1].items():
        single = "passages" in name or ("soft targets" in name and name.endswith("values"))
        expected = "float32" if single else "uint16" if name.endswith("classes") else "float16"
        assert value.dtype.name == expected, name


def view_of(states=None, logits=None) -> View:
    return View(None, {} if states is None else {1: states}, {}, logits, None, None)


def test_quantities_states_beyond_half_precision_keep_their_digits() -> None:
    """MobileBERT's first token has values of 1e7 beside values of 1."""
    random = np.random.default_rng(0)
    states = random.standard_normal((2, 3, 50)).astype(np.float32)
    states[0, 0, :2] = 1.3e7, -4e6
    states[1, 2, 0] = 65504.0
    kept = State(1).take(view_of(jnp.asarray(states)))
    assert {name: value.dtype.name for name, value in kept.items()} == {
        "values": "float16",
        "scale": "float16",
    }
    assert np.asarray(kept["scale"]).tolist() == [[256, 1, 1], [1, 1, 1]]
    batch = {batch_key(State(1), name): value for name, value in kept.items()}
    found = np.asarray(kept_view(None, [State(1)], batch).states[1])
    # 11 bits, down to the least normal float16, 6e-5, under the scale.
    np.testing.assert_allclose(found, states, rtol=2**-11, atol=6.2e-5 * 2**-11 * 256)


def test_quantities_the_likeliest_classes_are_kept() -> None:
    """Of logits, by NumPy in float64; all other classes are what is missing of 1."""
    random = np.random.default_rng(1)
    logits = 3 * random.standard_normal((2, 4, 40))
    kept = SoftTargetOutputs(2.0, 5).take(view_of(logits=jnp.asarray(logits, jnp.float32)))
    order = np.argsort(-logits, axis=-1)[..., :5]
    exact = logits / 2 - np.log(np.exp(logits / 2).sum(-1, keepdims=True))
    np.testing.assert_array_equal(kept["classes"], order)
    assert kept["classes"].dtype == np.uint16
    np.testing.assert_allclose(kept["values"], np.take_along_axis(exact, order, axis=-1), rtol=1e-5)


def test_quantities_large_vocabularies_have_large_numbers() -> None:
    """And no more classes are kept than there are."""

    def classes(vocabulary: int, count: int) -> jax.ShapeDtypeStruct:
        logits = jax.ShapeDtypeStruct((1, 2, vocabulary), jnp.float32)
        take = SoftTargetOutputs(1.0, count).take
        return jax.eval_shape(lambda x: take(view_of(logits=x)), logits)["classes"]

    assert classes(2**16, 3).dtype == np.uint16
    assert classes(2**16 + 1, 3).dtype == np.int32
    assert classes(10, 64).shape == (1, 2, 10)
