"""What the lines of ``flash_fidelity.jsonl`` say: rank correlations and a table.

A *score* is one number of a student that is known before its full run ends: its quality
after few steps, its losses, its size. It is judged by how it orders the students, against
their quality after the full run: Kendall's tau-b, with an interval from resampling the
students. ``same`` compares with the full run of the same seed, of which the short run is a
part, averaged over seeds; ``other`` with the full run of the other seed, which shares no
luck with it. The ceiling is tau between the full runs of two seeds.

``within`` is the share by which pairs of one width of the word table are ordered rightly
rather than wrongly (Goodman and Kruskal's gamma of these pairs, as tau leaves out ties):
what a score tells beyond that width. ``above parameters`` is tau less that of the
parameter count, its interval from the same samples of students for both.

Axes: n = students.
"""

import csv
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from autodistill.distill.foretold import LAST, TOKEN_SHARE
from autodistill.space import Architecture
from autodistill.space.cost import encoder_cost

RESAMPLES = 2000
REFITTED_FROM = 25  # steps; before, the output layer is judged as trained
OUTPUT_WIDTH = 384  # of the demo's teacher
BASELINE = "parameters"  # what other scores are compared with
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Runs:
    """Lines by student, seed and step."""

    lines: Mapping[tuple[int, int, int], Record]
    untrained: Mapping[tuple[int, int], Mapping[str, float]]
    sample: Sequence[Architecture]

    @classmethod
    def of(cls, records: Sequence[Record], sample: Sequence[Architecture]) -> "Runs":
        """Of a student, seed and step that are there twice, the first."""
        lines: dict[tuple[int, int, int], Record] = {}
        for record in records:
            if "steps" in record:
                lines.setdefault((record["student"], record["seed"], record["steps"]), record)
        untrained = {(r["student"], r["seed"]): r["untrained"] for r in records if "untrained" in r}
        return cls(lines, untrained, sample)

    def students(self, seeds: Sequence[int], steps: int) -> list[int]:
        """Who has been distilled to this length with all of these seeds."""
        return [
            i for i in range(len(self.sample)) if all((i, s, steps) in self.lines for s in seeds)
        ]

    def values(self, students: Sequence[int], seed: int, steps: int, what: str) -> np.ndarray:
        """One column of results, (n,)."""
        return np.array([self.lines[i, seed, steps][what] for i in students], float)

    def losses(self, student: int, seed: int, steps: int, part: str) -> np.ndarray:
        """Of every step so far, (steps,)."""
        stops = sorted(t for i, s, t in self.lines if (i, s) == (student, seed) and t <= steps)
        return np.concatenate([self.lines[student, seed, t]["losses"][part] for t in stops])


Score = Callable[[Runs, Sequence[int], int], np.ndarray]  # students and seed to (n,)


def at(steps: int, what: str = "quality") -> Score:
    """What a run has reached after so many steps."""
    return lambda runs, students, seed: runs.values(students, seed, steps, what)


def extrapolated(first: int, second: int, full: int) -> Score:
    """The line through two stops over the logarithm of steps, at the end."""
    further = np.log(full / second) / np.log(second / first)

    def score(runs: Runs, students: Sequence[int], seed: int) -> np.ndarray:
        early, late = (runs.values(students, seed, t, "quality") for t in (first, second))
        return late + further * (late - early)

    return score


def training_speed(steps: int, part: str, share: float = 1.0) -> Score:
    """Less the mean training loss of the last share of the steps [Ru2021].

    All students see the same batches in the same order, so that their losses differ by
    what they are, and little by what they read.
    """

    def score(runs: Runs, students: Sequence[int], seed: int) -> np.ndarray:
        kept = max(round(share * steps), 1)
        return np.array([-runs.losses(i, seed, steps, part)[-kept:].mean() for i in students])

    return score


def foretold(quality: Score, token_loss: Score) -> Score:
    """A quality less a share of the token loss, as ``autodistill/distill/foretold.py`` has it."""
    return lambda runs, students, seed: (
        quality(runs, students, seed) + TOKEN_SHARE * token_loss(runs, students, seed)
    )


def counted(what: Callable[[Architecture], float]) -> Score:
    """What is known without any training."""
    return lambda runs, students, seed: np.array([what(runs.sample[i]) for i in students], float)


def untrained(what: str) -> Score:
    """A published score at random weights; NaN where it has not been computed."""

    def score(runs: Runs, students: Sequence[int], seed: int) -> np.ndarray:
        return np.array([runs.untrained.get((i, seed), {}).get(what, np.nan) for i in students])

    return score


def counts(architecture: Architecture) -> dict[str, int]:
    """Weights and multiply-adds of a student."""
    cost = encoder_cost(architecture, family="mobilebert", vocab_size=30522)
    return {
        "parameters": cost.parameters + (int(architecture["hidden_size"]) + 1) * OUTPUT_WIDTH,
        "encoder_parameters": cost.encoder_parameters,
        "multiply_adds": cost.multiply_adds,
    }


