"""The compiled program, and the estimate made of its counts."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from autodistill.errors import TargetError
from autodistill.models.checkpoint import count_parameters, weight_shapes
from autodistill.models.encoder import Encoder
from autodistill.profiler import Workload, estimated, measure_all
from autodistill.profiler.compiled import compile_encoder
from autodistill.profiler.estimated import RooflineTarget
from autodistill.space import Architecture
from autodistill.space.cost import encoder_cost
from autodistill.space.families import encoder_config

CPU = jax.devices("cpu")[0]
SHAPE = Architecture(
    num_hidden_layers=2,
    hidden_size=128,
    intra_bottleneck_size=64,
    num_attention_heads=2,
    intermediate_size=256,
    num_feedforward_networks=2,
)


@pytest.fixture(scope="module")
def student():
    return encoder_config(SHAPE, family="mobilebert", vocab_size=100)


@pytest.fixture(scope="module")
def compiled(student):
    return compile_encoder(student, Workload(batch_size=2, sequence_length=32), CPU)


def test_the_program_is_the_encoder_as_it_is_served(compiled):
    state, ids, mask = compiled.arguments
    hidden = compiled.program(*compiled.arguments)
    assert hidden.shape == (2, 32, 128)
    assert np.isfinite(hidden).all()
    assert ids.shape == mask.shape == (2, 32)
    assert mask[0].all()  # a batch is as long as its longest passage
    assert all(leaf.devices() == {CPU} for leaf in jax.tree.leaves(compiled.arguments))
    assert all(np.abs(leaf).min() > 0 for leaf in jax.tree.leaves(state))  # nothing to skip
    assert compiled.run() > 0


def test_the_compilers_count_is_that_of_the_matrix_products(compiled, student):
    cost = encoder_cost(SHAPE, family="mobilebert", vocab_size=100)
    attention = student.num_hidden_layers * 2 * 32 * student.attention_width  # per token
    flops = 2 * 2 * 32 * (cost.multiply_adds + attention)
    # Norms, softmax and activations come on top, some operations per element.
    assert flops < compiled.flops < 1.3 * flops


def test_memory_and_traffic_hold_the_weights(compiled, student):
    weights = 4 * count_parameters(weight_shapes(lambda rngs: Encoder(student, rngs)))
    assert weights < compiled.peak_memory_bytes < 3 * weights
    assert compiled.bytes_accessed > weights / 2  # of the tables, only some rows are read


def test_half_precision_halves_the_matrices_and_leaves_the_vectors(student, compiled):
    half = compile_encoder(student, Workload(2, 32, "bfloat16"), CPU)
    full = jax.tree.leaves(compiled.arguments[0])
    for leaf, whole in zip(jax.tree.leaves(half.arguments[0]), full, strict=True):
        expected = jax.numpy.bfloat16 if whole.ndim > 1 else jax.numpy.float32
        assert leaf.dtype == expected
        assert leaf.shape == whole.shape


def test_passages_longer_than_the_encoder_are_refused(tiny):
    with pytest.raises(TargetError, match="has 16 positions; it cannot serve passages of 17"):
        compile_encoder(tiny, Workload(1, 17), CPU)
    assert compile_encoder(tiny, Workload(1, 16), CPU).run() > 0


def test_the_estimate_is_the_larger_of_two_times(compiled, student):
    workload = Workload(batch_size=2, sequence_length=32)
    for flops_per_s, bytes_per_s in ((1e9, 1e15), (1e15, 1e9), (1.5e11, 2e10)):
        target = RooflineTarget(flops_per_s=flops_per_s, bytes_per_s=bytes_per_s)
        (found,) = measure_all(target, [student], workload)
        expected = max(compiled.flops / flops_per_s, compiled.bytes_accessed / bytes_per_s)
        assert found.latency_ms == pytest.approx(1e3 * expected, rel=1e-12)
        assert (found.repeats, found.latency_iqr_ms) == (0, None)


def test_the_estimate_repeats_exactly_and_says_what_it_is(tiny, short):
    target = RooflineTarget()
    deeper = replace(tiny, num_hidden_layers=3)
    first, second = (measure_all(target, [tiny, deeper], short) for _ in range(2))
    assert [replace(m, compile_s=None) for m in first] == [
        replace(m, compile_s=None) for m in second
    ]
    assert first[0].latency_ms < first[1].latency_ms
    assert target.statistic == "compiler_estimate"
    assert target.name == "cpu-roofline"


def test_estimates_at_other_rates_are_of_another_device():
    assert RooflineTarget().device_kind == "nominal CPU, 150 GFLOP/s, 20 GB/s"
    assert RooflineTarget(flops_per_s=1e12).device_kind == "nominal CPU, 1000 GFLOP/s, 20 GB/s"


def test_an_encoder_that_cannot_be_compiled_is_an_error(tiny, impossible, short):
    failed, fine = measure_all(RooflineTarget(), [impossible, tiny], short)
    assert failed.latency_ms is None
    assert "MemoryError: Unable to allocate" in failed.error
    assert fine.latency_ms > 0


def test_a_program_without_counts_is_an_error(tiny, short, monkeypatch):
    whole = compile_encoder(tiny, short, CPU)
    monkeypatch.setattr(estimated, "compile_encoder", lambda *_: replace(whole, flops=None))
    (found,) = measure_all(RooflineTarget(), [tiny], short)
    assert found.latency_ms is None
    assert found.error == "the compiler gave no count of flops and bytes"
