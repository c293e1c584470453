"""Latency tables as source devices."""

import numpy as np
import pytest

from predictors import LatencyRow, TableError, append_row, read_table
from predictors.sources import devices_of, matrices, read_sources, shared_columns


def write(path, rows, *, target="cpu", **workload):
    for layers, act, latency in rows:
        append_row(
            path,
            LatencyRow(
                {"layers": layers, "act": act},
                **{
                    "target": target,
                    "device_kind": "x",
                    "batch_size": 1,
                    "sequence_length": 128,
                    "dtype": "float32",
                }
                | workload,
                latency_ms=latency,
                statistic=None if latency is None else "median",
                error="out of memory" if latency is None else "",
            ),
        )
    return path


ROWS = [(2, "relu", 1.0), (4, "relu", 2.0), (8, "gelu", None)]


def test_each_workload_is_a_device(tmp_path):
    table = write(tmp_path / "t.csv", ROWS)
    write(table, [(2, "relu", 5.0)], batch_size=8)
    first, second = devices_of(read_table(table))
    assert first.name == "cpu (x), batch 1 x 128, float32"
    assert second.name == "cpu (x), batch 8 x 128, float32"
    assert first.fields == ("layers", "act")
    np.testing.assert_array_equal(first.latency_ms, [1.0, 2.0])  # the failed row is left out
    np.testing.assert_array_equal(second.latency_ms, [5.0])


def test_matrices_share_their_columns(tmp_path):
    paths = [
        write(tmp_path / "a.csv", ROWS[:2], target="a"),
        write(tmp_path / "b.csv", [(3, "gelu", 7.0)], target="b"),
    ]
    devices = read_sources(paths)
    columns = shared_columns(("", [row for device in devices for row in device.architectures]))
    assert columns == ("layers", "act=gelu", "act=relu")
    found = matrices(devices, columns)
    X, y = found["b (x), batch 1 x 128, float32"]
    np.testing.assert_array_equal(X, [[3, 1, 0]])
    np.testing.assert_array_equal(y, [7.0])
    np.testing.assert_array_equal(found["a (x), batch 1 x 128, float32"][0], [[2, 0, 1], [4, 0, 1]])


def test_columns_of_the_first_group_count():
    known, pool = [{"layers": 2, "act": "relu"}], [{"layers": 3, "act": "tanh", "id": "s1"}]
    known = ("sources", known)
    assert shared_columns(known, ("pool.csv", pool)) == ("layers", "act=relu", "act=tanh")
    with pytest.raises(TableError, match=r"pool\.csv, row 0 lacks the field 'act'"):
        shared_columns(known, ("pool.csv", [{"layers": 3}]))
    mixed = [{"layers": 2, "act": "relu"}, {"layers": "many", "act": "relu"}]
    with pytest.raises(TableError, match=r"pool\.csv, row 1, column layers is text .*known ones"):
        shared_columns(known, ("pool.csv", mixed))


def test_the_same_device_twice_is_refused(tmp_path):
    a, b = (write(tmp_path / name, ROWS[:2]) for name in ("a.csv", "b.csv"))
    with pytest.raises(TableError, match=r"a\.csv and .*b\.csv both hold cpu \(x\), batch 1"):
        read_sources([a, b])


def test_machines_of_one_target_are_devices_of_their_own(tmp_path):
    """A target such as cpu says nothing of the machine; a chip's kind begins with its name."""
    kinds = {
        "a.csv": ("cpu", "AMD EPYC, 2 cores"),
        "b.csv": ("cpu", "Intel Xeon"),
        "c.csv": ("tpu-v4i", "tpu-v4i, 1 of 1 cores, 1053 MHz"),
        "d.csv": ("tpu", "tpu"),
        "e.csv": ("gpu", ""),
    }
    paths = {
        name: write(tmp_path / name, ROWS[:2], target=target, device_kind=kind)
        for name, (target, kind) in kinds.items()
    }
    assert [device.name.partition(", batch")[0] for device in read_sources(paths.values())] == [
        "cpu (AMD EPYC, 2 cores)", "cpu (Intel Xeon)", "tpu-v4i", "tpu", "gpu"
    ]  # fmt: skip
    other = write(tmp_path / "f.csv", ROWS[:2], target="tpu-v4i", device_kind="tpu-v4i, whole")
    devices = read_sources([paths["c.csv"], paths["d.csv"], other])
    assert list(matrices(devices, ("layers",))) == [
        "tpu-v4i (tpu-v4i, 1 of 1 cores, 1053 MHz), batch 1 x 128, float32",
        "tpu, batch 1 x 128, float32",
        "tpu-v4i (tpu-v4i, whole), batch 1 x 128, float32",
    ]
    again = write(tmp_path / "g.csv", ROWS[:2], target="cpu", device_kind="Intel Xeon")
    with pytest.raises(TableError, match=r"b\.csv and .*g\.csv both hold cpu \(Intel Xeon\)"):
        read_sources([*paths.values(), again])


def test_other_fields_are_refused(tmp_path):
    a = write(tmp_path / "a.csv", ROWS)
    b = tmp_path / "b.csv"
    append_row(
        b, LatencyRow({"width": 3}, "b", "x", 1, 128, "float32", latency_ms=1.0, statistic="median")
    )
    with pytest.raises(TableError, match=r"b\.csv has the .*fields width; .*layers, act"):
        read_sources([a, b])


def test_a_table_without_measurements_is_named(tmp_path):
    path = write(tmp_path / "failed.csv", [ROWS[2]])
    with pytest.raises(TableError, match=r"failed\.csv: none of the 1 rows has a latency"):
        read_sources([path])
    with pytest.raises(TableError, match=r"cannot read table .*none\.csv"):
        read_sources([tmp_path / "none.csv"])
