"""The result of a search as one HTML file that opens without a network.

Plotly's code stands inside the file. The page's security policy forbids every
load from outside, so the browser itself holds the promise. All text that comes
from the search is escaped.
"""

from html import escape
from pathlib import Path

import plotly.graph_objects as go

from autodistill.durable import write_whole
from autodistill.errors import ReportError
from autodistill.report.data import ReportData
from autodistill.report.figures import pareto_figure, parity_figure
from autodistill.report.sections import (
    cards,
    facts,
    findings,
    how_to_read,
    student_table,
    surrogate_table,
)
from autodistill.report.style import SORT_SCRIPT, STYLE
from autodistill.report.summary import finished, predicted_and_measured
from autodistill.report.words import latency_title

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)


def write_html(report: ReportData, path: str | Path) -> None:
    """Write the report. An older one is replaced only once the new one is whole.

    Raises:
        ReportError: The disk is full, or the folder is missing or not writable.
    """
    path = Path(path)
    page = to_html(report).encode("utf-8", "backslashreplace")
    try:
        write_whole(path, page)
    except OSError as error:
        raise ReportError(
            f"cannot write the report {path}: {error.strerror or error}. Free "
            f"{len(page) / 1e6:.0f} MB or make the folder writable, then write it again; "
            "the study it is made from is untouched"
        ) from error


def to_html(report: ReportData) -> str:
    """The whole page as text."""
    title = f"{report.teacher_name} for {report.target}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)} · AutoDistill</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<p class="eyebrow">AutoDistill · search report</p>
<h1>{escape(report.teacher_name)} <span class="for">for</span> {escape(report.target)}</h1>
<p class="lead">{escape(_lead(report))}</p>
</header>
<main>
{cards(report)}
{findings(report)}
{_pareto(report)}
{student_table(report)}
<div class="columns">
{_parity(report)}
{surrogate_table(report)}
</div>
{facts(report)}
{how_to_read(report)}
</main>
<footer>One file, no network needed. Made by AutoDistill.</footer>
<script>{SORT_SCRIPT}</script>
</body>
</html>
"""


def _lead(report: ReportData) -> str:
    students = len(finished(report))
    kind = "an embedding model" if report.kind == "embedding" else "a masked-language model"
    noun = "student" if students == 1 else "students"
    return f"{students} {noun} distilled from {kind} for {report.device_kind}."


def _pareto(report: ReportData) -> str:
    if not any(row.complete for row in report.rows):
        plot = '<p class="empty">Nothing to plot: no student was distilled.</p>'
    else:
        plot = _plot(pareto_figure(report), "pareto", first=True)
    heading = f"{report.quality_name.capitalize()} against {latency_title(report)}"
    note = "Up and to the left is better. Bars: one standard error of quality" + (
        "; the interquartile range of latency." if report.timed else "."
    )
    return (
        f'<section class="panel"><h2>{escape(heading)}</h2>'
        f'<p class="note">{note}</p>{plot}</section>'
    )


def _parity(report: ReportData) -> str:
    heading = f"Predicted against {latency_title(report)}"
    if not report.parity and not predicted_and_measured(report):
        plot = '<p class="empty">No architecture has both a prediction and a latency yet.</p>'
    else:
        first = not any(row.complete for row in report.rows)
        plot = _plot(parity_figure(report), "parity", first=first)
    return (
        f'<section class="panel"><h2>{escape(heading)}</h2>'
        '<p class="note">Each point was predicted by a model that had not seen it. '
        f"On the dotted line both agree.</p>{plot}</section>"
    )


def _plot(figure: go.Figure, name: str, *, first: bool) -> str:
    """A figure as a fragment; the first one on the page brings Plotly's code for all."""
    return str(
        figure.to_html(
            full_html=False,
            include_plotlyjs=first,
            div_id=name,
            config={"displayModeBar": False, "responsive": True},
        )
    )
