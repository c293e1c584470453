"""Do short runs rank students better at a lower learning rate?

    python benchmarks/flash_rates.py run       # as many at once as there are cores
    python benchmarks/flash_rates.py report    # writes flash_rates.json

The students of ``flash_fidelity.py`` (24, seed 0), each trained for 25, 50 and 100 steps
under every one of ``VARIANTS``, and judged with the output layer refitted. The report
compares by Kendall's tau with their quality after 500 steps under the default settings, of
``data/distilled/mobilebert-mini.csv``, whose short runs are the default's: these alone are
beginnings of the runs that they are judged by, and ``default, other seed`` says how much
that is worth.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from flash_fidelity import (
    HERE,
    ORDER,
    Store,
    changed,
    config_of,
    distillers,
    of_seed,
    qualities,
    run_or_report,
    students,
)
from flash_fidelity_report import resampled_tau

STOPS, FULL, SEED, OTHER_SEED = (25, 50, 100), 500, 0, 1
ROWS = 2048  # that the output layer is refitted on
VARIANTS: dict[str, dict[str, Any]] = {"rate 5e-4": {"learning_rate": 5e-4}}


def run(store: Store, cache: Path) -> None:
    """All students under all variants; several processes share the work."""
    store.folder.mkdir(parents=True, exist_ok=True)
    base, sample = distillers(cache)[SEED], students()
    for name, changes in VARIANTS.items():
        distiller = changed(base, **changes)
        for number in ORDER:
            with store.claim(f"{name}-{number}") as mine:
                done = {(r["variant"], r["student"]) for r in store.read()}
                if mine and (name, number) not in done:
                    program, training = distiller.begin(config_of(sample[number], distiller))
                    record = {"variant": name, "student": number, "id": sample[number].id}
                    for stop in STOPS:
                        training.advance(stop)
                        found = qualities(program, training.params(), distiller, {"": ROWS})
                        record[f"quality_{stop}"] = found["quality"]
                    store.add(record)
                    jax.clear_caches()


def report(store: Store) -> None:
    """Write the JSON and print it."""
    table, other = of_seed(SEED), of_seed(OTHER_SEED)
    truth = table[f"quality_{FULL}"]
    found = {"default": table, "default, other seed": other}
    lines = pd.DataFrame(store.read())
    for name, rows in lines.groupby("variant", sort=False):
        found[str(name)] = rows.set_index("student").sort_index()
    record = {
        "command": "python benchmarks/flash_rates.py run; ... report",
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "full_steps": FULL,
        "settings": VARIANTS,
        "variants": {
            name: {
                "students": len(rows),
                "stops": {str(stop): compared(rows[f"quality_{stop}"], truth) for stop in STOPS},
            }
            for name, rows in found.items()
        },
    }
    text = json.dumps(record, indent=1)
    (HERE / "flash_rates.json").write_text(text + "\n", encoding="utf-8")
    print(text)


def compared(short: pd.Series, truth: pd.Series) -> dict[str, Any]:
    """Tau of these short runs, and what they reach."""
    pairs = [(short.to_numpy(), truth.loc[short.index].to_numpy())]
    return {**resampled_tau(pairs), "median quality": round(float(np.median(short)), 4)}


if __name__ == "__main__":
    run_or_report(__file__, __doc__, run, report)
