"""The two plots of the HTML report, as Plotly figures.

Colours are set for data only. Text and grid lines take theirs from the page's
style sheet, which knows whether the reader's screen is light or dark.
"""

import math
from collections.abc import Iterable
from html import escape

import plotly.graph_objects as go

from autodistill.notation import short_architecture
from autodistill.report.compare import beat_baseline, mean_relative_error
from autodistill.report.data import BASELINE, ReportData, ReportRow
from autodistill.report.summary import predicted_and_measured
from autodistill.report.words import (
    count,
    latency_title,
    latency_word,
    milliseconds,
    percent,
    share,
)

FRONT, OTHER, BASE, REFERENCE = "#2f7de1", "#8a97a8", "#e8930c", "#c2418f"
GAIN = "rgba(46, 160, 103, 0.10)"  # the corner that beats the baseline on both
MARGIN = 0.08  # of the range of the data, kept free around it


def pareto_figure(data: ReportData) -> go.Figure:
    """Latency against quality: front, baseline, reference line, error bars."""
    figure = _figure(f"{latency_title(data)}, ms".capitalize(), data.quality_name)
    shown = [row for row in data.rows if _on_plot(row)]
    if not shown:
        return figure
    reference = [data.reference.quality] if data.reference else []
    low, high = _extent([row.latency_ms or 0.0 for row in shown])
    xs = [max(low, 0.0), high]
    ys = _extent([row.quality or 0.0 for row in shown] + reference)
    figure.update_xaxes(range=xs)
    figure.update_yaxes(range=ys)
    baseline = next((row for row in shown if row.role == BASELINE), None)
    if baseline is not None:
        figure.add_shape(
            type="rect", layer="below", line_width=0, fillcolor=GAIN,
            x0=xs[0], x1=baseline.latency_ms, y0=baseline.quality, y1=ys[1],
        )  # fmt: skip
        figure.add_annotation(
            x=xs[0], y=baseline.quality, xanchor="left", yanchor="bottom", showarrow=False,
            text="better than the baseline on both", font_size=11, opacity=0.75,
        )  # fmt: skip
    front = sorted((row for row in shown if row.on_front), key=lambda row: row.latency_ms or 0.0)
    figure.add_scatter(
        x=[row.latency_ms for row in front], y=[row.quality for row in front],
        mode="lines", line={"shape": "hv", "color": FRONT, "width": 2},
        hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    students = [row for row in shown if row is not baseline]
    _points(figure, data, [r for r in students if not r.on_front], "other students", OTHER)
    _points(figure, data, [r for r in students if r.on_front], "Pareto front", FRONT)
    if baseline is not None:
        _points(figure, data, [baseline], "baseline", BASE, symbol="star", size=17)
    if data.reference is not None:
        level = data.reference.quality
        figure.add_scatter(
            x=xs, y=[level, level], mode="lines", name=escape(data.reference.name),
            line={"dash": "dash", "color": REFERENCE, "width": 1.5},
            hovertemplate=f"reference {share(level)}<extra></extra>",
        )  # fmt: skip
    return figure


def parity_figure(data: ReportData) -> go.Figure:
    """Predicted against measured latency, on logarithmic axes, with the line of equality."""
    table = [(point.predicted_ms, point.measured_ms) for point in data.parity]
    searched = predicted_and_measured(data)
    word = latency_word(data)
    figure = _figure(f"{latency_title(data)}, ms".capitalize(), "Predicted latency, ms")
    everything = [value for pair in table + searched for value in pair]
    if not everything:
        return figure
    ends = [min(everything) / 1.15, max(everything) * 1.15]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": OTHER, "width": 1, "dash": "dot"},
        name="predicted = " + word, hoverinfo="skip",
    )  # fmt: skip
    series = [("latency table, held out", table, OTHER, 6), ("this search", searched, FRONT, 9)]
    for name, pairs, colour, size in series:
        if not pairs:
            continue
        error = percent(mean_relative_error(pairs))
        figure.add_scatter(
            x=[measured for _, measured in pairs], y=[predicted for predicted, _ in pairs],
            mode="markers", name=f"{name}: mean error {error}",
            marker={"color": colour, "size": size, "opacity": 0.8},
            hovertemplate=f"{word} %{{x:.3g}} ms<br>predicted %{{y:.3g}} ms<extra></extra>",
        )  # fmt: skip
    ticks = _log_ticks(*ends)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    return figure


def hover(data: ReportData, row: ReportRow) -> str:
    """What a point says when pointed at. Plotly reads tags, so text is escaped."""
    name = "baseline" if row.role == BASELINE else f"student {row.number}"
    lines = [
        f"<b>{name}</b>",
        escape(short_architecture(row.architecture)),
        f"{count(row.parameters)} parameters",
        f"{latency_word(data)} {milliseconds(row.latency_ms)} ms"
        + (
            f", predicted {milliseconds(row.predicted_latency_ms)} ms"
            if row.predicted_latency_ms is not None
            else ""
        ),
        f"{data.quality_name} {share(row.quality, row.quality_se)}",
    ]
    if row.agreement is not None:
        lines.append(f"agreement {share(row.agreement)}")
    margins = _margins(data)
    if row.number in margins:
        lines.append(margins[row.number])
    return "<br>".join(lines)


def _margins(data: ReportData) -> dict[int, str]:
    comparison = beat_baseline(data.rows)
    if comparison is None:
        return {}
    return {
        margin.number: f"against the baseline: {margin.speedup:.2f}x the speed, "
        f"{share(margin.quality_gain, margin.quality_gain_se, signed=True)}"
        for margin in comparison.margins
    }


def _points(
    figure: go.Figure,
    data: ReportData,
    rows: list[ReportRow],
    name: str,
    colour: str,
    symbol: str = "circle",
    size: int = 12,
) -> None:
    if not rows:
        return
    figure.add_scatter(
        x=[row.latency_ms for row in rows],
        y=[row.quality for row in rows],
        error_x=_bars([(row.latency_iqr_ms or 0.0) / 2 for row in rows], colour),
        error_y=_bars([row.quality_se or 0.0 for row in rows], colour),
        mode="markers+text",
        text=["" if row.role == BASELINE else str(row.number) for row in rows],
        textposition="top right",
        textfont={"size": 11},
        marker={"color": colour, "size": size, "symbol": symbol},
        name=name,
        customdata=[hover(data, row) for row in rows],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _bars(lengths: list[float], colour: str) -> dict[str, object]:
    return {"type": "data", "array": lengths, "color": colour, "thickness": 1, "width": 3}


def _on_plot(row: ReportRow) -> bool:
    return row.complete and row.latency_ms is not None and row.quality is not None


def _extent(values: Iterable[float]) -> list[float]:
    values = list(values)
    low, high = min(values), max(values)
    room = MARGIN * (high - low) or abs(high) * MARGIN or 1.0
    return [low - room, high + room]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from ``low`` to ``high``."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def _figure(x_title: str, y_title: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="none",
        height=440,
        margin={"l": 58, "r": 14, "t": 14, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={
            "bgcolor": "#1b2430",
            "font": {"color": "#ffffff", "size": 12},
            "align": "left",
        },
        hovermode="closest",
    )
    figure.update_xaxes(title_text=x_title, zeroline=False, gridcolor="#888888", ticks="outside")
    figure.update_yaxes(title_text=y_title, zeroline=False, gridcolor="#888888", automargin=True)
    return figure
