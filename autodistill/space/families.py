"""The encoder families that a space can be of: their fields, defaults and rules."""

from collections.abc import Iterable, Mapping, Sequence

from autodistill.errors import SpaceError
from autodistill.models.config import (
    ACTIVATIONS,
    FAMILIES,
    NORMALIZATIONS,
    EncoderConfig,
    MobileBertConfig,
)
from autodistill.space.architecture import Value
from autodistill.space.rules import Rule

# Fields that a space of the family must give; the values that others take
# where it does not are those of the config classes (Hugging Face's defaults).
REQUIRED_FIELDS: dict[str, tuple[str, ...]] = {
    "bert": ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size"),
    "mobilebert": (
        "num_hidden_layers",
        "hidden_size",
        "intra_bottleneck_size",
        "num_attention_heads",
        "intermediate_size",
        "num_feedforward_networks",
    ),
}
OPTIONAL_FIELDS: dict[str, tuple[str, ...]] = {
    "bert": ("hidden_act",),
    "mobilebert": ("embedding_size", "normalization_type", "hidden_act"),
}
_CATEGORIES = {"normalization_type": NORMALIZATIONS, "hidden_act": ACTIVATIONS}

EMBEDDING_FITS_HEAD = Rule(
    ("embedding_size", "hidden_size"),
    lambda embedding, hidden: embedding <= hidden,
    "under a masked-LM head embedding_size must not exceed hidden_size",
)
DEFAULT_EMBEDDING_FITS_HEAD = Rule(
    ("hidden_size",),
    lambda hidden: MobileBertConfig.embedding_size <= hidden,
    "under a masked-LM head hidden_size must not be below the default embedding_size of "
    f"{MobileBertConfig.embedding_size}",
)


def family_rules(family: str | None, choices: Mapping[str, Sequence[Value]]) -> tuple[Rule, ...]:
    """What makes a combination buildable.

    Raises:
        SpaceError: Unknown family, fields it does not have or that are missing,
            or values that no config accepts.
    """
    if family is None:
        return ()
    if family not in FAMILIES:
        raise SpaceError(f"family must be one of {', '.join(FAMILIES)}; got {family!r}")
    _check_fields(choices, family)
    for field, values in choices.items():
        _check_values(field, values)
    width = "intra_bottleneck_size" if family == "mobilebert" else "hidden_size"
    rules = [
        Rule(
            ("num_attention_heads", width),
            lambda heads, width: width % heads == 0,
            f"num_attention_heads must divide {width}",
        )
    ]
    if family == "mobilebert":
        rules.append(
            Rule(
                ("intra_bottleneck_size", "hidden_size"),
                lambda bottleneck, hidden: bottleneck <= hidden,
                "intra_bottleneck_size must not exceed hidden_size",
            )
        )
    return tuple(rules)


def _check_values(field: str, values: Sequence[Value]) -> None:
    if field in _CATEGORIES:
        if wrong := [v for v in values if v not in _CATEGORIES[field]]:
            raise SpaceError(f"{field} must be one of {', '.join(_CATEGORIES[field])}; got {wrong}")
    elif wrong := [v for v in values if type(v) is not int or v < 1]:
        raise SpaceError(f"{field} must be positive integers; got {wrong}")


def encoder_config(
    architecture: Mapping[str, Value],
    *,
    family: str,
    vocab_size: int,
    max_position_embeddings: int = 512,
    pad_token_id: int | None = 0,
) -> EncoderConfig:
    """The config of an encoder with this architecture.

    Raises:
        SpaceError: An unknown family, or fields that it does not have or that
            are missing.
        TeacherError: Values that no config accepts.
    """
    if family not in FAMILIES:
        raise SpaceError(f"family must be one of {', '.join(FAMILIES)}; got {family!r}")
    _check_fields(architecture, family)
    return FAMILIES[family](
        **dict(architecture),  # type: ignore[arg-type]  # checked by the config
        vocab_size=vocab_size,
        max_position_embeddings=max_position_embeddings,
        pad_token_id=pad_token_id,
    )


def _check_fields(given: Iterable[str], family: str) -> None:
    known = (*REQUIRED_FIELDS[family], *OPTIONAL_FIELDS[family])
    if unknown := sorted(set(given) - set(known)):
        raise SpaceError(f"unknown fields {unknown} for {family}; it has {', '.join(known)}")
    if missing := sorted(set(REQUIRED_FIELDS[family]) - set(given)):
        raise SpaceError(f"{family} needs values for {', '.join(missing)}")
