"""TPUs without a TPU: sums of parts against whole programs, by the real compiler."""

import importlib.util
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autodistill.errors import TargetError
from autodistill.models.config import BertConfig, MobileBertConfig
from autodistill.profiler import Workload, measure_all
from autodistill.profiler.tpu import cost as cost_module
from autodistill.profiler.tpu.chips import CHIPS
from autodistill.profiler.tpu.cost import CostCache, ProgramCost
from autodistill.profiler.tpu.parts import Part, terms
from autodistill.profiler.tpu.target import CompiledTarget
from autodistill.space import SearchSpace
from autodistill.space.families import encoder_config

STUDENT = MobileBertConfig(
    3, 256, 4, 384, "gelu", embedding_size=64, intra_bottleneck_size=96, num_feedforward_networks=3
)
SHORT = Workload(1, 128, "bfloat16")
V4I = CHIPS["tpu-v4i"]
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)


@pytest.mark.parametrize(
    ("name", "clock_mhz"),
    [("tpu-v2", 700), ("tpu-v3", 940), ("tpu-v4", 1050), ("tpu-v4i", 1050), ("tpu-v5p", 1750)],
)
def test_the_clock_is_the_published_one(name, clock_mhz):
    """Derived from peak rate and matrix units; published rates are rounded to 1%."""
    assert CHIPS[name].clock_hz / 1e6 == pytest.approx(clock_mhz, rel=0.01)


def additive(config):
    """A cost that really is a sum: whole layers, heads, networks, embeddings."""
    if isinstance(config, BertConfig):
        return 7 + config.num_hidden_layers * config.hidden_size
    network = config.attention_width * config.intermediate_size + len(config.hidden_act)
    heads = config.num_attention_heads * config.attention_width
    block = config.hidden_size * config.attention_width
    layer = block + heads + config.num_feedforward_networks * network
    return 5 + config.hidden_size * config.embedding_size + config.num_hidden_layers * layer


def additive_part(part):
    config = part.config
    if part.kind == "encoder":
        return additive(config)
    if part.kind == "embeddings":
        return 5 + config.hidden_size * config.embedding_size
    network = config.attention_width * config.intermediate_size + len(config.hidden_act)
    return 11 + config.num_hidden_layers * network


def test_the_terms_add_up_where_costs_are_sums():
    space = SearchSpace.preset("mobilebert")
    drawn = space.sample(50, np.random.default_rng(0))
    configs = [encoder_config(a, family="mobilebert", vocab_size=99) for a in drawn]
    configs += [BertConfig(1, 64, 2, 128), BertConfig(12, 64, 2, 128), STUDENT]
    configs += [replace(STUDENT, num_hidden_layers=1), replace(STUDENT, num_hidden_layers=2)]
    for config in configs:
        assert sum(f * additive_part(p) for p, f in terms(config).items()) == additive(config)


def test_many_architectures_share_few_programs():
    space = SearchSpace.preset("mobilebert")
    drawn = space.sample(2000, np.random.default_rng(0))
    parts = {
        part
        for a in drawn
        for part in terms(encoder_config(a, family="mobilebert", vocab_size=30522))
    }
    assert len(parts) < 900
    assert Counter(part.config.num_hidden_layers > 2 for part in parts) == {False: len(parts)}


@needs_libtpu
@pytest.mark.slow
def test_many_narrow_heads_compile_for_tpu7x(tmp_path):
    """They overflow the stack that libtpu's threads have by default, which ends the process."""
    narrow = replace(STUDENT, num_hidden_layers=1, num_attention_heads=8, intra_bottleneck_size=64)
    target = CompiledTarget(CHIPS["tpu7x"], processes=1, cache_dir=tmp_path)
    (found,) = measure_all(target, [narrow], SHORT)
    assert found.error == ""
    assert found.latency_ms > 0


@needs_libtpu
def test_a_small_student_compiled_for_tpuv4i(tmp_path):
    """The sum of parts is the whole unrolled program; a second build compiles nothing."""
    from autodistill.profiler.tpu.target import Task, compile_task
    from autodistill.profiler.workers import WorkerSettings, run_tasks

    target = CompiledTarget(V4I, processes=1, cache_dir=tmp_path)
    (found,) = measure_all(target, [STUDENT], SHORT)
    task = Task(Part("encoder", STUDENT), SHORT, V4I, prefetch=False, cache_dir=None)
    settings = WorkerSettings(environment=cost_module.environment())
    ((_, whole),) = run_tasks(compile_task, [task], settings)
    assert found.latency_ms == pytest.approx(whole.cycles / V4I.clock_hz * 1e3, rel=0.02)
    assert found.flops == pytest.approx(whole.flops, rel=0.01)
    assert found.bytes_accessed == pytest.approx(whole.bytes_accessed, rel=0.01)
    memory = whole.argument_bytes + whole.output_bytes + whole.temporary_bytes
    assert found.peak_memory_bytes == pytest.approx(memory, rel=0.01)
    assert found.compile_s > 0
    assert (target.name, target.statistic) == ("tpu-v4i", "compiler_estimate")
    assert target.compiler_version.startswith("libtpu ")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(before) == len(terms(STUDENT))
    assert measure_all(target, [STUDENT], SHORT) == [found]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.slow
