"""What rows of one size are worth to students with layer norms: two tables compared.

    python benchmarks/flash_start.py    # writes flash_start.json; needs this repository's history

A column of the word table makes its rows equally long, so that a norm keeps how much each
word says (``autodistill/distill/start.py``). Students of the first published
``data/distilled/mobilebert-mini.csv`` began without it; those of the present one begin
with it. Both have the same 24 students, half of them with layer norms, which alone
differ, and the same batches (seed 0).

What it found: with norms the start is .032 better (median; .020 to .067), and .025 after 50
steps; after 500 steps nothing is left of it. Short runs rank better for it: tau with 500 steps
is .82 for .75 at the start, .79 for .75 after 25.
"""

import io
import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from flash_fidelity import FIT_ROWS, HERE, TABLE, of_seed
from flash_fidelity_report import resampled_tau

FORMER = "b4706b5"  # the last revision whose table is of the former start
STOPS, FULL = (0, 25, 50, 100, 500), "quality_500"


def former_table() -> pd.DataFrame:
    """The table as it was, in the students' order."""
    where = f"{FORMER}:{TABLE.relative_to(HERE.parent)}"
    git = ["git", "-C", str(HERE.parent), "show", where]
    text = subprocess.run(git, check=True, capture_output=True, text=True).stdout
    return pd.read_csv(io.StringIO(text)).query("seed == 0").reset_index(drop=True)


def main() -> None:
    """Write the JSON and print it."""
    former, now = former_table(), of_seed(0)
    fields = list(now.columns[: now.columns.get_loc("parameters")])
    assert now[fields].equals(former[fields]), "the same students in the same order"
    normed = now["normalization_type"] == "layer_norm"
    record: dict[str, Any] = {
        "command": "python benchmarks/flash_start.py",
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "former table": FORMER,
        "students": len(now),
        "with layer norms": int(normed.sum()),
        "stops": {},
    }
    for stop in STOPS:
        column = f"quality_{stop}" if stop in FIT_ROWS else f"raw_quality_{stop}"
        gains = (now[column] - former[column])[normed]
        record["stops"][str(stop)] = {
            "gain of quality with norms": {
                "median": round(float(np.median(gains)), 4),
                "least": round(float(gains.min()), 4),
                "most": round(float(gains.max()), 4),
            },
        }
        if column != FULL:
            record["stops"][str(stop)]["tau with 500 steps of the same start"] = {
                name: resampled_tau([(table[column].to_numpy(), table[FULL].to_numpy())])
                for name, table in (("former start", former), ("rows of one size", now))
            }
    text = json.dumps(record, indent=1)
    (HERE / "flash_start.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
