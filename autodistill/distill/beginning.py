"""Weights that a full distillation begins with, as its recipe says.

Axes: n = passages, L = sequence, e = output width.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from autodistill.corpus import PassageSource
from autodistill.distill import layer_map as maps
from autodistill.distill.inherit import Donor, inherited
from autodistill.distill.output_layer import (
    ROWS_FOR_TOKEN_FIT,
    Layer,
    fit_output,
    fit_token_output,
)
from autodistill.distill.passage_set import PassageSet, draw_passages
from autodistill.distill.pruned import pruned_weights
from autodistill.distill.recipe import Planned, Recipe, Start, differences
from autodistill.distill.start import (
    WordStart,
    random_start,
    random_weights,
    started_weights,
    word_start,
)
from autodistill.distill.student import StudentProgram
from autodistill.distill.targets import CacheSettings
from autodistill.distill.teacher_outputs import TeacherOutputs, teacher_outputs
from autodistill.models.checkpoint import HEAD_PREFIX
from autodistill.models.config import EncoderConfig
from autodistill.teacher import Teacher, TeacherKind


@dataclass(frozen=True)
class Material:
    """What the closed forms are fitted on.

    Attributes:
        passages: Drawn from the training text.
        outputs: The teacher's for these; None of a masked-LM teacher.
        words: For the start from word meanings; None where the recipe has another.
    """

    passages: PassageSet
    outputs: TeacherOutputs | None
    words: WordStart | None

    def variances(self) -> dict[str, float]:
        """Of token states and passage embeddings, summed over the width."""
        if self.outputs is None:
            return {}
        assert self.outputs.passages is not None, "kept of embedding teachers alone"
        rows = slice(0, ROWS_FOR_TOKEN_FIT)
        real = self.passages.attention_mask[rows] > 0
        tokens = self.outputs.states[rows][real].astype(np.float32)
        passages = np.asarray(self.outputs.passages)
        return {
            name: max(float(values.var(0).sum()), 1e-12)
            for name, values in (("tokens", tokens), ("passages", passages))
        }


def make_material(
    teacher: Teacher,
    source: PassageSource,
    recipe: Recipe,
    *,
    count: int,
    seed: int,
    cache: CacheSettings | None,
    progress: Callable[[int, int], None] | None = None,
    on_memory: Callable[[str], None] = lambda _: None,
) -> Material:
    """Run an embedding teacher over some passages; count the words of a masked-LM one's.

    Its outputs are kept in ``cache``; in memory alone where there is none, and where they
    do not fit, of which ``on_memory`` is told.

    Raises:
        TeacherError: The outputs fit neither on disk nor in memory.
    """
    passages = draw_passages(source, count, seed=seed)
    outputs = None
    if teacher.kind is TeacherKind.EMBEDDING:
        outputs = teacher_outputs(
            teacher,
            passages,
            cache_dir=cache.folder if cache else None,
            limit=cache.limit if cache else 0,
            remedy="free some space, or set another --teacher-cache PATH, --teacher-cache off, a "
            "larger --cache-gib or fewer --fitted-passages",
            progress=progress,
            on_memory=on_memory,
        )
    words = None
    if recipe.start in (Start.WORDS, Start.STUDENT, Start.BEST):
        nothing = TeacherOutputs(np.zeros((0, 0, 0), np.float16), None)  # that start reads none
        words = word_start(
            teacher.word_embeddings, passages, outputs or nothing, pad=teacher.special.pad
        )
    return Material(passages, outputs, words)


def beginning(
    recipe: Recipe,
    planned: Iterable[Planned],
    teacher: Teacher,
    config: EncoderConfig,
    material: Material,
    *,
    seed: int,
    donor: Donor | None = None,
) -> dict[str, np.ndarray]:
    """All parameters by name: encoder, head or output layers, projections.

    Raises:
        RecipeError: The donor, whom a student takes after that begins with another, is
            not of a near shape.
    """
    rng = np.random.default_rng([seed, 0])
    head = teacher.kind is TeacherKind.MASKED_LM
    weights = _encoder_weights(recipe, teacher, config, material, rng, donor, head=head)
    layers: dict[str, Layer] = {}
    if not head:
        layers = _output_layers(recipe, teacher, config, material, weights)
    wide, narrow = teacher.config.hidden_size, config.hidden_size
    for one in planned:
        if wide == narrow:  # states are compared as they are
            break
        for i in sorted(one.projections()):
            layers.setdefault(f"projection.{i}", _random_layer(rng, narrow, wide))
        for i in sorted(one.inlets()):
            layers.setdefault(f"inlet.{i}", _random_layer(rng, wide, narrow))
    for name, layer in layers.items():
        scale = layer["kernel"].shape[1] ** 0.5  # see ``views.applied``
        weights |= {f"{name}.{part}": np.asarray(value) * scale for part, value in layer.items()}
    return weights


def _encoder_weights(
    recipe: Recipe,
    teacher: Teacher,
    config: EncoderConfig,
    material: Material,
    rng: np.random.Generator,
    donor: Donor | None,
    *,
    head: bool,
) -> dict[str, np.ndarray]:
    assert recipe.start is not Start.BEST, "settled for these two"
    match recipe.start:
        case Start.RANDOM:
            return random_start(config, rng, head=head)
        case Start.WORDS:
            assert material.words is not None, "made for this recipe"
            return started_weights(config, material.words, rng, head=head)
        case Start.TEACHER_LAYERS if not differences(teacher.config, config):
            copied = random_weights(config, rng, head=head)  # the names that there are
            layers = maps.uniform(config.num_hidden_layers, teacher.config.num_hidden_layers)
            for name in copied:
                source = maps.source_name(name, layers)
                assert source is not None, "no deeper than the teacher: checked by the recipe"
                copied[name] = teacher.weights[source].copy()
            return copied
        case Start.TEACHER_LAYERS:
            return pruned_weights(teacher, config, material.passages, rng, head=head)
        case Start.STUDENT:
            assert material.words is not None and donor is not None, "given with this start"
            return inherited(started_weights(config, material.words, rng, head=head), config, donor)


def _output_layers(
    recipe: Recipe,
    teacher: Teacher,
    config: EncoderConfig,
    material: Material,
    weights: dict[str, np.ndarray],
) -> dict[str, Layer]:
    """Fitted where the start has a meaning."""
    outputs, pooling = material.outputs, teacher.pooling
    assert outputs is not None and outputs.passages is not None, "of an embedding teacher"
    assert pooling is not None, "an embedding teacher pools"
    mask = material.passages.attention_mask
    if recipe.start is Start.RANDOM:  # begin with the mean, whatever the states are
        rows = slice(0, ROWS_FOR_TOKEN_FIT)
        tokens = outputs.states[rows][mask[rows] > 0].astype(np.float32)
        return {
            "output": _constant_layer(config.hidden_size, np.asarray(outputs.passages).mean(0)),
            "token_output": _constant_layer(config.hidden_size, tokens.mean(0)),
        }
    program = StudentProgram(config, pooling_mode=pooling.mode, normalize=pooling.normalize)
    params = program.parameters(weights, head=False)
    passages, words_only = material.passages, recipe.start is Start.WORDS
    return {
        "output": fit_output(program, params, passages, outputs.passages, words_only=words_only),
        "token_output": fit_token_output(
            program, params, passages, outputs.states, mask, words_only=words_only
        ),
    }


def _random_layer(rng: np.random.Generator, inputs: int, outputs: int) -> Layer:
    kernel = rng.standard_normal((inputs, outputs), np.float32) / np.float32(inputs**0.5)
    return {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(outputs)}


def _constant_layer(inputs: int, mean: np.ndarray) -> Layer:
    return {"kernel": jnp.zeros((inputs, len(mean))), "bias": jnp.asarray(mean)}


def is_served(name: str) -> bool:
    """Whether a parameter of this name stays with the student."""
    return name.startswith(("embeddings.", "encoder.", HEAD_PREFIX))
