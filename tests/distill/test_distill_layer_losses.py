"""Losses between layers: feature maps, attention and relations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from autodistill.distill.attention import attention_divergence, attention_scores, score_error
from autodistill.distill.feature_maps import feature_map_errors
from autodistill.distill.relations import relation_divergence, relation_heads
from autodistill.errors import RecipeError

MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
REAL = MASK > 0
# float32 against float64: sums of a few dozen terms of size one.
SINGLE = {"rtol": 2e-5, "atol": 2e-6}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def probabilities(scores):
    """As attention gives them: no weight on padding."""
    return softmax(np.where(MASK[:, None, None, :] > 0, scores, -np.inf), axis=-1)


def test_feature_maps_are_the_float64_formula(rng):
    student = rng.normal(0.5, 2.0, (2, 5, 8))
    teacher = rng.normal(-1.0, 1.0, (2, 5, 8))
    found = feature_map_errors(jnp.asarray(student), jnp.asarray(teacher))

    def normal(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)

    pattern = ((normal(student) - normal(teacher)) ** 2).mean(-1)
    np.testing.assert_allclose(found.normalised, pattern, **SINGLE)
    np.testing.assert_allclose(found.mean, (student.mean(-1) - teacher.mean(-1)) ** 2, **SINGLE)
    np.testing.assert_allclose(found.variance, abs(student.var(-1) - teacher.var(-1)), **SINGLE)


def test_feature_maps_normalise_as_torch_does(rng):
    torch = pytest.importorskip("torch", reason="it is the other implementation")
    student, teacher = rng.normal(size=(2, 3, 8)).astype(np.float32)
    ours = feature_map_errors(jnp.asarray(student), jnp.asarray(teacher)).normalised
    normal = [
        torch.nn.functional.layer_norm(torch.tensor(x), (8,), eps=1e-6) for x in (student, teacher)
    ]
    np.testing.assert_allclose(ours, (normal[0] - normal[1]).square().mean(-1).numpy(), **SINGLE)


def test_feature_maps_split_what_moves_and_scales(rng):
    """A shifted and stretched copy has the right pattern and only that."""
    teacher = jnp.asarray(rng.normal(size=(1, 4, 64)))
    found = feature_map_errors(3.0 * teacher + 2.0, teacher)
    np.testing.assert_allclose(found.normalised, 0, atol=1e-5)
    np.testing.assert_allclose(found.mean, np.square(2 * teacher.mean(-1) + 2), rtol=1e-4)
    np.testing.assert_allclose(found.variance, 8 * teacher.var(-1), rtol=1e-4)
    assert all(not part.any() for part in feature_map_errors(teacher, teacher))


def test_attention_is_the_float64_formula(rng):
    student, teacher = (probabilities(rng.normal(size=(2, 3, 5, 5))) for _ in range(2))
    p, q = np.where(teacher > 0, teacher, 1), np.where(teacher > 0, student, 1)
    expected = (teacher * np.log(p / q)).sum(-1).mean(1)
    found = attention_divergence(jnp.asarray(student), jnp.asarray(teacher))
    np.testing.assert_allclose(found, expected, **SINGLE)
    np.testing.assert_allclose(
        attention_divergence(jnp.asarray(teacher), jnp.asarray(teacher)), 0, atol=1e-6
    )


def test_attention_has_its_direction():
    """A sure teacher against an even student costs ln 2, never more."""
    even, sure = jnp.full((1, 1, 1, 2), 0.5), jnp.array([[[[1.0, 0.0]]]])
    assert float(attention_divergence(even, sure)[0, 0]) == pytest.approx(np.log(2), rel=1e-6)
    assert float(attention_divergence(sure, even)[0, 0]) > 10


def test_scores_are_the_scaled_products_and_their_error_leaves_padding_out(rng):
    query, key = rng.normal(size=(2, 2, 5, 6))
    scores = attention_scores(jnp.asarray(query), jnp.asarray(key), 3)
    expected = np.stack(
        [query[..., i : i + 2] @ key[..., i : i + 2].swapaxes(1, 2) / 2**0.5 for i in (0, 2, 4)], 1
    )
    np.testing.assert_allclose(scores, expected, **SINGLE)
    teacher = rng.normal(size=(2, 3, 5, 5))
    squares = (expected - teacher) ** 2
    found = score_error(scores, jnp.asarray(teacher), jnp.asarray(MASK))
    np.testing.assert_allclose(found[0], squares[0].mean((0, 2)), **SINGLE)
    np.testing.assert_allclose(found[1], squares[1, :, :, :3].mean((0, 2)), **SINGLE)


@pytest.mark.parametrize("loss", [attention_divergence, lambda s, t: score_error(s, t, MASK)])
def test_attention_of_other_head_counts_is_refused(loss):
    with pytest.raises(RecipeError, match="equal num_attention_heads; got 2 and 4"):
        loss(jnp.ones((2, 2, 5, 5)), jnp.ones((2, 4, 5, 5)))
    with pytest.raises(ValueError, match="one shape"):
        loss(jnp.ones((2, 2, 5, 5)), jnp.ones((2, 2, 4, 5)))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_relations_are_the_float64_formula(rng, heads):
    """The student is half as wide, so no other loss could compare the two."""
    student, teacher = rng.normal(size=(2, 5, 8)), rng.normal(size=(2, 5, 16))

    def relations(states):
        size = states.shape[-1] // heads
        parts = [states[..., i * size : (i + 1) * size] for i in range(heads)]
        return np.stack(
            [probabilities((x @ x.swapaxes(1, 2))[:, None] / size**0.5)[:, 0] for x in parts], 1
        )

    p, q = relations(teacher), relations(student)
    expected = (p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, q, 1))).sum(-1).mean(1)
    arrays = (jnp.asarray(student), jnp.asarray(teacher), jnp.asarray(MASK))
    np.testing.assert_allclose(relation_divergence(*arrays, heads=heads), expected, **SINGLE)


def test_relations_are_those_of_torch(rng):
    torch = pytest.importorskip("torch", reason="it is the other implementation")
    student, teacher = rng.normal(size=(2, 2, 5, 8)).astype(np.float32)

    def log_relations(x):
        split = torch.tensor(x).view(2, 5, 2, 4).transpose(1, 2)
        products = split @ split.transpose(-1, -2) / 4**0.5
        padding = torch.tensor(MASK == 0)[:, None, None, :]
        return torch.log_softmax(products.masked_fill(padding, -1e9), -1)

    theirs = torch.nn.functional.kl_div(
        log_relations(student), log_relations(teacher), reduction="none", log_target=True
    )
    ours = relation_divergence(
        jnp.asarray(student), jnp.asarray(teacher), jnp.asarray(MASK), heads=2
    )
    np.testing.assert_allclose(ours, theirs.sum(-1).mean(1).numpy(), **SINGLE)


def test_relations_of_a_turned_copy_are_equal(rng):
    """Products within a head do not change under a rotation of that head."""
    teacher = rng.normal(size=(1, 5, 8))
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    turned = np.concatenate([teacher[..., :4] @ turn, teacher[..., 4:] @ turn.T], -1)
    mask = jnp.ones((1, 5))
    found = relation_divergence(jnp.asarray(turned), jnp.asarray(teacher), mask, heads=2)
    np.testing.assert_allclose(found, 0, atol=1e-6)
    assert (
        relation_divergence(jnp.asarray(turned), jnp.asarray(teacher), mask, heads=4) > 1e-3
    ).all()


def test_relation_heads_must_divide(rng):
    states = jnp.ones((2, 5, 6))
    with pytest.raises(RecipeError, match="must divide the widths; got 4 heads and a width of 6"):
        relation_divergence(states, states, jnp.asarray(MASK), heads=4)
    with pytest.raises(ValueError, match="one batch and length"):
        relation_divergence(states, states[:, :4], jnp.asarray(MASK), heads=2)
    for student in range(1, 60):
        heads = relation_heads(student, 384)
        assert student % heads == 0 == 384 % heads
        assert not any(student % n == 0 == 384 % n for n in range(heads + 1, 49))


LAYER_LOSSES = {
    "normalised": lambda s, t: feature_map_errors(s, t).normalised,
    "mean": lambda s, t: feature_map_errors(s, t).mean,
    "variance": lambda s, t: feature_map_errors(s, t).variance,
    "attention": lambda s, t: attention_divergence(*(soft(x) for x in (s, t))),
    "scores": lambda s, t: score_error(
        attention_scores(s, s, 2), attention_scores(t, t, 2), jnp.asarray(MASK)
    ),
    "relations": lambda s, t: relation_divergence(s, t, jnp.asarray(MASK), heads=2),
}


def soft(states):
    """Attention within ``states``, padding left out."""
    scores = attention_scores(states, states, 2)
    return jax.nn.softmax(jnp.where(MASK[:, None, None, :] > 0, scores, -1e30), axis=-1)


@pytest.mark.parametrize("name", LAYER_LOSSES)
def test_layer_losses_see_no_padding_and_teach_the_student_alone(rng, name):
    student, teacher = (jnp.asarray(x) for x in rng.normal(size=(2, 2, 5, 8)))

    def loss(student, teacher):
        return jnp.sum(jnp.where(REAL, LAYER_LOSSES[name](student, teacher), 0.0))

    value, (to_student, to_teacher) = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(
        student, teacher
    )
    assert value > 1e-3 and to_student[REAL].any()
    assert not to_teacher.any() and not to_student[~REAL].any()
    noise = jnp.where(REAL[..., None], 0.0, 100.0)
    polluted, _ = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(
        student + noise, teacher - noise
    )
    np.testing.assert_allclose(polluted, value, rtol=1e-5)
    assert float(loss(teacher, teacher)) == pytest.approx(0, abs=1e-5)
    assert LAYER_LOSSES[name](student.astype(jnp.bfloat16), teacher).dtype == jnp.float32
