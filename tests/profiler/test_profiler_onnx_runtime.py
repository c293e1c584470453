"""ONNX Runtime: the graph computes what jax does, and is timed; or it says why not."""

import subprocess
import sys
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from autodistill.errors import TargetError
from autodistill.models.config import BertConfig, MobileBertConfig
from autodistill.profiler import onnx_runtime
from autodistill.profiler.choose import TargetOptions, choose_target
from autodistill.profiler.onnx_graph import HIDDEN, IDS, MASK, export_encoder
from autodistill.profiler.onnx_runtime import (
    OnnxFailure,
    OnnxRuntimeTarget,
    prepare_session,
    random_encoder,
    random_tokens,
)
from autodistill.profiler.rolling import TimingSettings
from autodistill.profiler.target import Workload, measure_all
from autodistill.profiler.targets import get_target

SHORT = Workload(batch_size=2, sequence_length=8)
QUICK = TimingSettings(min_repeats=5, min_rounds=1, max_seconds=0.05, burst_seconds=0.0)
BERT = BertConfig(2, 32, 2, 64, vocab_size=50, max_position_embeddings=16)
MOBILEBERT = MobileBertConfig(
    2,
    32,
    2,
    48,
    vocab_size=50,
    max_position_embeddings=16,
    embedding_size=24,
    intra_bottleneck_size=16,
    num_feedforward_networks=2,
)
ENCODERS = {
    "bert": BERT,
    "bert relu": replace(BERT, hidden_act="relu"),
    "mobilebert no_norm": MOBILEBERT,
    "mobilebert layer_norm": replace(
        MOBILEBERT, normalization_type="layer_norm", hidden_act="gelu"
    ),
    "mobilebert narrow attention": replace(
        MOBILEBERT, use_bottleneck_attention=True, key_query_shared_bottleneck=False
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_the_graph_computes_what_jax_does(name):
    """1e-4 of outputs of about 1: two orders of float32 summation in two layers."""
    config = ENCODERS[name]
    session = prepare_session(config, SHORT)
    session.run()
    ids, mask = random_tokens(config, SHORT)
    expected = np.asarray(random_encoder(config)(jnp.asarray(ids), jnp.asarray(mask)))
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(session.output(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_part_shows_in_the_output(name):
    """Else the comparison with jax would let a wrong graph pass."""
    config = ENCODERS[name]
    ids, mask = random_tokens(config, SHORT)
    encoder = random_encoder(config)
    right = np.asarray(encoder(jnp.asarray(ids), jnp.asarray(mask)))
    unmasked = np.asarray(encoder(jnp.asarray(ids)))
    shallow = replace(config, num_hidden_layers=1)
    fewer = np.asarray(random_encoder(shallow)(jnp.asarray(ids), jnp.asarray(mask)))
    for wrong in (unmasked, fewer):
        difference = np.abs(wrong - right).max()
        assert difference > 10 * onnx_runtime.TOLERANCE * np.abs(right).max()


def test_weights_are_initializers_and_ids_the_only_inputs():
    import onnx

    model = export_encoder(random_encoder(MOBILEBERT), batch_size=2, sequence_length=8)
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {IDS: [2, 8], MASK: [2, 8], HIDDEN: [2, 8, 32]}
    assert all(value.type.tensor_type.elem_type == onnx.TensorProto.INT32
               for value in model.graph.input)  # fmt: skip


def test_each_encoder_has_a_latency():
    target = OnnxRuntimeTarget(timing=QUICK)
    rows = measure_all(target, [BERT, MOBILEBERT], SHORT)
    for row in rows:
        assert row.error == ""
        assert 0 < row.latency_ms < 1000 and row.latency_iqr_ms >= 0
        assert row.repeats >= 5 and row.compile_s > 0 and row.flops > 0
        assert row.peak_memory_bytes is None
    assert target.statistic == "median" and "cores" in target.device_kind
    assert target.compiler_version.startswith("onnxruntime 1.")
    assert ", jax2onnx 0." in target.compiler_version


def test_flops_are_those_of_the_multiplications():
    """Two flops for each multiply-add of the products; the rest is a few percent."""
    facts = prepare_session(BertConfig(2, 192, 3, 768, vocab_size=50), SHORT).facts
    tokens, width, inner, length = 16, 192, 768, 8
    block = 4 * width**2 + 2 * width * inner + 2 * length * width
    assert facts.flops == pytest.approx(2 * 2 * tokens * block, rel=0.1)


def test_a_wrong_graph_is_a_failure_of_that_encoder_alone(monkeypatch):
    real = export_encoder

    def wrong(encoder, **shape):
        if encoder.encoder.layer[0].intermediate.dense.kernel.shape == (32, 64):  # BERT's
            encoder = random_encoder(BERT)
            encoder.encoder.layer[1].output.dense.kernel[...] *= 1.5
        return real(encoder, **shape)

    monkeypatch.setattr(onnx_runtime, "export_encoder", wrong)
    failed, fine = measure_all(OnnxRuntimeTarget(timing=QUICK), [BERT, MOBILEBERT], SHORT)
    assert failed.latency_ms is None
    assert "output differs from jax's" in failed.error
    assert fine.latency_ms is not None


def test_an_export_that_fails_is_a_failure_of_that_encoder(monkeypatch):
    def broken(encoder, **shape):
        raise NotImplementedError("no converter for erfc")

    monkeypatch.setattr(onnx_runtime, "export_encoder", broken)
    with pytest.raises(OnnxFailure, match="NotImplementedError: no converter"):
        prepare_session(BERT, SHORT)
    [row] = measure_all(OnnxRuntimeTarget(timing=QUICK), [BERT], SHORT)
    assert "no converter for erfc" in row.error


def test_other_dtypes_are_refused_before_anything_starts():
    with pytest.raises(TargetError, match="float32 alone; got dtype 'bfloat16'"):
        OnnxRuntimeTarget().measure([BERT], replace(SHORT, dtype="bfloat16"))


def test_passages_longer_than_the_encoder_are_refused():
    with pytest.raises(TargetError, match="has 16 positions; it cannot serve passages of 17"):
        OnnxRuntimeTarget().measure([BERT], replace(SHORT, sequence_length=17))


@pytest.mark.parametrize("package", ["onnxruntime", "jax2onnx", "onnx"])
def test_a_missing_package_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    message = rf'not installed \({package}\): pip install "autodistill-nas\[onnx\]"'
    with pytest.raises(TargetError, match=message):
        OnnxRuntimeTarget().device_kind  # noqa: B018 - raises
    with pytest.raises(TargetError, match=message):
        OnnxRuntimeTarget().measure([BERT], SHORT)


def test_the_target_is_known_by_name():
    target = get_target("onnx-cpu")
    assert (target.name, target.statistic) == ("onnx-cpu", "median")


def test_listing_targets_loads_no_onnx():
    code = (
        "import sys, autodistill.profiler.targets\n"
        "print(sorted({'onnx', 'onnxruntime', 'jax2onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_works_in_a_process_of_its_own():
    target = choose_target("onnx-cpu", TargetOptions())
    try:
        [row] = measure_all(target, [MOBILEBERT], SHORT)
    finally:
        target.close()
    assert row.error == "" and row.latency_ms > 0
    assert "jax2onnx" in target.compiler_version
