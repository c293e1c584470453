"""Architectures as numbers."""

import numpy as np
import pytest

from predictors import TableError, encode, feature_columns, read_architectures

ARCHITECTURES = [
    {"layers": 12, "act": "relu", "bias": True, "norm": "no_norm"},
    {"layers": 6, "act": "gelu", "bias": False, "norm": "no_norm"},
]


def test_columns_and_numbers():
    columns = feature_columns(ARCHITECTURES)
    assert columns == ("layers", "act=gelu", "act=relu", "bias", "norm=no_norm")
    np.testing.assert_array_equal(
        encode(ARCHITECTURES, columns), [[12, 0, 1, 1, 1], [6, 1, 0, 0, 1]]
    )


def test_order_and_extra_fields_do_not_matter():
    columns = feature_columns(ARCHITECTURES)
    shuffled = [dict(reversed(a.items()), id="student") for a in ARCHITECTURES]
    np.testing.assert_array_equal(encode(shuffled, columns), encode(ARCHITECTURES, columns))


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"act": "relu", "bias": True}, "row 0 has no field 'layers'"),
        ({"layers": "many", "act": "relu"}, "row 0, column layers must be a number; got 'many'"),
        ({"layers": 1, "act": "tanh"}, "column act is 'tanh'.*one of gelu, relu"),
    ],
)
def test_what_cannot_be_encoded(architecture, message):
    with pytest.raises(TableError, match=message):
        encode([architecture], ("layers", "act=gelu", "act=relu"))


@pytest.mark.parametrize("second", ["relu", True])
def test_one_kind_in_a_column(second):
    with pytest.raises(TableError, match="row 1, column a is .* row 0 has a number"):
        feature_columns([{"a": 1}, {"a": second}])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 10**400])
def test_numbers_that_are_not_finite_are_named(bad):
    rows = [{"a": 1}, {"a": bad}]
    with pytest.raises(TableError, match="t.csv, row 1, column a must be a finite number; got"):
        encode(rows, ("a",), origin="t.csv")
    with pytest.raises(TableError, match="t.csv, row 7, column a must be a finite number; got"):
        encode(rows, ("a",), origin="t.csv", numbers=[5, 7])
    with pytest.raises(TableError, match="row 1, column a must be a finite number; got"):
        feature_columns(rows)
    assert encode([{"a": 1, "other": bad}], ("a",)).tolist() == [[1.0]]


def test_numbers_too_large_to_compute_with_are_named():
    rows = [{"a": 1}, {"a": -2e30}]
    told = r"t.csv, row 1, column a must be at most 1e\+30 in size; got -2e\+30. Use"
    with pytest.raises(TableError, match=told):
        encode(rows, ("a",), origin="t.csv")
    with pytest.raises(TableError, match=r"row 1, column a must be at most 1e\+30 in size"):
        feature_columns(rows)
    assert encode([{"a": 1e30}], ("a",)).tolist() == [[1e30]]


def test_read_architectures(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("layers,act,bias\n12,relu,True\n\n6,gelu,False\n")
    assert read_architectures(path) == [
        {"layers": 12, "act": "relu", "bias": True},
        {"layers": 6, "act": "gelu", "bias": False},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "needs a header and at least one row; got 0 lines"),
        (b"layers\n", "needs a header and at least one row; got 1 lines"),
        (b"layers,layers\n1,2\n", "distinct"),
        (b"layers,\n1,2\n", "column names must be given"),
        (b"layers,act\n1,relu\n2\n", "row 1: expected 2 cells; got 1"),
        (b"layers\n1\n\xff\n", "not CSV in UTF-8: line 3 has the byte 0xff"),
        (b"\xef\xbb\xbflayers\n\xff\n", "not CSV in UTF-8: line 2 has the byte 0xff"),
        (b'layers\n1\n"1\n2\n', "not CSV in UTF-8: .* in the row that begins in line 3"),
        (b'layers\n"1\n2"3\n', "not CSV in UTF-8: .* in the row that begins in line 2"),
    ],
)
def test_files_that_are_not_architectures(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=message):
        read_architectures(path)


def test_missing_file(tmp_path):
    with pytest.raises(TableError, match="cannot read .*No such file"):
        read_architectures(tmp_path / "none.csv")


def test_text_values_are_in_sorted_order():
    texts = ["swish", "gelu", "tanh", "relu", "silu", "elu", "mish"]
    columns = feature_columns([{"act": text} for text in texts])
    assert columns == tuple(f"act={text}" for text in sorted(texts))
