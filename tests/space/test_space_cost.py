"""Counted costs against the encoders themselves: their weights and their programs."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend import core

from autodistill.models.checkpoint import count_parameters, weight_shapes
from autodistill.models.encoder import Encoder
from autodistill.models.platforms import one_form
from autodistill.space import SearchSpace
from autodistill.space.cost import FEATURES, encoder_cost, encoder_features
from autodistill.space.families import encoder_config
from autodistill.space.presets import PRESETS

VOCABULARY = 1000
LENGTH = 5


def sampled(name: str) -> list[tuple[SearchSpace, Any]]:
    space = SearchSpace.preset(name)
    drawn = space.sample(4, np.random.default_rng(0))
    return [(space, architecture) for architecture in (space.baseline, *drawn)]


SAMPLES = [
    pytest.param(space, architecture, id=f"{name}-{architecture.id}")
    for name in PRESETS
    for space, architecture in sampled(name)
]


@pytest.mark.parametrize(("space", "architecture"), SAMPLES)
def test_parameters_are_those_of_the_built_encoder(space, architecture):
    config = encoder_config(architecture, family=space.family, vocab_size=VOCABULARY)
    shapes = weight_shapes(lambda rngs: Encoder(config, rngs))
    embeddings = {name: shape for name, shape in shapes.items() if name.startswith("embeddings.")}
    cost = encoder_cost(architecture, family=space.family, vocab_size=VOCABULARY)
    assert cost.embedding_parameters == count_parameters(embeddings)
    assert cost.parameters == count_parameters(shapes)
    assert cost.encoder_parameters == cost.parameters - cost.embedding_parameters


@pytest.mark.parametrize(("space", "architecture"), SAMPLES)
def test_products_and_depth_are_those_of_the_traced_program(space, architecture):
    config = encoder_config(architecture, family=space.family, vocab_size=VOCABULARY)
    definition, state = nnx.split(Encoder(config, nnx.Rngs(0)))
    ids = jax.ShapeDtypeStruct((1, LENGTH), jnp.int32)
    with one_form():  # a branch for each platform would hide products
        program = jax.make_jaxpr(lambda state, ids: nnx.merge(definition, state)(ids))(state, ids)
    depths, products = walk(program.jaxpr, [0] * len(program.jaxpr.invars))
    cost = encoder_cost(architecture, family=space.family, vocab_size=VOCABULARY)
    # Scores and mixing, left out of the count: each L * L * width per layer.
    attention = config.num_hidden_layers * 2 * LENGTH**2 * config.attention_width
    assert products - attention == LENGTH * cost.multiply_adds
    assert max(depths) == cost.sequential_depth


def walk(jaxpr: Any, depths: Sequence[int]) -> tuple[list[int], int]:
    """Longest chain of matrix products to each output, and multiply-adds in all."""
    at = dict(zip(jaxpr.invars, depths, strict=True))
    total = 0

    def depth_of(variable: Any) -> int:
        return 0 if isinstance(variable, core.Literal) else at.get(variable, 0)

    for equation in jaxpr.eqns:
        inputs = [depth_of(variable) for variable in equation.invars]
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        if inner is not None:
            outputs, products = walk(getattr(inner, "jaxpr", inner), inputs)
        else:
            is_product = equation.primitive.name == "dot_general"
            outputs = [max(inputs, default=0) + is_product] * len(equation.outvars)
            products = multiply_adds(equation) if is_product else 0
        total += products
        at.update(zip(equation.outvars, outputs, strict=True))
    return [depth_of(variable) for variable in jaxpr.outvars], total


def multiply_adds(equation: Any) -> int:
    """Of one product: each element of the result sums over the contracted axes."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    summed = np.prod([left[axis] for axis in contracted], dtype=int)
    return int(np.prod(equation.outvars[0].aval.shape, dtype=int) * summed)


def test_published_sizes():
    """BERT-base has 109,482,240 weights with its pooler, which we do not count."""
    base = {
        "num_hidden_layers": 12,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    }
    cost = encoder_cost(base, family="bert", vocab_size=30522)
    assert cost.parameters + 768 * 768 + 768 == 109_482_240
    # MobileBERT: 25.3M in the paper, which does not say what of the heads it counts.
    mobilebert = SearchSpace.preset("mobilebert").baseline
    cost = encoder_cost(mobilebert, family="mobilebert", vocab_size=30522)
    assert cost.parameters == pytest.approx(25.3e6, rel=0.04)


def test_features_are_logarithms_of_the_counts():
    space = SearchSpace.preset("mobilebert-mini")
    drawn = space.sample(5, np.random.default_rng(0))
    features = encoder_features(drawn, family="mobilebert", vocab_size=VOCABULARY)
    assert features.shape == (5, len(FEATURES))
    for architecture, row in zip(drawn, np.exp(features), strict=True):
        cost = encoder_cost(architecture, family="mobilebert", vocab_size=VOCABULARY)
        expected = {
            "log_encoder_parameters": cost.encoder_parameters,
            "log_embedding_parameters": cost.embedding_parameters,
            "log_multiply_adds": cost.multiply_adds,
            "log_sequential_depth": cost.sequential_depth,
            "log_hidden_size": architecture["hidden_size"],
            "log_num_hidden_layers": architecture["num_hidden_layers"],
        }
        # exp undoes log to the last bits of float64
        np.testing.assert_allclose(row, [expected[name] for name in FEATURES], rtol=1e-12)


def test_no_architectures_give_no_rows():
    empty = encoder_features([], family="bert", vocab_size=VOCABULARY)
    assert empty.shape == (0, len(FEATURES))
