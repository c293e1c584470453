"""Architectures from files, completed; or the line and field that is wrong."""

import json

import pytest

from autodistill.errors import SpaceError
from autodistill.profiler.architecture_file import read_architectures
from autodistill.profiler.baselines import BASELINES
from autodistill.profiler.table_fields import family_fields, to_row_architecture
from autodistill.space import Architecture
from predictors.rows import LatencyRow
from predictors.table import append_row

SHAPE = {
    "num_hidden_layers": 2,
    "hidden_size": 96,
    "num_attention_heads": 3,
    "intermediate_size": 200,
}
NARROW = {**SHAPE, "intra_bottleneck_size": 48, "num_feedforward_networks": 2}
BERT = ("bert", Architecture(SHAPE, hidden_act="gelu"))
MOBILEBERT = (
    "mobilebert",
    Architecture(
        NARROW,
        embedding_size=128,
        normalization_type="no_norm",
        hidden_act="relu",
        use_bottleneck_attention=False,
    ),
)


@pytest.fixture
def write(tmp_path):
    def to(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return to


def csv_of(*architectures):
    fields = list(architectures[0])
    lines = [",".join(fields), *(",".join(str(a[f]) for f in fields) for a in architectures)]
    return "\n".join(lines) + "\n"


def test_csv(write):
    assert read_architectures(write("a.csv", csv_of(SHAPE))) == [BERT]
    assert read_architectures(write("a.csv", csv_of(NARROW))) == [MOBILEBERT]


@pytest.mark.parametrize("indent", [None, 2])
def test_json(write, indent):
    path = write("a.json", json.dumps([SHAPE, NARROW], indent=indent))
    assert read_architectures(path) == [BERT, MOBILEBERT]


def test_json_of_one(write):
    assert read_architectures(write("a.json", json.dumps(SHAPE))) == [BERT]
    with pytest.raises(SpaceError, match="line 2: num_attention_heads"):
        read_architectures(write("b.json", "\n" + json.dumps({**SHAPE, "num_attention_heads": 5})))


def test_jsonl(write):
    path = write("a.jsonl", f"{json.dumps(SHAPE)}\n\n{json.dumps(NARROW)}\n")
    assert read_architectures(path) == [BERT, MOBILEBERT]


def test_each_comes_once_in_the_order_of_the_file(write):
    path = write("a.json", json.dumps([NARROW, SHAPE, {**SHAPE, "hidden_act": "gelu"}, NARROW]))
    assert read_architectures(path) == [MOBILEBERT, BERT]


def test_a_latency_table_is_such_a_file(tmp_path):
    """Failed rows too: they may be measured elsewhere."""
    path = tmp_path / "table.csv"
    fields = family_fields("mobilebert")
    rows = [one.row(fields) for one in BASELINES.values()]
    for i, row in enumerate(rows):
        measured = {"error": "no memory"} if i == 1 else {"latency_ms": 1.5, "statistic": "median"}
        append_row(path, LatencyRow(row.to_dict(), "cpu", "a CPU", 1, 128, "float32", **measured))
    found = read_architectures(path)
    assert [to_row_architecture(a, family, fields) for family, a in found] == list(
        dict.fromkeys(rows)
    )
    assert [family for family, _ in found] == ["bert"] * 3 + ["mobilebert"] * 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", csv_of(SHAPE, {**SHAPE, "num_attention_heads": 5}), "line 3: num_attention_he"),
        ("a.csv", csv_of(SHAPE, {**SHAPE, "hidden_size": "wide"}), "line 3: hidden_size must be a"),
        ("a.csv", csv_of({**SHAPE, "hidden_act": ""}), "line 2: hidden_act: empty"),
        ("a.csv", csv_of({**SHAPE, "width": 3}), "line 2: unknown fields ['width'] for bert"),
        ("a.csv", csv_of(SHAPE) + "1,2\n", "line 3: expected 4 cells, one for each column; got 2"),
        ("a.csv", "hidden_size,hidden_size\n1,2\n", "line 1: column names must be given and dist"),
        ("a.csv", 'a,b\n"1,2', "line 2: not CSV"),
        ("a.csv", "", "holds no architecture"),
        (
            "a.csv",
            "hidden_size\n\n96\n",
            "line 3: bert needs values for intermediate_size, num_att",
        ),
        ("a.json", '[\n{"hidden_size": 3},\n{]', "line 3, column 2: not JSON"),
        ("a.json", "4", "must hold an object of fields, or a list of such"),
        ("a.json", json.dumps([SHAPE, 7], indent=1), "line 8: expected an object of fields; got 7"),
        ("a.json", json.dumps([SHAPE, {**SHAPE, "hidden_size": [3]}], indent=1), "line 8: an arch"),
        ("a.json", "[]", "holds no architecture"),
        ("a.jsonl", json.dumps(SHAPE) + "\n{]", "line 2, column 2: not JSON"),
        ("a.jsonl", '{"model_type": "albert", "hidden_size": 3}', "line 1: model_type must be one"),
        ("a.json", '[{"hidden_size": ' + "9" * 5000 + "}]", "from line 1: cannot be read: Exceeds"),
        ("a.json", "[" * 100_000, "from line 1: cannot be read: maximum recursion depth"),
        ("a.jsonl", json.dumps(SHAPE) + "\n" + "[" * 100_000, "from line 2: cannot be read: maxi"),
        ("a.yaml", "", "read from .csv, .json, .jsonl files"),
    ],
)
def test_what_is_wrong_is_named(write, name, text, message):
    path = write(name, text)
    with pytest.raises(SpaceError) as caught:
        read_architectures(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_or_binary_file(tmp_path):
    with pytest.raises(SpaceError, match="cannot be read: No such file"):
        read_architectures(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpaceError, match="not text in UTF-8"):
        read_architectures(tmp_path / "a.csv")