@needs_libtpu
def test_a_whole_program_is_no_slower_and_its_table_is_another(tmp_path):
    """The compiler may prefetch weights there; a table never holds both."""
    parts = CompiledTarget(V4I, processes=1, cache_dir=tmp_path)
    whole = replace(parts, whole=True)
    (summed,), (single,) = (measure_all(t, [STUDENT], SHORT) for t in (parts, whole))
    assert 0.7 * summed.latency_ms < single.latency_ms < 1.02 * summed.latency_ms
    assert whole.device_kind == "tpu-v4i, 1 of 1 cores, 1053 MHz, whole program"
    assert parts.device_kind == "tpu-v4i, 1 of 1 cores, 1053 MHz, sum of parts, no prefetch"


@needs_libtpu
def test_published_encoders_in_their_order_on_tpuv4i():
    """Thin and deep is slow on a TPU: MobileBERT, a quarter of BERT's weights, is close to it."""
    space = SearchSpace.preset("mobilebert")
    encoders = [
        BertConfig(4, 312, 12, 1200),
        BertConfig(6, 768, 12, 3072),
        encoder_config(space.baseline, family="mobilebert", vocab_size=30522),
        BertConfig(12, 768, 12, 3072),
    ]
    latencies = [m.latency_ms for m in measure_all(CompiledTarget(V4I), encoders, SHORT)]
    assert latencies == sorted(latencies)
    assert latencies[2] > 0.5 * latencies[3]


@needs_libtpu
def test_an_encoder_that_the_compiler_refuses_is_an_error_and_the_others_are_measured():
    monster = BertConfig(1, 64, 1, 2**33)  # its matrices alone have 2 TB
    small = BertConfig(1, 128, 1, 128, vocab_size=100)
    failed, fine = measure_all(CompiledTarget(V4I, processes=1), [monster, small], SHORT)
    assert failed.latency_ms is None
    assert failed.error
    assert fine.latency_ms > 0


def test_without_libtpu_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(cost_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TargetError, match=r'pip install "autodistill-nas\[tpu\]"'):
        measure_all(CompiledTarget(V4I), [STUDENT], SHORT)


@needs_libtpu
def test_a_topology_that_the_compiler_does_not_know_is_an_error():
    """It ends the build: no encoder is at fault, and none has failed."""
    unknown = CompiledTarget(replace(V4I, topology="v99:1x1"), processes=1)
    with pytest.raises(TargetError, match="libtpu cannot compile for v99:1x1"):
        measure_all(unknown, [BertConfig(1, 64, 1, 64)], SHORT)


def test_costs_are_kept_whole_or_not_at_all(tmp_path):
    cost = ProgramCost(5, 1.5, 2.5, 3, 4, 5, 0.25)
    cache = CostCache(tmp_path / "new")
    assert cache.get("a") is None
    cache.put("a", cost)
    assert cache.get("a") == cost
    (tmp_path / "new" / "b.json").write_text('{"cycles": 5')  # torn by a crash elsewhere
    assert cache.get("b") is None
    assert [p.name for p in sorted((tmp_path / "new").iterdir())] == ["a.json", "b.json"]
    CostCache(tmp_path / "new" / "a.json" / "x").put("c", cost)  # a file is in the way: no harm


def test_scheduled_cycles_are_those_of_the_main_computation():
    from autodistill.profiler.tpu.compiler import scheduled_cycles

    inner = 'fused { a = f32[] add(x), config={"estimated_cycles":"900"} }'
    main = (
        '\nENTRY main {\n b = fusion(), {"estimated_cycles":"30"}\n'
        ' c = copy(), {"estimated_cycles":"7"}\n}'
    )
    assert scheduled_cycles(inner + main) == 37
    with pytest.raises(TargetError, match="carries no estimated cycles"):
        scheduled_cycles("\nENTRY main { a = f32[] add(x) }")
    with pytest.raises(TargetError, match="has a loop"):
        scheduled_cycles(main.replace("copy()", "(f32[]) while(b)"))


@needs_libtpu
def test_a_compiler_process_that_is_killed_costs_one_program_only():
    """What the kernel does when memory runs out."""
    small = [BertConfig(1, 128, 1, 64 * n, vocab_size=100) for n in (1, 2, 3, 4)]
    target = CompiledTarget(V4I, processes=1)
    found = {}
    for i, one in target.measure(small, SHORT):
        if one is not None:
            found[i] = one
            if len(found) == 1:
                children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
                os.kill(int(children.split()[-1]), signal.SIGKILL)
    assert sorted(found) == [0, 1, 2, 3]
    assert sum(one.latency_ms is None for one in found.values()) <= 1


def test_flags_of_the_shell_are_not_heard(monkeypatch):
    """They would change costs, which stay in the cache for all later tables."""
    unset = cost_module.environment()
    for name in ("LIBTPU_INIT_ARGS", "XLA_FLAGS"):
        monkeypatch.setenv(name, "--xla_tpu_scoped_vmem_limit_kib=2048")
    assert cost_module.environment() == unset
    assert not any("vmem" in value for value in unset.values())
