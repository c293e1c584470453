"""Full distillation: one student, one recipe, as many steps as are given.

What the search does in a minute for each student (``flash.py``), this does at
length for one: other text in every batch, the teacher's outputs from disk or computed
at each step (``targets.py``), and state on disk, so that a killed run goes on
(``trainer.py``).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autodistill import __version__
from autodistill.distill.batches import Batches, Source
from autodistill.distill.beginning import Material, beginning, is_served
from autodistill.distill.checkpoints import Checkpoints
from autodistill.distill.full_result import FullResult
from autodistill.distill.inherit import Donor
from autodistill.distill.judge import HeldOut, judge
from autodistill.distill.kept import Progress
from autodistill.distill.memory import fits
from autodistill.distill.output_layer import fit_output
from autodistill.distill.phase import Phase
from autodistill.distill.precision import as_multiplied, check_dtype
from autodistill.distill.quantities import kept_view
from autodistill.distill.recipe import Planned, Recipe, check_batch, plan, settled
from autodistill.distill.student import Params as ProgramParams
from autodistill.distill.student import StudentProgram
from autodistill.distill.targets import Targets, make_targets
from autodistill.distill.terms import Compared
from autodistill.distill.throughput import matrix_product_flops_per_s, step_flops
from autodistill.distill.train_step import Batch, Loss, Params, Part
from autodistill.distill.trainer import Trainer, TrainSettings, check_split, lasting
from autodistill.distill.views import TABLE, View, student_view, teacher_view
from autodistill.errors import ArgumentError, TrainingError
from autodistill.models.config import EncoderConfig, MobileBertConfig
from autodistill.teacher import Teacher, TeacherKind

OnRecord = Callable[[dict[str, Any]], None]

READ_LESS = "use a shorter --sequence-length or a smaller teacher"
JUDGE_LESS = "use a shorter --sequence-length, fewer --held-out-passages or a smaller student"
FIT_LESS = "use fewer --fitted-passages, a shorter --sequence-length or a smaller student"


@dataclass(frozen=True)
class FullSettings:
    """One run, but for teacher, student, recipe and text.

    Attributes:
        steps: Over all stages.
        learning_rate: Peak of every stage; the recipe's own, if not given.
        seed: Of the first weights, the order of passages and the masking.
        unroll: Compile every layer on its own: faster steps, a slower start.
        dtype: Of states and of what is multiplied; see ``precision.py``.
        train: Batch size and intervals.
    """

    steps: int
    learning_rate: float | None = None
    seed: int = 0
    unroll: bool = False
    dtype: str = "float32"
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        if self.steps < 1:
            raise ArgumentError(f"--steps must be at least 1; got {self.steps}")
        if self.learning_rate is not None and not 0 < self.learning_rate < float("inf"):
            raise ArgumentError(f"--learning-rate must be positive; got {self.learning_rate}")
        if not 0 <= self.seed < 2**32:
            raise ArgumentError(f"--seed must lie from 0 to 2**32 - 1; got {self.seed}")


class FullDistillation:
    """One student of one teacher under one recipe.

    Args:
        recipe: What is compared.
        teacher: Whom the student learns from.
        config: The student's shape.
        source: Training passages.
        held_out: For judging.
        material: For closed forms.
        settings: The rest.
        targets: Where the teacher's outputs come from; every step, if not given.
        donor: Whom the student takes after, where the recipe begins with another.

    Raises:
        RecipeError: The recipe does not apply to these two, or not to parts of a batch.
    """

    def __init__(
        self,
        recipe: Recipe,
        teacher: Teacher,
        config: EncoderConfig,
        *,
        source: Source,
        held_out: HeldOut,
        material: Material,
        settings: FullSettings,
        targets: Targets | None = None,
        donor: Donor | None = None,
    ) -> None:
        recipe = settled(recipe, teacher, config)
        self.recipe, self.teacher, self.config = recipe, teacher, config
        self.source, self.held_out, self.material = source, held_out, material
        self.settings, self.donor = settings, donor
        self.planned = plan(recipe, teacher, config, steps=settings.steps)
        stages, train = [one.stage for one in self.planned], settings.train
        check_batch(recipe, stages, batch_size=train.batch_size, cuts=train.accumulate)
        self.targets = targets or make_targets(
            teacher, self.planned, make_batches(teacher, source, settings), None
        )
        self._variances = material.variances()
        pooling = teacher.pooling
        self._program = StudentProgram(
            config,
            pooling_mode=pooling.mode if pooling else "mean",
            normalize=bool(pooling and pooling.normalize),
        )

    def identity(self) -> dict[str, Any]:
        """What may not change while a run folder is continued."""
        early = early_identity(self.recipe, self.teacher, self.config, self.settings, self.donor)
        return {**early, "teacher_outputs": self.targets.record()}

    def run(
        self,
        folder: Path,
        *,
        text: Mapping[str, Any] | None = None,
        on_record: OnRecord = lambda _: None,
        on_teacher: Progress | None = None,
        on_wait: Callable[[], None] = lambda: None,
        on_notice: Callable[[str], None] = lambda _: None,
        devices: list[jax.Device] | None = None,
    ) -> FullResult:
        """Distil, or go on with it.

        Args:
            folder: Holds the run's state.
            text: Identifies the text, as part of the run's identity.
            on_record: Told the losses as they are known; it may raise to stop.
            on_teacher: Told how many texts the teacher has read for the cache, and
                how many it reads.
            on_wait: Told that another process fills the cache, which is waited for.
            on_notice: Told of what was found damaged in the folder, a sentence each.
            devices: All that jax sees, if not given.

        Raises:
            TrainingError: The run diverged, memory does not suffice, or the folder is
                another run's or holds no whole checkpoint.
            TeacherError: The disk refuses the teacher's outputs.
            ArgumentError: The batch does not fit the devices.
        """
        check_split(self.settings.train, len(devices or jax.devices()))
        checkpoints = Checkpoints(folder, {**self.identity(), "text": text or {}}, on_notice)
        try:
            began = time.perf_counter()
            with fits("the teacher reads the text", READ_LESS):
                self.targets.fill(progress=on_teacher, on_wait=on_wait)
            teacher_s = time.perf_counter() - began
            return self._run(checkpoints, on_record, devices, teacher_s)
        finally:
            checkpoints.close()

    def _run(
        self,
        checkpoints: Checkpoints,
        on_record: OnRecord,
        devices: list[jax.Device] | None,
        teacher_s: float,
    ) -> FullResult:
        settings = self.settings
        with fits("the first weights are made", FIT_LESS):
            initial = beginning(
                self.recipe,
                self.planned,
                self.teacher,
                self.config,
                self.material,
                seed=settings.seed,
                donor=self.donor,
            )
        with fits("the student is judged", JUDGE_LESS):
            start = judge(self._program, self._program_params(initial), self.held_out)
        trainer = Trainer(
            [self.phase(one) for one in self.planned],
            weights=position_weights,
            batch_at=self.targets.batch_at,
            settings=settings.train,
            checkpoints=checkpoints,
            devices=devices,
        )
        with fits("the teacher's weights are put on the device", "use a smaller teacher"):
            constants = self.constants()
        trained = trainer.run(initial, constants, on_record)
        params = {name: np.asarray(value) for name, value in trained.params.items()}
        if isinstance(self.config, MobileBertConfig) and self.config.trigram_input:
            # A padded neighbour then adds nothing, as at the end of a text.
            params[TABLE] = params[TABLE].copy()
            params[TABLE][self.teacher.special.pad] = 0.0
        final = self._program_params(params)
        if self.material.outputs is not None:
            targets = np.asarray(self.material.outputs.passages)
            with fits("the output layer is fitted", FIT_LESS):
                final["output"] = fit_output(self._program, final, self.material.passages, targets)
        with fits("the student is judged", JUDGE_LESS):
            judged = judge(self._program, final, self.held_out)
        if not np.isfinite(judged.quality.value):
            raise TrainingError("the trained student returns values that are not finite")
        length = self.source.gather(np.zeros(1, int))["input_ids"].shape[1]
        size = settings.train.batch_size
        return FullResult(
            self._program.finished(final),
            judged,
            start,
            trained.records,
            trained.seconds,
            trained.compile_s,
            teacher_s,
            tokens_per_s=settings.steps * size * length / max(trained.seconds, 1e-9),
            flops=self._flops(size, length),
            limit_flops_per_s=(
                matrix_product_flops_per_s(settings.dtype) * len(devices or jax.devices())
            ),
            accumulate=trained.accumulate,
        )

    def _flops(self, batch: int, length: int) -> float:
        """Operations of all steps."""
        return sum(
            one.steps
            * step_flops(
                one,
                self.teacher,
                self.config,
                batch=batch,
                length=length,
                teacher_runs=targets.quantities is None,
            )
            for one, targets in zip(self.planned, self.targets.phases, strict=True)
        )

    def constants(self) -> dict[str, jax.Array]:
        """The teacher's weights, where a step runs it."""
        if self.targets.all_kept:
            return {}
        weights = {name: jnp.asarray(value) for name, value in self.teacher.weights.items()}
        return as_multiplied(weights, self.settings.dtype)

    def phase(self, one: Planned) -> Phase:
        """One phase for the trainer."""
        rate = self.settings.learning_rate or one.stage.learning_rate
        return Phase(one.name, one.steps, rate, self.loss(one), one.trains)

    def loss(self, one: Planned) -> Loss:
        """The terms of a phase, each with its factor and one value per position."""
        settings = self.settings
        scan, dtype, size = not settings.unroll, settings.dtype, settings.train.batch_size
        kept = self.targets.phases[self.planned.index(one)].quantities

        def theirs(constants: Any, batch: Batch) -> View:
            if kept is not None:
                return kept_view(self.teacher.config, kept, batch)
            return teacher_view(
                self.teacher, constants, batch, depth=one.teacher_depth, scan=scan, dtype=dtype
            )

        def loss(params: Params, constants: Any, batch: Batch) -> dict[str, Part]:
            cuts = size // len(batch["mask"])  # more than were asked for, if memory is short
            check_batch(self.recipe, [one.stage], batch_size=size, cuts=cuts)
            params = as_multiplied(params, dtype)
            seen = Compared(
                student_view(
                    self.config,
                    self.teacher.pooling,
                    params,
                    batch,
                    begin=one.begin,
                    depth=one.depth,
                    scan=scan,
                    dtype=dtype,
                ),
                theirs(constants, batch),
                one.layers,
                batch,
                params,
                self._variances,
            )
            return {
                term.name: Part(factor, term.kind, term(seen)) for factor, term in one.stage.terms
            }

        return loss

    def _program_params(self, params: Mapping[str, np.ndarray]) -> ProgramParams:
        """For judging and saving: encoder, head, and the output layer at its own size."""
        served = {name: value for name, value in params.items() if is_served(name)}
        head = self.teacher.kind is TeacherKind.MASKED_LM
        result = self._program.parameters(served, head=head)
        if head:  # its output is the head's
            width = (self.config.hidden_size, self.teacher.output_width)
            result["output"] = {"kernel": jnp.zeros(width), "bias": jnp.zeros(width[1])}
        else:
            scale = params["output.kernel"].shape[1] ** 0.5
            result["output"] = {
                part: jnp.asarray(params[f"output.{part}"]) / scale for part in ("kernel", "bias")
            }
        return result


