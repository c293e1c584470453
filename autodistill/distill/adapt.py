"""Continue the masked-LM training of an encoder, with a new head where it has none.

An embedding model has mostly forgotten how to score words; recipes that need soft
targets need a teacher that can. The same loss fits a teacher to the language of a
new text before it is distilled.

Axes: B = batch, K = masked places, V = vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autodistill import __version__
from autodistill.distill.batches import Batches, Source
from autodistill.distill.checkpoints import Checkpoints
from autodistill.distill.judge import HeldOut, Judged, judge
from autodistill.distill.memory import fits
from autodistill.distill.objectives import label_cross_entropy
from autodistill.distill.phase import Phase
from autodistill.distill.precision import as_multiplied, check_dtype
from autodistill.distill.start import random_weights
from autodistill.distill.student import Student, StudentProgram
from autodistill.distill.train_step import Batch, Params, Part
from autodistill.distill.trainer import Trainer, TrainSettings, lasting
from autodistill.distill.views import masked_logits
from autodistill.errors import ArgumentError, TrainingError
from autodistill.models.checkpoint import HEAD_PREFIX, build_encoder
from autodistill.models.config import EncoderConfig
from autodistill.teacher import Teacher, TeacherKind

SMOOTHING = 0.1  # occurrences that every word is given in the head's first bias


@dataclass(frozen=True)
class AdaptSettings:
    """One run, but for teacher and text.

    Attributes:
        steps: Of the optimiser.
        learning_rate: Peak.
        seed: Of a new head, the order of passages and the masking.
        unroll: Compile every layer on its own: faster steps, a slower start.
        dtype: Of states and of what is multiplied; see ``precision.py``.
        train: Batch size and intervals.
    """

    steps: int
    learning_rate: float = 1e-4
    seed: int = 0
    unroll: bool = False
    dtype: str = "float32"
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        if self.steps < 1:
            raise ArgumentError(f"--steps must be at least 1; got {self.steps}")
        if not 0 < self.learning_rate < float("inf"):
            raise ArgumentError(f"--learning-rate must be positive; got {self.learning_rate}")
        if not 0 <= self.seed < 2**32:
            raise ArgumentError(f"--seed must lie from 0 to 2**32 - 1; got {self.seed}")


@dataclass(frozen=True)
class Adapted:
    """An encoder with its head, and how well it guesses held-out words.

    Attributes:
        student: Its weights, in the form that ``export.save_student`` takes.
        judged: Masked-token accuracy.
        start: The same before the first step, under a new head if there was none.
        records: Means of the losses, in order.
        tokens: Read in training, padding included.
        seconds: Spent in steps, over all sittings.
    """

    student: Student
    judged: Judged
    start: Judged
    records: list[dict[str, Any]]
    tokens: int
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        """Padding included."""
        return self.tokens / max(self.seconds, 1e-9)

    def record(self) -> dict[str, Any]:
        """Figures for a JSON file."""
        return {
            "masked_accuracy": self.judged.quality.value,
            "standard_error": self.judged.quality.standard_error,
            "masked_accuracy_at_start": self.start.quality.value,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "tokens_per_s": self.tokens_per_s,
        }


def adapt(
    teacher: Teacher,
    source: Source,
    held_out: HeldOut,
    folder: Path,
    settings: AdaptSettings,
    *,
    text: Mapping[str, Any] | None = None,
    on_record: Callable[[dict[str, Any]], None] = lambda _: None,
    on_notice: Callable[[str], None] = lambda _: None,
) -> Adapted:
    """Train encoder and head on masked words, or go on with it.

    Args:
        teacher: Of either kind.
        source: Training passages.
        held_out: Passages with masked places, to judge on.
        folder: Holds the run's state.
        settings: The rest.
        text: Identifies the text, as part of the run's identity.
        on_record: Told the losses as they are known; it may raise to stop.
        on_notice: Told of what was found damaged in the folder, a sentence each.

    Raises:
        TrainingError: The run diverged, memory does not suffice, or the folder is
            another run's or holds no whole checkpoint.
        ArgumentError: The batch does not fit the devices, or the teacher's words are
            wider than its hidden states.
    """
    config = teacher.config
    if config.embedding_width > config.hidden_size:
        raise ArgumentError(
            "a masked-LM head scores with the word embeddings, so they must not be wider than the "
            f"hidden states; {teacher.name} has {config.embedding_width} and {config.hidden_size}"
        )
    checkpoints = Checkpoints(folder, identity(teacher, settings, text), on_notice)
    try:
        initial = first_weights(teacher, source, seed=settings.seed)
        batches = Batches(
            source,
            settings.train.batch_size,
            settings.seed,
            special=teacher.special,
            vocab_size=config.vocab_size,
        )
        trainer = Trainer(
            [Phase("masked_lm", settings.steps, settings.learning_rate, _loss(config, settings))],
            weights=lambda batch: {"places": batch["weights"]},
            batch_at=batches.at,
            settings=settings.train,
            checkpoints=checkpoints,
        )
        trained = trainer.run(initial, {}, on_record)
    finally:
        checkpoints.close()
    student, judged = _judged(trained.params, config, held_out)
    if not np.isfinite(judged.quality.value):
        raise TrainingError("the adapted teacher returns values that are not finite")
    length = batches.at(0)["ids"].shape[1]
    return Adapted(
        student,
        judged,
        _judged(initial, config, held_out)[1],
        trained.records,
        settings.steps * settings.train.batch_size * length,
        trained.seconds,
    )


def identity(
    teacher: Teacher, settings: AdaptSettings, text: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What may not change while a run folder is continued."""
    return {
        "version": __version__,
        "objective": "mlm",
        "teacher": teacher.fingerprint,
        "settings": lasting(settings),
        "text": text or {},
    }


