"""A comparison of two latency tables as lines and small tables."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from autodistill.notation import SHORT_LEGEND
from autodistill.profiler.compare import Agreement, Comparison, Side
from autodistill.profiler.target import Workload
from autodistill.profiler.words import compiler_of, labelled, milliseconds, short_row


def comparison_tables(comparison: Comparison, names: Sequence[str]) -> Iterator[str | Table]:
    """All of a comparison, as lines and tables to be printed in order."""
    for name, side in zip(names, (comparison.first, comparison.second), strict=True):
        yield side_line(name, side)
    yield ""
    yield agreement_table(comparison.agreement)
    yield (
        "ratio: median of second / first; difference: |first - second| / second; rescaled: the "
        "same, with the first multiplied by the ratio"
    )
    yield ""
    yield f"the {len(comparison.worst)} rows that lie furthest apart"
    worst = Table(box=None, pad_edge=False)
    for column in ("architecture", "batch x tokens"):
        worst.add_column(column)
    for column in ("first", "second", "difference"):
        worst.add_column(column, justify="right")
    for pair in comparison.worst:
        worst.add_row(
            short_row(pair.architecture),
            _short(pair.workload),
            milliseconds(pair.first_ms),
            milliseconds(pair.second_ms),
            f"{pair.difference:+.1%}",
        )
    yield worst
    yield SHORT_LEGEND


def side_line(name: str, side: Side) -> str:
    """One table of a comparison."""
    failed = f", {side.failed} failed" if side.failed else ""
    return (
        f"{name}: {side.measured} rows{failed} on {side.target} ({side.device_kind}); "
        f"{labelled(side.statistic, compiler_of(side.target))}"
    )


def agreement_table(agreement: Mapping[Workload, Agreement]) -> Table:
    """One line for each workload."""
    table = Table(box=None, pad_edge=False)
    table.add_column("batch x tokens")
    for column in ("rows", "Spearman", "ratio", "difference: median", "largest",
                   "rescaled: median", "largest"):  # fmt: skip
        table.add_column(column, justify="right")
    for workload, found in agreement.items():
        table.add_row(
            _short(workload),
            str(found.n),
            f"{found.spearman:.3f}",
            f"{found.ratio:.3f}",
            f"{found.median_difference:.1%}",
            f"{found.largest_difference:.1%}",
            f"{found.median_rescaled:.1%}",
            f"{found.largest_rescaled:.1%}",
        )
    return table


def _short(workload: Workload) -> str:
    return f"{workload.batch_size} x {workload.sequence_length} {workload.dtype}"
