"""Do short distillations rank students as long ones do? A table of really distilled students.

    python benchmarks/flash_fidelity.py run        # as many at once as there are cores
    python benchmarks/flash_fidelity.py untrained  # scores of students before any training
    python benchmarks/flash_fidelity.py report

``run`` distils 24 students of ``mobilebert-mini``, drawn at random before any was
trained, one of each of 24 equally likely ranges of multiply-adds, from the demo's
embedding teacher, with two seeds (of the initial weights and the order of the batches).
One run of a student gives all its lengths, as a short run is the beginning of a longer
one (``autodistill/distill/anytime.py``). Each stop of a run is one line of
``flash_fidelity.jsonl``; what is there is not run again, an interrupted run goes on from
its last stop, and several processes share the work. One to two minutes on one core of an
AMD EPYC (Zen 5) for 500 steps of one student and seed; two hours for all on two.

``report`` writes ``flash_fidelity.json`` and ``data/distilled/mobilebert-mini.csv`` from
the lines that there are.

``--sample second`` is 24 other students, one seed, for what was found on the first: the
lines, the report and the table have names of their own. Its passages for refitting are
512 too, beside those of the first, so that short runs are cheap as well as short.
"""

import argparse
import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from flash_fidelity_proxies import untrained_scores
from flash_fidelity_report import Runs, analysis, write_table
from rich.console import Console

from autodistill.distill.flash import FlashDistiller, FlashSettings
from autodistill.distill.output_layer import refit_output
from autodistill.distill.quality import fidelity, neighbour_agreement
from autodistill.distill.student import Params, StudentProgram
from autodistill.models.config import EncoderConfig
from autodistill.search.materials import TextSettings, make_materials, tokenised
from autodistill.search.progress import Display
from autodistill.space import Architecture, SearchSpace
from autodistill.space.cost import encoder_cost
from autodistill.space.families import encoder_config
from autodistill.teacher import demo_teacher_folder, load_teacher

HERE = Path(__file__).resolve().parent
DISTILLED = HERE.parent / "data" / "distilled"
FAMILY, VOCABULARY = "mobilebert", 30522
STUDENTS, DRAWS = 24, 2400
STOPS = (10, 25, 50, 100, 200, 320, 500, 1000)
# passages that the output layer is refitted on, by stop; at others it is judged as trained
FIT_ROWS = {25: 2048, 50: 2048, 100: 2048, 200: 4096, 320: 6400, 500: 4096, 1000: 4096}
POOL_STEPS = 320  # the demo's training text: 6,400 passages, all of which a search refits on
FEW_ROWS, FEW_AT = 512, (25, 50, 100, 200)  # at these stops refitted on so few as well
LATER = (200, 320)  # stops that came later: their losses are in the line of the next one
# large and small in turn, so that what is there at any time is spread over all sizes
ORDER = tuple((7 * i + 3) % STUDENTS for i in range(STUDENTS))
PHASES = ((0, 320), (1, 320), (0, 500), (1, 500), (0, 1000), (1, 1000))  # (seed, steps), in order


@dataclass(frozen=True)
class Sample:
    """24 students, and how far they are distilled.

    Attributes:
        name: On the command line, and in the names of files but those of the first sample.
        seed: Of the draw.
        phases: (seed of the run, steps), in order.
        later: Stops whose losses are in the line of the next one.
        few: Whether output layers are refitted on few passages as well.
    """

    name: str
    seed: int
    phases: tuple[tuple[int, int], ...]
    later: tuple[int, ...]
    few: bool

    @property
    def seeds(self) -> list[int]:
        """Of its runs."""
        return sorted({seed for seed, _ in self.phases})

    @property
    def stem(self) -> str:
        """Of the names of its lines, its report and the folder of its runs."""
        return self._named("flash_fidelity", "_")

    @property
    def table(self) -> Path:
        """The published one."""
        return DISTILLED / f"{self._named('mobilebert-mini', '-')}.csv"

    @property
    def latency(self) -> Path:
        """The profiler's table of its students."""
        return DISTILLED / f"{self._named('latency-cpu', '-')}.csv"

    def _named(self, what: str, joint: str) -> str:
        return what if self.name == "first" else f"{what}{joint}{self.name}"


