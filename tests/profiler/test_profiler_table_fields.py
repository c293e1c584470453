"""Encoders of both families as rows of one table, and back."""

import numpy as np
import pytest

from autodistill.errors import SpaceError
from autodistill.models.config import BertConfig, MobileBertConfig
from autodistill.profiler.table_fields import (
    config_of_row,
    family_fields,
    row_of_config,
    table_fields,
    to_row_architecture,
)
from autodistill.space import SearchSpace
from autodistill.space.families import encoder_config
from predictors.rows import LatencyRow, parse_row

MOBILEBERT = family_fields("mobilebert")
BERT = family_fields("bert")
SHAPE = {
    "num_hidden_layers": 2,
    "hidden_size": 96,
    "num_attention_heads": 3,
    "intermediate_size": 200,
}
NARROW = {**SHAPE, "intra_bottleneck_size": 48, "num_feedforward_networks": 2}


def test_a_mobilebert_table_has_these_columns():
    assert table_fields(SearchSpace.preset("mobilebert")) == (
        "embedding_size",
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "intra_bottleneck_size",
        "model_type",
        "normalization_type",
        "num_attention_heads",
        "num_feedforward_networks",
        "num_hidden_layers",
        "use_bottleneck_attention",
    )


def test_a_space_without_optional_fields_has_the_same_columns():
    space = SearchSpace({field: [v] for field, v in NARROW.items()}, family="mobilebert")
    assert table_fields(space) == MOBILEBERT


def test_a_space_of_no_encoders_has_no_table():
    with pytest.raises(SpaceError, match="space of encoders"):
        table_fields(SearchSpace({"n": [1, 2]}))


@pytest.mark.parametrize("preset", ["mobilebert", "mobilebert-mini", "bert", "bert-mini"])
def test_members_come_back_as_the_configs_they_are(preset):
    space = SearchSpace.preset(preset)
    for member in space.sample(50, np.random.default_rng(0)):
        row = to_row_architecture(member, space.family, table_fields(space))
        expected = encoder_config(member, family=space.family, vocab_size=1000)
        assert config_of_row(row, 1000) == expected
        assert tuple(row) == table_fields(space)
        assert {f: row[f] for f in member} == dict(member)


def test_absent_fields_take_the_familys_defaults():
    row = to_row_architecture(NARROW, "mobilebert", MOBILEBERT)
    assert (row["embedding_size"], row["normalization_type"], row["hidden_act"]) == (
        128,
        "no_norm",
        "relu",
    )
    assert row["use_bottleneck_attention"] is False
    assert to_row_architecture(SHAPE, "bert", BERT)["hidden_act"] == "gelu"


def test_bert_in_a_mobilebert_table():
    row = to_row_architecture(SHAPE, "bert", MOBILEBERT)
    assert row["intra_bottleneck_size"] == row["embedding_size"] == row["hidden_size"] == 96
    assert (row["num_feedforward_networks"], row["normalization_type"]) == (1, "layer_norm")
    assert (row["model_type"], row["use_bottleneck_attention"]) == ("bert", False)
    assert config_of_row(row, 70) == BertConfig(2, 96, 3, 200, vocab_size=70)


def test_a_row_survives_the_file():
    row = to_row_architecture(
        {**NARROW, "use_bottleneck_attention": True}, "mobilebert", MOBILEBERT
    )
    written = LatencyRow(
        row.to_dict(), "cpu", "a CPU", 1, 128, "float32", latency_ms=1.0, statistic="median"
    )
    read = parse_row(MOBILEBERT, written.cells()).architecture
    config = config_of_row(read, 70)
    assert config == config_of_row(row, 70)
    assert config.use_bottleneck_attention and not config.key_query_shared_bottleneck


def test_mobilebert_does_not_fit_a_bert_table():
    with pytest.raises(SpaceError, match="cannot hold a mobilebert encoder: it lacks embedding_si"):
        to_row_architecture(NARROW, "mobilebert", BERT)


@pytest.mark.parametrize(
    "change",
    [{"trigram_input": False}, {"use_bottleneck": False}, {"use_bottleneck_attention": True}],
)
def test_what_no_column_tells_is_refused(change):
    config = MobileBertConfig(2, 96, 3, 200, intra_bottleneck_size=96, **change)
    with pytest.raises(SpaceError, match="no column .* tells"):
        row_of_config(config, MOBILEBERT)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (SHAPE, "needs model_type, one of bert, mobilebert"),
        ({**SHAPE, "model_type": "albert"}, "model_type must be one of bert, mobilebert; got 'al"),
        ({**SHAPE, "model_type": "mobilebert"}, "mobilebert needs values for intra_bottleneck"),
        ({**SHAPE, "model_type": "bert", "colour": 1}, "unknown fields ['colour'] for bert"),
        ({**SHAPE, "model_type": "bert", "num_attention_heads": 5}, "must divide the attention"),
        (
            {**SHAPE, "model_type": "bert", "embedding_size": 12},
            "embedding_size must be 96 in a row of model_type bert with hidden_size 96; got 12",
        ),
        (
            {**NARROW, "model_type": "mobilebert", "use_bottleneck_attention": 1},
            "use_bottleneck_attention must be True or False; got 1",
        ),
    ],
)
def test_rows_that_say_no_encoder(row, message):
    with pytest.raises(SpaceError) as caught:
        config_of_row(row, 70)
    assert message in str(caught.value)
