"""The spaces that come with the toolkit hold what they promise."""

from collections.abc import Mapping

import numpy as np
import pytest

from autodistill.errors import SpaceError
from autodistill.models.config import BertConfig, MobileBertConfig
from autodistill.space import Architecture, SearchSpace
from autodistill.space.families import encoder_config
from autodistill.space.presets import PRESETS
from autodistill.space.restrict import for_masked_lm

# MobileBERT (https://arxiv.org/abs/2004.02984), tables 1 and 2.
MOBILEBERT = {
    "num_hidden_layers": 24,
    "hidden_size": 512,
    "intra_bottleneck_size": 128,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "num_feedforward_networks": 4,
    "embedding_size": 128,
    "normalization_type": "no_norm",
    "hidden_act": "relu",
}


@pytest.fixture(params=PRESETS)
def preset(request: pytest.FixtureRequest) -> SearchSpace:
    return SearchSpace.preset(request.param)


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("num_hidden_layers", 4, 24),
        ("hidden_size", 128, 768),
        ("intra_bottleneck_size", 64, 256),
        ("num_attention_heads", 1, 8),
        ("intermediate_size", 256, 1024),
        ("num_feedforward_networks", 1, 6),
    ],
)
def test_mobilebert_covers_the_ranges(field, least, most):
    choices = SearchSpace.preset("mobilebert").choices[field]
    assert min(choices) <= least
    assert max(choices) >= most


def test_mobilebert_has_every_depth_and_both_norms():
    choices = SearchSpace.preset("mobilebert").choices
    assert set(range(4, 25)) <= set(choices["num_hidden_layers"])
    assert set(range(1, 7)) <= set(choices["num_feedforward_networks"])
    assert set(choices["normalization_type"]) == {"layer_norm", "no_norm"}


def test_mobilebert_holds_mobilebert_and_a_shallow_wide_student():
    space = SearchSpace.preset("mobilebert")
    assert space.baseline == Architecture(MOBILEBERT)
    assert MOBILEBERT in space
    wide = {
        "num_hidden_layers": 8,
        "hidden_size": 256,
        "intra_bottleneck_size": 256,
        "intermediate_size": 1024,
        "num_feedforward_networks": 4,
    }
    assert MOBILEBERT | wide in space


def test_the_mini_baseline_is_mobilebert_at_half_its_width():
    """Its depth is the most that the space has."""
    space = SearchSpace.preset("mobilebert-mini")
    widths = ("hidden_size", "intra_bottleneck_size", "intermediate_size")
    expected = MOBILEBERT | {field: MOBILEBERT[field] // 2 for field in widths}
    expected["num_hidden_layers"] = max(space.choices["num_hidden_layers"])
    assert space.baseline == Architecture(expected)


def test_the_baseline_is_in_the_space_and_has_a_name(preset):
    assert preset.baseline is not None
    assert preset.baseline in preset
    assert preset.name in PRESETS
    assert preset.describe()["baseline"] == dict(preset.baseline)


def test_every_sample_can_be_built(preset):
    """The config classes check by themselves; the rules are written again here."""
    for architecture in preset.sample(300, np.random.default_rng(0)):
        config = encoder_config(architecture, family=preset.family, vocab_size=100)
        expected = BertConfig if preset.family == "bert" else MobileBertConfig
        assert type(config) is expected
        assert buildable(architecture)
        for field, value in architecture.items():
            assert getattr(config, field) == value


def test_under_a_masked_lm_head_every_sample_has_a_narrow_embedding(preset):
    space = for_masked_lm(preset)
    for architecture in space.sample(300, np.random.default_rng(0)):
        assert buildable(architecture)
        assert architecture.get("embedding_size", 0) <= architecture["hidden_size"]
    assert (space.size < preset.size) == (preset.family == "mobilebert")


def test_the_lists_of_presets_are_not_shared_with_spaces():
    space = SearchSpace.preset("bert-mini")
    assert all(isinstance(values, tuple) for values in space.choices.values())
    assert space.choices["hidden_size"] == tuple(PRESETS["bert-mini"]["choices"]["hidden_size"])


def test_an_unknown_preset_lists_the_known():
    with pytest.raises(SpaceError, match="unknown space 'gpt'") as caught:
        SearchSpace.preset("gpt")
    assert all(name in str(caught.value) for name in PRESETS)


def buildable(architecture: Mapping) -> bool:
    width = architecture.get("intra_bottleneck_size", architecture["hidden_size"])
    heads = architecture["num_attention_heads"]
    return width % heads == 0 and width <= architecture["hidden_size"]