SAMPLES = {
    sample.name: sample
    for sample in (
        Sample("first", 2026, PHASES, LATER, few=False),
        Sample("second", 2027, ((0, 500), (0, 1000)), (), few=True),
    )
}
TABLE = SAMPLES["first"].table


def students(sample: Sample = SAMPLES["first"]) -> list[Architecture]:
    """One of each of 24 ranges of multiply-adds that are equally likely."""
    space = SearchSpace.preset("mobilebert-mini")
    rng = np.random.default_rng(sample.seed)
    drawn = space.sample_distinct(DRAWS, rng)
    drawn.sort(key=lambda a: (multiply_adds(a), a.id))
    each = DRAWS // STUDENTS
    return [drawn[i * each + int(rng.integers(each))] for i in range(STUDENTS)]


def multiply_adds(architecture: Architecture) -> int:
    """Of one token."""
    return encoder_cost(architecture, family=FAMILY, vocab_size=VOCABULARY).multiply_adds


@dataclass(frozen=True)
class Store:
    """Lines of results, and the state of runs, shared by several processes."""

    lines: Path
    folder: Path

    def read(self) -> list[dict[str, Any]]:
        """All lines; a torn last one is left out."""
        if not self.lines.exists():
            return []
        found = []
        for line in self.lines.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def add(self, record: dict[str, Any]) -> None:
        """One line more."""
        with self.lines.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Whether this process may work on it; a process that dies gives it back."""
        with (self.folder / f"{name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def save(self, name: str, steps: int, arrays: list[np.ndarray]) -> None:
        """State of a run, whole or not at all."""
        temporary = self.folder / f"{name}.tmp.npz"
        np.savez(temporary, steps, *arrays)
        temporary.replace(self.folder / f"{name}.npz")

    def load(self, name: str) -> tuple[int, list[np.ndarray]] | None:
        """What ``save`` kept."""
        path = self.folder / f"{name}.npz"
        if not path.exists():
            return None
        with np.load(path) as file:
            steps, *arrays = (file[f"arr_{i}"] for i in range(len(file.files)))
        return int(steps), arrays


def distillers(cache: Path, seeds: Sequence[int] = (0, 1)) -> dict[int, FlashDistiller]:
    """By seed; all on the same text."""
    teacher = load_teacher(demo_teacher_folder())
    settings, text = FlashSettings(steps=POOL_STEPS), TextSettings()
    with Display(Console()) as display:
        tokens = tokenised(teacher, text, cache, display)
        materials = make_materials(
            teacher, tokens, text, settings, cache_dir=cache, display=display
        )
    return {seed: changed(materials.distiller, seed=seed) for seed in seeds}


def changed(distiller: FlashDistiller, **changes: Any) -> FlashDistiller:
    """The same text and teacher under other settings."""
    return FlashDistiller(
        distiller.teacher,
        distiller.passages,
        distiller.outputs,
        distiller.start,
        distiller.held_out,
        replace(distiller.settings, **changes),
    )


def run(store: Store, cache: Path, sample: Sample) -> None:
    """Distil what is not distilled yet."""
    store.folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(store.folder / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    by_seed, architectures = distillers(cache, sample.seeds), students(sample)
    for seed, steps in sample.phases:
        for number in ORDER:
            with store.claim(f"{number}-{seed}") as mine:
                done = {(r["student"], r["seed"], r.get("steps")) for r in store.read()}
                if mine and (number, seed, steps) not in done:
                    distil(store, by_seed[seed], number, architectures[number], sample, steps)
                    jax.clear_caches()


def score_untrained(store: Store, cache: Path, sample: Sample) -> None:
    """Add what published scores say of students that were never trained."""
    by_seed, architectures = distillers(cache, sample.seeds), students(sample)
    for seed, distiller in by_seed.items():
        for number, architecture in enumerate(architectures):
            done = {(r["student"], r["seed"]) for r in store.read() if "untrained" in r}
            if (number, seed) not in done:
                found = untrained_scores(config_of(architecture, distiller), distiller)
                store.add({"student": number, "seed": seed, "untrained": found})
                jax.clear_caches()


def config_of(architecture: Architecture, distiller: FlashDistiller) -> EncoderConfig:
    """The student's."""
    pad = distiller.teacher.special.pad
    return encoder_config(architecture, family=FAMILY, vocab_size=VOCABULARY, pad_token_id=pad)


