"""What the commands tell of their inputs: notes of what differs, and errors that name the row."""

import csv
import json
import os
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from predictors import LatencyRow, TableError, append_row, create_table, load, read_table
from predictors.__main__ import main
from predictors.errors import SubsetWarning
from predictors.notes import noting

LAYERS = (2, 3, 4, 6, 8, 12)


def row(layers, *, act="relu", target="tpu-v2", batch=1, length=128, dtype="float32", **changes):
    values = {"latency_ms": 0.5 * layers * batch, "statistic": "median", **changes}
    return LatencyRow({"layers": layers, "act": act}, target, "x", batch, length, dtype, **values)


def failed(layers, **changes):
    return row(layers, latency_ms=None, statistic=None, error="out of memory", **changes)


def write(path, rows):
    for each in rows:
        append_row(path, each)
    return str(path)


def run(capsys, *arguments):
    """Exit code, standard output and standard error of one command."""
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def fitted(folder):
    """Learned on tpu-v2 at batch 1 x 128, float32."""
    table = write(folder / "tpu-v2.csv", map(row, LAYERS))
    assert main(["fit", table, "--out", str(folder / "p.json"), "--kind", "gp"]) == 0
    return str(folder / "p.json")


@pytest.fixture(scope="module")
def of_batches(folder):
    """Learned at two batch sizes, so that these are a column."""
    rows = [row(layers, batch=batch) for layers in LAYERS for batch in (1, 8)]
    table = write(folder / "batches.csv", rows)
    assert main(["fit", table, "--out", str(folder / "b.json"), "--kind", "gp"]) == 0
    assert load(folder / "b.json").workload_ == {
        "sequence_length": 128, "dtype": "float32", "statistic": "median", "device_kind": "x"
    }  # fmt: skip
    return str(folder / "b.json")


@pytest.mark.parametrize("command", ["score", "predict"])
@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"target": "tpu-v4i"}, "tpu-v2; {table} was measured on tpu-v4i"),
        ({"device_kind": "y, 2 cores"}, "x; {table} was measured on y, 2 cores"),
        (
            {"target": "tpu-v4i", "device_kind": "y"},
            "tpu-v2; {table} was measured on tpu-v4i",
        ),
    ],
)
def test_rows_of_another_device_are_refused(fitted, tmp_path, capsys, command, other, told):
    table = write(tmp_path / "t.csv", [replace(row(n), **other) for n in (4, 8)])
    message = f"{fitted} is a predictor of {told.format(table=table)}"
    code, out, err = run(capsys, command, fitted, table)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}. ") and "--other-target" in err
    code, out, err = run(capsys, command, fitted, table, "--other-target")
    assert code == 0 and out and err == f"note: {message}\n"


def test_rows_of_the_same_device_or_of_none_are_not_noted(fitted, tmp_path, capsys):
    students = tmp_path / "s.csv"
    students.write_text("layers,act,target,device_kind\n4,relu,,\n8,relu,tpu-v2,\n8,relu,,x\n")
    assert run(capsys, "predict", fitted, students)[::2] == (0, "")
    students.write_text("layers,act,target,device_kind\n4,relu,,\n8,relu,tpu-v2,y\n")
    code, _, err = run(capsys, "predict", fitted, students)
    assert code == 2 and "measured on y in 1 of 2 rows, row 1 the first" in err
    same = write(tmp_path / "same.csv", [row(4), row(8)])
    assert run(capsys, "score", fitted, same)[2] == ""


def test_a_file_that_does_not_say_its_device_kind_is_compared_by_target(fitted, tmp_path, capsys):
    document = json.loads(Path(fitted).read_text())
    assert document["workload"].pop("device_kind") == "x"
    old = tmp_path / "old.json"
    old.write_text(json.dumps(document))
    table = write(tmp_path / "t.csv", [replace(row(n), device_kind="y") for n in (4, 8)])
    assert run(capsys, "score", old, table)[::2] == (0, "")
    other = write(tmp_path / "o.csv", [row(n, target="tpu-v4i") for n in (4, 8)])
    assert run(capsys, "score", old, other)[0] == 2


def test_workload_is_noted_of_another_target_too(fitted, tmp_path, capsys):
    table = write(tmp_path / "t.csv", [row(4, target="tpu-v4i", batch=8, dtype="bfloat16")])
    code, out, err = run(capsys, "predict", fitted, table, "--other-target")
    assert code == 0 and len(out.splitlines()) == 2
    assert err.splitlines() == [
        f"note: {fitted} is a predictor of tpu-v2; {table} was measured on tpu-v4i",
        f"note: the predictor learned from batch_size 1; {table} holds batch_size 8",
        f"note: the predictor learned from dtype float32; {table} holds dtype bfloat16",
    ]


