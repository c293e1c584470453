"""The commands for a new device: suggest, adapt, and score what came of it."""

import csv

import numpy as np
import pytest

from predictors import LatencyRow, append_row, load, read_architectures
from predictors.__main__ import main

SHAPES = [(layers, width, act) for layers in (2, 4, 8, 12) for width in (64, 128, 256)
          for act in ("gelu", "relu")]  # fmt: skip
# ms for each layer, for each layer and 64 columns, and for gelu relative to relu
DEVICES = {"a": (0.1, 0.02, 1.5), "b": (0.02, 0.1, 1.1), "new": (0.05, 0.06, 1.3)}


def latency(device, layers, width, act):
    per_layer, per_width, gelu = DEVICES[device]
    return layers * (per_layer + per_width * width / 64) * (gelu if act == "gelu" else 1.0) + 0.05


def write(path, device, shapes, *, batch=1, target=None, kind="x"):
    for layers, width, act in shapes:
        append_row(
            path,
            LatencyRow(
                {"layers": layers, "width": width, "act": act},
                target or device, kind, batch, 128, "float32",
                latency_ms=batch * latency(device, layers, width, act), statistic="median",
            ),
        )  # fmt: skip
    return str(path)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return [write(folder / f"{name}.csv", name, SHAPES) for name in ("a", "b")]


