"""Timing real encoders, and the targets by name."""

from dataclasses import replace

import jax
import jaxlib
import pytest

from autodistill.errors import TargetError
from autodistill.profiler import TARGETS, Measurement, Workload, get_target, measure_all
from autodistill.profiler.rolling import TimingSettings
from autodistill.profiler.timed import TimedTarget

# -- real encoders -----------------------------------------------------------

QUICK = TimedTarget("cpu", "cpu", TimingSettings(min_repeats=10, min_rounds=2, max_seconds=0.3))


def test_a_real_encoder_is_timed(tiny, short):
    (found,) = measure_all(QUICK, [tiny], short)
    assert found.error == ""
    assert found.latency_ms > 0
    assert found.latency_iqr_ms >= 0
    assert found.repeats >= 10
    # Compiling takes a tenth of a second or more, a run of it well below a millisecond.
    assert found.compile_s > found.latency_ms / 1e3
    assert found.flops > 0
    assert found.bytes_accessed > 0
    assert found.peak_memory_bytes > 0


def test_a_much_larger_encoder_takes_much_longer(tiny):
    """A hundred times the multiply-adds: four times the latency on any machine."""
    large = replace(tiny, num_hidden_layers=4, hidden_size=256, intermediate_size=1024)
    small, big = measure_all(QUICK, [tiny, large], Workload(batch_size=8, sequence_length=16))
    assert big.flops > 100 * small.flops
    assert big.latency_ms > 4 * small.latency_ms


def test_an_encoder_that_fails_does_not_spoil_the_others(tiny, impossible, short):
    first, failed, last = measure_all(QUICK, [tiny, impossible, tiny], short)
    assert failed.latency_ms is None
    assert "MemoryError: Unable to allocate" in failed.error
    assert first.latency_ms > 0
    assert last.latency_ms > 0


def test_an_error_without_words_is_still_an_error():
    assert Measurement.failed(MemoryError()).error == "MemoryError:"
    long = Measurement.failed(RuntimeError("one\n  two" + "x" * 900)).error
    assert long.startswith("RuntimeError: one two")
    assert len(long) == 300
    assert Measurement.failed(MemoryError()).latency_ms is None


# -- targets by name ---------------------------------------------------------


def test_an_unknown_target_lists_the_known():
    with pytest.raises(TargetError, match="unknown target 'abacus'; known are") as caught:
        get_target("abacus")
    assert all(name in str(caught.value) for name in TARGETS)


@pytest.mark.parametrize("name", ["local", "cpu", "cpu-roofline"])
def test_targets_that_every_machine_has(name):
    target = get_target(name)
    assert target.name == name
    assert target.statistic == ("compiler_estimate" if name == "cpu-roofline" else "median")
    assert target.device_kind


def test_a_cpu_is_named_with_its_cores():
    assert get_target("cpu").device_kind.endswith(" cores")


def test_the_compiler_is_named_on_one_line():
    assert get_target("cpu").compiler_version == f"jaxlib {jaxlib.__version__}"
    assert get_target("cpu-roofline").compiler_version == f"jaxlib {jaxlib.__version__}"


class Chip:
    """A device with a compiler of its own."""

    class client:
        platform_version = "PJRT C API\nTFRT TPU v4\nBuilt on Mar 1"

    platform = "tpu"


def test_the_compiler_of_a_device_is_named_too():
    target = TimedTarget("tpu", "tpu")
    target.__dict__["device"] = Chip()  # as if jax had found one
    version = f"jaxlib {jaxlib.__version__}, PJRT C API TFRT TPU v4 Built on Mar 1"
    assert target.compiler_version == version


@pytest.mark.parametrize("name", ["gpu", "tpu"])
def test_a_target_that_is_absent_says_what_there_is(name):
    if name in {device.platform for device in jax.devices()}:
        pytest.skip(f"this machine has a {name}")
    with pytest.raises(TargetError, match=f"target '{name}': jax sees no {name} device here, only"):
        get_target(name)


@pytest.mark.parametrize("error", [RuntimeError("Unable to initialize"), AssertionError()])
@pytest.mark.parametrize("platform", [None, "gpu"])
def test_a_jax_that_sees_no_device_at_all(monkeypatch, platform, error):
    """As where JAX_PLATFORMS names one that is absent."""

    def devices(backend=None):
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(TargetError, match="device here, and no other, as JAX_PLATFORMS is"):
        TimedTarget("local", platform).device  # noqa: B018


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "must be positive; got 0 and 128"),
        ({"sequence_length": -1}, "must be positive; got 1 and -1"),
        ({"dtype": "float64"}, "dtype must be one of float32, bfloat16; got 'float64'"),
    ],
)
def test_a_workload_that_cannot_be_served_is_refused(arguments, message):
    with pytest.raises(TargetError, match=message):
        Workload(**arguments)


def test_a_workload_in_words():
    assert str(Workload(8, 64, "bfloat16")) == "batch 8 x 64 tokens, bfloat16"
