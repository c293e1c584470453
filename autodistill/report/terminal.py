"""The result of a search as a table for the terminal, and as plain text."""

import io
from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autodistill.notation import SHORT_LEGEND, short_architecture
from autodistill.report.compare import beat_baseline
from autodistill.report.data import BASELINE, ReportData, ReportRow
from autodistill.report.summary import sentences
from autodistill.report.words import (
    DASH,
    count,
    in_order,
    milliseconds,
    percent,
    reason,
    share,
    shared_fields,
    short_reason,
)

FRONT, WINNER = "●", "▲"
REASON_LENGTH = 300  # longer reasons are cut: the study and the HTML report have them whole
ASCII = str.maketrans({"±": "~", FRONT: "*", WINNER: "^", DASH: "-", "–": "-", "·": "-", "…": "."})


def render(report: ReportData, console: Console) -> None:
    """Print the table and the findings; fits 100 columns."""
    ascii_only = console.options.ascii_only
    console.print(_table(report, ascii_only))
    for line in [*_reasons(report), *_legend(report)]:
        console.print(_text(line, "dim", ascii_only))
    console.print()
    for number, sentence in enumerate(sentences(report)):
        console.print(_text(sentence, "bold" if number == 1 else "", ascii_only))


def render_text(report: ReportData, width: int = 100) -> str:
    """The same as plain text without colours, for files and READMEs."""
    buffer = io.StringIO()
    console = Console(
        file=buffer, width=width, color_system=None, force_terminal=False, legacy_windows=False
    )
    render(report, console)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _table(report: ReportData, ascii_only: bool) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=_text(f"{report.teacher_name} for {report.target}", "bold", ascii_only),
        title_justify="left",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    latency = "measured\nms" if report.timed else "compiler's\nestimate ms"
    quality = report.quality_name.replace(" ", "\n")
    with_agreement = report.agreement_name is not None
    table.add_column("student", no_wrap=True)
    table.add_column("architecture", ratio=1, overflow="fold")
    table.add_column("params", justify="right", no_wrap=True)
    table.add_column("pred.\nms", justify="right", no_wrap=True)
    table.add_column(latency, justify="right", no_wrap=True)
    table.add_column("error", justify="right", no_wrap=True)
    table.add_column(quality, justify="right", no_wrap=True)
    if with_agreement:
        table.add_column("agree", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for cells, style in _lines(report):
        if not with_agreement:
            cells = [*cells[:-2], cells[-1]]
        table.add_row(*(_text(cell, "", ascii_only) for cell in cells), style=style)
    return table


def _lines(report: ReportData) -> list[tuple[list[str], str]]:
    """Cells and style of each line: students fast to slow, then reference and teacher."""
    shared = shared_fields(report.rows)
    comparison = beat_baseline(report.rows)
    winners = {margin.number for margin in comparison.winners} if comparison else set()
    lines = [_student(row, shared, row.number in winners) for row in in_order(report.rows)]
    if report.reference is not None:
        reference = report.reference
        quality, agreement = share(reference.quality), share(reference.agreement)
        cells = ["ref.", reference.name, "", "", "", "", quality, agreement, ""]
        lines.append((cells, "magenta"))
    teacher = report.teacher
    cells = ["teacher", "", count(teacher.parameters), "", milliseconds(teacher.latency_ms), ""]
    cells += [share(teacher.quality), share(teacher.agreement), ""]
    lines.append((cells, "cyan"))
    return lines


def _student(row: ReportRow, shared: Mapping[str, object], winner: bool) -> tuple[list[str], str]:
    architecture = short_architecture(row.architecture, omit=shared)
    quality = share(row.quality, row.quality_se).replace("± 0.", "±.")
    cells = [
        _name(row),
        architecture,
        count(row.parameters),
        milliseconds(row.predicted_latency_ms),
        milliseconds(row.latency_ms),
        percent(row.latency_error, signed=True),
        quality if row.complete else short_reason(row),
        share(row.agreement),
        (FRONT if row.on_front else " ") + (WINNER if winner else " "),
    ]
    if not row.complete:
        return cells, "dim"
    if row.role == BASELINE:
        return cells, "yellow"
    return cells, "bold green" if row.on_front else ""


def _name(row: ReportRow) -> str:
    return "base" if row.role == BASELINE else str(row.number)


def _reasons(report: ReportData) -> list[str]:
    """One line for each row that is not complete."""
    lines = [f"{_name(row)} {reason(row)}" for row in in_order(report.rows) if not row.complete]
    return [
        line if len(line) <= REASON_LENGTH else line[: REASON_LENGTH - 1] + "…" for line in lines
    ]


def _legend(report: ReportData) -> list[str]:
    shared = shared_fields(report.rows)
    lines = [f"{FRONT} on the Pareto front   {WINNER} beats the baseline on both"]
    if shared:
        lines.append(f"shared by all: {short_architecture(shared)}")
    if any("num_hidden_layers" in row.architecture for row in report.rows):
        lines.append(SHORT_LEGEND)
    if report.agreement_name is not None:
        lines.append(f"agree: {report.agreement_name}")
    return lines


def _text(text: str, style: str, ascii_only: bool) -> Text:
    """Text, never markup or control codes: names and errors may hold either."""
    text = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
    if ascii_only:
        text = text.translate(ASCII).encode("ascii", "replace").decode()
    return Text(text, style=style)
