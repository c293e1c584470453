"""The command line, run in this process."""

import csv
import os

import numpy as np
import pytest

from predictors import LatencyRow, append_row, load, metrics, read_table, select
from predictors.__main__ import main


def write(path, n, *, seed=0, target="cpu", **changes):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        layers, act = int(rng.integers(1, 24)), str(rng.choice(["relu", "gelu"]))
        latency = 0.2 * layers * (1.5 if act == "gelu" else 1.0) + 0.1
        append_row(
            path,
            LatencyRow(
                {"num_hidden_layers": layers, "hidden_act": act},
                target=target,
                device_kind="x86",
                batch_size=1,
                sequence_length=128,
                dtype="float32",
                latency_ms=latency * float(np.exp(0.02 * rng.normal())),
                statistic="median",
            ),
        )
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write(tmp_path_factory.mktemp("table") / "cpu.csv", 14)


@pytest.fixture(scope="module")
def fitted(table):
    out = table.with_name("cpu.json")
    assert main(["fit", str(table), "--out", str(out), "--kind", "gp"]) == 0
    return out


def test_fit_keeps_the_better_kind(table, tmp_path, capsys):
    out = tmp_path / "best.json"
    assert main(["fit", str(table), "--out", str(out), "--seed", "3"]) == 0
    X, y, columns = read_table(table).matrix()
    expected = select(X, y, log_target=True, random_state=3)
    model = load(out)
    assert model.kind == expected.name
    assert model.column_names_ == columns and model.target_name_ == "cpu"
    np.testing.assert_array_equal(model.predict(X), expected.predictor.predict(X))
    printed = capsys.readouterr().out
    assert "target cpu: 14 measured rows, 3 columns" in printed
    assert "  gp: held-out MAPE" in printed and " xgb: held-out MAPE" in printed
    assert f"saved {expected.name} to {out}" in printed


@pytest.mark.parametrize("kind", ["gp", "xgb"])
def test_fit_of_one_kind(table, tmp_path, kind):
    out = tmp_path / "one.json"
    assert main(["fit", str(table), "--out", str(out), "--kind", kind]) == 0
    assert load(out).kind == kind and load(out).log_target


