"""Recipes side by side: one student, one teacher, equal tokens, three seeds.

    python benchmarks/recipes.py --out runs/recipes

Distils the same student by every recipe that applies to the teacher, from the same
text and with the same number of steps, and judges each on the same held-out
passages. Recipes run with their own starts (unless ``--start`` gives all the same) and
learning rates: none was chosen on what is reported here. A recipe that does not apply is
a record with the reason. ``no-transfer`` is what they must be better than: under a
teacher with a head, the words of the text alone are learnt, without it; under an
embedding teacher the last layer and the output alone learn, as nothing else is to be had
without transfer.

Records go to ``recipes.json`` beside this script as they are made, a table for each
teacher, student, number of steps and common start, in place of a former one; a killed
benchmark goes on where it was. ``--steps 10 --seeds 0`` is a
trial of a few minutes.
"""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from autodistill.distill.__main__ import main as distil
from autodistill.distill.allocator import keep_freed_memory, restart_with_jemalloc
from autodistill.distill.output_terms import MaskedLM
from autodistill.distill.recipe import Recipe, Stage, Start, plan, settled
from autodistill.distill.recipes import OUTPUTS, RECIPES
from autodistill.distill.shape import student_config
from autodistill.errors import RecipeError
from autodistill.teacher import TeacherKind, demo_teacher_folder, load_teacher

HERE = Path(__file__).parent
NO_TRANSFER = Recipe(
    name="no-transfer",
    summary="nothing of the teacher but what the output is fitted to",
    source="what recipes are compared with",
    start=Start.RANDOM,
    stages=(
        Stage("words", ((1.0, MaskedLM()),), only=TeacherKind.MASKED_LM),
        *(stage for stage in OUTPUTS if stage.only is TeacherKind.EMBEDDING),
    ),
)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--teacher", type=Path, default=None, help="default: the demo's")
    parser.add_argument("--architecture", default="TinyBERT4", help="the student")
    parser.add_argument("--corpus", type=Path, nargs="*", default=[])
    parser.add_argument("--recipes", nargs="*", default=[NO_TRANSFER.name, *RECIPES])
    parser.add_argument(
        "--start",
        choices=["random", "words", "teacher-layers"],
        help="of all; default: each its own",
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--sequence-length", type=int, default=128)
    parser.add_argument("--records", type=Path, default=HERE / "recipes.json")
    return parser.parse_args()


def run_one(
    recipe: Recipe, seed: int, teacher: Path, options: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Distil once, or read what is finished.

    Raises:
        SystemExit: The command failed or was interrupted, or found a run of a recipe of
            this name that trained otherwise; what is done is kept.
    """
    out = folder / f"{recipe.name}-{seed}"
    result = out / "result.json"
    if not (result.exists() and is_of(recipe, json.loads(result.read_text(encoding="utf-8")))):
        words = {
            "teacher": teacher,
            "architecture": options.architecture,
            "recipe": recipe.name,
            "seed": seed,
            "steps": options.steps,
            "batch-size": options.batch_size,
            "sequence-length": options.sequence_length,
            "out": out,
            **({"start": options.start} if options.start else {}),
        }
        command = [word for name, value in words.items() for word in (f"--{name}", str(value))]
        if options.corpus:
            command += ["--corpus", *map(str, options.corpus)]
        if code := distil(command):
            raise SystemExit(code)
    return json.loads(result.read_text(encoding="utf-8"))


def is_of(recipe: Recipe, result: dict[str, Any]) -> bool:
    """Whether a result is of the recipe as it is now, and of its start."""
    return result.get("stages") == recipe.digest and result.get("start_from") == recipe.start


def write(path: Path, header: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """All records of this teacher so far; those of others stay."""
    tables = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    means = {
        name: summary([one["quality"] for one in records if one["recipe"] == name])
        for name in dict.fromkeys(one["recipe"] for one in records if "seed" in one)
    }
    now = datetime.now(UTC).isoformat(timespec="seconds")
    tables[name_of(header)] = {
        **header,
        "at": now,
        "quality": means,
        "records": records,
    }
    path.write_text(json.dumps(tables, indent=2) + "\n", encoding="utf-8")


def name_of(header: dict[str, Any]) -> str:
    """Of a table: teacher, student, length, and the start where all have the same."""
    names = [header["teacher"]["name"], header["student"]["name"], f"{header['steps']} steps"]
    if header["start"] in list(Start):
        names.append(f"from {header['start']}")
    return ", ".join(names)


def summary(qualities: Sequence[float]) -> dict[str, float]:
    """Mean, and standard deviation over seeds."""
    spread = float(np.std(qualities, ddof=1)) if len(qualities) > 1 else 0.0
    return {"mean": round(float(np.mean(qualities)), 4), "spread": round(spread, 4)}


def main() -> None:
    """All recipes under all seeds."""
    options = arguments()
    RECIPES[NO_TRANSFER.name] = NO_TRANSFER
    folder = options.teacher or demo_teacher_folder()
    teacher = load_teacher(folder)
    config = student_config(options.architecture, teacher)
    made = folder / "adaptation.json"  # of ``teacher adapt``
    header = {
        "teacher": {
            "name": teacher.name,
            "fingerprint": teacher.fingerprint,
            **({"adapted": json.loads(made.read_text())} if made.exists() else {}),
        },
        "student": {
            "name": Path(options.architecture).stem,
            **asdict(config),
            "model_type": config.model_type,
        },
        "start": options.start or "each recipe's own",
        "steps": options.steps,
        "tokens": options.steps * options.batch_size * options.sequence_length,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    words = name_of(header).replace(", ", "-").replace(" ", "-")
    runs = options.out / f"{words}-{teacher.fingerprint}"
    records: list[dict[str, Any]] = []
    for name in options.recipes:
        recipe = RECIPES[name]
        if options.start:
            recipe = replace(recipe, start=Start(options.start))
        recipe = settled(recipe, teacher, config)
        try:
            plan(recipe, teacher, config, steps=options.steps)
        except RecipeError as error:
            records.append({"recipe": name, "refused": str(error)})
            write(options.records, header, records)
            continue
        for seed in options.seeds:
            result = run_one(recipe, seed, folder, options, runs)
            figures = ("quality", "standard_error", "agreement", "start", "seconds", "tokens_per_s")
            records.append(
                {"recipe": name, "seed": seed, **{figure: result[figure] for figure in figures}}
            )
            print(f"{name:<12} seed {seed}: {result['quality']:.4f}", flush=True)
            write(options.records, header, records)


if __name__ == "__main__":
    restart_with_jemalloc()
    keep_freed_memory()
    main()
