"""One's own space in a YAML file.

::

    family: mobilebert            # or bert
    name: my-space                # optional
    choices:
      num_hidden_layers: [4, 6, 8]
      hidden_size: [256, 384]
      ...
    conditions:                   # optional: fields that exist only under values of another
      hidden_act: [num_hidden_layers, [6, 8]]
    baseline:                     # optional: MobileBERT's shape, as near as the
      num_hidden_layers: 8        # choices come, if absent
      ...
"""

from math import log
from pathlib import Path
from typing import Any

import yaml

from autodistill.errors import SpaceError
from autodistill.space.architecture import Architecture
from autodistill.space.presets import PRESETS
from autodistill.space.space import SearchSpace

_KEYS = ("family", "name", "choices", "conditions", "baseline")


def read_space_file(path: Path) -> SearchSpace:
    """The space that a file describes.

    Raises:
        SpaceError: The file is missing, no YAML or has unknown keys, or the
            space is not valid; the message names the file.
    """
    arguments = _read_arguments(path)
    try:
        space = SearchSpace(**arguments)
        if space.baseline is None and space.family is not None:
            space = SearchSpace(**arguments | {"baseline": nearest_to_mobilebert(space)})
    except SpaceError as error:
        raise SpaceError(f"{path}: {error}") from error
    return space


def _read_arguments(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpaceError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        raise SpaceError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("choices"), dict):
        raise SpaceError(f"{path} must be a mapping with the key 'choices'; see --help")
    if unknown := sorted(set(map(str, raw)) - set(_KEYS)):
        raise SpaceError(f"{path} has unknown keys {unknown}; known are {', '.join(_KEYS)}")
    for key in ("family", "name"):
        if key in raw and not isinstance(raw[key], str):
            raise SpaceError(f"{path}: {key} must be text; got {raw[key]!r}")
    if not isinstance(raw.get("baseline", {}), dict):
        raise SpaceError(f"{path}: baseline must be a mapping of field to value")
    if not isinstance(raw.get("conditions", {}), dict):
        raise SpaceError(f"{path}: conditions must be a mapping of field to [parent, values]")
    return {"name": path.stem, **raw}


def nearest_to_mobilebert(space: SearchSpace) -> Architecture:
    """The member of a space of encoders that is nearest to MobileBERT's shape.

    Numbers differ by the logarithm of their ratio, categories by one; the sum
    over the fields is least.
    """
    assert space.family is not None, "only encoders are near MobileBERT"
    reference = PRESETS[space.family]["baseline"]

    def distance(field: str, value: Any) -> float:
        wanted = reference[field]
        return value != wanted if isinstance(wanted, str) else abs(log(value / wanted))

    return space.nearest(distance)
