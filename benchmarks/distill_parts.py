"""Where the time of a compiled step goes, by kind of operation, from jax's profiler."""

import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

STEPS = 2
# What an operation is, by a pattern in its own line of the optimised program; the first
# that fits. The names are those of XLA's CPU compiler, and fit a GPU's in part.
KINDS = (
    ("inside a loop", r" (while|call|conditional)\("),
    ("attention products", r"(bhlm|bmhd|blhd)[^\"]*/dot_general"),
    ("products", r" dot\(|dot_general\"|gemm|matmul"),
    ("copies and transposes", r"^%?\S*(copy|transpose|dynamic|concatenate|wrapped_broadcast)"),
    ("reductions and softmax", r"reduce"),
    ("elementwise", r""),
)


def parts_of_step(compiled: Any, steps: Callable[[int], float]) -> dict[str, float]:
    """Share of each kind of operation in the time of all, from a trace of two steps."""
    kinds = {}
    for line in compiled.as_text().splitlines():
        if found := re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = ", line):
            # A name in a fused body never occurs in a trace.
            own = line.strip().removeprefix("ROOT ")
            kinds[found.group(1)] = next(kind for kind, what in KINDS if re.search(what, own))
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    times: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            steps(STEPS)
        (path,) = Path(folder).rglob("*.xplane.pb")
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            for row in plane.lines:
                for event in row.events:
                    kind = kinds.get(event.name, "inside a loop")
                    if kind != "inside a loop":  # whose parts are counted by themselves
                        times[kind] += event.duration_ns
    total = sum(times.values())
    return {kind: round(spent / total, 3) for kind, spent in times.most_common()}
