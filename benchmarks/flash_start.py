"""What rows of one size are worth to students with layer norms, and to ranking by short runs.

    python benchmarks/flash_start.py run       # as many at once as there are cores
    python benchmarks/flash_start.py report    # writes flash_start.json

The students of ``flash_fidelity.py`` that have layer norms (half of 24, seed 0), begun as
``autodistill/distill/start.py`` has it now: a column of the word table makes its rows
equally long, so that a norm keeps how much each word says. They are compared with
``data/distilled/mobilebert-mini.csv``, whose students with norms began without that column.
Those without norms begin as they did, and their rows are taken from that table.

Kendall's tau is with the quality after 500 steps *from the former start*, which is what
there is: of these runs the short ones with norms are no longer the beginning.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from flash_fidelity import (
    FIT_ROWS,
    HERE,
    ORDER,
    Store,
    config_of,
    distillers,
    first_seed,
    qualities,
    run_or_report,
    students,
)
from flash_fidelity_report import resampled_tau

from autodistill.distill.start import has_layer_norm

STOPS, FULL, SEED = (0, 25, 50), 500, 0


def run(store: Store, cache: Path) -> None:
    """Begin and shortly train the students that are not there yet."""
    store.folder.mkdir(parents=True, exist_ok=True)
    distiller, sample = distillers(cache)[SEED], students()
    for number in ORDER:
        config = config_of(sample[number], distiller)
        with store.claim(str(number)) as mine:
            done = {(line["student"], line["steps"]) for line in store.read()}
            if not (mine and has_layer_norm(config)) or (number, STOPS[-1]) in done:
                continue
            program, training = distiller.begin(config)
            for stop in STOPS:
                training.advance(stop)
                found = qualities(program, training.params(), distiller, FIT_ROWS.get(stop, 0))
                store.add({"student": number, "id": sample[number].id, "steps": stop, **found})
            jax.clear_caches()


def report(store: Store) -> None:
    """Write the JSON and print it."""
    table = first_seed()
    ids = [architecture.id for architecture in students()]
    former = {stop: _of(table, stop) for stop in STOPS}
    now = {stop: dict(values) for stop, values in former.items()}
    found = [line for line in store.read() if line["id"] == ids[line["student"]]]
    for line in found:
        name = "quality" if line["steps"] in FIT_ROWS else "raw_quality"
        now[line["steps"]][line["student"]] = line[name]
    normed = sorted({line["student"] for line in found if line["steps"] == STOPS[-1]})
    everyone = sorted(table.index)
    full = table[f"quality_{FULL}"]
    record: dict[str, Any] = {
        "command": "python benchmarks/flash_start.py run; ... report",
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "students": len(everyone),
        "with layer norms": len(normed),
        "stops": {},
    }
    for stop in STOPS:
        gains = np.array([now[stop][i] - former[stop][i] for i in normed])
        truth = np.array([full[i] for i in everyone])
        record["stops"][str(stop)] = {
            "gain of quality with norms": {
                "median": round(float(np.median(gains)), 4),
                "least": round(float(gains.min()), 4),
                "most": round(float(gains.max()), 4),
            },
            "tau with 500 steps": {
                name: resampled_tau([(np.array([values[stop][i] for i in everyone]), truth)])
                for name, values in (("former start", former), ("rows of one size", now))
            },
        }
    text = json.dumps(record, indent=1)
    (HERE / "flash_start.json").write_text(text + "\n", encoding="utf-8")
    print(text)


def _of(table: pd.DataFrame, stop: int) -> dict[int, float]:
    column = f"quality_{stop}" if stop in FIT_ROWS else f"raw_quality_{stop}"
    return {int(i): float(value) for i, value in table[column].items()}


if __name__ == "__main__":
    run_or_report(__file__, __doc__, run, report)
