"""The terminal table: what it says, that it fits, and that no text can break it."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from autodistill.notation import short_architecture
from autodistill.report.data import ReportData
from autodistill.report.summary import sentences
from autodistill.report.terminal import render, render_text
from autodistill.report.words import (
    count,
    duration,
    milliseconds,
    shared_fields,
)

Vary = Callable[..., ReportData]


def line(text: str, start: str) -> str:
    return next(row for row in text.splitlines() if row.split()[:1] == [start])


@pytest.mark.parametrize("width", [80, 100, 140])
def test_report_table_fits_the_width(report: ReportData, width: int) -> None:
    assert max(map(len, render_text(report, width).splitlines())) <= width


def test_report_table_holds_each_row(report: ReportData) -> None:
    text = render_text(report)
    first = line(text, "1").split()
    assert first[:2] == ["1", "4L"]
    for cell in ("4.0M", "5.50", "5.00", "+10.0%", "0.600", "±.040", "0.500", "●▲"):
        assert cell in first
    assert "-25.0%" in line(text, "2") and "●▲" in line(text, "2")
    assert line(text, "3").rstrip().endswith("●")  # on the front, but not better on both
    assert "12L" in line(text, "base")
    assert "0.420" in line(text, "ref.") and "22.7M" in line(text, "teacher")
    assert "failed" in line(text, "5") and "over limit" in line(text, "6")
    assert "training" in line(text, "7")
    assert "5 failed: loss [was] nan" in text
    assert "shared by all: 256h 128b 4a 512f x2 e192 no_norm relu" in text


def test_report_complete_rows_go_from_fast_to_slow(report: ReportData) -> None:
    firsts = [row.split()[0] for row in render_text(report).splitlines() if row.strip()]
    order = [word for word in firsts if word in {"base", "1", "2", "3", "4", "5", "6", "7"}]
    assert order[:8] == ["3", "1", "2", "base", "4", "7", "6", "5"]


def test_report_sentences_say_the_margins(report: ReportData) -> None:
    text = " ".join(sentences(report))
    assert "4 students distilled, 400 steps each; 1 candidate failed; 1 over a limit" in text
    assert "1 not finished" in text
    assert "2 of 4 students beat the baseline on both fidelity and latency" in text
    assert "up to +0.160 ± 0.050 fidelity (student 2, 1.25x the speed)" in text
    assert "up to 2.00x the speed (student 1, +0.100 ± 0.050 fidelity)" in text
    assert "3 of 4 students lie above the reference line" in text
    assert "Untrained, the same shapes reach fidelity 0.140 at most; distilled, 0.400" in text
    # |errors| .1, .25, 0 and .05 of the four that were predicted
    assert "differs from what was then measured by 10.0% on average (4 architectures)" in text


def test_report_tells_a_device_that_changed_from_a_wrong_prediction(
    vary: Vary, report: ReportData
) -> None:
    # predicted 5.5, 6, 2.5 and 12.6; each took 1.25 times as long in the end as at first
    rows = tuple(
        replace(row, first_latency_ms=row.latency_ms / 1.25) if row.complete else row
        for row in report.rows
    )
    told = " ".join(sentences(vary(rows=rows)))
    # |errors| .375, .0625, .25 and .3125
    assert "when they were proposed, by 25.0%: in the end they took 1.25 times as long" in told
    estimated = " ".join(sentences(vary(rows=rows, statistic="compiler_estimate")))
    assert "proposed" not in estimated
    steady = tuple(replace(row, first_latency_ms=row.latency_ms) for row in report.rows)
    assert "proposed" not in " ".join(sentences(vary(rows=steady)))


def test_report_says_when_nobody_wins(vary: Vary, report: ReportData) -> None:
    text = " ".join(sentences(vary(rows=(report.rows[0], report.rows[4]), reference=None)))
    assert "None of 1 student beats the baseline on both" in text
    assert "reference" not in text


def test_report_one_winner_is_told_in_one_go(vary: Vary, report: ReportData) -> None:
    text = " ".join(sentences(vary(rows=(report.rows[0], report.rows[2]))))
    assert "1 of 1 student beats the baseline" in text
    assert "the best, student 2, by +0.160 ± 0.050 fidelity and 1.25x the speed" in text


def test_report_a_missing_baseline_is_said(vary: Vary, report: ReportData) -> None:
    assert "The baseline was not distilled" in " ".join(sentences(vary(rows=report.rows[1:])))


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (slice(0, 0), "Nothing was measured or distilled yet."),
        (slice(0, 1), "No student but the baseline was distilled yet"),
        (slice(5, 6), "No student was distilled yet: there is nothing to compare; 1 candidate"),
    ],
    ids=["nothing", "baseline", "failed"],
)
def test_report_an_empty_search_is_rendered(
    vary: Vary, report: ReportData, rows: slice, sentence: str
) -> None:
    assert sentence in render_text(vary(rows=report.rows[rows]))


def test_report_a_compilers_estimate_is_never_called_measured(vary: Vary) -> None:
    text = render_text(vary(statistic="compiler_estimate"))
    assert "measured" not in text and "median" not in text
    assert "estimate ms" in text and "not a timing" in " ".join(text.split())


def test_report_masked_lm_has_no_agreement_column(vary: Vary) -> None:
    text = render_text(vary(kind="masked_lm", agreement_name=None))
    assert "agree" not in text and "masked-token" in text and "fidelity" not in text


def test_report_text_is_never_markup(vary: Vary, report: ReportData) -> None:
    rows = (*report.rows[:5], replace(report.rows[5], error="[red]x[/nope] \x1b[31m" + "y" * 999))
    text = render_text(vary(teacher_name="[bold]t[/]", rows=rows))
    assert "[bold]t[/]" in text and "[red]x[/nope]" in text
    assert "\x1b" not in text and "y" * 300 not in text.replace("\n", "")


def test_report_prints_where_only_ascii_can_be_shown(report: ReportData) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    render(report, Console(file=stream, width=100))
    stream.flush()
    assert b"*^" in raw.getvalue() and b"~.040" in raw.getvalue()


def test_report_short_architecture() -> None:
    fields = {
        "hidden_act": "relu", "num_hidden_layers": 6, "hidden_size": 256,
        "intra_bottleneck_size": 128, "num_attention_heads": 4, "intermediate_size": 512,
        "num_feedforward_networks": 2, "embedding_size": 192, "normalization_type": "no_norm",
    }  # fmt: skip
    assert short_architecture(fields) == "6L 256h 128b 4a 512f x2 e192 no_norm relu"
    assert short_architecture({"embed_dim": 8, "bias": True}) == "embed_dim=8 bias=True"


def test_report_shared_fields_need_two_rows(report: ReportData) -> None:
    assert shared_fields(report.rows[:1]) == {} == shared_fields([])
    assert set(shared_fields(report.rows)) == set(report.rows[0].architecture) - {
        "num_hidden_layers"
    }


def test_report_numbers_are_short() -> None:
    assert [count(n) for n in (None, 12, 812_345, 3_210_000, 109_482_240, 1_340_000_000)] == [
        "–", "12", "812k", "3.2M", "109M", "1.3B",
    ]  # fmt: skip
    assert [milliseconds(x) for x in (None, 0.0561, 1.0, 9.876, 12.34, 123.4)] == [
        "–", "0.056", "1.00", "9.88", "12.3", "123",
    ]  # fmt: skip
    assert [duration(s) for s in (None, 48.4, 552, 7500)] == [
        "–",
        "48 s",
        "9 min 12 s",
        "2 h 5 min",
    ]
