"""A student cut from its teacher: equal to it where nothing that matters is cut."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autodistill.distill import pruned as pruned_module
from autodistill.distill.beginning import Material, beginning
from autodistill.distill.linear import Ridge
from autodistill.distill.passage_set import PassageSet
from autodistill.distill.pruned import pruned_weights
from autodistill.distill.recipe import Start, plan
from autodistill.distill.recipes import get_recipe
from autodistill.distill.start import random_weights
from autodistill.distill.teacher_outputs import teacher_outputs
from autodistill.errors import RecipeError
from autodistill.models.checkpoint import HEAD_PREFIX, build_encoder, build_head
from autodistill.models.config import BertConfig, MobileBertConfig

Weights = dict[str, np.ndarray]
SIZES = {"vocab_size": 60, "max_position_embeddings": 32}
TEACHER = BertConfig(4, 24, 4, 32, hidden_act="gelu", **SIZES)
ATTENTION, FEED_FORWARD = "attention.output.dense", "output.dense"


def teacher_weights(config: BertConfig, *, head: bool = False) -> Weights:
    """Random, with biases and norms that are not neutral, and words of unit size."""
    rng = np.random.default_rng(0)
    weights = random_weights(config, rng, head=head)
    for name, value in weights.items():
        if name.endswith(("bias", "LayerNorm.weight")):
            value += 0.3 * rng.standard_normal(value.shape, np.float32)
    weights["embeddings.word_embeddings.weight"] *= 50.0
    return weights


def layer(i: int, name: str) -> str:
    return f"encoder.layer.{i}.{name}"


@pytest.fixture(scope="module")
def cut(make_tiny_teacher, read: PassageSet) -> Callable[..., Weights]:
    """The weights of a student, from those of its teacher and both shapes."""

    def made(weights: Weights, shape: BertConfig, config: BertConfig, *, head=False) -> Weights:
        encoder = build_encoder(shape, weights)
        teacher = make_tiny_teacher(head=head)
        teacher = replace(teacher, config=shape, weights=weights, encoder=encoder)
        return pruned_weights(teacher, config, read, np.random.default_rng(1), head=head)

    return made


def states(config: BertConfig, weights: Weights, passages: PassageSet) -> np.ndarray:
    found = build_encoder(config, weights)(passages.input_ids, passages.attention_mask)
    return np.asarray(found)[passages.attention_mask > 0]


@pytest.fixture(scope="module")
def read(passages) -> PassageSet:
    return passages(200, seed=1)


@pytest.mark.parametrize("depth", [2, 4])
def test_pruned_of_equal_width_is_a_copy(depth: int, cut) -> None:
    weights = teacher_weights(TEACHER, head=True)
    pruned = cut(weights, TEACHER, replace(TEACHER, num_hidden_layers=depth), head=True)
    for name, value in pruned.items():
        source = name
        if name.startswith("encoder.layer."):
            number, rest = name.removeprefix("encoder.layer.").split(".", 1)
            source = layer((int(number) + 1) * 4 // depth - 1, rest)
        np.testing.assert_array_equal(value, weights[source], err_msg=name)


def test_pruned_of_what_does_nothing_is_the_teacher(cut, read: PassageSet) -> None:
    """Two heads of four and half of the neurons add a constant; the others are kept.

    The student's two heads are twice as wide as the teacher's, so that half of each is silent.
    """
    weights = teacher_weights(TEACHER, head=True)
    for i, (first, second) in enumerate(((0, 2), (1, 3), (0, 1), (2, 3))):
        for idle in (first, second):  # one that adds nothing, one whose values are all the same
            rows = slice(idle * 6, idle * 6 + 6)
            if idle == first:
                weights[layer(i, f"{ATTENTION}.weight")][:, rows] = 0.0
            else:
                weights[layer(i, "attention.self.value.weight")][rows] = 0.0
                weights[layer(i, "attention.self.value.bias")][rows] *= 10.0
        weights[layer(i, "intermediate.dense.weight")][i : i + 16] = 0.0
    smaller = replace(TEACHER, num_attention_heads=2, intermediate_size=16)
    pruned = cut(weights, TEACHER, smaller, head=True)
    theirs, ours = states(TEACHER, weights, read), states(smaller, pruned, read)
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    table = weights["embeddings.word_embeddings.weight"]
    np.testing.assert_allclose(
        build_head(smaller, pruned)(ours, table),
        build_head(TEACHER, weights)(theirs, table),
        atol=2e-2,
        rtol=1e-3,
    )


def twins(config: BertConfig) -> tuple[BertConfig, Weights]:
    """A teacher twice as wide whose units come in equal pairs, and that needs half of each head."""
    wide = replace(config, hidden_size=2 * config.hidden_size)
    weights = teacher_weights(wide)
    half, size = config.hidden_size, wide.head_size
    rng = np.random.default_rng(2)
    for name, value in weights.items():
        if ".self." not in name and "intermediate" not in name:  # what makes states
            if name.startswith("embeddings.") and value.ndim == 2:
                value[:, half:] = value[:, :half]
            else:
                value[half:] = value[:half]
        elif name.endswith(("self.value.weight", "self.query.weight")):
            for begin in range(0, wide.hidden_size, size):
                rows = value[begin : begin + size]
                mixed = rng.standard_normal((size, size // 2), np.float32) / size**0.5
                rows[:] = mixed @ rows[: size // 2]
                if name.endswith("self.query.weight"):  # of values, biases may be any
                    bias = weights[name.replace("weight", "bias")][begin : begin + size]
                    bias[:] = mixed @ bias[: size // 2]
    return wide, weights


def test_pruned_of_units_and_heads_that_repeat_others_is_the_teacher(cut, read: PassageSet) -> None:
    """Half of the hidden units, and half of the width of each head, can go."""
    config = BertConfig(2, 12, 2, 32, hidden_act="relu", **SIZES)
    wide, weights = twins(config)
    theirs = states(wide, weights, read)
    np.testing.assert_allclose(theirs[:, 12:], theirs[:, :12], atol=1e-5)
    pruned = cut(weights, wide, config)
    ours = states(config, pruned, read)
    table = weights["embeddings.word_embeddings.weight"]
    units = [
        int(np.abs(table - column[:, None]).sum(0).argmin()) % 12
        for column in pruned["embeddings.word_embeddings.weight"].T
    ]
    assert sorted(units) == list(range(12))  # one of each pair
    error = np.square(ours - theirs[:, units]).mean() / theirs.var()
    assert error < 1e-4


@pytest.mark.parametrize(("heads", "neurons"), [(12, 32), (4, 50), (12, 50)])
def test_pruned_of_a_smaller_teacher_has_silent_parts(
    heads: int, neurons: int, cut, read: PassageSet
) -> None:
    """More heads or neurons than the teacher: it computes the same, if heads are as wide."""
    weights = teacher_weights(TEACHER)
    larger = replace(TEACHER, num_attention_heads=heads, intermediate_size=neurons)
    pruned = cut(weights, TEACHER, larger)
    if heads == 4:
        found, expected = states(larger, pruned, read), states(TEACHER, weights, read)
        np.testing.assert_allclose(found, expected, atol=2e-4)
    for i in range(4):
        output = pruned[layer(i, "output.dense.weight")]
        assert not output[:, 32:].any()
        assert pruned[layer(i, "intermediate.dense.weight")][32:].any() == (neurons > 32)
        columns = pruned[layer(i, f"{ATTENTION}.weight")]
        assert not columns[:, 4 * 24 // heads :].any()
        assert pruned[layer(i, "attention.self.key.weight")][4 * 24 // heads :].any() == (heads > 4)


def test_pruned_makes_up_for_units_that_are_gone(cut, read: PassageSet, monkeypatch) -> None:
    """Cut to two thirds: nearer to the teacher than if they were only left out."""
    weights = teacher_weights(TEACHER)
    config = BertConfig(4, 16, 4, 16, hidden_act="gelu", **SIZES)
    theirs = states(TEACHER, weights, read)

    def unexplained(found: np.ndarray) -> float:
        design = np.column_stack([found, np.ones(len(found))])
        left = theirs - design @ np.linalg.lstsq(design, theirs, rcond=None)[0]
        return float(left.var() / theirs.var())

    made_up = unexplained(states(config, cut(weights, TEACHER, config), read))

    def left_out(_: object, units: np.ndarray, their: np.ndarray) -> Ridge:
        width = their.shape[1]
        return Ridge(np.eye(width, dtype=np.float32)[units], np.zeros(width, np.float32))

    monkeypatch.setattr(pruned_module, "_made_up", left_out)
    assert made_up < 0.9 * unexplained(states(config, cut(weights, TEACHER, config), read))


def test_pruned_start_has_a_fitted_output(teacher, read: PassageSet, tmp_path) -> None:
    """As a full distillation begins: finite, and nothing of the teacher's is changed."""
    recipe = replace(get_recipe("embedding"), start=Start.TEACHER_LAYERS)
    config = BertConfig(1, 16, 4, 24, **SIZES)
    before = {name: value.copy() for name, value in teacher.weights.items()}
    material = Material(read, teacher_outputs(teacher, read, cache_dir=tmp_path), None)
    planned = plan(recipe, teacher, config, steps=2)
    weights = beginning(recipe, planned, teacher, config, material, seed=0)
    assert weights["output.kernel"].shape == (16, 24)
    assert weights["output.kernel"].std() > 0
    assert all(np.isfinite(value).all() for value in weights.values())
    assert not any(name.startswith(HEAD_PREFIX) for name in weights)
    for name, value in before.items():
        np.testing.assert_array_equal(teacher.weights[name], value)


