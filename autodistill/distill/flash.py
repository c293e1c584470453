"""Flash distillation: a short, equal training run that tells students apart.

Every student of a search gets the same passages, the same targets, and the same
steps in the same order. It starts from the teacher's contextual word means
(``start.py``) and learns to add context. The rate is constant and the weights are
averaged (``anytime.py``), so a short run is the beginning of a long one: it can be
judged on the way and go on (``begin``). To begin with a distilled student of near shape
(``inherit.py``) adds .003 of fidelity, and does not rank better: ``benchmarks/flash_donor.py``.

Loss, for an embedding teacher: at every position the error of the token's share
of the passage embedding, through a learned projection that is then thrown away,
and a tenth of the error of the passage embedding itself; each as a fraction of
the teacher's variance. At the end the output layer is corrected in closed form on
all training passages. Left as the gradient has it, it hides what the blocks have
learnt: after 320 steps a 4 x 192 student has a fidelity of .517 so, and of .538
corrected. (The passage error at the weight of the token error cost it .006 after 80
steps: 16 passages make a noisy gradient.)

For a masked-LM teacher: the error of the last hidden states through a learned
projection, and on masked tokens half cross-entropy, half divergence from the
teacher's distribution over its likeliest words, all others as one (MobileBERT's
ground-truth ratio, https://arxiv.org/abs/2004.02984, section 3.4).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from autodistill.corpus import shuffled_rows
from autodistill.distill.anytime import make_anytime_optimiser
from autodistill.distill.flash_loss import FlashLoss, regressed
from autodistill.distill.flash_run import FlashRun, Progress
from autodistill.distill.flash_step import FlashStep, compile_step, meanwhile
from autodistill.distill.foretold import foretold
from autodistill.distill.inherit import Donor, check_donor, inherited
from autodistill.distill.judge import HeldOut, Judged, judge
from autodistill.distill.output_layer import fit_output, fit_token_output, refit_output
from autodistill.distill.passage_set import PassageSet
from autodistill.distill.precision import check_dtype
from autodistill.distill.start import WordStart, random_weights, started_weights
from autodistill.distill.student import Params, Student, StudentProgram
from autodistill.distill.teacher_outputs import TeacherOutputs
from autodistill.errors import TrainingError
from autodistill.models.config import EncoderConfig
from autodistill.teacher import Teacher, TeacherKind


@dataclass(frozen=True)
class FlashSettings:
    """What is equal for all students of a search.

    Attributes:
        steps: Optimiser steps.
        batch_size: Passages per step.
        learning_rate: Reached after the warm-up, and kept.
        warmup: Steps over which the rate rises.
        averaging: Step ``t`` weighs about ``t**averaging`` in the weights that are
            judged and served.
        weight_decay: Of AdamW, on matrices.
        passage_weight: Of the passage error, against the token error's 1.
        seed: Of the initial weights and the order of passages.
        dtype: Of states and of what is multiplied; see ``precision.py``.
    """

    steps: int = 320
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup: int = 16
    averaging: float = 8.0
    weight_decay: float = 0.01
    passage_weight: float = 0.1
    seed: int = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        check_dtype(self.dtype)


@dataclass(frozen=True)
class Distilled:
    """A trained student and its record.

    Attributes:
        student: As it is served.
        judged: At the end.
        start: As training began.
        untrained: Of random weights.
        foretold: Orders students as longer runs would; see ``foretold.py``.
        losses: Of the last step, by part.
        seconds: In all.
        compile_s: For compiling the step, while the start was fitted.
        tokens_per_s: Of training, compiling apart.
    """

    student: Student
    judged: Judged
    start: Judged
    untrained: Judged
    foretold: float
    losses: dict[str, float]
    seconds: float
    compile_s: float
    tokens_per_s: float


class FlashDistiller:
    """Distils one architecture after the other under equal conditions.

    Args:
        teacher: Whose outputs these are.
        passages: Training passages.
        outputs: The teacher's, for the same rows.
        start: The word table that students begin with.
        held_out: For judging.
        settings: Equal for all.
    """

    def __init__(
        self,
        teacher: Teacher,
        passages: PassageSet,
        outputs: TeacherOutputs,
        start: WordStart,
        held_out: HeldOut,
        settings: FlashSettings,
    ) -> None:
        self.teacher, self.passages, self.outputs = teacher, passages, outputs
        self.start, self.held_out, self.settings = start, held_out, settings
        self._loss = FlashLoss.of(
            teacher,
            passages,
            outputs,
            passage_weight=settings.passage_weight,
            dtype=settings.dtype,
        )

    def distil(
        self,
        config: EncoderConfig,
        *,
        donor: Donor | None = None,
        progress: Progress | None = None,
    ) -> Distilled:
        """Train one student and judge it.

        Args:
            config: Its shape.
            donor: A distilled student to begin with; the words alone, if not given.
            progress: Told of the steps.

        Raises:
            RecipeError: The donor differs in more than sizes.
            TrainingError: The loss or a weight became infinite or NaN.
        """
        if donor is not None:
            check_donor(config, donor.config)
        began = time.perf_counter()
        program = self._program(config)
        run, untrained, start, compile_s = self._judged_run(program, config, donor)
        training = time.perf_counter()
        run.advance(self.settings.steps, progress)
        seconds = time.perf_counter() - training
        params = run.params()
        if self.outputs.passages is not None:
            targets = np.asarray(self.outputs.passages)
            params["output"] = refit_output(program, params, self.passages, targets)
        judged = self.judge(program, params)
        if not np.isfinite(judged.quality.value):
            raise TrainingError("the trained student returns values that are not finite")
        trained = self.settings.steps * self.settings.batch_size
        return Distilled(
            program.finished(params),
            judged,
            start,
            untrained,
            foretold(judged.quality.value, run.losses),
            {name: float(value) for name, value in run.losses[-1].items()},
            seconds=time.perf_counter() - began,
            compile_s=compile_s,
            tokens_per_s=trained * self.passages.input_ids.shape[1] / max(seconds, 1e-9),
        )

    def begin(
        self, config: EncoderConfig, *, donor: Donor | None = None
    ) -> tuple[StudentProgram, FlashRun]:
        """A student at its start, to be trained as far as is wanted, and then further."""
        program = self._program(config)
        params = self._started(program, config, donor)
        return program, self._run(self._compiled(program, params), params)

    def _judged_run(
        self, program: StudentProgram, config: EncoderConfig, donor: Donor | None
    ) -> tuple[FlashRun, Judged, Judged, float]:
        """What ``begin`` gives, with the quality of random weights and of the start.

        Last the seconds that compiling took, while the others were made.
        """
        at_random = self._untrained(program, config)
        with meanwhile(partial(self._compiled, program, at_random)) as compiling:
            untrained = self.judge(program, at_random)
            params = self._started(program, config, donor)
            start = self.judge(program, params)
        step = compiling.result()
        return self._run(step, params), untrained, start, step.seconds

    @property
    def _head(self) -> bool:
        return self.teacher.kind is TeacherKind.MASKED_LM

    def _program(self, config: EncoderConfig) -> StudentProgram:
        pooling = self.teacher.pooling
        return StudentProgram(
            config,
            pooling_mode=pooling.mode if pooling else "mean",
            normalize=bool(pooling and pooling.normalize),
        )

    def judge(self, program: StudentProgram, params: Params) -> Judged:
        """Quality of a student on the held-out passages."""
        return judge(program, params, self.held_out)

    def _untrained(self, program: StudentProgram, config: EncoderConfig) -> Params:
        rng, head = np.random.default_rng([self.settings.seed, 0]), self._head
        params = program.parameters(random_weights(config, rng, head=head), head=head)
        width = self.teacher.output_width
        kernel = rng.standard_normal((config.hidden_size, width), np.float32)
        return params | {
            "output": {
                "kernel": jnp.asarray(kernel / np.sqrt(config.hidden_size)),
                "bias": jnp.zeros(width),
            }
        }

    def _started(
        self, program: StudentProgram, config: EncoderConfig, donor: Donor | None
    ) -> Params:
        rng, head = np.random.default_rng([self.settings.seed, 1]), self._head
        weights = started_weights(config, self.start, rng, head=head)
        if donor is not None:
            weights = inherited(weights, config, donor)
        params = program.parameters(weights, head=head)
        words_only, some = donor is None, self.passages
        params["token_output"] = fit_token_output(
            program,
            params,
            some,
            self.outputs.states,
            regressed(self.teacher, some.input_ids, some.attention_mask),
            words_only=words_only,
        )
        if self.outputs.passages is None:  # not served: what regresses the states will do
            params["output"] = params["token_output"]
        else:
            targets = np.asarray(self.outputs.passages)
            params["output"] = fit_output(program, params, some, targets, words_only=words_only)
        return params

    def _compiled(self, program: StudentProgram, like: Params) -> FlashStep:
        """The programs that train a student with parameters of these shapes."""
        settings = self.settings
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), like)
        hidden, width = shapes["output"]["kernel"].shape[0], self.outputs.states.shape[-1]
        shapes["token_output"] = {  # an untrained student has no such layer yet
            "kernel": jax.ShapeDtypeStruct((hidden, width), np.float32),
            "bias": jax.ShapeDtypeStruct((width,), np.float32),
        }
        optimiser = make_anytime_optimiser(
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup=settings.warmup,
            power=settings.averaging,
        )
        batch = self.batch(np.arange(settings.batch_size))
        return compile_step(program, self._loss, optimiser, *self._split(shapes), batch)

    def _split(self, params: Params) -> tuple[Params, Params]:
        """Those that are trained, and those that stay.

        Training the table of an embedding student gains nothing in a short run and costs
        a pass over 30,000 rows a step; a masked-LM student also scores with it.
        """
        frozen = {"table"} if self.teacher.pooling is not None else set()
        return (
            {name: value for name, value in params.items() if name not in frozen},
            {name: value for name, value in params.items() if name in frozen},
        )

    def _run(self, step: FlashStep, params: Params) -> FlashRun:
        trained, frozen = self._split(params)
        trained, state = step.begin(trained)
        return FlashRun(step.step, self._batches, trained, state, frozen, self._served)

    def _batches(self, done: int) -> Iterator[dict[str, np.ndarray]]:
        rows = shuffled_rows(
            len(self.passages),
            batch_size=self.settings.batch_size,
            seed=self.settings.seed,
            start_step=done,
        )
        return map(self.batch, rows)

    def _served(self, params: Params) -> Params:
        params = {name: value for name, value in params.items() if name != "token_output"}
        scale = self._loss.output_scale
        params["output"] = jax.tree.map(lambda leaf: leaf / scale, params["output"])
        # A padded neighbour must add nothing to a trigram, as at the end of a text.
        pad = self.teacher.special.pad
        params["table"] = jax.tree.map(lambda rows: rows.at[pad].set(0.0), params["table"])
        return params

    def batch(self, which: np.ndarray) -> dict[str, np.ndarray]:
        """What a step reads of these passages."""
        batch = {
            "ids": self.passages.input_ids[which],
            "mask": self.passages.attention_mask[which],
            "states": np.asarray(self.outputs.states[which]),
        }
        if self.outputs.passages is not None:
            batch["passages"] = np.asarray(self.outputs.passages[which])
        if self.passages.masked is not None:
            batch["positions"] = self.passages.masked.positions[which]
            batch["labels"] = self.passages.masked.labels[which]
            batch["weights"] = self.passages.masked.weights[which]
        if self.outputs.soft is not None:
            soft = self.outputs.soft[which]
            batch["likeliest"], batch["classes"] = soft["values"], soft["classes"]
        return batch