def early_identity(
    recipe: Recipe,
    teacher: Teacher,
    config: EncoderConfig,
    settings: FullSettings,
    donor: Donor | None = None,
) -> dict[str, Any]:
    """What of a run's identity is known before its text is read."""
    return {
        "version": __version__,
        "recipe": recipe.name,
        "stages": recipe.digest,
        "start_from": recipe.start.value if donor is None else f"student {donor.fingerprint}",
        "teacher": teacher.fingerprint,
        "student": {"model_type": config.model_type, **asdict(config)},
        "settings": lasting(settings),
    }


def make_batches(teacher: Teacher, source: Source, settings: FullSettings) -> Batches:
    """Of a run, with tokens hidden under a masked-LM teacher.

    Raises:
        ArgumentError: There are fewer passages than a batch takes.
    """
    masked = teacher.kind is TeacherKind.MASKED_LM
    return Batches(
        source,
        settings.train.batch_size,
        settings.seed,
        special=teacher.special if masked else None,
        vocab_size=teacher.config.vocab_size,
    )


def position_weights(batch: Batch) -> dict[str, jax.Array]:
    """What counts of a batch, by the kind of its positions: 0 is padding."""
    weights = {"tokens": batch["mask"], "passages": jnp.ones(len(batch["mask"]))}
    return weights | ({"places": batch["weights"]} if "weights" in batch else {})