def distil(
    store: Store,
    distiller: FlashDistiller,
    number: int,
    architecture: Architecture,
    sample: Sample,
    to: int,
) -> None:
    """Train one student to one length, and keep what it is worth at each stop."""
    began = time.perf_counter()
    seed = distiller.settings.seed
    name = f"{number}-{seed}"
    program, training = distiller.begin(config_of(architecture, distiller))
    begun_s = time.perf_counter() - began
    known = {(r["student"], r["seed"], r.get("steps")) for r in store.read()}
    if (kept := store.load(name)) is not None:
        training.restore(*kept)
    told_to = len(training.losses)
    for stop in (0, *STOPS):
        if stop > to or stop < training.steps:
            continue
        began = time.perf_counter()
        training.advance(stop)
        told = [] if stop in sample.later else training.losses[told_to:]
        told_to += len(told)
        if (number, seed, stop) in known:
            continue
        params = training.params()
        jax.block_until_ready(params)
        train_s = time.perf_counter() - began
        began = time.perf_counter()
        rows = {"": FIT_ROWS.get(stop, 0)}
        if sample.few and stop in FEW_AT:
            rows["few_"] = FEW_ROWS
        found = qualities(program, params, distiller, rows)
        record = {
            "student": number,
            "id": architecture.id,
            "seed": seed,
            "steps": stop,
            **found,
            "train_s": round(train_s, 2),
            "judge_s": round(time.perf_counter() - began, 2),
            "begun_s": round(begun_s, 2),
            "losses": {
                part: [round(float(step[part]), 4) for step in told]
                for part in ("token", "passage")
            },
        }
        store.add(record)
        if stop in (50, 100, 500, 1000):
            store.save(name, stop, training.arrays())


def qualities(
    program: StudentProgram, params: Params, distiller: FlashDistiller, rows: dict[str, int]
) -> dict[str, float]:
    """As trained (``raw_``), and with the output layer refitted on so many passages, by prefix."""
    held, targets = distiller.held_out.passages, np.asarray(distiller.outputs.passages)
    pooled = program.pooled(params, held.input_ids, held.attention_mask)
    layers = {"raw_": params["output"]}
    for prefix, count in rows.items():
        if count == 0:
            continue
        first = replace(
            distiller.passages,
            input_ids=distiller.passages.input_ids[:count],
            attention_mask=distiller.passages.attention_mask[:count],
            documents=distiller.passages.documents[:count],
        )
        layers[prefix] = refit_output(program, params, first, targets[:count])
    found: dict[str, float] = {}
    for prefix, layer in layers.items():
        vectors = pooled @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
        quality = fidelity(distiller.held_out.embeddings, vectors, held.documents)
        found[prefix + "quality"] = quality.value
        found[prefix + "quality_se"] = quality.standard_error
        found[prefix + "agreement"] = neighbour_agreement(distiller.held_out.embeddings, vectors)
    return found


