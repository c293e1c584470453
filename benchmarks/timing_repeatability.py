"""The same architectures timed twice: how far do two latency tables of one machine agree?

    python benchmarks/timing_repeatability.py      # 11 to 20 minutes; writes the .json beside it

Two builds as ``python -m autodistill.profiler --target cpu`` makes them, each in a fresh
process, in another random order, with a canary; on a machine that does nothing else.

Where the machine itself drifts, two builds differ by as much: the canary's spread is in
the result for that. ``timing_repeatability.json`` is of two cores of a shared AMD EPYC
(Zen 5): two builds are 2.5% apart (median; Spearman .991), and the canary moved by 2 and 4%
within a build. On a busier host (Zen 4) turns of one program, a second apart, differ by 10
to 17% (standard deviation of the logarithm; two thirds of that variance is a turn's own, the
rest is common to all programs and lasts some five seconds); to divide by a matrix product
timed beside each turn made it no less. There turns that are many, short and spread over
minutes brought two builds from 6.8% to 4.2% apart, in 2.4 times the seconds.

``timing_repeatability_12s.json`` is of another shared host, with ``--max-seconds 12``:
there the runs of one program lie as far apart as 29% (half of them, relative), the
canary moved by 12 and 14% within a build, and four times the seconds left two builds 8.1%
apart (Spearman .971). Seconds do not make up for a host that others use.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from autodistill.profiler import Workload
from autodistill.profiler.baselines import BASELINES
from autodistill.profiler.build import TableBuilder
from autodistill.profiler.choose import TargetOptions, choose_target
from autodistill.profiler.sampling import stratified_sample
from autodistill.profiler.table_fields import config_of_row, table_fields, to_row_architecture
from autodistill.space import SearchSpace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--space", default="mobilebert")
    parser.add_argument("--architectures", type=int, default=50)
    parser.add_argument("--max-seconds", type=float, help="timed seconds of each, at most")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    space = SearchSpace.preset(arguments.space)
    assert space.family is not None
    fields = table_fields(space)
    options = TargetOptions(max_seconds=arguments.max_seconds)
    architectures = [
        to_row_architecture(a, space.family, fields)
        for a in stratified_sample(space, arguments.architectures, seed=1)
    ]
    builds = []
    for seed in (0, 1):
        with tempfile.TemporaryDirectory() as folder:
            builder = TableBuilder(
                Path(folder) / "table.csv",
                fields,
                target=choose_target(arguments.target, options),
                workloads=[Workload()],
                config_of=lambda row: config_of_row(row, 30522),
                seed=seed,
                canary=BASELINES["TinyBERT4"].row(fields),
            )
            start = time.perf_counter()
            rows = builder.measure(architectures)
            seconds = time.perf_counter() - start
            builds.append((rows, seconds, builder.drift()))
            print(f"build {seed}: {seconds:.0f} s, {builder.drift()}", flush=True)
    first, second = (np.array([row.latency_ms for row in rows]) for rows, _, _ in builds)
    relative = np.abs(second / first - 1)
    result = {
        "device": builds[0][0][0].device_kind,
        "space": arguments.space,
        "architectures": len(architectures),
        "max_seconds": arguments.max_seconds or "the target's own",
        "spearman": float(spearmanr(first, second).statistic),
        "median_relative_difference": float(np.median(relative)),
        "quantiles_of_relative_difference_75_90_100": np.quantile(
            relative, [0.75, 0.9, 1]
        ).tolist(),
        "median_relative_iqr": float(
            np.median([row.latency_iqr_ms / row.latency_ms for row in builds[0][0]])
        ),
        "builds": [
            {"seconds": seconds, "canary": str(drift), "repeats": [row.repeats for row in rows]}
            for rows, seconds, drift in builds
        ],
        "latency_ms": [first.tolist(), second.tolist()],
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k not in ("latency_ms", "builds")}))


if __name__ == "__main__":
    main()
