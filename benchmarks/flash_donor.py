"""Does a student that begins with a distilled one rank better after a short run?

    python benchmarks/flash_donor.py run       # as many at once as there are cores
    python benchmarks/flash_donor.py report    # writes flash_donor.json

The students of ``flash_fidelity.py`` (24, seed 0), each begun with what a donor has
learnt (``autodistill/distill/inherit.py``) and trained for 25 and 50 steps. The donor is
the baseline of the space with the student's own normalisation and activation, distilled
for 100 steps from words; there are four. Quality is with the output layer refitted, as
in ``data/distilled/mobilebert-mini.csv``, whose runs from words the report compares with:
Kendall tau with the quality of 500 steps from words, and how much quality a donor adds.

What it found, on the 12 students that are in ``flash_donor.json`` (half of them, of all
sizes): a donor adds .003 to the quality, less than its standard error, and there is no sign
that it ranks better: at 50 steps tau is .79 for .91. The intervals overlap, and the runs from
words have the advantage that they are the beginnings of the very runs they are judged by. So
a search does not use one. (Measured when students with layer norms still began without rows
of one size, and judged by the table of that time, of revision b4706b5.)
"""

import fcntl
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from flash_fidelity import (
    HERE,
    ORDER,
    Store,
    config_of,
    distillers,
    of_seed,
    qualities,
    run_or_report,
    students,
)
from flash_fidelity_report import resampled_tau

from autodistill.distill.flash import FlashDistiller
from autodistill.distill.inherit import Donor
from autodistill.locks import locked_file
from autodistill.models.config import MobileBertConfig
from autodistill.space import SearchSpace

DONOR_STEPS, STOPS, FULL = 100, (25, 50), 500
ROWS = 2048  # that the output layer is refitted on


def kind(config: MobileBertConfig) -> str:
    """What a donor must share."""
    return f"{config.normalization_type}-{config.hidden_act}"


def donor_of(store: Store, distiller: FlashDistiller, config: MobileBertConfig) -> Donor:
    """The baseline of this student's kind; distilled by whoever needs it first."""
    space = SearchSpace.preset("mobilebert-mini")
    assert space.baseline is not None, "a preset has one"
    base = config_of(space.baseline, distiller)
    shape = replace(
        base, normalization_type=config.normalization_type, hidden_act=config.hidden_act
    )
    name = f"donor-{kind(config)}"
    path = store.folder / f"{name}.weights.npz"
    with locked_file(store.folder / f"{name}.wait", fcntl.LOCK_EX):
        if not path.exists():
            program, training = distiller.begin(shape)
            training.advance(DONOR_STEPS)
            params = training.params()
            found = qualities(program, params, distiller, {"": ROWS})
            store.add({"donor": kind(config), "quality": found["quality"]})
            np.savez(path.with_suffix(".tmp.npz"), **program.finished(params).weights)
            path.with_suffix(".tmp.npz").replace(path)
    with np.load(path) as weights:
        return Donor(shape, dict(weights))


def run(store: Store, cache: Path) -> None:
    """All students; several processes share the work."""
    store.folder.mkdir(parents=True, exist_ok=True)
    distiller, sample = distillers(cache)[0], students()
    for number in ORDER:
        with store.claim(f"inherited-{number}") as mine:
            done = {r.get("student") for r in store.read()}
            if not mine or number in done:
                continue
            config = config_of(sample[number], distiller)
            assert isinstance(config, MobileBertConfig), "of the space"
            donor = donor_of(store, distiller, config)
            program, training = distiller.begin(config, donor=donor)
            record: dict[str, Any] = {"student": number, "kind": kind(config)}
            for stop in (0, *STOPS):
                training.advance(stop)
                found = qualities(program, training.params(), distiller, {"": ROWS})
                record[f"quality_{stop}"] = found["quality"]
            store.add(record)
            print(record, flush=True)
            jax.clear_caches()


def report(store: Store) -> None:
    """Write the JSON and print it."""
    lines = store.read()
    found = pd.DataFrame([line for line in lines if "student" in line]).set_index("student")
    table = of_seed(0).loc[found.index]
    full = table[f"quality_{FULL}"].to_numpy()
    scores: dict[str, Any] = {}
    for stop in STOPS:
        words, donors = (of[f"quality_{stop}"].to_numpy() for of in (table, found))
        scores[str(stop)] = {
            "from words": resampled_tau([(words, full)]),
            "from a donor": resampled_tau([(donors, full)]),
            "gain of quality, median": round(float(np.median(donors - words)), 4),
        }
    scores["0"] = {"from a donor": resampled_tau([(found["quality_0"].to_numpy(), full)])}
    record = {
        "students": len(found),
        "donor_steps": DONOR_STEPS,
        "donors": {line["donor"]: line["quality"] for line in lines if "donor" in line},
        "full_steps": FULL,
        "scores": scores,
    }
    path = HERE / "flash_donor.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    run_or_report(__file__, __doc__, run, report)
