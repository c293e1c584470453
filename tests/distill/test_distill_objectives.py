"""Losses against the float64 formulas, their limits, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from autodistill.distill.objectives import (
    cosine_distance,
    label_cross_entropy,
    mean_squared_error,
    similarity_divergence,
    soft_target_kl,
    state_error,
    top_k_kl,
    weighted_mean,
)

# float32 against float64: 24 bits and sums of a few dozen terms leave about 1e-6.
SINGLE = {"rtol": 2e-6, "atol": 2e-6}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_divergence_is_the_float64_formula(rng, temperature):
    """At 0.5 and 4 too, where a lost ``T**2`` shows."""
    student, teacher = rng.normal(0, 2, (2, 3, 5, 11))
    p = softmax(teacher / temperature, axis=-1)
    log_q = log_softmax(student / temperature, axis=-1)
    expected = temperature**2 * (p * (np.log(p) - log_q)).sum(-1)
    found = soft_target_kl(jnp.asarray(student), jnp.asarray(teacher), temperature=temperature)
    assert found.shape == (3, 5)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, **SINGLE)


def test_divergence_has_its_direction():
    """From the teacher: a sure teacher against an even student costs ln 2, never more."""
    even, sure = jnp.zeros((1, 2)), jnp.array([[40.0, 0.0]])
    assert float(soft_target_kl(even, sure)[0]) == pytest.approx(np.log(2), rel=1e-6)
    assert float(soft_target_kl(sure, even)[0]) > 10  # reversed, it grows without bound


def test_divergence_is_zero_at_the_teacher_and_positive_elsewhere(rng):
    student, teacher = (jnp.asarray(x) for x in rng.normal(size=(2, 50, 7)))
    np.testing.assert_allclose(soft_target_kl(teacher + 3.0, teacher), 0, atol=1e-6)
    assert (soft_target_kl(student, teacher) > 0).all()


def test_divergence_at_a_high_temperature_is_half_the_variance(rng):
    """``T**2 KL -> var(student - teacher) / 2`` over classes, as the logits all shrink."""
    student, teacher = rng.normal(size=(2, 4, 9))
    found = soft_target_kl(jnp.asarray(student), jnp.asarray(teacher), temperature=300.0)
    # Third-order terms are of relative size 1/T; float32 loses 1e-7 * T**2 = 0.01 of 0.5.
    np.testing.assert_allclose(found, (student - teacher).var(-1) / 2, rtol=0.05)


def test_divergence_is_defined_for_extreme_scores():
    student, teacher = jnp.array([[1e4, -1e4, 0.0]]), jnp.array([[-1e4, 1e4, 0.0]])
    assert np.isfinite(soft_target_kl(student, teacher)).all()


@pytest.mark.parametrize(
    "loss",
    [
        soft_target_kl,
        state_error,
        mean_squared_error,
        cosine_distance,
        similarity_divergence,
        lambda s, t: top_k_kl(s, jax.nn.log_softmax(t)[..., :3], jnp.tile(jnp.arange(3), (4, 1))),
    ],
    ids=["soft", "state", "squared", "cosine", "similarity", "top k"],
)
def test_no_gradient_reaches_the_teacher(rng, loss):
    student, teacher = (jnp.asarray(x) for x in rng.normal(size=(2, 4, 5)))
    to_student, to_teacher = jax.grad(lambda s, t: loss(s, t).sum(), argnums=(0, 1))(
        student, teacher
    )
    assert not to_teacher.any()
    assert to_student.any()


def test_the_gradient_of_the_divergence_is_the_difference_of_probabilities(rng):
    """``T (softmax(student / T) - softmax(teacher / T))``."""
    student, teacher = rng.normal(size=(2, 1, 6))
    found = jax.grad(lambda s: soft_target_kl(s, jnp.asarray(teacher), temperature=2.0).sum())(
        jnp.asarray(student)
    )
    expected = 2.0 * (softmax(student / 2, axis=-1) - softmax(teacher / 2, axis=-1))
    np.testing.assert_allclose(found, expected, **SINGLE)


def test_state_error_is_the_squared_distance(rng):
    student, teacher = rng.normal(size=(2, 3, 4, 6)).astype(np.float16)
    found = state_error(jnp.asarray(student), jnp.asarray(teacher))
    expected = ((student.astype(float) - teacher.astype(float)) ** 2).sum(-1)
    assert found.dtype == jnp.float32  # half precision comes in, single goes on
    np.testing.assert_allclose(found, expected, **SINGLE)


def test_cross_entropy_is_the_float64_formula(rng):
    logits, labels = rng.normal(0, 3, (2, 4, 9)), rng.integers(0, 9, (2, 4))
    expected = -np.take_along_axis(log_softmax(logits, axis=-1), labels[..., None], -1)[..., 0]
    found = label_cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(found, expected, **SINGLE)
    even = label_cross_entropy(jnp.zeros((1, 8)), jnp.array([3]))
    assert float(even[0]) == pytest.approx(np.log(8), rel=1e-6)


@pytest.mark.parametrize(
    "weights", [[1, 1, 0, 0], [0, 0, 0, 1], [0.1, 0.2, 0.0, 0.05], [3, 1, 2, 9]]
)
def test_weighted_mean_is_numpys_average(rng, weights):
    """Weights that sum to less than 1 as well as to more."""
    values = rng.normal(size=4)
    found = weighted_mean(jnp.asarray(values), jnp.asarray(weights))
    np.testing.assert_allclose(found, np.average(values, weights=weights), **SINGLE)


def test_padding_does_not_change_a_mean(rng):
    values = rng.normal(size=(2, 5))
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    polluted = np.where(mask > 0, values, 1e9)
    expected = values[mask > 0].mean()
    found = weighted_mean(jnp.asarray(polluted), jnp.asarray(mask))
    np.testing.assert_allclose(found, expected, **SINGLE)


def test_without_any_weight_the_mean_is_zero():
    assert float(weighted_mean(jnp.ones(3), jnp.zeros(3))) == 0.0
    gradient = jax.grad(lambda v: weighted_mean(v, jnp.zeros(3)))(jnp.ones(3))
    assert gradient.tolist() == [0.0, 0.0, 0.0]


def test_all_of_it_traces(rng):
    logits = jnp.asarray(rng.normal(size=(3, 5)))

    @jax.jit
    def loss(logits, weights):
        parts = soft_target_kl(logits, logits * 2) + state_error(logits, logits)
        return weighted_mean(parts + label_cross_entropy(logits, jnp.arange(3)), weights)

    assert np.isfinite(loss(logits, jnp.ones(3)))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match="temperature must be positive; got"):
        soft_target_kl(jnp.zeros((1, 2)), jnp.zeros((1, 2)), temperature=temperature)


@pytest.mark.parametrize(
    ("loss", "shapes"),
    [
        (soft_target_kl, [(2, 3), (1, 3)]),
        (state_error, [(2, 3), (3,)]),
        (mean_squared_error, [(2, 3), (2, 1)]),
        (cosine_distance, [(2, 3), (2, 1)]),
        (similarity_divergence, [(3, 3), (4, 3)]),
        (label_cross_entropy, [(2, 3), (2, 1)]),
        (weighted_mean, [(2, 3), (2,)]),
    ],
)
def test_shapes_that_would_broadcast_are_refused(loss, shapes):
    first, second = (jnp.zeros(shape, jnp.int32) for shape in shapes)
    with pytest.raises(ValueError, match="both must have one shape; got"):
        loss(first, second)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_losses_are_those_of_torch(rng, temperature):
    torch = pytest.importorskip("torch", reason="it is the other implementation")
    functional = torch.nn.functional
    student, teacher = rng.normal(0, 2, (2, 6, 11)).astype(np.float32)
    labels = rng.integers(0, 11, 6)
    s, t = torch.tensor(student), torch.tensor(teacher)
    pairs = {
        "kl": (
            soft_target_kl(jnp.asarray(student), jnp.asarray(teacher), temperature=temperature),
            functional.kl_div(
                functional.log_softmax(s / temperature, -1),
                functional.log_softmax(t / temperature, -1),
                reduction="none",
                log_target=True,
            ).sum(-1)
            * temperature**2,
        ),
        "labels": (
            label_cross_entropy(jnp.asarray(student), jnp.asarray(labels)),
            functional.cross_entropy(s, torch.tensor(labels), reduction="none"),
        ),
        "cosine": (
            cosine_distance(jnp.asarray(student), jnp.asarray(teacher)),
            functional.cosine_embedding_loss(s, t, torch.ones(6), reduction="none"),
        ),
        "squared": (
            mean_squared_error(jnp.asarray(student), jnp.asarray(teacher)),
            functional.mse_loss(s, t, reduction="none").mean(-1),
        ),
    }
    for name, (ours, theirs) in pairs.items():
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=2e-5, atol=2e-6, err_msg=name)


def top_of(teacher, temperature, k):
    """The teacher's ``k`` likeliest classes, in float64."""
    log_p = log_softmax(teacher / temperature, axis=-1)
    classes = np.argsort(-log_p, axis=-1)[..., :k]
    return np.take_along_axis(log_p, classes, -1), classes


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.5), (4, 4.0), (10, 1.0)])
def test_the_top_classes_and_all_others_as_one(rng, temperature, k):
    student, teacher = rng.normal(0, 2, (2, 3, 5, 11))
    log_p, classes = top_of(teacher, temperature, k)
    q = np.take_along_axis(softmax(student / temperature, axis=-1), classes, -1)
    joined_p = np.concatenate([np.exp(log_p), 1 - np.exp(log_p).sum(-1, keepdims=True)], -1)
    joined_q = np.concatenate([q, 1 - q.sum(-1, keepdims=True)], -1)
    expected = temperature**2 * (joined_p * np.log(joined_p / joined_q)).sum(-1)
    arrays = (jnp.asarray(student), jnp.asarray(log_p), jnp.asarray(classes))
    found = top_k_kl(*arrays, temperature=temperature)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5)
    whole = soft_target_kl(arrays[0], jnp.asarray(teacher), temperature=temperature)
    assert (found <= whole + 1e-5).all()


