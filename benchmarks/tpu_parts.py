"""Sums of shared programs against whole unrolled programs: agreement and speed, on TPUs.

    python benchmarks/tpu_parts.py            # about 20 minutes on 2 cores; writes tpu_parts.json

The same random architectures of the ``mobilebert`` space are compiled for one TPU
generation in two ways: each as one unrolled program, one after the other in one
process; and as the sum of shared parts, in as many processes as there are cores.
The first is done twice, with the compiler's prefetching off, as the parts have it
(this is the agreement), and on, as it is by default (this says what is left out).
A second table, ten times as long, shows how the parts pay off, and the memory held.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from autodistill.profiler.machine import cpu_kind
from autodistill.profiler.memory import process_bytes
from autodistill.profiler.target import Workload
from autodistill.profiler.tpu.chips import CHIPS, Chip
from autodistill.profiler.tpu.cost import check_installed, environment
from autodistill.profiler.tpu.parts import Part, terms
from autodistill.profiler.tpu.target import CompiledTarget, Task, compile_task
from autodistill.profiler.workers import WorkerSettings, run_tasks
from autodistill.space import SearchSpace
from autodistill.space.families import encoder_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="tpu-v4i", choices=CHIPS)
    parser.add_argument("--architectures", type=int, default=100)
    parser.add_argument("--long", type=int, default=1000, help="architectures of the long table")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    chip, workload = CHIPS[arguments.target], Workload(arguments.batch_size, 128, "bfloat16")
    space = SearchSpace.preset("mobilebert")

    def configs(count: int) -> list:
        drawn = space.sample_distinct(count, np.random.default_rng(7))
        return [encoder_config(a, family="mobilebert", vocab_size=30522) for a in drawn]

    few = configs(arguments.architectures)
    parts_s, parts = build(CompiledTarget(chip), few, workload)
    print(f"parts: {parts_s:.0f} s", flush=True)
    whole_s, whole = unrolled(chip, few, workload, prefetch=False)
    print(f"unrolled: {whole_s:.0f} s", flush=True)
    default = unrolled(chip, few, workload, prefetch=True, processes=os.cpu_count() or 1)[1]
    long_s, _ = build(CompiledTarget(chip), many := configs(arguments.long), workload)
    relative = np.abs(parts / whole - 1)
    rate = {
        "unrolled, one process": 60 * len(few) / whole_s,
        f"parts, {len(few)} architectures": 60 * len(few) / parts_s,
        f"parts, {len(many)} architectures": 60 * len(many) / long_s,
    }
    result = {
        "target": arguments.target,
        "workload": str(workload),
        "architectures": len(few),
        "machine": {"cpu": cpu_kind(), "libtpu": check_installed()},
        "agreement": {
            "median_relative_difference": float(np.median(relative)),
            "largest_relative_difference": float(relative.max()),
            "spearman": float(spearmanr(parts, whole).statistic),
        },
        "prefetch": {
            "median_ratio_of_default_to_parts": float(np.median(default / parts)),
            "ratio_quantiles_5_95": np.quantile(default / parts, [0.05, 0.95]).tolist(),
            "spearman": float(spearmanr(parts, default).statistic),
        },
        "architectures_per_minute": rate,
        "speed_ratio": {
            name: value / rate["unrolled, one process"]
            for name, value in rate.items()
            if name.startswith("parts")
        },
        "programs": {
            str(len(some)): len({part for c in some for part in terms(c)}) for some in (few, many)
        },
        "peak_resident_bytes": {"this process": PEAK[0], "largest worker": PEAK[1]},
        "latency_ms": {
            "parts": parts.tolist(),
            "unrolled": whole.tolist(),
            "default": default.tolist(),
        },
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "latency_ms"}, indent=1))


PEAK = [0, 0]


def build(target: CompiledTarget, configs: list, workload: Workload) -> tuple[float, np.ndarray]:
    """Seconds of a build from nothing, start of the processes included, and ms."""
    start = time.perf_counter()
    found = {}
    for i, one in target.measure(configs, workload):
        if one is not None:
            found[i] = one.latency_ms
            note_memory()
    return time.perf_counter() - start, np.array([found[i] for i in range(len(configs))])


def unrolled(
    chip: Chip, configs: list, workload: Workload, *, prefetch: bool, processes: int = 1
) -> tuple[float, np.ndarray]:
    """Seconds and ms of one program per encoder, one after the other."""
    tasks = [Task(Part("encoder", c), workload, chip, prefetch, None) for c in configs]
    settings = WorkerSettings(processes=processes, environment=environment())
    start = time.perf_counter()
    found = {}
    for i, cost in run_tasks(compile_task, tasks, settings):
        found[i] = cost.cycles / chip.clock_hz * 1e3
        note_memory()
    return time.perf_counter() - start, np.array([found[i] for i in range(len(configs))])


def note_memory() -> None:
    PEAK[0] = max(PEAK[0], process_bytes(os.getpid()))
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    PEAK[1] = max([PEAK[1], *(process_bytes(int(child)) for child in children)])


if __name__ == "__main__":
    main()
