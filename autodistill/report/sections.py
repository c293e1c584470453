"""The parts of the HTML page besides its plots; every text is escaped here."""

from collections.abc import Iterable
from html import escape

from autodistill.notation import SHORT_LEGEND, short_architecture
from autodistill.report.compare import above_reference, beat_baseline
from autodistill.report.data import BASELINE, ReportData, ReportRow, SurrogateScores
from autodistill.report.summary import finished, sentences
from autodistill.report.words import (
    DASH,
    count,
    duration,
    in_order,
    latency_note,
    latency_word,
    milliseconds,
    percent,
    reason,
    share,
    shared_fields,
)

Cell = tuple[str, float | None]  # what is shown (HTML), and what sorts it (None: last)
METRICS = {"rmse": "RMSE", "mape": "relative error", "spearman": "Spearman"}
MODELS = {"gp": "Gaussian process", "xgb": "XGBoost"}


def cards(report: ReportData) -> str:
    """The headline figures."""
    students = len(finished(report))
    comparison = beat_baseline(report.rows)
    items = []
    if comparison is not None and comparison.margins:
        items.append(
            (f"{len(comparison.winners)} of {students}", "beat the baseline on both", "good")
        )
        fastest, best = comparison.fastest, comparison.best
        if fastest is not None and best is not None:
            gain = share(best.quality_gain, signed=True)
            items.append((f"{fastest.speedup:.2f}x", "the baseline's speed, at most", ""))
            items.append((gain, f"{report.quality_name} over the baseline, at most", ""))
    if report.reference is not None and students:
        above = len(above_reference(report.rows, report.reference))
        items.append((f"{above} of {students}", "above the reference line", ""))
    if not items:
        items.append((str(students), "students distilled", ""))
    body = "".join(
        f'<div class="card {tone}"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
        for value, label, tone in items
    )
    return f'<div class="cards">{body}</div>'


