"""The student's shape, as a command line names it."""

from dataclasses import replace
from pathlib import Path

from autodistill.errors import ArgumentError
from autodistill.models.config import EncoderConfig
from autodistill.profiler.architecture_file import read_architectures
from autodistill.profiler.baselines import BASELINES
from autodistill.profiler.table_fields import config_of_row
from autodistill.space import Architecture, SearchSpace
from autodistill.space.families import EMBEDDING_FITS_HEAD, encoder_config
from autodistill.space.presets import PRESETS
from autodistill.teacher import Teacher


def student_config(name: str, teacher: Teacher) -> EncoderConfig:
    """A student of this teacher: its vocabulary, its positions, the shape asked for.

    Args:
        name: A space, whose baseline is meant; a published encoder; or a file with
            one architecture (CSV, JSON or JSONL), as the profiler reads them.
        teacher: Gives the vocabulary and the longest text.

    Raises:
        ArgumentError: None of these, or a file with several architectures.
        SpaceError: A file that cannot be read, or of another vocabulary.
        TeacherError: A shape that cannot be built.
    """
    config = _shape(name, teacher.config.vocab_size)
    config = replace(
        config,
        max_position_embeddings=teacher.config.max_position_embeddings,
        type_vocab_size=teacher.config.type_vocab_size,
        pad_token_id=teacher.special.pad,
    )
    if teacher.head is not None and config.embedding_width > config.hidden_size:
        raise ArgumentError(
            f"--architecture {name}: {EMBEDDING_FITS_HEAD.reason}; got {config.embedding_width} "
            f"and {config.hidden_size}"
        )
    if config.model_type == teacher.config.model_type:
        config = replace(config, layer_norm_eps=teacher.config.layer_norm_eps)
    return config


def _shape(name: str, vocab_size: int) -> EncoderConfig:
    if name in PRESETS:
        space = SearchSpace.preset(name)
        assert space.baseline is not None and space.family is not None, "of every preset"
        return encoder_config(space.baseline, family=space.family, vocab_size=vocab_size)
    published = {one.lower(): baseline for one, baseline in BASELINES.items()}
    if name.lower() in published:
        return published[name.lower()].with_vocabulary(vocab_size)
    if not Path(name).exists():
        raise ArgumentError(
            f"--architecture must be a file (.csv, .json or .jsonl), a space "
            f"({', '.join(PRESETS)}: its baseline) or a published encoder "
            f"({', '.join(BASELINES)}); got {name!r}"
        )
    found = read_architectures(name, vocab_size)
    if len(found) != 1:
        raise ArgumentError(
            f"{name} must hold one architecture, the student's; it holds {len(found)}"
        )
    family, architecture = found[0]
    return config_of_row(Architecture(architecture, model_type=family), vocab_size)