def as_masked_lm(teacher: Teacher) -> Teacher:
    """The teacher as saving an adapted one must see it: without a pooling of its own."""
    return replace(teacher, kind=TeacherKind.MASKED_LM, pooling=None)


def first_weights(teacher: Teacher, source: Source, *, seed: int) -> dict[str, np.ndarray]:
    """The teacher's weights, and a head that knows how frequent words are, if it has none.

    A new head hands the states on as they are, scaled so that scores are small, over
    a bias of log frequencies: its first loss is the entropy of single words.
    """
    config = teacher.config
    weights = random_weights(config, np.random.default_rng([seed, 0]), head=True)
    known = {name: value for name, value in teacher.weights.items() if name in weights}
    weights |= {name: value.copy() for name, value in known.items()}
    if teacher.head is not None:
        return weights
    rows = np.random.default_rng([seed, 1]).integers(len(source), size=min(len(source), 4096))
    passages = source.gather(rows)
    words = passages["input_ids"][passages["attention_mask"] > 0]
    counts = np.bincount(words, minlength=config.vocab_size) + SMOOTHING
    norms = np.linalg.norm(teacher.word_embeddings, axis=1)
    weights[f"{HEAD_PREFIX}transform.dense.weight"] = np.eye(config.hidden_size, dtype=np.float32)
    scale = np.float32(0.1 / max(float(norms.mean()), 1e-6))
    weights[f"{HEAD_PREFIX}transform.LayerNorm.weight"][:] = scale
    if f"{HEAD_PREFIX}dense.weight" in weights:  # MobileBERT's rest of the output matrix
        weights[f"{HEAD_PREFIX}dense.weight"][:] = 0.0
    weights[f"{HEAD_PREFIX}bias"] = np.log(counts / counts.sum()).astype(np.float32)
    return weights


def _loss(
    config: EncoderConfig, settings: AdaptSettings
) -> Callable[[Params, Any, Batch], dict[str, Part]]:
    def loss(params: Params, _: Any, batch: Batch) -> dict[str, Part]:
        params = as_multiplied(params, settings.dtype)
        encoder = build_encoder(config, params)
        scan, dtype = not settings.unroll, settings.dtype
        hidden = encoder(batch["ids"], batch["mask"], scan=scan, dtype=dtype)
        logits = masked_logits(config, params, hidden, batch)
        return {"masked_lm": Part(1.0, "places", label_cross_entropy(logits, batch["labels"]))}

    return loss


def _judged(
    params: Mapping[str, jax.Array | np.ndarray], config: EncoderConfig, held_out: HeldOut
) -> tuple[Student, Judged]:
    program = StudentProgram(config, pooling_mode="mean", normalize=False)
    with fits(
        "the teacher is judged", "use a shorter --sequence-length or fewer --held-out-passages"
    ):
        tree = program.parameters({name: np.asarray(v) for name, v in params.items()}, head=True)
        width = config.hidden_size  # what a masked-LM model serves is its head's, not this
        tree["output"] = {"kernel": jnp.zeros((width, width)), "bias": jnp.zeros(width)}
        judged = judge(program, tree, held_out)
    return program.finished(tree), judged
