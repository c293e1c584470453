"""The table file: crash-safe appends, checked reads, the matrix."""

import csv
import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import predictors
from predictors import (
    PROVENANCE,
    LatencyRow,
    LatencyTable,
    TableError,
    append_row,
    create_table,
    read_table,
)


def row(layers=12, act="relu", **changes):
    values = {
        "architecture": {"layers": layers, "bias": layers > 6, "act": act},
        "target": "tpu-v4i",
        "device_kind": "TPU v4 lite",
        "batch_size": 1,
        "sequence_length": 128,
        "dtype": "bfloat16",
        "latency_ms": 0.1 * layers,
        "statistic": "median",
    }
    return LatencyRow(**{**values, **changes})


def failed(**changes):
    return row(latency_ms=None, statistic=None, error="out of memory", **changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tpu-v4i.csv"


@pytest.fixture
def three(path):
    for each in (row(12), failed(layers=24), row(4, "gelu")):
        append_row(path, each)
    return path


def test_rows_come_back(three):
    table = read_table(three)
    assert table.rows == (row(12), failed(layers=24), row(4, "gelu"))
    assert table.fields == ("layers", "bias", "act")
    assert table.target == "tpu-v4i"
    assert table.measured == (row(12), row(4, "gelu"))


def test_file_is_plain_csv(three):
    with open(three, newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["layers", "bias", "act", *PROVENANCE]
    assert lines[1][:4] == ["12", "True", "relu", "tpu-v4i"]
    assert lines[2][lines[0].index("latency_ms")] == ""
    assert lines[2][-1] == "out of memory"


def test_created_table_is_empty_and_takes_rows(path):
    create_table(path, ["layers", "bias", "act"])
    assert read_table(path).rows == ()
    assert read_table(path).target is None
    append_row(path, row())
    assert read_table(path).rows == (row(),)


def test_created_table_is_never_overwritten(three):
    before = three.read_bytes()
    with pytest.raises(TableError, match="exists already"):
        create_table(three, ["layers"])
    assert three.read_bytes() == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [([], "distinct; got"), (["a", "a"], "distinct; got"), (["target"], "fixed column")],
)
def test_created_table_needs_good_fields(path, fields, message):
    with pytest.raises(TableError, match=message):
        create_table(path, fields)
    assert not path.exists()


def test_cut_at_every_byte_it_reads_and_goes_on(three, tmp_path):
    """Wherever a crash ends the file, whole rows are there and the rest is repaired."""
    content = three.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    cut = tmp_path / "cut.csv"
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        complete = sum(end <= length for end in ends)  # the header included
        # A measured row that lacks its line end only is whole.
        complete += length + 1 in (ends[0], ends[1], ends[3])
        if complete:
            assert (
                read_table(cut).rows == (row(12), failed(layers=24), row(4, "gelu"))[: complete - 1]
            )
        append_row(cut, row(7))
        expected = max(complete - 1, 0)
        assert read_table(cut).rows[:-1] == (row(12), failed(layers=24), row(4, "gelu"))[:expected]
        assert read_table(cut).rows[-1] == row(7)


def test_rest_of_a_lost_block_is_torn_too(three):
    """After a power cut the end of a file may be zeros."""
    whole = three.read_bytes()
    three.write_bytes(whole + b"\0" * 40)
    assert len(read_table(three).rows) == 3
    append_row(three, row(5))
    assert three.read_bytes().startswith(whole)
    assert len(read_table(three).rows) == 4


def test_editors_marks_do_no_harm(three):
    three.write_bytes(b"\xef\xbb\xbf" + three.read_bytes().replace(b"\n", b"\r\n"))
    append_row(three, row(5))
    assert len(read_table(three).rows) == 4


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (row(target="tpu-v6e"), "measured on target 'tpu-v6e', row 0 on 'tpu-v4i'"),
        (row(architecture={"layers": 3}), r"fields \['layers', 'bias', 'act'\]; the new row has"),
        (row(act=3), "column act is a number .* row 0 has text"),
    ],
)
def test_rows_that_do_not_belong_are_refused(three, new, message):
    before = three.read_bytes()
    with pytest.raises(TableError, match=message):
        append_row(three, new)
    assert three.read_bytes() == before


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"a,b", b"\n", b"\xff\xfe\n", b'"a\n', b"\0\n"])
def test_other_files_are_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(TableError, match="not a latency table|not CSV"):
        append_row(path, row())
    assert path.read_bytes() == content
    with pytest.raises(TableError, match="not a latency table|not CSV"):
        read_table(path)


