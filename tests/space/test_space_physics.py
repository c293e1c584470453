"""Counted work against the built encoders, their traced programs and hand counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from autodistill.errors import SpaceError
from autodistill.models.checkpoint import count_parameters, weight_shapes
from autodistill.models.config import BertConfig, MobileBertConfig
from autodistill.models.encoder import Encoder
from autodistill.models.platforms import one_form
from autodistill.space import SearchSpace
from autodistill.space.physics import (
    PHYSICS,
    block_products,
    physics_columns,
    with_physics,
    work_of,
)

TINY = {
    "model_type": "bert",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 20,
}
MOBILE_TINY = {
    "model_type": "mobilebert",
    "num_hidden_layers": 3,
    "hidden_size": 48,
    "intra_bottleneck_size": 16,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "num_feedforward_networks": 2,
    "embedding_size": 12,
    "use_bottleneck_attention": True,
}
LENGTH = 5


def rows():
    """Encoders of both families, drawn from their spaces, as rows of a latency table."""
    drawn = [TINY, MOBILE_TINY]
    # Every way in which a MobileBERT of one width, or of words alone, leaves products out.
    drawn += [
        {**MOBILE_TINY, "use_bottleneck": False},
        {**MOBILE_TINY, "use_bottleneck": False, "use_bottleneck_attention": False},
        {**MOBILE_TINY, "trigram_input": False},
        {**MOBILE_TINY, "trigram_input": False, "embedding_size": 48},
    ]
    for name in ("bert-mini", "mobilebert-mini"):
        space = SearchSpace.preset(name)
        sample = space.sample(3, np.random.default_rng(0))
        drawn += [{**architecture, "model_type": space.family} for architecture in sample]
    return drawn


def config_of(row):
    kind = {"bert": BertConfig, "mobilebert": MobileBertConfig}[row["model_type"]]
    fields = {name: value for name, value in row.items() if name != "model_type"}
    if fields.get("use_bottleneck_attention"):
        fields["key_query_shared_bottleneck"] = False
    return kind(**fields, vocab_size=100)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["model_type"])
def test_block_weights_are_those_of_the_built_encoder(row):
    config = config_of(row)
    shapes = weight_shapes(lambda rngs: Encoder(config, rngs))
    blocks = {name: s for name, s in shapes.items() if not name.startswith("embeddings.")}
    assert work_of(row).block_weights == count_parameters(blocks)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["model_type"])
def test_multiply_adds_are_those_of_the_traced_program(row):
    """As counted by XLA's own operation: each product of (m, k) and (k, n) is m * k * n."""
    definition, state = nnx.split(Encoder(config_of(row), nnx.Rngs(0)))
    ids = jax.ShapeDtypeStruct((2, LENGTH), jnp.int32)
    with one_form():  # a branch for each platform would hide products
        program = jax.make_jaxpr(lambda state, ids: nnx.merge(definition, state)(ids))(state, ids)
    found = work_of(row, batch_size=2, sequence_length=LENGTH).multiply_adds
    assert found == dot_products(program.jaxpr)


