"""What a person is told before and after a table is built."""

import shlex
from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path

import numpy as np
from rich.table import Table

from autodistill.notation import duration
from autodistill.profiler.estimate_time import Trial
from autodistill.profiler.plan import Plan, Row
from autodistill.profiler.table_fields import row_of_config
from autodistill.profiler.target import Target
from autodistill.profiler.words import (
    compiler_of,
    labelled,
    milliseconds,
    plural,
    short_row,
    size,
)
from predictors.rows import LatencyRow


def introduction(plan: Plan, target: Target, out: Path, *, dtype_given: bool) -> Iterator[str]:
    """What is measured, on what, into which file."""
    workloads = "; ".join(map(str, plan.workloads))
    dtype = "" if dtype_given else f" ({plan.workloads[0].dtype} is this target's default)"
    yield f"target    {target.name}: {target.device_kind}, {target.compiler_version}"
    yield f"latency   {labelled(target.statistic, compiler_of(target.name))}"
    yield f"workload  {workloads}{dtype}"
    shapes = plural(len(plan.architectures), "architecture")
    yield f"plan      {shapes}, {plural(len(plan.rows), 'row')} of {out}"
    if plan.left_out:
        yield f"          {plan.left_out}"


def known_line(known: int, todo: int) -> str:
    """How much of a plan there is already.

    Example:
        >>> known_line(120, 380)
        '120 of 500 rows are there already; 380 to measure'
    """
    if not known:
        return f"{plural(todo, 'row')} to measure"
    if not todo:
        return f"all {plural(known, 'row')} are there already; nothing to measure"
    return f"{known:,} of {plural(known + todo, 'row')} are there already; {todo:,} to measure"


def trial_lines(trial: Trial, plan: Plan, todo: int) -> Iterator[str]:
    """What a dry run measured, and how long all will take."""
    for config, workload, measurement in trial.measured:
        row = short_row(row_of_config(config, plan.fields))
        why = f": {measurement.error}" if measurement.error else ""
        yield f"  {row}, {workload}: {milliseconds(measurement.latency_ms)}{why}"
    yield f"{plural(todo, 'row')} will take about {duration(trial.seconds)}"


def effort_lines(todo: int, *, elapsed_s: float, peak_bytes: int) -> Iterator[str]:
    """How long it took, and how much memory."""
    if todo:
        rate = f"{60 * todo / elapsed_s:.1f} rows per minute"
        yield f"time      {plural(todo, 'row')} in {duration(elapsed_s)}, {rate}"
    if peak_bytes:
        yield f"memory    {size(peak_bytes)} resident at the peak, with the processes that measure"


def next_lines(out: Path, rows: Mapping[Row, LatencyRow]) -> Iterator[str]:
    """Where the table is, and what to do with it."""
    yield f"table     {out}"
    if any(row.latency_ms is not None for row in rows.values()):
        table, predictor = (shlex.quote(str(path)) for path in (out, out.with_suffix(".json")))
        yield f"next      python -m predictors fit {table} --out {predictor}"


def latency_lines(plan: Plan, rows: Mapping[Row, LatencyRow]) -> Iterator[str]:
    """Fastest, median and slowest of each workload, and what failed."""
    for workload in plan.workloads:
        found = [rows[a, workload] for a in plan.architectures if (a, workload) in rows]
        measured = sorted(row.latency_ms for row in found if row.latency_ms is not None)
        failed = [row for row in found if row.latency_ms is None]
        text = f"{workload}: {len(measured)} measured, {len(failed)} failed"
        if measured:
            text += (
                f"; {milliseconds(measured[0])} fastest, "
                f"{milliseconds(float(np.median(measured)))} median, "
                f"{milliseconds(measured[-1])} slowest"
            )
        yield text
        if failed:
            yield f"  first failure: {failed[0].error}"
            yield "  failed rows are kept and not tried again; delete their lines to do so"


def baseline_table(plan: Plan, rows: Mapping[Row, LatencyRow]) -> Table | None:
    """The well-known encoders in order of latency; None where the plan has none."""
    if not plan.names:
        return None
    table = Table(box=None, pad_edge=False)
    table.add_column("encoder")
    table.add_column("architecture")
    for workload in plan.workloads:
        table.add_column(f"batch {workload.batch_size}", justify="right")
    lines: list[tuple[list[float], list[str]]] = []
    for architecture, name in plan.names.items():
        found = [rows.get((architecture, workload)) for workload in plan.workloads]
        latencies = [row.latency_ms if row else None for row in found]
        cells = [milliseconds(latency) for latency in latencies]
        order = [inf if latency is None else latency for latency in latencies]
        lines.append((order, [name, short_row(architecture), *cells]))
    for _, line in sorted(lines):
        table.add_row(*line)
    return table
