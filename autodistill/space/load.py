"""The space that a command line names."""

from pathlib import Path

from autodistill.errors import ArgumentError
from autodistill.space.presets import PRESETS
from autodistill.space.space import SearchSpace


def load_space(name: str) -> SearchSpace:
    """A preset, or a YAML file.

    Raises:
        SpaceError: Neither, or a file that does not hold a space.
        ArgumentError: The space is not one of encoders.
    """
    if name not in PRESETS and (name.endswith((".yaml", ".yml")) or Path(name).exists()):
        space = SearchSpace.from_yaml(name)
    else:
        space = SearchSpace.preset(name)
    if space.family is None:
        raise ArgumentError(f"{name}: the space must name its family, bert or mobilebert")
    return space
