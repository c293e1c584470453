"""Recipes: when they apply, what they train and for how long."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autodistill.distill import layer_map as maps
from autodistill.distill.recipe import Planned, Start, plan, settled
from autodistill.distill.recipes import RECIPES, get_recipe
from autodistill.distill.start import random_start
from autodistill.distill.terms import Compared
from autodistill.distill.views import student_view, teacher_view
from autodistill.errors import RecipeError
from autodistill.models.config import BertConfig, MobileBertConfig
from autodistill.teacher import Teacher

SIZES = {"vocab_size": 60, "max_position_embeddings": 32}
NARROW = BertConfig(2, 16, 2, 32, **SIZES)
NAMES = [  # of one weight each: what is at stake is which layers they belong to
    "embeddings.word_embeddings.weight",
    "encoder.layer.0.attention.self.query.weight",
    "encoder.layer.1.attention.self.query.weight",
    "cls.predictions.bias",
    "output.kernel",
    "token_output.kernel",
    *(f"projection.{i}.kernel" for i in range(3)),
    "inlet.1.kernel",
]


@pytest.fixture(scope="module")
def teachers(make_tiny_teacher: Callable[..., Teacher]) -> dict[str, Teacher]:
    """Both of two layers, 24 wide, two heads."""
    return {"embedding": make_tiny_teacher(), "masked": make_tiny_teacher(head=True)}


def trained(one: Planned) -> list[str]:
    return [name.rsplit(".", 1)[0] for name in NAMES if one.trains(name)]


WORDS, HEAD = "embeddings.word_embeddings", "cls.predictions"
FIRST, SECOND = (f"encoder.layer.{i}.attention.self.query" for i in range(2))


def test_recipes_published_factors_are_as_published() -> None:
    """MobileBERT's program, DistilBERT's paper and TinyBERT's equation 11."""

    def factors(name: str, stage: int) -> dict[str, float]:
        terms = RECIPES[name].stages[stage].terms
        return {term.name: factor for factor, term in terms}

    assert factors("mobilebert", 0) == {
        "feature_map_normalised": 100,
        "feature_map_mean": 5000,
        "feature_map_variance": 5,
        "attention": 1,
    }
    assert factors("mobilebert", 1) == {"masked_lm": 0.5, "soft_targets": 0.5}
    assert factors("distilbert", 0) == {"soft_targets": 5, "masked_lm": 2, "cosine": 1}
    assert factors("tinybert", 0) == {"word_states": 1, "hidden_states": 1, "attention_scores": 1}
    assert factors("minilm", 0) == dict.fromkeys(
        ("query_relations", "key_relations", "value_relations"), 1
    )
    assert RECIPES["distilbert"].start is Start.TEACHER_LAYERS
    assert RECIPES["mobilebert"].start is Start.WORDS  # the teacher's table


def test_recipes_that_train_otherwise_have_other_digests() -> None:
    """A run of one must not be gone on with as the other."""
    assert len({recipe.digest for recipe in RECIPES.values()}) == len(RECIPES)
    one = RECIPES["autodistill"]
    assert replace(one, start=Start.RANDOM, summary="another").digest == one.digest
    first, *rest = one.stages
    (factor, term), *terms = first.terms
    for change in (
        {"terms": ((2 * factor, term), *terms)},
        {"learning_rate": 2 * first.learning_rate},
        {"share": 0.5},
        {"layers": maps.last},
    ):
        assert replace(one, stages=(replace(first, **change), *rest)).digest != one.digest


@pytest.mark.parametrize(
    ("student", "start"),
    [
        (NARROW, Start.TEACHER_LAYERS),
        (BertConfig(1, 24, 2, 64, **SIZES), Start.TEACHER_LAYERS),
        (BertConfig(3, 16, 2, 32, **SIZES), Start.WORDS),  # deeper
        (BertConfig(2, 32, 2, 32, **SIZES), Start.WORDS),  # wider
        (BertConfig(2, 16, 2, 32, hidden_act="relu", **SIZES), Start.WORDS),
        (MobileBertConfig(2, 16, 2, 24, embedding_size=16, **SIZES), Start.WORDS),
    ],
)
def test_recipes_begin_as_well_as_the_student_can(student, start, teachers) -> None:
    """Where one is chosen; a start that is given, or the recipe's own, stays."""
    for teacher in teachers.values():
        for name in ("autodistill", "embedding"):
            assert RECIPES[name].start is Start.BEST
            assert settled(RECIPES[name], teacher, student).start is start
        given = replace(RECIPES["autodistill"], start=Start.RANDOM)
        assert settled(given, teacher, student) is given
        assert settled(RECIPES["distilbert"], teacher, student) is RECIPES["distilbert"]


def test_recipes_train_layer_after_layer_what_the_loss_reaches(teachers) -> None:
    phases = plan(RECIPES["mobilebert"], teachers["masked"], NARROW, steps=100)
    assert [(one.name, one.steps) for one in phases] == [
        *(("progressive 1", 17), ("progressive 2", 16), ("distillation", 67)),
    ]
    assert trained(phases[0]) == [WORDS, FIRST, "projection.1"]
    assert trained(phases[1]) == [SECOND, "projection.2"]
    assert trained(phases[2]) == [WORDS, FIRST, SECOND, HEAD]
    assert [(one.begin, one.depth, one.teacher_depth) for one in phases] == [
        *((0, 1, 1), (1, 2, 2), (0, 2, 2)),
    ]