def test_predict_compares_workloads_row_by_row(fitted, tmp_path, capsys):
    students = tmp_path / "s.csv"
    students.write_text(
        "layers,act,batch_size,sequence_length\n"
        "4,relu,1,128\n4,relu,8,128\n4,relu,1,\n4,relu,16,128.0\n4,relu,8,128\n"
    )
    code, _, err = run(capsys, "predict", fitted, students)
    assert code == 0
    assert err == (
        f"note: the predictor learned from batch_size 1; {students} holds batch_size 8 and 16 "
        "in 3 of 5 rows, row 1 the first\n"
    )
    students.write_text("layers,act\n4,relu\n")
    assert run(capsys, "predict", fitted, students)[2] == ""


def test_score_compares_mixed_workloads_that_are_no_column(of_batches, tmp_path, capsys):
    """Rows are numbered as in the file, the failed ones included; a column is not compared."""
    rows = [
        failed(3, batch=1, dtype="int8"),
        row(4, batch=1),
        row(4, batch=4, dtype="bfloat16"),
        row(8, batch=4, dtype="bfloat16"),
    ]
    table = write(tmp_path / "t.csv", rows)
    code, _, err = run(capsys, "score", of_batches, table)
    assert code == 0
    assert err == (
        f"note: the predictor learned from dtype float32; {table} holds dtype bfloat16 "
        "in 2 of 3 rows, row 2 the first\n"
    )


def test_a_torn_last_line_is_noted(fitted, tmp_path, capsys):
    table = tmp_path / "torn.csv"
    write(table, map(row, LAYERS))
    table.write_bytes(table.read_bytes()[:-20])
    assert read_table(table).torn_line == 7
    note = f"note: {table} ends within line 7; that row is left out\n"
    out = tmp_path / "o.json"
    code, printed, err = run(capsys, "fit", table, "--out", out, "--kind", "gp")
    assert (code, err) == (0, note) and "5 measured rows" in printed
    assert run(capsys, "score", fitted, table)[::2] == (0, note)
    other = write(tmp_path / "other.csv", [row(n, target="new") for n in LAYERS[:4]])
    arguments = ["adapt", "--sources", table, "--measurements", other, "--out", out]
    assert run(capsys, *arguments)[::2] == (0, note)
    arguments = ["suggest", "--sources", other, "--measurements", table, "-k", "1", "--out", out]
    pool = tmp_path / "pool.csv"
    pool.write_text("layers,act\n9,relu\n")
    assert run(capsys, *arguments, "--pool", pool)[::2] == (0, note)


def test_a_whole_table_is_not_torn(tmp_path):
    table = tmp_path / "whole.csv"
    write(table, [row(2), row(3)])
    assert read_table(table).torn_line is None
    table.write_bytes(table.read_bytes()[:-1])  # its line end alone is lost
    assert read_table(table).torn_line is None and len(read_table(table).rows) == 2
    assert read_table(table) == read_table(table)


@pytest.mark.filterwarnings("error")
def test_a_warning_is_one_note(capsys):
    """Of one kind of warning the first is told; others are warnings as before."""
    with pytest.warns(RuntimeWarning, match="other") as seen, noting(SubsetWarning):  # noqa: PT031
        for n in (2500, 2000):
            warnings.warn(f"fitting on 2000 rows drawn from {n}", SubsetWarning, stacklevel=1)
        with warnings.catch_warnings():
            warnings.simplefilter("always", RuntimeWarning)
            warnings.warn("other", RuntimeWarning, stacklevel=1)
    assert len(seen) == 1
    assert capsys.readouterr().err == "note: fitting on 2000 rows drawn from 2500\n"