def test_pruned_start_lets_a_narrow_student_have_distilbert(make_tiny_teacher, read) -> None:
    """Its head is cut too, and cosines are of projected states."""
    teacher = make_tiny_teacher(head=True)
    recipe, config = get_recipe("distilbert"), BertConfig(1, 16, 4, 24, **SIZES)
    planned = plan(recipe, teacher, config, steps=2)
    weights = beginning(recipe, planned, teacher, config, Material(read, None, None), seed=0)
    bias = HEAD_PREFIX + "bias"
    np.testing.assert_array_equal(weights[bias], teacher.weights[bias])
    assert weights["projection.1.kernel"].shape == (16, 24)


MOBILE = MobileBertConfig(2, 16, 2, 16, embedding_size=8, intra_bottleneck_size=8, **SIZES)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BertConfig(3, 24, 2, 48, **SIZES), r"num_hidden_layers \(3 of 2\)"),
        (BertConfig(2, 32, 2, 48, **SIZES), r"hidden_size \(32 of 24\)"),
        (BertConfig(2, 24, 2, 48, hidden_act="relu", **SIZES), r"hidden_act \(relu of gelu\)"),
        (MOBILE, r"of its family.* model_type \(mobilebert\)"),
    ],
)
def test_pruned_start_is_refused_to_what_is_no_smaller(config, message: str, teacher) -> None:
    recipe = replace(get_recipe("embedding"), start=Start.TEACHER_LAYERS)
    with pytest.raises(RecipeError, match=message):
        plan(recipe, teacher, config, steps=2)
