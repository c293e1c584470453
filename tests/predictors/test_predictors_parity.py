"""The parity plot."""

import base64
import json
import re
import sys

import numpy as np
import pytest

from predictors import InputError, PredictorError, TableError
from predictors.parity import COLUMNS, LINES, parity_text, write_parity_page


def drawing(text):
    """The lines of the plot itself, top first, each as wide as the plot."""
    return [line[3:].ljust(COLUMNS) for line in text.splitlines()[:LINES]]


def numbers(array):
    """An array of a figure, as plotly writes it: typed and in base 64."""
    return np.frombuffer(base64.b64decode(array["bdata"]), array["dtype"]).tolist()


def test_equal_predictions_lie_on_the_diagonal():
    values = np.geomspace(0.1, 10, 2 * LINES)
    for line, cells in enumerate(reversed(drawing(parity_text(values, values)))):
        for column, mark in enumerate(cells):
            assert mark == " " or column * LINES // COLUMNS == line
    assert "logarithmic, 0.1 to 10 on both" in parity_text(values, values)


def test_each_row_is_counted_where_it_lies():
    text = parity_text(np.array([0.0, 10.0] + [5.0] * 12), np.array([10.0, 0.0] + [5.0] * 12))
    lines = drawing(text)
    assert lines[0][0] == "1" and lines[-1][-1] == "1"  # too high on the left, too low on the right
    assert sum(line.count("+") for line in lines) == 1  # twelve rows at one place
    assert "logarithmic" not in text


def test_one_value_is_drawn():
    assert sum(line.count("3") for line in drawing(parity_text(np.full(3, 2.0), np.full(3, 2.0))))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    fine, broken = np.array([1.0, 2.0, 3.0]), np.array([1.0, bad, 3.0])
    for pair in ((fine, broken), (broken, fine)):
        with pytest.raises(InputError, match="needs finite values; row 1 is"):
            parity_text(*pair)
    with pytest.raises(InputError, match="at least one row"):
        parity_text(np.empty(0), np.empty(0))


def test_the_largest_numbers_are_drawn():
    """Their difference is more than 64-bit numbers hold."""
    ends = np.array([-1.7e308, 1.7e308])
    lines = drawing(parity_text(ends, ends))
    assert lines[0][-1] == lines[-1][0] == "1"


def test_the_page_holds_every_row(tmp_path):
    truth, predicted = np.array([1.0, 2.5]), np.array([1.25, 2.0])
    page = tmp_path / "p.html"
    bounds = (predicted - 0.5, predicted + 0.75)
    write_parity_page(page, truth, predicted, bounds, title="cpu & gpu")
    text = page.read_text()
    call = re.search(r"Plotly\.newPlot\(\s*\"[^\"]+\",\s*(\[.*?\]),\s*\{", text, re.DOTALL)
    [_, rows] = json.loads(call[1])
    assert numbers(rows["x"]) == [1.0, 2.5] and numbers(rows["y"]) == [1.25, 2.0]
    assert numbers(rows["error_y"]["array"]) == [0.75, 0.75]
    assert numbers(rows["error_y"]["arrayminus"]) == [0.5, 0.5]
    assert "cpu & gpu" in text.replace("\\u0026", "&")


def test_a_page_that_cannot_be_written(tmp_path):
    one = np.ones(1)
    with pytest.raises(TableError, match="cannot write"):
        write_parity_page(tmp_path / "none" / "p.html", one, one, (one, one), title="")


def test_without_plotly(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    one = np.ones(1)
    with pytest.raises(PredictorError, match="pip install plotly"):
        write_parity_page(tmp_path / "p.html", one, one, (one, one), title="")
