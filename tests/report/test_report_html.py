"""The HTML report: one file, no network, no text that escapes, written whole."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autodistill.errors import AutoDistillError, ReportError
from autodistill.report.data import ReferenceLine, ReportData
from autodistill.report.figures import pareto_figure, parity_figure
from autodistill.report.html import to_html, write_html

Vary = Callable[..., ReportData]
HOSTILE = '</script><script>alert("x")</script><img src=http://evil.example/x onerror=alert(1)>&'


class Page(HTMLParser):
    """Collects tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.unbalanced: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text += data


@pytest.fixture
def page(report: ReportData) -> Page:
    return Page(to_html(report))


def test_report_html_loads_nothing(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        assert not {"src", "href", "data", "srcset"} & attributes.keys()
    policy = next(a["content"] for _, a in page.tags if "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'")


def test_report_html_holds_plotlys_code_once(report: ReportData) -> None:
    html = to_html(report)
    assert html.count("Plotly.newPlot(") == 2
    assert len(re.findall(r"plotly\.js v\d", html)) == 1
    assert 4e6 < len(html) < 8e6


def test_report_html_is_well_formed_and_says_it_all(page: Page) -> None:
    assert page.unbalanced == [] and page.open == []
    for text in (
        "all-MiniLM-L6-v2", "2 of 4", "beat the baseline on both", "2.00x", "+0.160",
        "3 of 4", "above the reference line", "0.600 ± 0.040", "-25.0%", "failed: loss [was] nan",
        "over a limit, not distilled", "not finished (training)", "Gaussian process", "5.2%",
        "0.981", "4.4 M tokens", "9 min 12 s", "30.0M parameters", "mobilebert-mini",
        "ridge from mean word embeddings", "batch 1, 128 tokens, float32",
    ):  # fmt: skip
        assert text in page.text, text


def test_report_html_has_one_cell_per_heading(page: Page, report: ReportData) -> None:
    html = to_html(report)
    table = html[html.index('<table class="sortable">') :]
    table = table[: table.index("</table>")]
    width = table.count("<th ")
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", table)[1:]:
        assert row.count("<td") == width
    assert re.findall(r"<tr", table).__len__() == 1 + len(report.rows) + 2  # reference, teacher


def test_report_html_escapes_every_text(vary: Vary, report: ReportData) -> None:
    rows = tuple(
        replace(row, error=HOSTILE, architecture=dict(row.architecture) | {HOSTILE: HOSTILE})
        for row in report.rows
    )
    varied = replace(rows[1], architecture={HOSTILE: "other"})
    hostile = vary(
        teacher_name=HOSTILE, target=HOSTILE, device_kind=HOSTILE, dtype=HOSTILE,
        agreement_name=HOSTILE, corpus=(HOSTILE,), facts={HOSTILE: HOSTILE}, created_at=HOSTILE,
        reference=ReferenceLine(HOSTILE, 0.42), rows=(rows[0], varied, *rows[2:]),
        surrogates=tuple(replace(s, objective=HOSTILE, scores={HOSTILE: {HOSTILE: 1.0}})
                         for s in report.surrogates),
    )  # fmt: skip
    html = to_html(hostile)
    assert html.count("<script") == to_html(report).count("<script")
    page, plain = Page(html), Page(to_html(report))
    assert page.unbalanced == []
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in plain.tags}
    assert not any("onerror" in attributes for _, attributes in page.tags)
    for figure in (pareto_figure(hostile), parity_figure(hostile)):
        assert "<img" not in str(figure.to_dict())  # Plotly renders tags in labels


def test_report_pareto_plot_draws_the_rows(report: ReportData) -> None:
    figure = pareto_figure(report)
    traces = {trace.name: trace for trace in figure.data if trace.name}
    assert list(traces["Pareto front"].x) == [5.0, 8.0, 2.5]
    assert list(traces["other students"].y) == [0.45]
    assert list(traces["baseline"].x) == [10.0] and traces["baseline"].marker.symbol == "star"
    assert list(traces["Pareto front"].error_y.array) == [0.04, 0.04, 0.01]
    assert list(traces["Pareto front"].error_x.array) == [0.1, 0.1, 0.1]  # half the IQR
    assert traces["ridge from mean word embeddings"].line.dash == "dash"
    steps = figure.data[0]
    assert list(steps.x) == [2.5, 5.0, 8.0] and steps.line.shape == "hv"
    (corner,) = figure.layout.shapes
    assert (corner.x1, corner.y0) == (10.0, 0.5)
    assert "2.00x the speed" in traces["Pareto front"].customdata[0]
    low, high = figure.layout.yaxis.range
    assert low < 0.40 and high > 0.66


def test_report_parity_plot_keeps_its_axes_straight(report: ReportData) -> None:
    table = next(t for t in parity_figure(report).data if "table" in (t.name or ""))
    assert list(table.x) == [1.0, 2.0] and list(table.y) == [1.1, 1.8]
    assert "mean error 10.0%" in table.name


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 1), slice(5, 8)])
def test_report_html_of_an_empty_search(vary: Vary, report: ReportData, rows: slice) -> None:
    html = to_html(vary(rows=report.rows[rows], parity=(), surrogates=(), reference=None))
    text = Page(html).text
    assert "distilled yet" in text and "No predictor was cross-validated yet" in text
    assert ("Nothing to plot" in text) == (rows != slice(0, 1))
    assert html.count("plotly.js v") == ("Plotly.newPlot(" in html)


def test_report_html_parity_alone_still_brings_plotly(vary: Vary) -> None:
    html = to_html(vary(rows=()))
    assert html.count("Plotly.newPlot(") == 1 and html.count("plotly.js v") == 1


def test_report_html_labels_a_compilers_estimate(vary: Vary) -> None:
    report = vary(statistic="compiler_estimate")
    text = Page(to_html(report)).text
    assert "measured" not in text.lower() and "not a timing" in text
    for figure in (pareto_figure(report), parity_figure(report)):
        assert "ompiler's estimate" in figure.layout.xaxis.title.text
        assert "measured" not in str(figure.to_dict()).lower()


# Writing


def test_report_html_replaces_the_old_file(report: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_html(report, path)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert os.listdir(tmp_path) == ["report.html"]


def test_report_html_odd_names_can_be_written(vary: Vary, tmp_path: Path) -> None:
    write_html(vary(teacher_name="file \udcff"), tmp_path / "report.html")
    assert "file \\udcff" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_report_html_in_a_missing_folder_is_explained(report: ReportData, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot write the report .*No such file") as caught:
        write_html(report, tmp_path / "missing" / "report.html")
    assert isinstance(caught.value, AutoDistillError)


def test_report_html_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    """The system refuses the write half-way: the old report stays, no draft is left."""
    path = tmp_path / "report.html"
    path.write_text("old")
    code = (
        "import resource, sys\n"
        "from autodistill.errors import ReportError\n"
        "from autodistill.report.data import ReportData, TeacherRow\n"
        "from autodistill.report.html import write_html\n"
        "report = ReportData('t', 'embedding', 'local', 'cpu', 'median', 1, 8, 'float32', 1, 0,\n"
        "    (), TeacherRow(1))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    write_html(report, sys.argv[1])\n"
        "except ReportError as error:\n"
        "    sys.exit(str(error))\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "cannot write the report" in done.stderr
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["report.html"]


def test_report_modules_load_without_jax() -> None:
    code = (
        "import sys, autodistill.report.html, autodistill.report.terminal\n"
        "import autodistill.report.from_study\nprint('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