@pytest.fixture(scope="module")
def suggested(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("suggested") / "to_measure.csv"
    assert main(["suggest", "--sources", *sources, "-k", "5", "--out", str(out)]) == 0
    return out


def shapes_in(path):
    return [(row["layers"], row["width"], row["act"]) for row in read_architectures(path)]


@pytest.fixture(scope="module")
def measured(suggested, tmp_path_factory):
    return write(tmp_path_factory.mktemp("new") / "new.csv", "new", shapes_in(suggested))


@pytest.fixture(scope="module")
def adapted(sources, measured, tmp_path_factory):
    out = tmp_path_factory.mktemp("adapted") / "new.json"
    arguments = ["--sources", *sources, "--measurements", measured, "--out", str(out)]
    assert main(["adapt", *arguments]) == 0
    return out


def test_suggest_writes_distinct_members_of_the_sources(suggested):
    shapes = shapes_in(suggested)
    assert len(set(shapes)) == 5 and set(shapes) <= set(SHAPES)
    assert {act for _, _, act in shapes} == {"gelu", "relu"}  # one of them tells nothing of both


def test_suggest_chooses_from_a_pool(sources, tmp_path, capsys):
    pool = tmp_path / "pool.csv"
    pool.write_text("id,width,layers,act\ns1,96,6,relu\ns2,96,6,gelu\ns3,96,6,relu\n")
    out = tmp_path / "o.csv"
    arguments = ["--sources", *sources, "--pool", str(pool), "-k", "2", "--out", str(out)]
    assert main(["suggest", *arguments]) == 0
    assert set(shapes_in(out)) == {(6, 96, "relu"), (6, 96, "gelu")}
    printed = capsys.readouterr().out
    assert "2 known devices:\n  a (x), batch 1 x 128, float32: 24 rows" in printed
    assert "2 of 2 architectures written" in printed


def test_suggest_goes_on_from_measurements(sources, measured, suggested, tmp_path):
    out = tmp_path / "more.csv"
    arguments = ["--sources", *sources, "--measurements", measured, "-k", "19", "--out", str(out)]
    assert main(["suggest", *arguments]) == 0
    assert set(shapes_in(out)) == set(SHAPES) - set(shapes_in(suggested))


def test_adapted_predictor_knows_the_device(adapted, tmp_path, capsys):
    """Five measurements fix the three numbers of a device; the sources are off by 40 to 300%."""
    model = load(adapted)
    assert model.kind == "transfer" and model.target_name_ == "new" and model.n_rows_ == 5
    assert model.column_names_ == ("layers", "width", "act=gelu", "act=relu")
    held_out = write(tmp_path / "held.csv", "new", SHAPES)
    page = tmp_path / "parity.html"
    assert main(["score", str(adapted), held_out, "--plot", str(page)]) == 0
    printed = capsys.readouterr().out
    mape = float(next(line for line in printed.splitlines() if "MAPE" in line).split()[1][:-1])
    assert mape < 10
    assert "measured (right) and predicted (up), logarithmic" in printed
    assert "Plotly.newPlot" in page.read_text()


def test_predict_says_what_is_extrapolated(adapted, tmp_path, capsys):
    architectures = tmp_path / "a.csv"
    architectures.write_text("layers,width,act\n4,64,relu\n48,64,relu\n")
    assert main(["predict", str(adapted), str(architectures)]) == 0
    printed = capsys.readouterr()
    assert len(list(csv.DictReader(printed.out.splitlines()))) == 2
    assert "note: 1 of 2 rows lie outside the range" in printed.err and "layers = 48" in printed.err


def test_each_workload_of_a_table_is_a_device(sources, tmp_path, capsys):
    two = write(tmp_path / "two.csv", "new", SHAPES[:6])
    write(tmp_path / "two.csv", "new", SHAPES[:6], batch=8)
    out = str(tmp_path / "o.json")
    arguments = ["adapt", "--sources", *sources, "--measurements", two, "--out", out]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "batch 1 x 128 float32 and batch 8 x 128 float32" in error and "--batch-size" in error
    assert main([*arguments, "--batch-size", "8"]) == 0
    assert "new device: new (x), batch 8 x 128, float32, 6 measurements" in capsys.readouterr().out
    assert main(["score", out, two]) == 2
    assert "the predictor knows one workload" in capsys.readouterr().err
    assert main(["score", out, two, "--batch-size", "8"]) == 0
    large = load(out).predict([[2, 64, 1, 0]])
    np.testing.assert_allclose(large, 8 * latency("new", 2, 64, "gelu"), rtol=0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["suggest", "--sources", "{a}", "{b}", "-k", "25", "--out", "{o}"], "1 and the 24"),
        (["suggest", "--sources", "{a}", "-k", "0", "--out", "{o}"], "between 1 and the 24"),
        (["suggest", "--sources", "{a}", "--pool", "{bad}", "--out", "{o}"], "no field 'act'"),
        (["suggest", "--sources", "{a}", "--pool", "{text}", "-k", "1", "--out", "{o}"],
         "text.csv, row 1, column layers is text"),
        (["suggest", "--sources", "{a}", "-k", "2", "--out", "{o}/x.csv"], "cannot write"),
        (["suggest", "--sources", "{a}", "{a}", "--out", "{o}"], "both hold a (x), batch 1"),
        (["adapt", "--sources", "{a}", "--measurements", "{a}", "--out", "{o}"], "hold a (x), b"),
        (["adapt", "--sources", "{a}", "--measurements", "{bad}", "--out", "{o}"], "not a latency"),
        (
            ["adapt", "--sources", "{a}", "--measurements", "{b}", "--out", "{o}",
             "--dtype", "int8"],
            "no row with dtype int8; it holds batch 1 x 128 float32",
        ),
        (["adapt", "--sources", "{a}", "--measurements", "{b}", "--out", "{o}/x"], "cannot write"),
        (["score", "{new}", "{b}", "--plot", "{o}/x.html"], "cannot write"),
    ],
)  # fmt: skip
def test_bad_input_is_a_message_and_code_2(
    arguments, message, sources, adapted, tmp_path, capsys
):  # fmt: skip
    (tmp_path / "bad.csv").write_text("layers,width\n2,64\n4,64\n")
    (tmp_path / "text.csv").write_text("layers,width,act\n2,64,relu\nmany,64,relu\n")
    places = {
        "a": sources[0], "b": sources[1], "bad": tmp_path / "bad.csv",
        "text": tmp_path / "text.csv", "new": adapted,
        "o": tmp_path / "out",
    }  # fmt: skip
    assert main([argument.format(**places) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and message in printed.err, printed.err
    assert not (tmp_path / "out").exists()


def test_suggest_leaves_out_what_failed_and_fields_of_the_new_table_alone(sources, tmp_path):
    """A failed architecture would fail again; a further field makes no other architecture."""
    new = tmp_path / "new.csv"
    for index, (layers, width, act) in enumerate(SHAPES[:6]):
        failed = index < 2
        append_row(
            new,
            LatencyRow(
                {"layers": layers, "width": width, "act": act, "bias": True},
                "new", "x", 1, 128, "float32", error="out of memory" if failed else "",
                latency_ms=None if failed else latency("new", layers, width, act),
                statistic=None if failed else "median",
            ),
        )  # fmt: skip
    out = tmp_path / "more.csv"
    arguments = ["--sources", *sources, "--measurements", str(new), "-k", "18", "--out", str(out)]
    assert main(["suggest", *arguments]) == 0
    assert set(shapes_in(out)) == set(SHAPES[6:])


def test_another_machine_of_the_same_target_is_new(tmp_path, capsys):
    old, near, new = (
        write(tmp_path / f"{name}.csv", name, shapes, target="cpu", kind=f"machine {name}")
        for name, shapes in (("a", SHAPES), ("b", SHAPES), ("new", SHAPES[:4]))
    )
    out = str(tmp_path / "o.json")
    sources = ["--sources", old, near, "--measurements", new]
    assert main(["adapt", *sources, "--out", out]) == 0
    assert "new device: cpu (machine new), batch 1" in capsys.readouterr().out
    assert load(out).workload_["device_kind"] == "machine new"
    assert main(["score", out, new]) == 0 and main(["score", out, near]) == 2
    error = capsys.readouterr().err
    assert "predictor of machine new; " in error and "measured on machine b" in error
    assert main(["suggest", *sources, "-k", "1", "--out", str(tmp_path / "o.csv")]) == 0


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--measurements", "{a}"], "sources hold a (x), batch 1"),
        (["--batch-size", "8"], "choose rows of --measurements, which is not given"),
    ],
)
def test_suggest_refuses_what_means_nothing(extra, message, sources, tmp_path, capsys):
    arguments = ["suggest", "--sources", *sources, "-k", "2", "--out", str(tmp_path / "o.csv")]
    assert main([*arguments, *(word.format(a=sources[0]) for word in extra)]) == 2
    assert message in capsys.readouterr().err