def report(store: Store, sample: Sample, latency: Path | None) -> None:
    """Write the JSON and the table, and print the main figures."""
    runs = Runs.of(store.read(), students(sample))
    fulls = {full for full in (500, 1000) if any(steps == full for _, steps in sample.phases)}
    found = [
        a for full in sorted(fulls) if (a := analysis(runs, STOPS, full, sample.later)) is not None
    ]
    for each in found:
        print(f"full run of {each['full_steps']} steps:")
        if "ceiling" in each:
            print(f"  {'full run of another seed':<40} {each['ceiling']['tau']:6.3f}")
        for score, row in each["scores"].items():
            same = row["same"]
            low, high = same["interval"]
            print(
                f"  {score:<40} {same['tau']:6.3f}  ({low:.2f} to {high:.2f})"
                f"  within one width {same['within']:6.3f}"
            )
    command = f"python benchmarks/flash_fidelity.py run --sample {sample.name}; report likewise"
    record = {
        "command": command,
        "machine": platform.processor() or platform.machine(),
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": asdict(FlashSettings()) | {"steps": max(fulls)},
        "students": STUDENTS,
        "passages": POOL_STEPS * TextSettings().passages_per_step,
        "fit_rows": FIT_ROWS,
        "cost_in_steps": {str(stop): round(cost(stop), 1) for stop in STOPS},
        "share_of_cost": {
            str(full): {
                str(stop): round(cost(stop) / cost(full), 3) for stop in STOPS if stop < full
            }
            for full in sorted(fulls)
        },
        "analyses": found,
    }
    if sample.few:
        record["share_of_cost_with_few_passages"] = {
            str(full): {str(stop): round(cost(stop, FEW_ROWS) / cost(full), 3) for stop in FEW_AT}
            for full in sorted(fulls)
        }
    path = HERE / f"{sample.stem}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    rows = write_table(sample.table, runs, STOPS, latency)
    print(f"{rows} rows in {sample.table}")


def cost(stop: int, fit_rows: int | None = None) -> float:
    """Steps, and the forward passes of fitting and judging at a third of a step's work."""
    fitted = FIT_ROWS.get(stop, 0) if fit_rows is None else fit_rows
    passages = fitted + TextSettings().held_out_passages
    return stop + passages / (3 * FlashSettings().batch_size)


def of_seed(seed: int) -> pd.DataFrame:
    """The published rows of one seed, in the students' order."""
    table = pd.read_csv(TABLE)
    return table[table["seed"] == seed].reset_index(drop=True)


def run_or_report(
    script: str, about: str, run: Callable[[Store, Path], None], report: Callable[[Store], None]
) -> None:
    """The command line of a script that goes on from this one's students."""
    name = Path(script).stem
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--lines", type=Path, default=HERE / f"{name}.jsonl")
    parser.add_argument("--state", type=Path, default=Path("runs") / name)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "autodistill")
    options = parser.parse_args()
    store = Store(options.lines, options.state)
    if options.what == "run":
        run(store, options.cache)
    else:
        report(store)


def main() -> None:
    """Parse the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "untrained", "report", "architectures"])
    parser.add_argument("--sample", choices=list(SAMPLES), default="first")
    parser.add_argument("--lines", type=Path, help="default: flash_fidelity*.jsonl beside this")
    parser.add_argument("--state", type=Path, help="default: a folder in runs/")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "autodistill")
    parser.add_argument("--latency", type=Path, help="table of the profiler; default: in data/")
    options = parser.parse_args()
    sample = SAMPLES[options.sample]
    lines, state = HERE / f"{sample.stem}.jsonl", Path("runs") / sample.stem
    store = Store(options.lines or lines, options.state or state)
    if options.what == "run":
        run(store, options.cache, sample)
    elif options.what == "untrained":
        score_untrained(store, options.cache, sample)
    elif options.what == "architectures":
        for architecture in students(sample):
            print(json.dumps(dict(architecture)))
    else:
        latency = options.latency or sample.latency
        report(store, sample, latency if latency.exists() else None)


if __name__ == "__main__":
    main()