def test_full_disk_leaves_rows_as_they_were(three, monkeypatch):
    before = three.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(TableError, match="cannot write table .*No space left"):
            append_row(three, row(5))
    assert three.read_bytes() == before
    append_row(three, row(5))
    assert len(read_table(three).rows) == 4


def test_half_written_row_is_taken_back(three):
    """The system stops the write in the middle of the row, 40 bytes in."""
    before = three.read_bytes()
    code = (
        "import resource, sys, predictors\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 40},) * 2)\n"
        "row = predictors.read_table(sys.argv[1]).rows[0]\n"
        "try: predictors.append_row(sys.argv[1], row)\n"
        "except predictors.TableError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(three)],
        cwd=Path(predictors.__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert "cannot write table" in done.stdout, done.stderr
    assert three.read_bytes() == before


def test_folder_that_is_not_there(tmp_path):
    nowhere = tmp_path / "none" / "t.csv"
    with pytest.raises(TableError, match="cannot write table"):
        append_row(nowhere, row())
    with pytest.raises(TableError, match="cannot write table"):
        create_table(nowhere, ["a"])
    with pytest.raises(TableError, match="cannot read table .*No such file"):
        read_table(nowhere)
    with pytest.raises(TableError, match="cannot write table"):
        append_row(tmp_path, row())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bfloat16,1.2", "bfloat16,x", "line 2: column latency_ms must be a number; got 'x"),
        ("4,False,gelu", ",False,gelu", "line 4: column layers is empty"),
        ("4,False,gelu", "x,False,gelu", "row 2, column layers is text"),
        ("4,False,gelu,tpu-v4i", "4,False,gelu,gpu", "row 2 was measured on target 'gpu'"),
        ("4,False,gelu", "4,False", "line 4: expected 21 cells; got 20"),
        (",,,1,out of memory", ",,,7,out of memory", "line 3: .*schema_version is 7; .* writes 1"),
        (",1,128,", ",one,128,", "column batch_size must be a whole number; got 'one'"),
        ("latency_ms", "latency_s", "not a latency table"),
        ("layers,bias", "bias,bias", "distinct"),
        ("gelu", '"gelu', "not CSV in UTF-8: .* in the row that begins in line 4"),
    ],
)
def test_bad_cells_are_named(three, old, new, message):
    text = three.read_text()
    assert old in text
    three.write_text(text.replace(old, new, 1))
    with pytest.raises(TableError, match=message) as error:
        read_table(three)
    assert str(three) in str(error.value)


def test_matrix(three):
    X, y, columns = read_table(three).matrix()
    assert columns == ("layers", "bias", "act=gelu", "act=relu")
    np.testing.assert_array_equal(X, [[12, 1, 0, 1], [4, 0, 1, 0]])
    np.testing.assert_array_equal(y, [0.1 * 12, 0.1 * 4])
    assert X.dtype == y.dtype == np.float64


def test_matrix_has_the_workload_where_it_varies():
    rows = (row(), row(batch_size=8), row(batch_size=8, dtype="float32"))
    X, _, columns = LatencyTable(("layers", "bias", "act"), rows).matrix()
    assert columns[-3:] == ("batch_size", "dtype=bfloat16", "dtype=float32")
    np.testing.assert_array_equal(X[:, -3:], [[1, 1, 0], [8, 1, 0], [8, 0, 1]])


def test_matrix_needs_measured_rows():
    with pytest.raises(TableError, match="none of the 1 rows has a latency"):
        LatencyTable(("layers", "bias", "act"), (failed(),)).matrix()


@pytest.mark.parametrize("changes", [{"device_kind": "TPU v5"}, {"statistic": "compiler_estimate"}])
def test_matrix_refuses_what_cannot_be_compared(changes):
    table = LatencyTable(("layers", "bias", "act"), (row(), row(**changes)))
    with pytest.raises(TableError, match=f"column {next(iter(changes))} mixes"):
        table.matrix()


def test_table_refuses_rows_that_differ():
    with pytest.raises(TableError, match="row 1 was measured on target 'b', row 0 on 'tpu-v4i'"):
        LatencyTable(("layers", "bias", "act"), (row(), row(target="b")))
    with pytest.raises(TableError, match=r"row 0 has fields .* expected \['layers'\]"):
        LatencyTable(("layers",), (row(),))


def test_numbers_keep_every_digit(path):
    first = replace(row(), latency_ms=1 / 3, flops=1e22 / 7)
    append_row(path, first)
    assert read_table(path).rows == (first,)
