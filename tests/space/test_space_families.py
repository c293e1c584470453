"""Spaces of encoders: which fields they have, which combinations can be built."""

import pytest

from autodistill.errors import SpaceError, TeacherError
from autodistill.models.config import BertConfig, MobileBertConfig
from autodistill.space import SearchSpace
from autodistill.space.families import encoder_config
from autodistill.space.restrict import for_masked_lm

BERT = {
    "num_hidden_layers": [2],
    "hidden_size": [12, 16],
    "num_attention_heads": [1, 3, 4],
    "intermediate_size": [32],
}
MOBILEBERT = {
    "num_hidden_layers": [2],
    "hidden_size": [64, 128, 256],
    "intra_bottleneck_size": [64, 96, 192],
    "num_attention_heads": [1, 3],
    "intermediate_size": [32],
    "num_feedforward_networks": [1],
}
FIELDS = {
    "num_hidden_layers": 2,
    "hidden_size": 12,
    "num_attention_heads": 3,
    "intermediate_size": 32,
}


def test_heads_divide_the_width_of_bert():
    members = SearchSpace(BERT, family="bert").enumerate()
    pairs = {(a["hidden_size"], a["num_attention_heads"]) for a in members}
    assert pairs == {(12, 1), (12, 3), (12, 4), (16, 1), (16, 4)}


def test_heads_divide_the_bottleneck_which_is_not_wider_than_the_hidden_states():
    members = SearchSpace(MOBILEBERT, family="mobilebert").enumerate()
    found = {
        (a["hidden_size"], a["intra_bottleneck_size"], a["num_attention_heads"]) for a in members
    }
    assert found == {
        (64, 64, 1),
        (128, 64, 1), (128, 96, 1), (128, 96, 3),
        (256, 64, 1), (256, 96, 1), (256, 96, 3), (256, 192, 1), (256, 192, 3),
    }  # fmt: skip


def test_one_family_rule_at_a_time_says_why():
    space = SearchSpace(MOBILEBERT, family="mobilebert")
    member = dict(space.enumerate()[-1])
    assert "num_attention_heads must divide intra_bottleneck_size; got num_attention_heads=3" in (
        space.why_invalid(member | {"intra_bottleneck_size": 64})
    )
    assert "intra_bottleneck_size must not exceed hidden_size; got intra_bottleneck_size=192" in (
        space.why_invalid(member | {"hidden_size": 128})
    )


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("gpt", {}, "family must be one of bert, mobilebert; got 'gpt'"),
        ("bert", {"heads": [1]}, "unknown fields ['heads'] for bert; it has num_hidden_layers"),
        ("bert", {"normalization_type": ["no_norm"]}, "unknown fields ['normalization_type']"),
        ("mobilebert", {}, "mobilebert needs values for intra_bottleneck_size"),
        ("bert", {"hidden_size": [0]}, "hidden_size must be positive integers; got [0]"),
        ("bert", {"hidden_size": [12, 16.5]}, "hidden_size must be positive integers; got [16.5]"),
        ("bert", {"hidden_size": [True]}, "hidden_size must be positive integers; got [True]"),
        ("bert", {"hidden_size": ["12"]}, "hidden_size must be positive integers; got ['12']"),
        ("bert", {"hidden_act": ["swish"]}, "hidden_act must be one of gelu, gelu_new, relu, silu"),
        ("bert", {"num_attention_heads": [5]}, "the space is empty"),
    ],
)
def test_a_space_that_cannot_be_built_is_refused(family, change, message):
    with pytest.raises(SpaceError) as caught:
        SearchSpace(BERT | change, family=family)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalization_type": ["rms_norm"]}, "normalization_type must be one of layer_norm, no_"),
        ({"intra_bottleneck_size": [512]}, "the space is empty: no combination"),
    ],
)
def test_a_mobilebert_space_that_cannot_be_built_is_refused(change, message):
    with pytest.raises(SpaceError) as caught:
        SearchSpace(MOBILEBERT | change, family="mobilebert")
    assert message in str(caught.value)


def test_a_masked_lm_head_forbids_wide_embeddings_and_the_record_tells():
    space = SearchSpace(MOBILEBERT | {"embedding_size": [64, 128]}, family="mobilebert")
    restricted = for_masked_lm(space)
    expected = [a for a in space.enumerate() if a["embedding_size"] <= a["hidden_size"]]
    assert set(restricted.enumerate()) == set(expected)
    assert 0 < restricted.size < space.size
    told = restricted.describe()["rules"]
    assert told[:-1] == space.describe()["rules"]
    assert told[-1] == "under a masked-LM head embedding_size must not exceed hidden_size"
    assert for_masked_lm(restricted) is restricted


def test_a_masked_lm_head_counts_the_default_embedding_too():
    """Where the space does not choose, every student's embedding is 128 wide."""
    space = SearchSpace(MOBILEBERT, family="mobilebert")
    restricted = for_masked_lm(space)
    assert {a["hidden_size"] for a in restricted.enumerate()} == {128, 256}
    assert "default embedding_size of 128" in restricted.describe()["rules"][-1]
    assert for_masked_lm(restricted) is restricted


def test_a_masked_lm_head_asks_nothing_of_bert_or_of_other_spaces():
    for space in (
        SearchSpace(BERT, family="bert"),
        SearchSpace({"embedding_size": [1], "hidden_size": [0]}),
    ):
        assert for_masked_lm(space) is space


def test_a_masked_lm_head_that_fits_nothing_is_refused():
    space = SearchSpace(MOBILEBERT | {"embedding_size": [512]}, family="mobilebert")
    with pytest.raises(SpaceError, match=r"the space is empty.*under a masked-LM head"):
        for_masked_lm(space)


def test_configs_take_the_fields_and_defaults():
    config = encoder_config(FIELDS, family="bert", vocab_size=50, pad_token_id=None)
    assert config == BertConfig(**FIELDS, vocab_size=50, pad_token_id=None)
    assert config.hidden_act == "gelu"
    mobilebert = FIELDS | {"intra_bottleneck_size": 6, "num_feedforward_networks": 2}
    config = encoder_config(
        mobilebert, family="mobilebert", vocab_size=50, max_position_embeddings=64
    )
    assert config == MobileBertConfig(**mobilebert, vocab_size=50, max_position_embeddings=64)
    assert (config.embedding_size, config.normalization_type) == (128, "no_norm")


@pytest.mark.parametrize(
    ("family", "change", "error", "message"),
    [
        ("gpt", {}, SpaceError, "family must be one of bert, mobilebert; got 'gpt'"),
        ("bert", {"depth": 2}, SpaceError, "unknown fields ['depth'] for bert"),
        ("mobilebert", {}, SpaceError, "mobilebert needs values for intra_bottleneck_size"),
        ("bert", {"num_attention_heads": 5}, TeacherError, "num_attention_heads must divide"),
        ("bert", {"hidden_act": "swish"}, TeacherError, "hidden_act must be one of"),
    ],
)
def test_configs_that_cannot_be_built_are_refused(family, change, error, message):
    with pytest.raises(error) as caught:
        encoder_config(FIELDS | change, family=family, vocab_size=50)
    assert message in str(caught.value)
