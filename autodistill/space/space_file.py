"""One's own space in a YAML file.

::

    family: mobilebert            # or bert
    name: my-space                # optional
    choices:
      num_hidden_layers: [4, 6, 8]
      hidden_size: [256, 384]
      ...
    baseline:                     # optional: MobileBERT's shape, as near as the
      num_hidden_layers: 8        # choices come, if absent
      ...
"""

from pathlib import Path
from typing import Any

import yaml

from autodistill.errors import SpaceError

_KEYS = ("family", "name", "choices", "baseline")


def read_space_file(path: Path) -> dict[str, Any]:
    """The arguments of ``SearchSpace`` from a file.

    Raises:
        SpaceError: The file is missing, no YAML, or has unknown keys.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpaceError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpaceError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("choices"), dict):
        raise SpaceError(f"{path} must be a mapping with the key 'choices'; see --help")
    if unknown := sorted(set(map(str, raw)) - set(_KEYS)):
        raise SpaceError(f"{path} has unknown keys {unknown}; known are {', '.join(_KEYS)}")
    if not isinstance(raw.get("baseline", {}), dict):
        raise SpaceError(f"{path}: baseline must be a mapping of field to value")
    arguments: dict[str, Any] = {"name": path.stem, **raw}
    if "baseline" not in raw and raw.get("family") is not None:
        arguments["baseline"] = nearest_to_mobilebert(raw["family"], raw["choices"])
    return arguments


def nearest_to_mobilebert(family: str, choices: dict[str, Any]) -> dict[str, Any] | None:
    """The member whose relative place in each range is nearest to MobileBERT's.

    Each value of the family's reference shape is moved to the choice that is
    nearest by ratio; combinations that the rules forbid are passed over.
    """
    from autodistill.space.presets import PRESETS
    from autodistill.space.space import SearchSpace

    if family not in PRESETS:
        return None  # the space itself reports the family
    space = SearchSpace(choices, family=family)
    reference = PRESETS[family]["baseline"]

    def distance(architecture: Any) -> float:
        total = 0.0
        for field, value in architecture.items():
            wanted = reference[field]
            if isinstance(wanted, str):
                total += value != wanted
            else:
                total += abs(_log_ratio(value, wanted))
        return total

    joint = [dict(zip(space._joint_fields, row, strict=True)) for row in space._joint]
    best = min(joint, key=distance)
    free = {
        field: min(space.choices[field], key=lambda v, f=field: distance({f: v}))
        for field in space._free_fields
    }
    return {**best, **free}


def _log_ratio(value: float, wanted: float) -> float:
    from math import log

    return log(value / wanted)
