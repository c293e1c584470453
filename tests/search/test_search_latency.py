"""The latency model of a search, over the compiler's counts."""

from pathlib import Path

import numpy as np
import pytest

from autodistill.errors import ExportError, TargetError
from autodistill.profiler import Measurement, TableBuilder, Workload, get_target, measure_all
from autodistill.profiler.estimated import RooflineTarget
from autodistill.search.latency import fit_latency, profile_sample
from autodistill.space import SearchSpace
from predictors import load

SPACE = SearchSpace(
    {
        "num_hidden_layers": [1, 2, 3, 4],
        "hidden_size": [16, 32, 48, 64],
        "num_attention_heads": [1, 2],
        "intermediate_size": [16, 32],
    },
    family="bert",
)


class Counted:
    """A target whose latency is layers times width; the widest cannot be measured."""

    name, device_kind, statistic = "counted", "abacus", "compiler_estimate"
    compiler_version = "beads 1.2"

    def __init__(self, fails=lambda config: False):
        self.fails = fails

    def measure(self, configs, workload):
        for i, c in enumerate(configs):
            yield i, None
            if self.fails(c):
                yield i, Measurement(None, error="out of memory")
            else:
                yield i, Measurement(0.01 * c.num_hidden_layers * c.hidden_size)


def make_builder(folder: Path, target) -> TableBuilder:
    return TableBuilder(
        folder / "latency.csv",
        SPACE.fields,
        family="bert",
        target=target,
        workloads=[Workload()],
        vocab_size=50,
    )


def test_latency_the_sample_is_distinct_and_begins_as_told() -> None:
    first = SPACE.sample_distinct(2, np.random.default_rng(5))
    sample = profile_sample(SPACE, 20, seed=3, first=[*first, first[0]])
    assert sample[:2] == first and len(sample) == len(set(sample)) == 20
    assert sample == profile_sample(SPACE, 20, seed=3, first=first)
    assert sample != profile_sample(SPACE, 20, seed=4, first=first)
    assert len(profile_sample(SPACE, 10_000, seed=0, first=first)) == SPACE.size
    assert profile_sample(SPACE, 1, seed=0, first=first) == first


def test_latency_model_learns_the_table_and_survives_its_file(tmp_path: Path) -> None:
    builder = make_builder(tmp_path, Counted())
    builder.measure(profile_sample(SPACE, 32, seed=0, first=[]))
    model = fit_latency(builder, SPACE.encode, seed=0)
    assert model.rows == 32
    unseen = [a for a in SPACE.enumerate() if a not in builder.known()]
    truth = np.array([0.01 * a["num_hidden_layers"] * a["hidden_size"] for a in unseen])
    mean, std = model(unseen)
    assert mean.shape == std.shape == truth.shape and (std > 0).all()
    # A product of two factors is smooth in the logarithm: half the space tells the other half.
    assert np.median(np.abs(mean / truth - 1)) < 0.15
    path = tmp_path / "predictors" / "latency.json"
    workload = {"batch_size": 1, "device_kind": "abacus"}
    model.save(path, columns=SPACE.columns, target="counted", workload=workload)
    assert load(path).workload_ == workload
    np.testing.assert_array_equal(load(path).predict(SPACE.encode(unseen)), mean)


def test_latency_model_that_cannot_be_kept_is_explained(tmp_path: Path) -> None:
    builder = make_builder(tmp_path, Counted())
    builder.measure(profile_sample(SPACE, 8, seed=0, first=[]))
    (tmp_path / "file").write_text("in the way")
    model = fit_latency(builder, SPACE.encode, seed=0)
    with pytest.raises(ExportError, match="cannot be made"):
        path = tmp_path / "file" / "latency.json"
        model.save(path, columns=SPACE.columns, target="counted", workload={})


def test_latency_failures_are_left_out_and_told_if_nothing_else_is_there(tmp_path: Path) -> None:
    builder = make_builder(tmp_path, Counted(lambda config: config.hidden_size == 64))
    builder.measure(profile_sample(SPACE, 32, seed=0, first=[]))
    model = fit_latency(builder, SPACE.encode, seed=0)
    failed = sum(row.latency_ms is None for row in builder.rows().rows)
    assert failed and model.rows == 32 - failed
    (tmp_path / "none").mkdir()
    builder = make_builder(tmp_path / "none", Counted(lambda config: True))
    builder.measure(profile_sample(SPACE, 4, seed=0, first=[]))
    with pytest.raises(TargetError, match=r"only 0 architectures .*: out of memory"):
        fit_latency(builder, SPACE.encode, seed=0)


def test_latency_estimates_repeat_exactly_and_grow_with_depth() -> None:
    from autodistill.space.families import encoder_config

    configs = [
        encoder_config({**a.to_dict(), "num_hidden_layers": n}, family="bert", vocab_size=50)
        for a in SPACE.sample(1, np.random.default_rng(0))
        for n in (1, 2, 2)
    ]
    target = get_target("cpu-roofline")
    assert isinstance(target, RooflineTarget)
    one, two, again = (m.latency_ms for m in measure_all(target, configs, Workload(1, 16)))
    assert two == again and two > one > 0