def test_a_table_of_two_dtypes_is_scored_by_its_own_predictor(tmp_path):
    table = tmp_path / "two.csv"
    for layers in (2, 4, 8, 12):
        for dtype, factor in (("float32", 2.0), ("bfloat16", 1.0)):
            row = LatencyRow(
                {"layers": layers}, "cpu", "x", 1, 128, dtype,
                latency_ms=factor * layers, statistic="median",
            )  # fmt: skip
            append_row(table, row)
    out = str(tmp_path / "p.json")
    assert main(["fit", str(table), "--out", out, "--kind", "gp"]) == 0
    assert main(["score", out, str(table)]) == 0


def test_predict_keeps_other_cells_as_they_are_written(adapted, tmp_path, capsys):
    """Also in a file as spreadsheets write it, with a byte order mark."""
    architectures = tmp_path / "a.csv"
    architectures.write_text("id,layers,width,act\n007,4,64,relu\n1_2,8,64,relu\n", "utf-8-sig")
    assert main(["predict", str(adapted), str(architectures)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["id"] for row in rows] == ["007", "1_2"]


def test_a_seed_out_of_range_is_bad_usage(sources, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["suggest", "--sources", *sources, "--out", "o.csv", "--seed", "-1"])
    assert stop.value.code == 2
    assert "a seed lies from 0 to" in capsys.readouterr().err


def test_names_of_a_loaded_predictor_hold_for_data_frames(adapted):
    class Frame:
        """What is asked of a data frame here."""

        columns = ("width", "layers", "act=gelu", "act=relu")

        def __array__(self, dtype=None, copy=None):
            return np.array([[64, 2, 1, 0]], dtype)

    with pytest.raises(ValueError, match="X has the columns width, layers, .* saved with layers,"):
        load(adapted).predict(Frame())


def test_an_output_that_is_a_folder_is_refused(sources, measured, tmp_path, capsys):
    arguments = ["--sources", *sources, "--measurements", measured, "--out", str(tmp_path)]
    assert main(["adapt", *arguments]) == 2
    assert "it is a folder" in capsys.readouterr().err