def test_the_top_classes_are_exact_where_they_are_all(rng):
    student, teacher = rng.normal(0, 2, (2, 4, 9))
    log_p, classes = top_of(teacher, 2.0, 9)
    found = top_k_kl(
        jnp.asarray(student), jnp.asarray(log_p), jnp.asarray(classes), temperature=2.0
    )
    whole = soft_target_kl(jnp.asarray(student), jnp.asarray(teacher), temperature=2.0)
    np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("k", [3, 9])
def test_at_the_teacher_the_top_classes_cost_nothing_and_pull_nowhere(rng, k):
    teacher = rng.normal(0, 2, (4, 9))
    log_p, classes = (jnp.asarray(x) for x in top_of(teacher, 1.0, k))
    value, gradient = jax.value_and_grad(lambda s: top_k_kl(s, log_p, classes).sum())(
        jnp.asarray(teacher, jnp.float32)
    )
    assert float(value) == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_similarities_are_the_float64_formula(rng):
    student, teacher = rng.normal(size=(5, 7)), rng.normal(size=(5, 3))

    def distribution(vectors):
        directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine = directions @ directions.T
        np.fill_diagonal(cosine, -np.inf)
        return softmax(cosine / 0.1, axis=-1)

    p, q = distribution(teacher), distribution(student)
    logs = np.log(np.where(p > 0, p, 1) / np.where(q > 0, q, 1))
    found = similarity_divergence(jnp.asarray(student), jnp.asarray(teacher), temperature=0.1)
    # Rounding errors of a cosine, 1e-7, are divided by the temperature.
    np.testing.assert_allclose(found, (p * logs).sum(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        similarity_divergence(jnp.asarray(3 * student), jnp.asarray(student)), 0, atol=1e-5
    )


def test_similarities_need_something_to_choose_from():
    with pytest.raises(ValueError, match="three passages or more; got 2"):
        similarity_divergence(jnp.ones((2, 3)), jnp.ones((2, 3)))


def test_a_zero_vector_has_a_cosine_and_a_gradient():
    value, gradient = jax.value_and_grad(lambda s: cosine_distance(s, jnp.ones((1, 3))).sum())(
        jnp.zeros((1, 3))
    )
    assert float(value) == 1.0 and np.isfinite(gradient).all()
