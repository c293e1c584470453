"""Begin with what an already distilled student of near shape has learnt.

Layers are matched at even distances; where the new student is deeper, the layers
between stay as they were. Of every weight the part that both shapes have is taken: the
first rows and columns, head by head and, of a trigram, word by word. The start from
word meanings puts the same meanings first at every width, so these parts agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autodistill.distill import layer_map as maps
from autodistill.errors import ArgumentError, RecipeError, TeacherError
from autodistill.models.checkpoint import HEAD_PREFIX
from autodistill.models.config import EncoderConfig, MobileBertConfig
from autodistill.teacher import Teacher, load_teacher

LIKE = (
    "model_type",
    "normalization_type",
    "hidden_act",
    "vocab_size",
    "trigram_input",
    "use_bottleneck",
    "use_bottleneck_attention",
    "key_query_shared_bottleneck",
)
WIDER_THAN_TABLE = HEAD_PREFIX + "dense.weight"  # rows are hidden units beyond the table's width


@dataclass(frozen=True)
class Donor:
    """A distilled student.

    Attributes:
        config: Its shape.
        weights: By checkpoint name.
        fingerprint: Of both.
    """

    config: EncoderConfig
    weights: Mapping[str, np.ndarray]
    fingerprint: str = ""


def load_donor(folder: Path, teacher: Teacher, config: EncoderConfig) -> Donor:
    """A student of this teacher from its checkpoint, for one of this shape to begin with.

    Raises:
        ArgumentError: The folder holds no checkpoint.
        RecipeError: Its words are not the teacher's, or its shape is not near.
    """
    try:
        student = load_teacher(folder)
    except TeacherError as error:
        raise ArgumentError(
            f"--start-from {folder} holds no student: give the folder student/ of a finished run "
            f"({error})"
        ) from error
    ours, theirs = (one.tokenizer.get_vocab(with_added_tokens=True) for one in (teacher, student))
    if ours != theirs:
        raise RecipeError(
            f"a student begins with one of the same {len(ours):,} words, each of the same number; "
            f"{folder} has {len(theirs):,}: take one that was distilled from this teacher, with "
            "the same --vocabulary"
        )
    check_donor(config, student.config)
    return Donor(student.config, student.weights, student.fingerprint)


def check_donor(config: EncoderConfig, donor: EncoderConfig) -> None:
    """Check that a student can take after another.

    Raises:
        RecipeError: They differ in more than sizes.
    """
    other = [
        f"{name} ({getattr(config, name, None)}, {getattr(donor, name, None)})"
        for name in LIKE
        if getattr(config, name, None) != getattr(donor, name, None)
    ]
    if other:
        raise RecipeError(
            "a student begins with the weights of one that differs in sizes alone; these two "
            f"differ in {', '.join(other)}"
        )


def inherited(
    weights: Mapping[str, np.ndarray], config: EncoderConfig, donor: Donor
) -> dict[str, np.ndarray]:
    """The weights of a student, with those of a donor where both have them.

    Args:
        weights: As ``start.started_weights`` gives them; left as they are.
        config: Their shape.
        donor: Of a near shape; see ``check_donor``.

    Raises:
        RecipeError: The two differ in more than sizes.
    """
    check_donor(config, donor.config)
    layers = maps.uniform(config.num_hidden_layers, donor.config.num_hidden_layers)
    result = {}
    for name, value in weights.items():
        source = maps.source_name(name, layers)
        result[name] = value.copy()
        if source is None or source not in donor.weights:  # a new layer, or network of one
            continue
        if name == WIDER_THAN_TABLE and config.embedding_width != donor.config.embedding_width:
            continue  # rows of the two are other units
        theirs = donor.weights[source]
        ours = result[name].reshape(_factors(name, config, value.shape))
        theirs = theirs.reshape(_factors(name, donor.config, theirs.shape))
        both = tuple(slice(0, min(sizes)) for sizes in zip(ours.shape, theirs.shape, strict=True))
        ours[both] = theirs[both]
    return result


def _factors(name: str, config: EncoderConfig, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a weight with its heads, or the words of its trigram, on an axis apart."""
    heads = (config.num_attention_heads, config.head_size)
    if ".attention.self." in name:  # rows are heads side by side
        return (*heads, *shape[1:])
    if name.endswith("attention.output.dense.weight"):  # columns are
        return (shape[0], *heads)
    trigram = isinstance(config, MobileBertConfig) and config.trigram_input
    if trigram and name.endswith("embedding_transformation.weight"):
        return (shape[0], 3, shape[1] // 3)
    return shape
