"""Which rows a table is to have; no device is touched."""

import pytest

from autodistill.errors import ArgumentError, SpaceError, TargetError
from autodistill.profiler.plan import default_dtype, make_plan, workloads_of
from autodistill.profiler.sampling import stratified_sample
from autodistill.profiler.table_fields import config_of_row, table_fields
from autodistill.profiler.target import Workload
from autodistill.space import Architecture, SearchSpace

SPACE = SearchSpace.preset("mobilebert-mini")
BERT = Architecture(
    num_hidden_layers=4, hidden_size=312, num_attention_heads=12, intermediate_size=1200
)


def plan(**changes):
    options = {
        "samples": 5, "workloads": [Workload()], "vocab_size": 30522, "seed": 0, **changes
    }  # fmt: skip
    return make_plan(options.pop("space", SPACE), **options)


def test_plan_measures_every_architecture_under_every_workload():
    found = plan(workloads=[Workload(1), Workload(8)])
    assert len(found.architectures) == len(set(found.architectures)) == 5
    assert found.rows == [(a, w) for w in (Workload(1), Workload(8)) for a in found.architectures]
    assert found.fields == table_fields(SPACE)
    assert all(set(a) == set(found.fields) for a in found.architectures)


def test_plan_samples_are_those_of_the_space():
    drawn = stratified_sample(SPACE, 5, 3)
    configs = [plan(seed=3).config(a) for a in plan(seed=3).architectures]
    assert [c.num_hidden_layers for c in configs] == [a["num_hidden_layers"] for a in drawn]
    assert plan(seed=3) == plan(seed=3) != plan(seed=4)


def test_plan_of_more_samples_begins_as_that_of_fewer():
    assert plan(samples=9).architectures[:5] == plan(samples=5).architectures


def test_plan_puts_well_known_encoders_first_and_names_them():
    found = plan(baselines=True)
    names = [found.names.get(a) for a in found.architectures]
    assert names[:5] == [
        "BERT_BASE",
        "DistilBERT, TinyBERT6",  # of one shape
        "TinyBERT4",
        "MobileBERT",
        "MobileBERT-TINY",
    ]
    assert names[5:] == [None] * 5
    assert found.left_out == ""
    assert found.config(found.architectures[2]).hidden_size == 312


def test_plan_says_which_encoders_the_table_cannot_hold():
    found = plan(space=SearchSpace.preset("bert-mini"), baselines=True)
    assert "MobileBERT" in found.left_out
    assert "MobileBERT" not in found.names.values()


def test_plan_takes_given_architectures_of_either_family_once():
    member = stratified_sample(SPACE, 1, 0)[0]
    found = plan(given=[("bert", BERT), ("mobilebert", member), ("bert", BERT)], samples=1)
    assert len(found.architectures) == 2  # the member is also the sample's first
    assert found.config(found.architectures[0]).model_type == "bert"
    assert plan(given=[("bert", BERT)], baselines=True, samples=0).names.keys() == set(
        plan(given=[("bert", BERT)], baselines=True, samples=0).architectures
    )  # TinyBERT4 is the given one


def test_plan_todo_leaves_out_what_is_known():
    found = plan(workloads=[Workload(1), Workload(8)])
    known = {found.rows[0], found.rows[7]}
    assert found.todo(known) == [row for row in found.rows if row not in known]
    assert found.todo(found.rows) == []


def test_plan_configs_have_the_vocabulary_asked_for():
    found = plan(vocab_size=100)
    assert found.config(found.architectures[0]) == config_of_row(found.architectures[0], 100)
    assert found.config(found.architectures[0]).vocab_size == 100


def test_plan_rows_say_a_vocabulary_that_is_not_berts():
    usual, other = plan(baselines=True), plan(baselines=True, vocab_size=100)
    assert set(other.fields) - set(usual.fields) == {"vocab_size"}
    assert [dict(a) for a in other.architectures] == [
        {**a, "vocab_size": 100} for a in usual.architectures
    ]
    assert {found.config(a).vocab_size for found in (usual,) for a in found.names} == {30522}
    assert list(other.names.values()) == list(usual.names.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": -1}, "--samples must be at least 0; got -1"),
        ({"samples": 70_000}, "--samples must be at most 69,120, the size of the space mobilebert"),
        ({"samples": 0}, "nothing to measure: give --samples, --architectures"),
        ({"seed": -1}, "--seed must be between 0 and"),
        ({"vocab_size": 0}, "--vocab-size must be at least 1"),
        ({"workloads": []}, "at least one workload"),
        ({"space": SearchSpace({"n_layer": [1, 2]}), "samples": 1}, "must name its family"),
    ],
)
def test_plan_refuses(changes, message):
    with pytest.raises(ArgumentError, match=message):
        plan(**changes)


def test_plan_refuses_an_architecture_that_cannot_be_built():
    broken = Architecture(dict(BERT) | {"num_attention_heads": 7})
    with pytest.raises(SpaceError, match="num_attention_heads must divide"):
        plan(given=[("bert", broken)])


def test_workloads_of_several_batch_sizes():
    assert workloads_of([8, 1], 64, "bfloat16") == (
        Workload(8, 64, "bfloat16"),
        Workload(1, 64, "bfloat16"),
    )


@pytest.mark.parametrize(
    ("batches", "length", "dtype", "error", "message"),
    [
        ([], 128, "float32", ArgumentError, "--batch-size takes one or more different"),
        ([1, 8, 1], 128, "float32", ArgumentError, "--batch-size takes .*; got 1 8 1"),
        ([1], 513, "float32", ArgumentError, "--sequence-length must be at most 512"),
        ([1, 0], 128, "float32", TargetError, "must be positive; got 0"),
        ([1], 0, "float32", TargetError, "must be positive"),
        ([1], 128, "int8", TargetError, "dtype must be one of float32, bfloat16; got 'int8'"),
    ],
)
def test_workloads_refuse(batches, length, dtype, error, message):
    with pytest.raises(error, match=message):
        workloads_of(batches, length, dtype)


def test_dtype_is_that_of_the_hardware():
    assert [default_dtype(name) for name in ("tpu", "tpu-v4i", "tpu7x")] == ["bfloat16"] * 3
    assert [default_dtype(name) for name in ("local", "cpu", "onnx-cpu")] == ["float32"] * 3