def test_recipes_skip_stages_for_other_teachers(teachers) -> None:
    embedding = plan(RECIPES["minilm"], teachers["embedding"], NARROW, steps=10)
    assert [(one.name, one.steps) for one in embedding] == [("relations", 8), ("output", 2)]
    assert trained(embedding[1]) == [SECOND, "output", "token_output"]
    masked = plan(RECIPES["minilm"], teachers["masked"], NARROW, steps=10)
    assert [one.name for one in masked] == ["relations", "head"]
    assert trained(masked[1]) == [SECOND, HEAD]


@pytest.mark.parametrize("family", ["bert", "mobilebert", "narrow attention"])
def test_recipes_of_relations_train_what_they_reach(family: str, teachers) -> None:
    """Exactly what has a gradient: nothing behind the last layer's queries, keys and values."""
    student = NARROW
    if family != "bert":
        narrow = family == "narrow attention"
        student = MobileBertConfig(
            *(2, 16, 2, 24),
            intra_bottleneck_size=8,
            embedding_size=16,
            num_feedforward_networks=2,
            use_bottleneck_attention=narrow,
            key_query_shared_bottleneck=not narrow,
            **SIZES,
        )
    teacher = teachers["embedding"]
    one = plan(RECIPES["minilm"], teacher, student, steps=10)[0]
    start = random_start(student, np.random.default_rng(0), head=False)
    ids = np.random.default_rng(1).integers(5, 60, (3, 8)).astype(np.int32)
    batch = {"ids": ids, "mask": np.ones_like(ids)}
    outputs = {
        f"{layer}.{part}": jnp.zeros(shape)
        for layer in ("output", "token_output")
        for part, shape in (("kernel", (16, 24)), ("bias", (24,)))
    }

    def loss(params):
        pooling, depth = teacher.pooling, one.depth
        seen = student_view(
            student, pooling, params | outputs, batch, begin=0, depth=depth, scan=False
        )
        said = teacher_view(teacher, teacher.weights, batch, depth=one.teacher_depth, scan=False)
        compared = Compared(seen, said, one.layers, batch, params, {})
        return sum(factor * term(compared).mean() for factor, term in one.stage.terms)

    gradient = jax.grad(loss)({name: jnp.asarray(value) for name, value in start.items()})
    assert {name for name, g in gradient.items() if jnp.any(g != 0)} == {
        name for name in start if one.trains(name)
    }


def test_recipes_blocks_have_inlets_and_outlets(teachers) -> None:
    blocks = plan(RECIPES["nas-bert"], teachers["embedding"], NARROW, steps=10)[0]
    assert trained(blocks) == [
        *(WORDS, FIRST, SECOND, "projection.1", "projection.2", "inlet.1"),
    ]


@pytest.mark.parametrize("steps", [3, 4, 10, 97, 1000])
def test_recipes_steps_add_up(steps: int, teachers) -> None:
    counts = [
        one.steps for one in plan(RECIPES["autodistill"], teachers["masked"], NARROW, steps=steps)
    ]
    assert sum(counts) == steps and min(counts) >= 1
    if steps == 1000:  # flash distillation is a twentieth
        assert sum(counts[:-1]) == pytest.approx(50, abs=3)


def test_recipes_need_a_step_per_phase(teachers) -> None:
    with pytest.raises(RecipeError, match="has 3 phases .*; got --steps 2"):
        plan(RECIPES["autodistill"], teachers["masked"], NARROW, steps=2)


@pytest.mark.parametrize(
    ("name", "kind", "config", "message"),
    [
        ("mobilebert", "embedding", NARROW, "needs a teacher with a masked-LM head.*teacher adapt"),
        ("distilbert", "embedding", NARROW, "masked-LM head, and tiny has none"),
        ("embedding", "masked", NARROW, "needs an embedding teacher.*--recipe mobilebert"),
        ("tinybert", "masked", replace(NARROW, num_attention_heads=4), "4 heads where .* has 2"),
        ("mobilebert", "masked", replace(NARROW, num_attention_heads=1), "num_attention_heads 2"),
        ("distilbert", "masked", BertConfig(2, 32, 2, 48, **SIZES), r"in hidden_size \(32 of 24\)"),
        ("distilbert", "masked", BertConfig(3, 24, 2, 48, **SIZES), "in num_hidden_layers"),
        (
            "distilbert",
            "masked",
            MobileBertConfig(2, 24, 2, 48, intra_bottleneck_size=24, **SIZES),
            "must be of its family; this one differs in model_type",
        ),
    ],
)
def test_recipes_that_do_not_apply_say_why(name, kind, config, message, teachers) -> None:
    with pytest.raises(RecipeError, match=message):
        plan(RECIPES[name], teachers[kind], config, steps=100)


def test_recipes_unknown_names_are_told_the_known() -> None:
    with pytest.raises(RecipeError, match="got 'bert'") as error:
        get_recipe("bert")
    assert all(name in str(error.value) for name in RECIPES)
