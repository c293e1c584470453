"""The two sides of ``distill_throughput.py``: ours and PyTorch's steps, each in a process.

A side makes its teacher, student and batches, and then does as many steps of an arm as it
is asked for through a pipe.
"""

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from distill_parts import parts_of_step

from autodistill.distill.allocator import keep_freed_memory, runs_jemalloc
from autodistill.models.config import BertConfig, EncoderConfig
from autodistill.space import SearchSpace, Value
from autodistill.space.families import encoder_config

BATCH, LENGTH, BATCHES = 16, 128, 4
WORDS = 30522
MINI = SearchSpace.preset("mobilebert-mini")
MOBILEBERT = SearchSpace.preset("mobilebert")


def _config(space: SearchSpace, architecture: Mapping[str, Value]) -> EncoderConfig:
    assert space.family is not None, "a preset has one"
    return encoder_config(architecture, family=space.family, vocab_size=WORDS)


STUDENTS: dict[str, EncoderConfig] = {
    "mini": _config(MINI, MINI.baseline or {}),
    "mini-random": _config(MINI, MINI.sample(1, np.random.default_rng(0))[0]),
    "6x384": BertConfig(6, 384, 12, 1536),
    "24x512": _config(MOBILEBERT, MOBILEBERT.baseline or {}),
}
RECIPES = ("embedding", "masked-lm")
Steps = Callable[[int], float]


@dataclass(frozen=True)
class Case:
    """One student under one recipe."""

    recipe: str
    student: str
    compiled: bool
    unroll: bool

    @property
    def name(self) -> str:
        """As in the JSON."""
        return f"{self.recipe}/{self.student}"