def test_predict_adds_columns(fitted, tmp_path, capsys):
    architectures = tmp_path / "a.csv"
    architectures.write_text("id,hidden_act,num_hidden_layers\ns1,gelu,10\ns2,relu,20\n")
    assert main(["predict", str(fitted), str(architectures)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["id"] for row in rows] == ["s1", "s2"]
    model = load(fitted)
    median, std = model.predict([[10, 1, 0], [20, 0, 1]], return_std=True)
    assert [float(row["predicted"]) for row in rows] == median.tolist()
    assert [float(row["std"]) for row in rows] == std.tolist()
    for row in rows:
        assert float(row["lower90"]) < float(row["predicted"]) < float(row["upper90"])
    out = tmp_path / "out.csv"
    assert main(["predict", str(fitted), str(architectures), "--out", str(out)]) == 0
    assert list(csv.DictReader(out.read_text().splitlines())) == rows


def test_predict_reads_a_latency_table_too(fitted, table, capsys):
    assert main(["predict", str(fitted), str(table)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 15


def test_score(fitted, tmp_path, capsys):
    fresh = write(tmp_path / "fresh.csv", 30, seed=1, target="other")
    assert main(["score", str(fitted), str(fresh), "--other-target"]) == 0
    printed = capsys.readouterr().out
    X, y, _ = read_table(fresh).matrix()
    model = load(fitted)
    predicted = model.predict(X)
    assert "predictor of cpu, measured on other: 30 rows" in printed
    assert f"MAPE      {100 * np.mean(abs(predicted - y) / y):.2f}%" in printed
    assert f"RMSE      {np.sqrt(np.mean((predicted - y) ** 2)):.6g} ms" in printed
    assert f"Spearman  {metrics.spearman(y, predicted):.4f}" in printed
    assert f"Kendall   {metrics.kendall(y, predicted):.4f}" in printed
    assert "of rows in their 90% interval" in printed


def test_score_notes_another_workload(fitted, tmp_path, capsys):
    assert load(fitted).workload_ == {
        "batch_size": 1, "sequence_length": 128, "dtype": "float32", "statistic": "median",
        "device_kind": "x86",
    }  # fmt: skip
    fresh = tmp_path / "fresh.csv"
    for layers in (2, 4):
        row = LatencyRow(
            {"num_hidden_layers": layers, "hidden_act": "relu"}, "cpu", "x86", 8, 128, "float32",
            latency_ms=float(layers), statistic="median",
        )  # fmt: skip
        append_row(fresh, row)
    assert main(["score", str(fitted), str(fresh)]) == 0
    noted = capsys.readouterr().err
    assert f"note: the predictor learned from batch_size 1; {fresh} holds batch_size 8" in noted
    assert "sequence_length" not in noted and "dtype" not in noted


def test_estimates_are_not_called_measured(table, fitted, tmp_path, capsys):
    """A compiler's estimates are said to be that wherever they are shown."""
    estimates = tmp_path / "estimates.csv"
    estimates.write_text(table.read_text().replace(",median,", ",compiler_estimate,"))
    out, page = tmp_path / "p.json", tmp_path / "page.html"
    assert main(["fit", str(estimates), "--out", str(out), "--kind", "gp"]) == 0
    assert "target cpu: 14 estimated (compiler_estimate) rows" in capsys.readouterr().out
    assert load(out).workload_["statistic"] == "compiler_estimate"
    assert main(["score", str(out), str(estimates), "--plot", str(page)]) == 0
    printed, noted = capsys.readouterr()
    assert "predictor of cpu, estimated (compiler_estimate) on cpu: 14 rows" in printed
    assert "estimated (compiler_estimate) (right) and predicted (up)" in printed
    assert "measured" not in printed and "statistic" not in noted
    assert '"text":"estimated (compiler_estimate)"' in page.read_text()
    assert main(["score", str(fitted), str(estimates)]) == 0
    noted = capsys.readouterr().err
    assert "learned from statistic median" in noted and "holds statistic compiler_esti" in noted


def test_score_of_one_row_has_no_ranks(fitted, tmp_path, capsys):
    assert main(["score", str(fitted), str(write(tmp_path / "one.csv", 1))]) == 0
    assert "Kendall   undefined (constant)" in capsys.readouterr().out


def test_workload_that_varied_is_asked_for(tmp_path, capsys):
    table = tmp_path / "cpu.csv"
    for layers in (2, 4, 8):
        for batch in (1, 8):
            append_row(
                table,
                LatencyRow({"layers": layers}, "cpu", "x86", batch, 128, "float32",
                           latency_ms=float(layers * batch), statistic="median"),
            )  # fmt: skip
    out = tmp_path / "p.json"
    assert main(["fit", str(table), "--out", str(out), "--kind", "gp"]) == 0
    assert load(out).column_names_ == ("layers", "batch_size")
    assert main(["score", str(out), str(table)]) == 0
    architectures = tmp_path / "a.csv"
    architectures.write_text("layers\n4\n")
    assert main(["predict", str(out), str(architectures)]) == 2
    assert "no field 'batch_size'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "{tmp}/none.csv", "--out", "{tmp}/o.json"], "cannot read table"),
        (
            ["fit", "{table}", "--out", "{tmp}/none/o.json", "--kind", "gp"],
            "cannot write predictor",
        ),
        (["fit", "{tmp}/two.csv", "--out", "{tmp}/o.json"], "at least 3 rows; got 2"),
        (["predict", "{table}", "{table}"], "not whole JSON"),
        (["predict", "{fitted}", "{tmp}/none.csv"], "cannot read"),
        (["predict", "{fitted}", "{tmp}/clash.csv"], "already has the columns std"),
        (["predict", "{fitted}", "{tmp}/tanh.csv"], "tanh.csv, row 0, column hidden_act is 'tanh'"),
        (["predict", "{fitted}", "{table}", "--out", "{tmp}/none/o.csv"], "cannot write"),
        (["score", "{fitted}", "{tmp}/clash.csv"], "not a latency table"),
    ],
)
def test_bad_input_is_a_message_and_code_2(arguments, message, table, fitted, tmp_path, capsys):
    write(tmp_path / "two.csv", 2)
    (tmp_path / "clash.csv").write_text("num_hidden_layers,hidden_act,std\n1,relu,2\n")
    (tmp_path / "tanh.csv").write_text("num_hidden_layers,hidden_act\n1,tanh\n")
    places = {"tmp": tmp_path, "table": table, "fitted": fitted}
    assert main([argument.format(**places) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and message in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("arguments", [[], ["guess"], ["fit", "t.csv"], ["fit", "--kind", "x"]])
def test_bad_usage_is_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: python -m predictors" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["fit"], ["predict"], ["score"]])
def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "usage: python -m predictors" in capsys.readouterr().out


INPUTS = [
    ("fit {t}", "--out", "t"),
    ("predict {p} {t}", "--out", "p"),
    ("predict {p} {t}", "--out", "t"),
    ("suggest --sources {s} {t}", "--out", "t"),
    ("suggest --sources {s} --pool {t}", "--out", "t"),
    ("suggest --sources {s} --measurements {t}", "--out", "t"),
    ("adapt --sources {s} {t} --measurements {p}", "--out", "t"),
    ("adapt --sources {s} --measurements {t}", "--out", "t"),
    ("score {p} {t}", "--plot", "p"),
    ("score {p} {t}", "--plot", "t"),
]


@pytest.mark.parametrize("link", ["itself", "symlink", "hard link"])
@pytest.mark.parametrize(("command", "option", "input_"), INPUTS)
def test_no_command_replaces_what_it_reads(command, option, input_, link, tmp_path, capsys):
    """Refused before anything is read: none of the inputs is of a kind to be read."""
    files = {name: tmp_path / name for name in "tps"}
    for name, path in files.items():
        path.write_text(name)
    out = tmp_path / "out" if link != "itself" else tmp_path / ".." / tmp_path.name / input_
    if link == "symlink":
        out.symlink_to(files[input_])
    elif link == "hard link":
        out.hardlink_to(files[input_])
    assert main([*command.format(**files).split(), option, str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {option} {out} is read as ") and "would be lost" in error
    assert str(files[input_]) in error
    assert [path.read_text() for path in files.values()] == ["t", "p", "s"]


def test_a_device_may_be_read_and_written(fitted, capsys):
    assert main(["predict", str(fitted), "/dev/null", "--out", "/dev/null"]) == 2
    assert "needs a header" in capsys.readouterr().err


def test_a_failed_write_keeps_the_former_rows(fitted, table, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out.csv"
    out.write_text("before")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main(["predict", str(fitted), str(table), "--out", str(out)]) == 2
    assert "No space left" in capsys.readouterr().err
    assert out.read_text() == "before" and list(tmp_path.iterdir()) == [out]
