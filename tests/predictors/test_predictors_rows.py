"""What a row of a latency table may hold."""

import pickle

import numpy as np
import pytest

from predictors import PROVENANCE, LatencyRow, TableError
from predictors.rows import parse_row, parse_value

WHOLE = {
    "architecture": {"num_hidden_layers": 12, "ratio": 0.1, "bias": True, "hidden_act": "relu"},
    "target": "tpu-v4i",
    "device_kind": "TPU v4 lite",
    "batch_size": 1,
    "sequence_length": 128,
    "dtype": "bfloat16",
    "latency_ms": 1 / 3,
    "latency_iqr_ms": 0.01,
    "repeats": 30,
    "statistic": "median",
    "compile_s": 2.5,
    "flops": 1.2e10,
    "bytes_accessed": 3e8,
    "peak_memory_bytes": 2**40 + 1,
    "jax_version": "0.10.2",
    "compiler_version": 'libtpu 0.0.1, build "x"',
    "measured_at": "2026-01-31T12:00:00Z",
}


def row(**changes):
    return LatencyRow(**{**WHOLE, **changes})


def test_columns_are_those_of_the_format():
    assert ",".join(PROVENANCE) == (
        "target,device_kind,batch_size,sequence_length,dtype,latency_ms,latency_iqr_ms,repeats,"
        "statistic,compile_s,flops,bytes_accessed,peak_memory_bytes,jax_version,compiler_version,"
        "measured_at,schema_version,error"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"latency_iqr_ms": None, "repeats": None, "compile_s": None, "flops": None},
        {"latency_ms": None, "statistic": None, "error": "out of memory"},
        {"statistic": "compiler_estimate", "repeats": 0},
        {"architecture": {"hidden_act": "gelu, tanh", "n": -1}},
    ],
)
def test_cells_there_and_back(changes):
    first = row(**changes)
    second = parse_row(tuple(first.architecture), first.cells())
    assert second == first
    assert pickle.loads(pickle.dumps(first)) == first


def test_values_become_plain():
    found = row(
        architecture={"a": np.int64(3), "b": np.float32(0.5), "c": np.bool_(True), "d": "7"},
        latency_ms=np.float64(2),
        batch_size=np.int32(4),
    )
    assert found.architecture == {"a": 3, "b": 0.5, "c": True, "d": 7}
    kinds = [int, float, bool, int]
    assert [type(value) for value in found.architecture.values()] == kinds
    assert type(found.latency_ms) is float and type(found.batch_size) is int


def test_error_is_one_line():
    found = row(latency_ms=None, error="RESOURCE_EXHAUSTED:\n  3 GB\r\n over")
    assert found.error == "RESOURCE_EXHAUSTED: 3 GB over"


def test_key_is_architecture_and_workload():
    assert row().key == row(latency_ms=9.0, measured_at="").key
    assert row().key != row(batch_size=8).key
    assert row().key != row(architecture={**WHOLE["architecture"], "bias": False}).key


@pytest.mark.parametrize(
    ("cell", "value"),
    [("12", 12), ("-1", -1), ("0.5", 0.5), ("1e3", 1000.0), ("True", True), ("false", False),
     ("relu", "relu"), ("no_norm", "no_norm"), ("1_2", "1_2"), ("1_0.5", "1_0.5")],
)  # fmt: skip
def test_cells_speak_for_themselves(cell, value):
    assert parse_value(cell) == value and type(parse_value(cell)) is type(value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": {}}, "architecture has no fields"),
        ({"architecture": {"a=b": 1}}, "without '='; got 'a=b'"),
        ({"architecture": {"": 1}}, "needs a name"),
        ({"architecture": {"latency_ms": 1}}, "'latency_ms' has the name of a fixed column"),
        ({"architecture": {"a": ""}}, "column a is empty"),
        ({"architecture": {"a": None}}, "column a must be text; got None"),
        ({"architecture": {"a": float("nan")}}, "column a must be finite"),
        ({"architecture": {"a": "inf"}}, "column a must be finite"),
        ({"architecture": {"a": "x\ny"}}, "column a must be text on one line"),
        ({"target": ""}, "column target is empty"),
        ({"target": 4}, "column target must be text; got 4"),
        ({"device_kind": "a\nb"}, "column device_kind must be text on one line"),
        ({"batch_size": 0}, "column batch_size must be at least 1; got 0"),
        ({"batch_size": 1.5}, "column batch_size must be a whole number; got 1.5"),
        ({"sequence_length": None}, "column sequence_length must be at least 1; got None"),
        ({"latency_ms": None}, "column latency_ms is empty"),
        ({"latency_ms": 0.0}, "column latency_ms must be positive; got 0.0"),
        ({"latency_ms": -1}, "column latency_ms must be finite and at least 0; got -1"),
        ({"latency_ms": "fast"}, "column latency_ms must be a number; got 'fast'"),
        ({"latency_ms": float("inf")}, "column latency_ms must be finite"),
        ({"error": "failed"}, "latency_ms must be empty in a row with an error; got 0.33"),
        ({"repeats": "many"}, "column repeats must be a whole number; got 'many'"),
        ({"flops": -1}, "column flops must be finite and at least 0; got -1"),
        ({"statistic": "mean"}, "one of median, compiler_estimate; got 'mean'"),
        ({"statistic": None}, "one of median, compiler_estimate; got None"),
        ({"measured_at": "yesterday"}, "ISO 8601 time; got 'yesterday'"),
        ({"schema_version": 2}, "schema_version is 2; this version reads and writes 1"),
        ({"schema_version": None}, "schema_version is None; this version reads and writes 1"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(TableError, match=message):
        row(**changes)


def test_wrong_number_of_cells():
    with pytest.raises(TableError, match="expected 22 cells; got 21"):
        parse_row(tuple(row().architecture), row().cells()[:-1])