def dot_products(jaxpr) -> int:
    """Multiply-adds of every ``dot_general`` in a program, inner programs included."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            length = int(np.prod([shape[axis] for axis in contracted]))
            total += length * int(np.prod(equation.outvars[0].aval.shape))
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            total += dot_products(inner) if hasattr(inner, "eqns") else 0
    return total


def test_counts_by_hand():
    """Two blocks of width 8, inner width 20, five tokens, one passage, two heads."""
    work = work_of(TINY, sequence_length=LENGTH)
    matrices = 4 * 8 * 8 + 2 * 8 * 20
    assert work.block_weights == 2 * (matrices + 4 * 8 + 20 + 8 + 4 * 8)
    assert work.multiply_adds == 2 * (LENGTH * matrices + 2 * LENGTH * LENGTH * 8)
    # Every width is far below a tile of 128: six weight matrices, and for each of two
    # heads one product with keys and one with values.
    assert work.tiled_multiply_adds == 2 * LENGTH * (6 + 2 * 2) * 128 * 128
    assert work.attention_scores == 2 * 2 * LENGTH * LENGTH
    assert work.elementwise == 2 * LENGTH * (5 * 8 + 20)
    moved = LENGTH * (4 * 16 + 2 * 28) + 2 * 2 * LENGTH * LENGTH
    assert work.bytes_moved == 2 * (work.block_weights + 2 * moved)
    assert work.sequential_depth == 2 * 6


def test_narrow_attention_has_one_bottleneck_and_narrow_values():
    products = block_products(config_of(MOBILE_TINY))
    assert products.count((48, 16)) == 1  # and no value from the hidden width
    assert products.count((16, 16)) == 4
    assert products.count((16, 24)) == products.count((24, 16)) == 2
    assert products[-1] == (16, 48)
    assert work_of(MOBILE_TINY).sequential_depth == 3 * (6 + 2 * 2) + 1


def test_without_bottlenecks_a_block_is_as_wide_as_its_attention():
    wide = {**MOBILE_TINY, "use_bottleneck": False}
    products = block_products(config_of(wide))
    assert products.count((48, 48)) == 4
    assert products.count((48, 24)) == products.count((24, 48)) == 2
    assert len(products) == 8
    assert work_of(wide).sequential_depth == 3 * (4 + 2 * 2) + 1
    words = {**wide, "trigram_input": False, "embedding_size": 48}
    assert work_of(words).sequential_depth == 3 * (4 + 2 * 2)


def test_columns_are_logarithms_of_the_counts():
    found = dict(zip(PHYSICS, physics_columns([TINY])[0], strict=True))
    work = work_of(TINY)
    for name, value in found.items():
        if name == "log_multiply_adds_per_layer":
            assert value == pytest.approx(np.log(work.multiply_adds / 2))
        else:
            assert value == pytest.approx(np.log(getattr(work, name.removeprefix("log_"))))
    assert physics_columns([]).shape == (0, len(PHYSICS))


def test_rows_bring_their_own_workload():
    long = {**TINY, "sequence_length": 64, "batch_size": 4}
    np.testing.assert_array_equal(
        physics_columns([long]), physics_columns([TINY], sequence_length=64, batch_size=4)
    )


def test_columns_join_a_matrix():
    X, columns = with_physics(np.array([[2.0], [3.0]]), ("layers",), [TINY, MOBILE_TINY])
    assert columns == ("layers", *PHYSICS) and X.shape == (2, 1 + len(PHYSICS))
    np.testing.assert_array_equal(X[:, 1:], physics_columns([TINY, MOBILE_TINY]))
    with pytest.raises(SpaceError, match="already has the columns log_bytes_moved"):
        with_physics(np.zeros((1, 1)), ("log_bytes_moved",), [TINY])
    with pytest.raises(SpaceError, match=r"shape \(2, 1\)"):
        with_physics(np.zeros((3, 1)), ("layers",), [TINY, TINY])


def test_a_bert_row_of_a_mobilebert_table_is_a_bert():
    wide = {**TINY, "num_feedforward_networks": 1, "intra_bottleneck_size": 8}
    assert work_of(wide) == work_of(TINY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "row 1: model_type must be one of bert, mobilebert; got 'gpt2'"),
        ({"model_type": None}, "got None"),
        ({"hidden_size": 0}, "row 1: hidden_size must be a positive integer; got 0"),
    ],
)
def test_bad_rows_are_named(change, message):
    with pytest.raises(SpaceError, match=message):
        physics_columns([TINY, {**TINY, **change}])


def test_missing_field_is_named():
    with pytest.raises(SpaceError, match="intermediate_size"):
        work_of({name: value for name, value in TINY.items() if name != "intermediate_size"})
