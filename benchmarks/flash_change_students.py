"""Distil given students by the flash of whichever revision is imported.

    PYTHONPATH=TREE python flash_change_students.py students.jsonl --seed 0 --cache FOLDER

``flash_change.py`` runs it. A line of ``students.jsonl`` is an architecture of
``mobilebert-mini``; a line that is printed for it has its fidelity and its seconds, under
the settings that a search has by default. It uses only what both revisions have.
"""

import argparse
import json
import time
from pathlib import Path

import jax
from rich.console import Console

from autodistill.distill.flash import FlashSettings
from autodistill.search.materials import TextSettings, make_materials, tokenised
from autodistill.search.progress import Display
from autodistill.space import Architecture
from autodistill.space.families import encoder_config
from autodistill.teacher import demo_teacher_folder, load_teacher


def main() -> None:
    """One after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("students", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    teacher, text = load_teacher(demo_teacher_folder()), TextSettings()
    flash = FlashSettings(seed=options.seed)
    with Display(Console(stderr=True)) as display:
        store = tokenised(teacher, text, options.cache, display)
        distiller = make_materials(
            teacher, store, text, flash, cache_dir=options.cache, display=display
        ).distiller
    for line in options.students.read_text(encoding="utf-8").splitlines():
        config = encoder_config(
            Architecture(json.loads(line)),
            family="mobilebert",
            vocab_size=teacher.config.vocab_size,
            pad_token_id=teacher.special.pad,
        )
        began = time.perf_counter()
        quality = distiller.distil(config).judged.quality.value
        seconds = round(time.perf_counter() - began, 2)
        jax.clear_caches()  # as a search does
        print(json.dumps({"quality": round(quality, 5), "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