def test_fit_notes_once_that_it_used_a_subset(tmp_path, capsys, monkeypatch):
    from predictors import commands

    def few(**options):
        return commands_gp(max_rows=4, **options)

    commands_gp = commands.GPPredictor
    monkeypatch.setattr(commands, "GPPredictor", few)
    table = write(tmp_path / "t.csv", map(row, LAYERS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, _, err = run(
            capsys, "fit", table, "--out", tmp_path / "o.json", "--kind", "gp"
        )  # fmt: skip
    assert code == 0
    assert err == "note: fitting on 4 rows drawn from 6; raise max_rows to use more\n"


def test_predict_reads_a_pipe_once(fitted, tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = "id,layers,act\ns1,4,relu\ns2,8,relu\n"
    writer = threading.Thread(target=lambda: pipe.write_text(text), daemon=True)
    writer.start()
    code, out, err = run(capsys, "predict", fitted, pipe)
    writer.join(timeout=30)
    assert code == 0
    assert err == f"note: the predictor has no column id; those of {pipe} are not used\n"
    assert [line["id"] for line in csv.DictReader(out.splitlines())] == ["s1", "s2"]


@pytest.mark.parametrize("digits", [309, 4300, 4301])
def test_an_integer_too_large_is_a_bad_cell(fitted, tmp_path, capsys, digits):
    huge = "9" * digits
    students = tmp_path / "s.csv"
    students.write_text(f"layers,act\n4,relu\n{huge},relu\n")
    code, _, err = run(capsys, "predict", fitted, students)
    assert code == 2
    assert f"{students}, row 1, column layers must be a finite number; got " in err
    assert len(err) < 400
    for column, message in (("layers", "must be finite"), ("batch_size", "must be ")):
        table = tmp_path / "t.csv"
        write(table, [row(77), row(78, batch=79)])
        old = "78" if column == "layers" else "79"
        table.write_text(table.read_text().replace(old, huge))
        code, _, err = run(capsys, "fit", table, "--out", tmp_path / "o.json")
        assert code == 2 and f"{table}, line 3: column {column} {message}" in err
        assert len(err) < 400
        table.unlink()


def with_field(name, values, **changes):
    """Rows with one field more, of which one failed."""
    return [
        replace(each, architecture={name: value, **each.architecture})
        for each, value in zip(
            [failed(3, **changes), *(row(n, **changes) for n in LAYERS)], values, strict=False
        )
    ]


def test_score_refuses_an_unknown_field_that_varies(fitted, tmp_path, capsys):
    """Rows are numbered as in the file; what the failed one holds does not count."""
    same = write(tmp_path / "same.csv", with_field("vocab_size", [7, 5, 5, 5]))
    code, out, err = run(capsys, "score", fitted, same)
    assert code == 0 and "3 rows" in out
    assert err == f"note: the predictor has no column vocab_size; those of {same} are not used\n"
    other = write(tmp_path / "other.csv", with_field("vocab_size", [7, 5, 5, 6]))
    code, out, err = run(capsys, "score", fitted, other)
    assert (code, out) == (2, "")
    assert f"{other}, row 3, column vocab_size is 6 and in row 1 5, but the predictor has" in err


@pytest.mark.parametrize("command", ["adapt", "suggest"])
def test_measurements_with_an_unknown_field_that_varies(sources, tmp_path, capsys, command):
    out = tmp_path / "o"
    start = [command, "--sources", *sources, "--out", out]
    if command == "suggest":
        pool = tmp_path / "pool.csv"
        pool.write_text("layers,act\n9,relu\n")
        start += ["--pool", pool, "-k", "1"]
    same = write(tmp_path / "same.csv", with_field("name", "abbb", target="new"))
    note = f"note: the sources have no column name; those of {same} are not used\n"
    assert run(capsys, *start, "--measurements", same)[::2] == (0, note)
    other = write(tmp_path / "other.csv", with_field("name", "abcd", target="new"))
    out.unlink()
    code, _, err = run(capsys, *start, "--measurements", other)
    assert code == 2 and not out.exists()
    assert f"{other}, row 2, column name is 'c' and in row 1 'b', but the sources have" in err


@pytest.mark.parametrize(
    ("column", "code"),
    [
        (["s1", "s2", "3"], 0),  # names
        ([5, 5, 5], 0),
        ([5, 5, 6], 2),
        ([1, 2, 3], 2),  # may be names, and may be sizes
        (["bert", "bert", "other"], 2),
    ],
)
def test_an_unknown_column_of_a_pool(sources, tmp_path, capsys, column, code):
    pool, out = tmp_path / "pool.csv", tmp_path / "o.csv"
    lines = [f"{value},relu,{9 + index}\n" for index, value in enumerate(column)]
    pool.write_text("extra,act,layers\n" + "".join(lines))
    arguments = ["suggest", "--sources", *sources, "--pool", pool, "-k", "1", "--out", out]
    found, _, err = run(capsys, *arguments)
    assert found == code and out.exists() == (code == 0)
    told = ", column extra is " if code else "note: the sources have no column extra; those of "
    assert told in err and str(pool) in err


def test_columns_of_a_table_and_of_predict_may_stand_in_a_pool(fitted, sources, tmp_path, capsys):
    predicted, out = tmp_path / "predicted.csv", tmp_path / "o.csv"
    assert run(capsys, "predict", fitted, sources[0], "--other-target", "--out", predicted)[0] == 0
    arguments = ["suggest", "--sources", *sources, "--pool", predicted, "-k", "1", "--out", out]
    assert run(capsys, *arguments)[::2] == (0, "")


def test_predict_notes_the_columns_that_it_ignores(fitted, tmp_path, capsys):
    students = tmp_path / "s.csv"
    students.write_text("id,layers,act,layrs,error\n1,4,relu,8,\n2,4,relu,9,\n")
    code, out, err = run(capsys, "predict", fitted, students)
    assert code == 0 and out.startswith("id,layers,act,layrs,error,predicted")
    assert (
        err == f"note: the predictor has no column id or layrs; those of {students} are not used\n"
    )


@pytest.fixture
def sources(tmp_path):
    return [
        write(tmp_path / f"{name}.csv", [row(n, target=name) for n in LAYERS])
        for name in ("a", "b")
    ]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("nan", "row 3, column layers must be a finite number; got nan"),
        ("1e999", "row 3, column layers must be a finite number; got inf"),
        ("many", "row 3, column layers is text ('many')"),
        ("True", "row 3, column layers is a boolean (True)"),
    ],
)
def test_rows_of_a_pool_are_numbered_as_in_the_file(sources, tmp_path, capsys, bad, message):
    """Before equal rows are dropped and the rest is sorted."""
    pool = tmp_path / "pool.csv"
    pool.write_text(f"id,act,layers\nx,relu,9\ny,relu,9\nnan,relu,5\nz,relu,{bad}\n")
    out = tmp_path / "o.csv"
    arguments = ["suggest", "--sources", *sources, "--pool", pool, "-k", "1", "--out", out]
    code, _, err = run(capsys, *arguments)
    assert code == 2 and f"{pool}, {message}" in err
    assert not out.exists()


def test_score_numbers_rows_as_in_the_file(fitted, tmp_path, capsys):
    rows = [failed(4), row(4), failed(6, act="gelu"), row(8, act="tanh"), row(9, act="tanh")]
    table = write(tmp_path / "t.csv", rows)
    code, _, err = run(capsys, "score", fitted, table)
    assert code == 2 and f"{table}, row 3, column act is 'tanh'" in err
    wide = write(tmp_path / "wide.csv", [failed(4), row(4), row(40)])
    code, _, err = run(capsys, "score", fitted, wide)
    assert code == 0
    assert "1 of 2 rows lie outside the range" in err and f"{wide}, row 2 has layers = 40" in err


def test_score_numbers_rows_as_in_the_file_of_many_workloads(fitted, tmp_path, capsys):
    rows = [row(4, batch=8), row(4), row(4, batch=8), row(4, act="tanh")]
    table = write(tmp_path / "t.csv", rows)
    code, _, err = run(capsys, "score", fitted, table, "--batch-size", "1")
    assert code == 2 and f"{table}, row 3, column act is 'tanh'" in err


def test_kinds_that_mix_between_sources_name_the_file(sources, tmp_path, capsys):
    mixed = tmp_path / "mixed.csv"
    create_table(mixed, ["layers", "act"])
    for n in (1, 2):
        mixed.write_text(
            mixed.read_text()
            + f"many{n},relu,c,x,1,128,float32,1.0,,,median,,,,,,,,1,\n"
        )  # fmt: skip
    out = tmp_path / "o.json"
    arguments = ["adapt", "--sources", *sources, mixed, "--measurements", sources[0], "--out", out]
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert f"{mixed}, row 0, column layers is text ('many1'), but {sources[0]} has a number" in err


def test_measurements_of_another_kind_are_numbered_as_in_the_file(sources, tmp_path, capsys):
    """Chosen by batch size afterwards."""
    new = write(tmp_path / "new.csv", [row(2, act=3, target="new"), row(4, act=3, target="new")])
    out = tmp_path / "o.json"
    arguments = ["adapt", "--sources", *sources, "--measurements", new, "--out", out]
    code, _, err = run(capsys, *arguments, "--batch-size", "1")
    assert (
        code == 2 and f"{new}, row 0, column act is a number (3), but known ones have text" in err
    )


def test_a_table_that_cannot_be_used_is_named(tmp_path, capsys):
    none = write(tmp_path / "none.csv", [failed(2)])
    out = tmp_path / "o.json"
    code, _, err = run(capsys, "fit", none, "--out", out)
    assert code == 2 and f"error: {none}: none of the 1 rows has a latency" in err


def test_numbers_that_no_float_holds_are_no_row():
    with pytest.raises(TableError, match="column layers must be finite; got 1000000"):
        replace(row(4), architecture={"layers": 10**400})
    with pytest.raises(TableError, match="column repeats must be finite"):
        row(4, repeats=10**400)
    with pytest.raises(TableError, match="column flops must be finite"):
        row(4, flops=10**400)
    assert replace(row(4), architecture={"layers": 10**300}).architecture["layers"] == 10**300
    assert row(4, repeats=str(10**300)).repeats == 10**300
