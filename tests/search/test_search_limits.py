"""Hard limits: counted exactly, and refused where nothing can meet them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autodistill.distill.start import random_weights
from autodistill.errors import ArgumentError
from autodistill.search.limits import Limits, smallest, student_parameters
from autodistill.space import Architecture, SearchSpace
from autodistill.space.families import encoder_config
from autodistill.space.restrict import for_masked_lm
from autodistill.teacher import DenseLayer, Pooling, Teacher, load_teacher
from predictors.rows import LatencyRow
from predictors.table import LatencyTable

BERT_SPACE = SearchSpace(
    {
        "num_hidden_layers": [1, 3],
        "hidden_size": [16, 24, 40],
        "num_attention_heads": [1, 2, 5],
        "intermediate_size": [8, 20],
    },
    family="bert",
    name="small-bert",
)


@pytest.fixture(params=["embedding", "masked-LM", "wider output"])
def teacher(request: pytest.FixtureRequest, tiny: Any) -> Teacher:
    if request.param == "masked-LM":
        return load_teacher(tiny.masked_teacher)
    plain = load_teacher(tiny.teacher)
    if request.param == "embedding":
        return plain
    dense = DenseLayer(np.ones((32, 50), np.float32), np.zeros(50, np.float32), True)
    return replace(plain, pooling=Pooling(dense=(dense,)))


@pytest.fixture(params=["mobilebert", "bert"])
def space(request: pytest.FixtureRequest, tiny: Any, teacher: Teacher) -> SearchSpace:
    whole = BERT_SPACE if request.param == "bert" else SearchSpace.from_yaml(tiny.space)
    return for_masked_lm(whole) if teacher.head else whole


def test_limits_parameters_are_those_of_real_weights(space: SearchSpace, teacher: Teacher) -> None:
    for architecture in space.sample(12, np.random.default_rng(0)):
        config = encoder_config(
            architecture, family=str(space.family), vocab_size=teacher.config.vocab_size
        )
        head = teacher.head is not None
        weights = random_weights(config, np.random.default_rng(0), head=head)
        served = sum(value.size for value in weights.values())
        served += 0 if head else (config.hidden_size + 1) * teacher.output_width
        assert student_parameters(architecture, space, teacher) == served


def test_limits_the_smallest_is_the_least_of_all(space: SearchSpace, teacher: Teacher) -> None:
    least = min(student_parameters(a, space, teacher) for a in space.enumerate())
    found = smallest(space, teacher)
    assert found in space and student_parameters(found, space, teacher) == least
    Limits(max_params=least).check_parameters(space, teacher)
    with pytest.raises(ArgumentError, match=f"the smallest has {least:,} parameters"):
        Limits(max_params=least - 1).check_parameters(space, teacher)


@pytest.mark.parametrize("value", [0, -1, float("nan")])
@pytest.mark.parametrize("name", ["max_latency_ms", "max_params"])
def test_limits_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(ArgumentError, match=f"--{name.replace('_', '-')} must be positive"):
        Limits(**{name: value})


class Slow:
    """A latency model: 1 ms a layer and 0.1 ms for each unit of width, known to a tenth."""

    def __call__(self, architectures: list[Architecture]) -> tuple[np.ndarray, np.ndarray]:
        mean = np.array([a["num_hidden_layers"] + 0.1 * a["hidden_size"] for a in architectures])
        return mean, 0.1 * mean


MODEL: Any = Slow()


def table_of(architectures: list[Architecture], times: float = 1.0) -> LatencyTable:
    rows = [
        LatencyRow(
            architecture=dict(sorted(a.to_dict().items())),
            target="t",
            device_kind="d",
            batch_size=1,
            sequence_length=8,
            dtype="float32",
            latency_ms=float(MODEL([a])[0][0]) * times,
            latency_iqr_ms=0.0,
            repeats=1,
            statistic="median",
            compile_s=0.1,
            flops=None,
            bytes_accessed=None,
            peak_memory_bytes=None,
            jax_version="0",
            compiler_version="0",
            measured_at="2026-01-01T00:00:00+00:00",
            error="",
        )
        for a in architectures
    ]
    return LatencyTable(tuple(sorted(BERT_SPACE.fields)), tuple(rows))


@pytest.fixture
def embedder(tiny: Any) -> Teacher:
    return load_teacher(tiny.teacher)


def test_limits_excess_is_the_worst_share(embedder: Teacher) -> None:
    few = BERT_SPACE.sample(20, np.random.default_rng(0))
    latency = MODEL(few)[0]
    counts = np.array([student_parameters(a, BERT_SPACE, embedder) for a in few])
    arguments: dict[str, Any] = {"space": BERT_SPACE, "teacher": embedder, "model": MODEL}
    both = Limits(3.0, 12_000).excess(few, **arguments)
    np.testing.assert_allclose(both, np.maximum(latency / 3.0, counts / 12_000) - 1)
    assert ((both <= 0) == ((latency <= 3.0) & (counts <= 12_000))).all()
    assert (Limits().excess(few, **arguments) <= 0).all()


def test_limits_the_most_hopeful_is_the_fastest_that_could_be_within(embedder: Teacher) -> None:
    everything = sorted(BERT_SPACE.enumerate(), key=lambda a: MODEL([a])[0][0])
    fastest_ms = MODEL(everything[:1])[0][0]
    table = table_of(everything[-4:])
    look = {"space": BERT_SPACE, "teacher": embedder, "model": MODEL, "seed": 0}
    hopeful = Limits(max_latency_ms=0.9 * fastest_ms).most_hopeful(table=table, **look)
    assert hopeful is not None and MODEL([hopeful])[0][0] == fastest_ms
    # Two standard deviations are a fifth: further off there is no hope.
    assert Limits(max_latency_ms=0.79 * fastest_ms).most_hopeful(table=table, **look) is None
    # No need to look, if one is within or there is no limit.
    assert Limits(max_latency_ms=99).most_hopeful(table=table, **look) is None
    assert Limits().most_hopeful(table=table, **look) is None
    # Nothing is left to look at.
    whole = table_of(everything)
    assert Limits(max_latency_ms=0.9 * fastest_ms).most_hopeful(table=whole, **look) is None


def test_limits_of_both_kinds_count_together(embedder: Teacher) -> None:
    """Deep and narrow has few parameters, shallow and wide is fast here: times -1."""
    everything = BERT_SPACE.enumerate()
    least = student_parameters(smallest(BERT_SPACE, embedder), BERT_SPACE, embedder)
    fits = [a for a in everything if student_parameters(a, BERT_SPACE, embedder) <= least]
    others = [a for a in everything if a not in fits]
    limit = 1.01 * float(MODEL(others)[0].min())
    Limits(limit).check_latency(BERT_SPACE, embedder, table_of(others))
    slow = table_of([*others])
    with pytest.raises(ArgumentError, match=f"with at most {least:,} parameters"):
        Limits(limit, least).check_latency(BERT_SPACE, embedder, slow)
    with pytest.raises(ArgumentError, match=r"of \d+ measured, the fastest takes"):
        Limits(limit / 2).check_latency(BERT_SPACE, embedder, slow)
    found = Limits(limit, least).most_hopeful(BERT_SPACE, embedder, MODEL, slow, seed=0)
    assert found in fits
