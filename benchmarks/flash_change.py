"""What a change of the flash distillation did to a search: two revisions, one command.

    python benchmarks/flash_change.py --before ca98124 --budget 6 --seeds 0 1  # 20 minutes
    python benchmarks/flash_change.py --before ca98124 --ranking  # 20 minutes

Both add to ``flash_change.json``. Revisions run in worktrees of git, one after the other.

The first runs ``python -m autodistill.search`` with the same settings under the earlier
revision and under the last commit, and compares what they found and how long a student
took. Latency is estimated (``cpu-roofline``), so that both see the same; the students that
each tries differ from the second on, as each search follows what it has seen. The baseline
is one student under both. Front: share of the rectangle between the reference (fidelity
0.4, the baseline's latency) and the best (fidelity 0.7, no latency) that the students
dominate, on a logarithmic scale of latency from a twentieth of the baseline's.

The second distils the 24 students of the second sample of ``flash_fidelity.py`` as a search
did under the earlier revision, and compares how it orders them with how 1,000 steps do:
Kendall's tau. What the later one has after as many steps is in the lines of that sample, so
this runs under the earlier one alone. (Those 1,000 steps are of the later flash, and its
320 are their beginning: that is in its favour.)

What the first found with a budget of 6 and two seeds, on two cores of an AMD EPYC (Zen 5):
the baseline, the one student that both have, went from a fidelity of .556 and .554 to .562
under both seeds, in 50 s for 64 and 67; other students took 18 and 14 s for 21 and 18
(median); the front .28 and .29 of the rectangle for .20 and .28. The best student has .618
for .556 under one seed, .597 for .613 under the other. The baseline's gain is one to two
standard errors; best and front owe to the search as well, which has changed since, too.
What the second found: tau .88 before and .90 after, a gain of .014 (-.07 to .12); the median
fidelity is .542 before and .539 after.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from flash_fidelity import HERE, POOL_STEPS, SAMPLES, STOPS, Store, students
from flash_fidelity_report import (
    Runs,
    at,
    resampled_gain,
    resampled_tau,
)

from autodistill.search.acquisition import hypervolume

ROOT = Path(__file__).resolve().parents[1]
STUDENTS_SCRIPT = Path(__file__).resolve().with_name("flash_change_students.py")
LINE = re.compile(
    r"^\s+(?P<number>\d+)\s+(?P<role>baseline|student)\s+(?P<latency>[\d.]+) ms\s+quality "
    r"(?P<quality>[-\d.]+) ± (?P<error>[\d.]+)\s+\(start (?P<start>[-\d.]+), (?P<seconds>\d+) s\)"
)
LEAST, MOST = 0.4, 0.7  # fidelity: the corners of the front's rectangle
FASTEST = 1 / 20  # of the baseline's latency


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--before", required=True, help="a revision of this repository")
    parser.add_argument("--budget", type=int, default=8, help="students")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--ranking", action="store_true", help="rank published students")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    return parser.parse_args()


def search(tree: Path, seed: int, budget: int) -> list[dict[str, float]]:
    """The students of one search under the code in ``tree``, the baseline first.

    Raises:
        RuntimeError: It failed, with the end of what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "autodistill.search", "--budget", str(budget)]
        command += ["--seed", str(seed), "--target", "cpu-roofline", "--run-dir", f"{folder}/run"]
        command += ["--cache-dir", f"{folder}/cache"]
        environment = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "100"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(f"the search in {tree} failed:\n{done.stdout[-1000:]}{done.stderr}")
    found = [match.groupdict() for line in done.stdout.splitlines() if (match := LINE.match(line))]
    names = ("latency", "quality", "error", "start", "seconds")
    return [{name: float(one[name]) for name in names} for one in found]


def summed_up(students: list[dict[str, float]]) -> dict[str, Any]:
    """What a reader compares."""
    baseline, *others = students
    latency = np.array([one["latency"] / baseline["latency"] for one in students])
    quality = np.array([one["quality"] for one in students])
    points = np.stack([(MOST - quality) / (MOST - LEAST), 1 - np.log(latency) / np.log(FASTEST)], 1)
    gains = [one["quality"] - one["start"] for one in students]
    return {
        "baseline_quality": baseline["quality"],
        "baseline_start": baseline["start"],
        "best_quality": max(quality),
        "front": round(hypervolume(points, np.ones(2)), 4),
        "median_gain_over_start": round(float(np.median(gains)), 4),
        "baseline_seconds": baseline["seconds"],
        "median_seconds": float(np.median([one["seconds"] for one in others])),
        "students": students,
    }


def ranked(tree: Path, seed: int) -> list[dict[str, float]]:
    """The students of the second sample as a search distils them under the code in ``tree``.

    Raises:
        RuntimeError: It failed, with the end of what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "students.jsonl"
        asked.write_text(
            "".join(json.dumps(dict(one)) + "\n" for one in students(SAMPLES["second"]))
        )
        command = [sys.executable, str(STUDENTS_SCRIPT), str(asked), "--seed", str(seed)]
        command += ["--cache", f"{folder}/cache"]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(f"students could not be distilled in {tree}:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def compared(before: list[dict[str, float]]) -> dict[str, Any]:
    """How each revision orders the students."""
    sample = SAMPLES["second"]
    lines = Store(HERE / f"{sample.stem}.jsonl", HERE).read()
    runs, everyone = Runs.of(lines, students(sample)), range(len(before))
    long = at(max(STOPS))(runs, everyone, 0)
    after = at(POOL_STEPS)(runs, everyone, 0)
    was = np.array([one["quality"] for one in before])
    return {
        "steps": POOL_STEPS,
        "tau": {"before": resampled_tau([(was, long)]), "after": resampled_tau([(after, long)])},
        "gain": resampled_gain([(after, long)], [(was, long)]),
        "median_quality": {"before": float(np.median(was)), "after": float(np.median(after))},
        "students_before": before,
    }


@contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """A revision, checked out."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run([*git, "add", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def searched(before: Path, after: Path, seeds: list[int], budget: int) -> list[dict[str, Any]]:
    """Searches under all seeds."""
    results = []
    for seed in seeds:
        for name, tree in (("before", before), ("after", after)):
            found = summed_up(search(tree, seed, budget))
            print(name, seed, {k: v for k, v in found.items() if k != "students"})
            results.append({"revision": name, "seed": seed, **found})
    return results


def main() -> None:
    """Both revisions, and what is known of them."""
    options = arguments()
    about = {
        "before": options.before,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    record = json.loads(options.out.read_text()) if options.out.exists() else {}
    with worktree(options.before) as before:
        if options.ranking:
            record["ranking"] = about | compared(ranked(before, seed=0))
        else:
            with worktree("HEAD") as after:
                results = searched(before, after, options.seeds, options.budget)
            record["searches"] = {**about, "budget": options.budget, "results": results}
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