def counts_parameters(architecture: Architecture) -> int:
    """Weights of a student."""
    return counts(architecture)[BASELINE]


def rank(architecture: Architecture) -> int:
    """At most so many directions of the word table reach the blocks."""
    return min(int(architecture["embedding_size"]), int(architecture["hidden_size"]))


def correlation(
    score: Score, truth: Score, runs: Runs, seeds: Sequence[tuple[int, int]], students: list[int]
) -> dict[str, Any]:
    """How one score orders students, against another, averaged over pairs of seeds.

    Args:
        score: Of the first seed of a pair.
        truth: Of the second.
        runs: Where the values come from.
        seeds: Pairs.
        students: Who is compared; n of them.
    """
    pairs = [(score(runs, students, a), truth(runs, students, b)) for a, b in seeds]
    sizes = counted(counts_parameters)(runs, students, 0)
    widths = np.array([runs.sample[i]["embedding_size"] for i in students])
    return {
        **resampled_tau(pairs),
        "spearman": round(float(np.mean([spearmanr(x, y).statistic for x, y in pairs])), 4),
        "above parameters": resampled_gain(pairs, [(sizes, y) for _, y in pairs]),
        "within": round(float(np.mean([gamma_within(x, y, widths) for x, y in pairs])), 4),
        "students": len(students),
        "pairs_of_seeds": len(pairs),
    }


Pairs = Sequence[tuple[np.ndarray, np.ndarray]]  # of values of n students


def resampled_tau(pairs: Pairs) -> dict[str, Any]:
    """Mean tau of pairs of values of n students, and its 95% interval over samples of these."""
    return {
        "tau": round(float(np.mean([kendalltau(x, y).statistic for x, y in pairs])), 4),
        "interval": interval(mean_taus(pairs)),
    }


def resampled_gain(pairs: Pairs, others: Pairs) -> dict[str, Any]:
    """Mean tau of pairs less that of others, and its 95% interval over samples of students."""
    whole = np.arange(len(pairs[0][0]))[None]
    gain = mean_taus(pairs, whole) - mean_taus(others, whole)
    return {
        "gain": round(float(gain[0]), 4),
        "interval": interval(mean_taus(pairs) - mean_taus(others)),
    }


def interval(values: np.ndarray) -> list[float]:
    """The central 95%."""
    return [round(float(value), 4) for value in np.nanpercentile(values, [2.5, 97.5])]


def mean_taus(pairs: Pairs, rows: np.ndarray | None = None) -> np.ndarray:  # (resamples,)
    """Mean tau of pairs for each sample of students, (resamples, n), the same ones each time."""
    if rows is None:
        everyone, rng = np.arange(len(pairs[0][0])), np.random.default_rng(0)
        rows = np.stack([rng.choice(everyone, len(everyone)) for _ in range(RESAMPLES)])
    taus: np.ndarray = np.mean([kendall_taus(x[rows], y[rows]) for x, y in pairs], axis=0)
    return taus