def findings(report: ReportData) -> str:
    """The summary sentences."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(report))
    return (
        f'<section class="panel"><h2>What was found</h2><ul class="findings">{items}</ul></section>'
    )


def student_table(report: ReportData) -> str:
    """All rows with their numbers; a click on a heading sorts."""
    word = latency_word(report)
    untrained = any(row.untrained_quality is not None for row in report.rows)
    comparison = beat_baseline(report.rows)
    winners = {margin.number for margin in comparison.winners} if comparison else set()
    headings = ["student", "architecture", "parameters", "predicted ms", f"{word} ms"]
    headings += ["error of prediction", report.quality_name]
    headings += ["agreement"] if report.agreement_name else []
    headings += ["untrained"] if untrained else []
    shared = shared_fields(report.rows)
    lines = []
    for row in in_order(report.rows):
        cells = _cells(report, row, shared, row.number in winners)
        if untrained:
            cells.append((share(row.untrained_quality), row.untrained_quality))
        lines.append(f'<tr class="{_row_class(row)}">{_table_cells(cells)}</tr>')
    head = "".join(
        f'<th scope="col"><button type="button">{escape(heading)}</button></th>'
        for heading in headings
    )
    note = f"Shared by all: {short_architecture(shared)}. " if shared else ""
    if any("num_hidden_layers" in row.architecture for row in report.rows):
        note += f"{SHORT_LEGEND}."
    return (
        '<section class="panel"><h2>Students</h2>'
        f'<p class="note">{escape(note)}</p><div class="scroll"><table class="sortable">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
        f"<tfoot>{_footer(report, len(headings))}</tfoot></table></div></section>"
    )


def surrogate_table(report: ReportData) -> str:
    """Cross-validated errors of the predictors, and which one served."""
    if not report.surrogates:
        body = '<p class="empty">No predictor was cross-validated yet.</p>'
    else:
        body = "".join(_surrogate(scores) for scores in report.surrogates)
    return (
        '<section class="panel"><h2>Predictors</h2>'
        '<p class="note">Cross-validated: each error is on data the model was not fitted on.</p>'
        f"{body}</section>"
    )


def facts(report: ReportData) -> str:
    """What was run, on what, with which limits."""
    limits = [
        f"latency {milliseconds(report.max_latency_ms)} ms" if report.max_latency_ms else "",
        f"{count(report.max_params)} parameters" if report.max_params else "",
    ]
    teacher = [f"{report.teacher_name}, {count(report.teacher.parameters)} parameters"]
    if report.teacher.latency_ms is not None:
        latency = milliseconds(report.teacher.latency_ms)
        teacher.append(f"{latency} ms ({latency_word(report)})")
    workload = f"batch {report.batch_size}, {report.sequence_length} tokens, {report.dtype}"
    pairs = [
        ("Teacher", ["; ".join(teacher)]),
        ("Target", [f"{report.target} ({report.device_kind})"]),
        ("Workload", [workload]),
        ("Latency", [latency_note(report)]),
        ("Quality", [report.quality_name]),
        ("Agreement", [report.agreement_name] if report.agreement_name else []),
        ("Text", list(report.corpus)),
        ("Distillation", [f"{report.steps} steps a student, seed {report.seed}"]),
        ("Limits", ["; ".join(limit for limit in limits if limit) or "none"]),
        ("Duration", [duration(report.seconds)] if report.seconds is not None else []),
        ("Made", [report.created_at] if report.created_at else []),
        *((name, [value]) for name, value in report.facts.items()),
    ]
    items = "".join(
        f"<div><dt>{escape(name)}</dt>"
        + "".join(f"<dd>{escape(str(line))}</dd>" for line in lines)
        + "</div>"
        for name, lines in pairs
        if lines
    )
    return f'<section class="panel"><h2>The run</h2><dl>{items}</dl></section>'


def how_to_read(report: ReportData) -> str:
    """What the words mean."""
    if report.kind == "embedding":
        quality = (
            "Fidelity is the share of the variance of the teacher's passage embeddings, on text "
            "not trained on, that the student's embeddings explain: 1 is a perfect copy."
        )
    else:
        quality = (
            "Masked-token accuracy is the share of masked tokens, in text not trained on, that "
            "the student fills in correctly."
        )
    lines = [
        quality,
        "± is one standard error over held-out documents. Students are judged on the same "
        "documents, so differences between them are, if anything, surer than the combined "
        "error says.",
        "A student is on the Pareto front if no other is at least as fast and as good, and "
        "better on one of the two.",
        "The baseline was distilled with the same steps, text and seed as the students.",
    ]
    if report.reference is not None:
        lines.append(
            "The reference line is what needs no student at all. A student below it is not "
            "worth serving."
        )
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<section class="panel"><h2>How to read this</h2><ul>{items}</ul></section>'


def _cells(report: ReportData, row: ReportRow, shared: Iterable[str], winner: bool) -> list[Cell]:
    name = "baseline" if row.role == BASELINE else str(row.number)
    badges = '<span class="badge front">front</span>' if row.on_front else ""
    badges += '<span class="badge good">beats baseline</span>' if winner else ""
    badges = f'<span class="badges">{badges}</span>' if badges else ""
    why = f'<span class="why">{escape(reason(row))}</span>' if not row.complete else ""
    architecture = escape(short_architecture(row.architecture, omit=shared))
    cells: list[Cell] = [
        (name, float(row.number)),
        (f"<code>{architecture}</code>{badges}{why}", None),
        (count(row.parameters), row.parameters),
        (milliseconds(row.predicted_latency_ms), row.predicted_latency_ms),
        (milliseconds(row.latency_ms), row.latency_ms),
        (percent(row.latency_error, signed=True), row.latency_error),
        (share(row.quality, row.quality_se), row.quality),
    ]
    if report.agreement_name:
        cells.append((share(row.agreement), row.agreement))
    return cells


def _row_class(row: ReportRow) -> str:
    if not row.complete:
        return "dim"
    return "baseline" if row.role == BASELINE else "front" if row.on_front else ""


def _footer(report: ReportData, width: int) -> str:
    """Reference line and teacher: below the students, out of the sorting."""
    lines = []
    if report.reference is not None:
        reference = report.reference
        cells = ["reference", escape(reference.name), "", "", "", "", share(reference.quality)]
        lines.append(cells + ([share(reference.agreement)] if report.agreement_name else []))
    teacher = report.teacher
    cells = ["teacher", escape(report.teacher_name), count(teacher.parameters), ""]
    cells += [milliseconds(teacher.latency_ms), "", share(teacher.quality)]
    lines.append(cells + ([share(teacher.agreement)] if report.agreement_name else []))
    return "".join(
        f"<tr>{_table_cells([(cell, None) for cell in line + [''] * (width - len(line))])}</tr>"
        for line in lines
    )


def _table_cells(cells: Iterable[Cell]) -> str:
    return "".join(
        f"<td>{text}</td>" if key is None else f'<td data-key="{key}">{text}</td>'
        for text, key in cells
    )


def _surrogate(scores: SurrogateScores) -> str:
    metrics = list(dict.fromkeys(name for model in scores.scores.values() for name in model))
    head = "".join(f'<th scope="col">{escape(METRICS.get(name, name))}</th>' for name in metrics)
    lines = []
    for model, values in scores.scores.items():
        badge = '<span class="badge good">serves</span>' if model == scores.serving else ""
        cells = "".join(f"<td>{_score(name, values.get(name))}</td>" for name in metrics)
        lines.append(f"<tr><td>{escape(MODELS.get(model, model))}{badge}</td>{cells}</tr>")
    unit = ", RMSE in ms" if scores.objective == "latency" else ""
    return (
        f"<h3>{escape(scores.objective.capitalize())}{unit}</h3>"
        f'<div class="scroll"><table><thead><tr><th scope="col">model</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _score(name: str, value: float | None) -> str:
    if value is None or value != value:
        return DASH
    return percent(value) if name == "mape" else f"{value:.3g}"
