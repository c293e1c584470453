"""Published encoders: as large as their papers say, and at home in our tables."""

import jax
import pytest
from flax import nnx

from autodistill.models.config import BertConfig
from autodistill.models.encoder import Encoder
from autodistill.profiler.baselines import BASELINES, baselines_for, left_out_message
from autodistill.profiler.table_fields import config_of_row, family_fields


def parameters(config) -> int:
    """All weights of the module itself, computing nothing."""
    state = nnx.state(Encoder(config, nnx.Rngs(0)), nnx.Param)
    return sum(leaf.size for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("name", BASELINES)
def test_as_many_parameters_as_published(name):
    """Within 4%: papers round, and some count BERT's pooler (0.6M of 109M)."""
    baseline = BASELINES[name]
    assert parameters(baseline.config) == pytest.approx(baseline.published_parameters, rel=0.04)


def test_bert_base_and_mobilebert_to_the_last_weight():
    """Hugging Face's own checkpoints, bert-base-uncased less its pooler of 768 * 769."""
    assert parameters(BASELINES["BERT_BASE"].config) == 109_482_240 - 768 * 769
    assert parameters(BASELINES["MobileBERT"].config) == 24_581_888


@pytest.mark.parametrize("name", BASELINES)
def test_a_row_gives_the_encoder_back(name):
    baseline = BASELINES[name]
    row = baseline.row(family_fields("mobilebert"))
    assert config_of_row(row, 1000) == baseline.with_vocabulary(1000)


def test_the_tiny_mobilebert_attends_narrowly():
    fields = family_fields("mobilebert")
    tiny = BASELINES["MobileBERT-TINY"].row(fields)
    full = BASELINES["MobileBERT"].row(fields)
    assert {f: tiny[f] for f in fields if tiny[f] != full[f]} == {
        "num_feedforward_networks": 2,
        "use_bottleneck_attention": True,
    }


def test_a_bert_table_holds_the_berts_and_says_what_it_lacks():
    held, left_out = baselines_for("bert")
    assert [one.name for one in held] == ["BERT_BASE", "DistilBERT", "TinyBERT4", "TinyBERT6"]
    assert all(isinstance(one.config, BertConfig) for one in held)
    assert [one.name for one in left_out] == ["MobileBERT", "MobileBERT-TINY"]
    for one in held:
        assert config_of_row(one.row(family_fields("bert")), 30522) == one.config
    assert left_out_message("bert").startswith("left out: MobileBERT, MobileBERT-TINY")


def test_a_mobilebert_table_holds_all():
    held, left_out = baselines_for("mobilebert")
    assert held == tuple(BASELINES.values()) and left_out == ()
    assert left_out_message("mobilebert") == ""