class Side:
    """A process that does steps."""

    def __init__(self, kind: type, case: Case, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(kind, case, folder, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, *request: Any) -> Any:
        self.pipe.send(request)
        return self.pipe.recv()

    def close(self) -> None:
        self.pipe.send(None)
        self.process.join()


def serve(kind: type, case: Case, folder: Path, pipe: Connection) -> None:
    """Do what is asked through the pipe, until None comes."""
    keep_freed_memory()  # both sides: ours does it in every run
    side = kind(case, folder)
    steppers: dict[str, Steps] = {}
    while (request := pipe.recv()) is not None:
        match request:
            case ("arms",):
                pipe.send(side.arms())
            case ("jemalloc",):
                pipe.send(runs_jemalloc())
            case ("peak memory",):
                pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # KiB
            case ("prepare", arm):
                steppers[arm] = side.prepare(arm)
                steppers[arm](2)
                pipe.send(None)
            case ("batches",):
                run = side.distillation(cached=True)
                _write_batches([run.targets.batch_at(i) for i in range(BATCHES)], folder)
                pipe.send(None)
            case ("extra", arm):
                pipe.send(side.extra(arm, steppers[arm]))
            case ("peak", dtype):
                pipe.send(side.peak(dtype))
            case ("run", arm, count):
                own, began = time.process_time(), time.perf_counter()
                loss = steppers[arm](count)
                seconds = time.perf_counter() - began
                if not np.isfinite(loss):
                    raise SystemExit(f"{arm} diverged: its loss is {loss}")
                pipe.send((seconds, time.process_time() - own))


class Ours:
    """Our steps; lives in a process of its own."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder = case, folder
        self.teacher = _teacher(case.recipe)
        rng = np.random.default_rng(0)
        ids = rng.integers(1000, WORDS - 1000, (BATCH * BATCHES, LENGTH)).astype(np.int32)
        from autodistill.distill.passage_set import PassageSet

        self.passages = PassageSet(ids, np.ones_like(ids), np.arange(len(ids), dtype=np.int32))
        self.compiled: dict[str, Any] = {}

    def arms(self) -> list[str]:
        from autodistill.distill.precision import best_dtype

        arms = ["ours", "ours-cached"]
        half = best_dtype() == "bfloat16"
        return arms + ([f"{arm}-bfloat16" for arm in arms] if half else [])

    def distillation(self, *, cached: bool, dtype: str = "float32") -> Any:
        """The run that ``python -m autodistill.distill`` would do."""
        from autodistill.distill.full import FullDistillation, FullSettings, make_batches
        from autodistill.distill.recipe import Recipe, Stage, Start, plan
        from autodistill.distill.recipes import EMBEDDING, HALF_LABELS
        from autodistill.distill.targets import CacheSettings, make_targets
        from autodistill.distill.trainer import TrainSettings

        config = STUDENTS[self.case.student]
        terms = EMBEDDING if self.case.recipe == "embedding" else HALF_LABELS
        recipe = Recipe(self.case.recipe, "", "", Start.RANDOM, (Stage("all", terms),))
        train = TrainSettings(batch_size=BATCH)
        settings = FullSettings(1000, unroll=self.case.unroll, dtype=dtype, train=train)
        planned = plan(recipe, self.teacher, config, steps=settings.steps)
        batches = make_batches(self.teacher, self.passages, settings)
        cache = CacheSettings(self.folder, copies=1) if cached else None
        targets = make_targets(self.teacher, planned, batches, cache)
        targets.fill()
        return FullDistillation(
            recipe,
            self.teacher,
            config,
            source=self.passages,
            held_out=None,
            material=_Unit(),
            settings=settings,
            targets=targets,
        )

    def prepare(self, arm: str) -> Steps:
        import jax
        import jax.numpy as jnp
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        from autodistill.distill.full import position_weights
        from autodistill.distill.optimiser import make_optimiser
        from autodistill.distill.start import random_weights
        from autodistill.distill.train_step import Rest, State, loss_names, make_step

        run = self.distillation(cached="cached" in arm, dtype=dtype_of(arm))
        (phase,) = run.planned
        config, rng = STUDENTS[self.case.student], np.random.default_rng(1)
        weights = random_weights(config, rng, head=self.case.recipe == "masked-lm")
        for layer in ("output", "token_output"):
            shape = config.hidden_size, self.teacher.output_width
            weights[f"{layer}.kernel"] = rng.standard_normal(shape, np.float32)
            weights[f"{layer}.bias"] = np.zeros(shape[1], np.float32)
        params = {name: jnp.asarray(v) for name, v in weights.items() if phase.trains(name)}
        batches = [jax.device_put(run.targets.batch_at(i)) for i in range(BATCHES)]
        constants = jax.device_put(run.constants())
        loss = run.loss(phase)
        optimiser = make_optimiser(steps=100_000, learning_rate=1e-4, weight_decay=0.01)
        names = loss_names(loss, params, constants, batches[0])
        rest = Rest(
            optimiser.init(params),
            jnp.int32(0),
            {name: jnp.float32(0) for name in names},
            jnp.int32(0),
            {name: jnp.float32(0) for name in names},
        )
        state = jax.tree.map(jnp.array, State(params, rest))
        sharding = NamedSharding(Mesh(np.array(jax.devices()[:1]), ("data",)), PartitionSpec())
        step = jax.jit(make_step(loss, position_weights, optimiser, 1, sharding), donate_argnums=0)
        began = time.perf_counter()
        compiled = step.lower(state, {}, constants, batches[0]).compile()
        self.compile_s = time.perf_counter() - began
        self.compiled[arm] = compiled
        done = 0

        def steps(count: int) -> float:
            nonlocal state, done
            for _ in range(count):
                state = compiled(state, {}, constants, batches[done % BATCHES])
                done += 1
            return float(state.rest.sums["loss"])  # which waits for the device

        return steps

    def extra(self, arm: str, steps: Steps) -> dict[str, Any]:
        """What is known of an arm beside its time."""
        from autodistill.distill.throughput import step_flops

        run = self.distillation(cached=False)
        (phase,) = run.planned
        flops = step_flops(
            phase,
            self.teacher,
            STUDENTS[self.case.student],
            batch=BATCH,
            length=LENGTH,
            teacher_runs="cached" not in arm,
        )
        parts = parts_of_step(self.compiled[arm], steps)
        return {"flops": flops, "compile_s": round(self.compile_s, 1), "parts": parts}

    def peak(self, dtype: str) -> float:
        from autodistill.distill.throughput import matrix_product_flops_per_s

        return matrix_product_flops_per_s(dtype)


class _Unit:
    """Stands for the closed forms' material: no target is scaled."""

    def variances(self) -> dict[str, float]:
        return {"tokens": 1.0, "passages": 1.0}


class Torch:
    """The peer's steps; lives in a process of its own."""

    def __init__(self, case: Case, folder: Path) -> None:
        import torch
        import transformers
        from distill_torch import Peer

        transformers.logging.set_verbosity_error()
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.case, self.torch = case, torch
        teacher = _teacher(case.recipe)
        kept = np.load(folder / "batches.npz")
        names = {name.split("/", 1)[1] for name in kept.files}
        batches = [{name: kept[f"{i}/{name}"] for name in names} for i in range(BATCHES)]
        self.peer = Peer(
            STUDENTS[case.student],
            teacher.config,
            teacher.weights,
            batches,
            embedding=case.recipe == "embedding",
        )

    def arms(self) -> list[str]:
        arms = ["torch", "torch-targets", "torch-bfloat16", "torch-targets-bfloat16"]
        arms += ["torch-everywhere"] if self.case.recipe == "masked-lm" else []
        return arms + (["torch-compiled"] if self.case.compiled else [])

    def prepare(self, arm: str) -> Steps:
        from distill_torch import PeerStep

        how = PeerStep(
            teacher="targets" not in arm,
            everywhere="everywhere" in arm,
            compiled="compiled" in arm,
            half="bfloat16" in arm,
        )
        return self.peer.stepper(how)

    def extra(self, arm: str, steps: Steps) -> dict[str, Any]:
        return {}

    def peak(self, dtype: str) -> float:
        a = self.torch.full((2048, 2048), 0.5, dtype=getattr(self.torch, dtype))
        best = float("inf")
        for _ in range(6):
            began = time.perf_counter()
            a @ a
            best = min(best, time.perf_counter() - began)
        return 2.0 * 2048**3 / best


def _teacher(recipe: str) -> Any:
    """MiniLM; for masked words with a head at random, as if ``teacher adapt`` had made it."""
    from dataclasses import replace

    from autodistill.distill.start import random_weights
    from autodistill.models import build_head
    from autodistill.teacher import TeacherKind, demo_teacher_folder, load_teacher

    teacher = load_teacher(demo_teacher_folder())
    if recipe == "embedding":
        return teacher
    drawn = random_weights(teacher.config, np.random.default_rng(0), head=True)
    weights = {**drawn, **teacher.weights}
    return replace(
        teacher,
        kind=TeacherKind.MASKED_LM,
        fingerprint=f"{teacher.fingerprint}-head",
        pooling=None,
        weights=weights,
        head=build_head(teacher.config, weights),
    )


def _write_batches(batches: list[dict[str, np.ndarray]], folder: Path) -> None:
    """For the peer, under names of its own."""
    names = {"tokens/values": "states", "passages/values": "passages"}
    arrays = {}
    for i, batch in enumerate(batches):
        for name, value in batch.items():
            plain = name.removeprefix("teacher/")
            if plain.startswith("soft targets"):
                plain = "top_" + plain.rsplit("/")[-1]  # top_values, top_classes
                value = value.astype(np.int64) if plain == "top_classes" else value
            arrays[f"{i}/{names.get(plain, plain)}"] = value
    np.savez(folder / "batches.npz", **arrays)


def dtype_of(arm: str) -> str:
    """In which an arm multiplies."""
    return "bfloat16" if "bfloat16" in arm else "float32"