def gamma_within(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> float:
    """Pairs of one group in the same order less those in the other, as a share of both."""
    same = (groups[:, None] == groups) & np.tri(len(groups), k=-1, dtype=bool)
    signs = (np.sign(x[:, None] - x) * np.sign(y[:, None] - y))[same]
    return float(signs.sum() / np.abs(signs).sum())


def kendall_taus(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """tau-b of each row of two arrays (resamples, n); a row at a time takes scipy minutes.

    The cosine between the signs of all differences; NaN where all values of a row are equal.
    """
    signs_x, signs_y = (np.sign(v[:, :, None] - v[:, None, :]).reshape(len(v), -1) for v in (x, y))
    norms = np.linalg.norm(signs_x, axis=1) * np.linalg.norm(signs_y, axis=1)
    with np.errstate(invalid="ignore"):
        taus: np.ndarray = np.sum(signs_x * signs_y, axis=1) / norms
    return taus


def scores(
    stops: Sequence[int], full: int, untold: Sequence[int], few: Sequence[int]
) -> dict[str, Score]:
    """All that is compared, for a full run of so many steps.

    Losses but at ``untold`` stops; of output layers refitted on few passages, at ``few``.
    """
    early = [t for t in stops if t < full]
    named: dict[str, Score] = {
        BASELINE: counted(counts_parameters),
        "encoder parameters": counted(lambda a: counts(a)["encoder_parameters"]),
        "multiply-adds": counted(lambda a: counts(a)["multiply_adds"]),
        "the smaller of embedding and hidden size": counted(rank),
        "gradient norm, untrained": untrained("gradient_norm"),
        "SNIP, untrained": untrained("snip"),
        "start quality": at(0, "raw_quality"),
    }
    for stop in early:
        named[f"quality at {stop}, output as trained"] = at(stop, "raw_quality")
        if stop >= REFITTED_FROM:
            named[f"quality at {stop}"] = at(stop)
        if stop in few:
            named[f"quality at {stop}, refitted on few"] = at(stop, "few_quality")
        if stop >= REFITTED_FROM and stop not in untold:
            last = training_speed(stop, "token", LAST)
            named[f"quality and token loss at {stop}"] = foretold(at(stop), last)
            if stop in few:
                both = foretold(at(stop, "few_quality"), last)
                named[f"quality and token loss at {stop}, refitted on few"] = both
        for part in ("token", "passage") if stop not in untold else ():
            named[f"{part} loss to {stop}"] = training_speed(stop, part)
            named[f"{part} loss, last fifth to {stop}"] = training_speed(stop, part, 0.2)
    fitted = [t for t in early if t >= REFITTED_FROM]
    for first, second in itertools.pairwise(fitted):
        named[f"extrapolated from {first} and {second}"] = extrapolated(first, second, full)
    return named


def analysis(
    runs: Runs, stops: Sequence[int], full: int, untold: Sequence[int]
) -> dict[str, Any] | None:
    """Rank correlations with the full run; None with fewer than five students.

    Seeds that fewer students have got so far with are left out.
    """
    known = {seed for _, seed, steps in runs.lines if steps == full}
    one = {seed: runs.students([seed], full) for seed in sorted(known)}
    most = max((len(students) for students in one.values()), default=0)
    if most < 5:
        return None
    used = [seed for seed, students in one.items() if len(students) == most]
    students = runs.students(used, full)
    same = [(s, s) for s in used]
    other = [(a, b) for a in used for b in used if a != b]
    reached = [t for t in stops if set(students) <= set(runs.students(used, t))]
    rows = {}
    few = [t for t in reached if all("few_quality" in runs.lines[i, used[0], t] for i in students)]
    for name, score in scores(reached, full, untold, few).items():
        if any(np.isnan(score(runs, students, seed)).any() for seed in used):
            continue
        rows[name] = {"same": correlation(score, at(full), runs, same, students)}
        if other:
            rows[name]["other"] = correlation(score, at(full), runs, other, students)
    found: dict[str, Any] = {"full_steps": full, "scores": rows}
    if other:
        found["ceiling"] = correlation(at(full), at(full), runs, other[:1], students)
    values = runs.values(students, used[0], full, "quality")
    found["spread"] = {"low": float(values.min()), "high": float(values.max())}
    found["median_standard_error"] = float(
        np.median(runs.values(students, used[0], full, "quality_se"))
    )
    return found


def write_table(path: Path, runs: Runs, stops: Sequence[int], latency: Path | None) -> int:
    """One row per student and seed, of the stops that somebody has got to; how many."""
    stops = [t for t in stops if any(steps == t for _, _, steps in runs.lines)]
    milliseconds = read_latency(latency) if latency is not None else {}
    fields = sorted(runs.sample[0])
    few = sorted({t for (_, _, t), line in runs.lines.items() if "few_quality" in line})
    columns = [
        *fields, *counts(runs.sample[0]), "latency_ms", "seed",
        *(f"raw_quality_{stop}" for stop in (0, *stops)),
        *(f"quality_{stop}" for stop in stops if stop >= REFITTED_FROM),
        *(f"few_quality_{stop}" for stop in few),
        *(f"agreement_{stop}" for stop in stops if stop >= REFITTED_FROM),
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        table.writeheader()
        for student, seed in sorted({(i, s) for i, s, _ in runs.lines}):
            architecture = runs.sample[student]
            row: dict[str, Any] = {
                **architecture, **counts(architecture), "seed": seed,
                "latency_ms": milliseconds.get(architecture, ""),
            }  # fmt: skip
            for stop in (0, *stops):
                line = runs.lines.get((student, seed, stop), {})
                for what in ("raw_quality", "quality", "few_quality", "agreement"):
                    if what in line:
                        row[f"{what}_{stop}"] = round(line[what], 5)
            table.writerow(row)
            written += 1
    return written


def read_latency(path: Path) -> dict[Architecture, float]:
    """Milliseconds by architecture, from a latency table of this family."""
    from autodistill.profiler.architecture_file import read_architectures
    from predictors.rows import parse_value

    with path.open(newline="", encoding="utf-8") as file:
        rows = [{k: parse_value(v) for k, v in row.items()} for row in csv.DictReader(file)]
    found = {}
    for (_, architecture), row in zip(read_architectures(path), rows, strict=True):
        own = {k: v for k, v in architecture.items() if k != "use_bottleneck_attention"}
        found[Architecture(own)] = row["latency_ms"]
    return found
