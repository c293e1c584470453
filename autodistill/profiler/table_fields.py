"""Encoders of either family in one latency table.

A table has the fields of its space's family, those that the space leaves to their
default included, and two more: ``model_type``, Hugging Face's name of the family,
and for MobileBERT ``use_bottleneck_attention``. So a BERT encoder fits in a table of
MobileBERTs: it is one whose bottleneck and word embedding are as wide as its hidden
states, with one feed-forward network and layer norm. The reverse is not so.

A table of encoders over another vocabulary than BERT's has a column for its size.

What a row does not say is as in Hugging Face's defaults, but for one thing:
with ``use_bottleneck_attention`` there is no shared bottleneck for query and key
(``key_query_shared_bottleneck``), as its output would go nowhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autodistill.errors import SpaceError, TeacherError
from autodistill.models.config import FAMILIES, BertConfig, EncoderConfig
from autodistill.space import Architecture, SearchSpace, Value
from autodistill.space.families import OPTIONAL_FIELDS, REQUIRED_FIELDS

BERT_VOCABULARY = 30522  # where a table says nothing else
VOCAB_SIZE = "vocab_size"
_OWN_FIELDS = {"bert": ("model_type",), "mobilebert": ("model_type", "use_bottleneck_attention")}


def table_fields(space: SearchSpace, vocab_size: int = BERT_VOCABULARY) -> tuple[str, ...]:
    """The architecture fields of a space's table, in alphabetical order.

    Args:
        space: Of encoders.
        vocab_size: Of all of them.

    Raises:
        SpaceError: The space is not one of encoders.

    Example:
        >>> table_fields(SearchSpace.preset("bert"))[:4]
        ('hidden_act', 'hidden_size', 'intermediate_size', 'model_type')
    """
    if space.family is None:
        raise SpaceError(
            f"a latency table needs a space of encoders ({', '.join(FAMILIES)}); the space "
            f"{space.name!r} has no family"
        )
    fields = family_fields(space.family)
    return fields if vocab_size == BERT_VOCABULARY else tuple(sorted((*fields, VOCAB_SIZE)))


def family_fields(family: str) -> tuple[str, ...]:
    """The architecture fields of a family's table, in alphabetical order."""
    _check_family(family)
    return tuple(sorted((*REQUIRED_FIELDS[family], *OPTIONAL_FIELDS[family], *_OWN_FIELDS[family])))


def to_row_architecture(
    architecture: Mapping[str, Value],
    family: str,
    fields: Sequence[str],
    vocab_size: int = BERT_VOCABULARY,
) -> Architecture:
    """An architecture as a row of a table.

    Args:
        architecture: Fields of ``family``; those that it lacks take their defaults.
        family: Its own family, which need not be the table's.
        fields: Of the table, as ``table_fields`` gives them.
        vocab_size: Its own, which only some tables say.

    Raises:
        SpaceError: Fields that the family does not have or that are missing,
            values that no config accepts, or an encoder that the table cannot say.

    Example:
        >>> tiny = {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2,
        ...         "intermediate_size": 512}
        >>> row = to_row_architecture(tiny, "bert", family_fields("mobilebert"))
        >>> row["model_type"], row["intra_bottleneck_size"], row["num_feedforward_networks"]
        ('bert', 128, 1)
    """
    return row_of_config(_config(architecture, family, vocab_size), fields)


def row_of_config(config: EncoderConfig, fields: Sequence[str]) -> Architecture:
    """The row of a table that says this encoder; the number of positions is left out.

    The size of the vocabulary is in it if it is one of the fields.

    Raises:
        SpaceError: No row says it: the table lacks fields for it, or it is built
            in a way that no column tells.
    """
    values: dict[str, Value] = {"model_type": config.model_type, VOCAB_SIZE: config.vocab_size}
    if isinstance(config, BertConfig):
        width = config.hidden_size
        values |= {
            "embedding_size": width,
            "intra_bottleneck_size": width,
            "normalization_type": "layer_norm",
            "num_feedforward_networks": 1,
            "use_bottleneck_attention": False,
        }
    values |= {f: getattr(config, f) for f in family_fields(config.model_type) if f != "model_type"}
    needed = [f for f in family_fields(config.model_type) if f not in fields]
    if needed or (lacking := [f for f in fields if f not in values]):
        which = f"it lacks {', '.join(needed)}" if needed else f"unknown are {', '.join(lacking)}"
        raise SpaceError(
            f"a table with the fields {', '.join(fields)} cannot hold a {config.model_type} "
            f"encoder: {which}; use a table of that family"
        )
    told = _config(
        {f: values[f] for f in family_fields(config.model_type) if f != "model_type"},
        config.model_type,
        vocab_size=config.vocab_size,
    )
    same = {f: getattr(config, f) for f in _NOT_TOLD}
    if replace(told, **same) != config:
        raise SpaceError(f"no column of a latency table tells how this encoder differs: {config}")
    return Architecture({f: values[f] for f in fields})


def config_of_row(
    row: Mapping[str, Value], vocab_size: int, *, max_position_embeddings: int = 512
) -> EncoderConfig:
    """The encoder that a row says: the inverse of ``row_of_config``.

    Optional fields may be absent and take their defaults. ``vocab_size`` is that of rows
    which do not say it themselves.

    Raises:
        SpaceError: ``model_type`` or other fields are missing or unknown, values
            that no config accepts, or a BERT encoder with MobileBERT's fields other
            than it has them.
    """
    if "model_type" not in row:
        raise SpaceError(f"a row needs model_type, one of {', '.join(FAMILIES)}; got {dict(row)}")
    family = str(row["model_type"])
    values = {f: value for f, value in row.items() if f not in ("model_type", VOCAB_SIZE)}
    vocab_size = int(row.get(VOCAB_SIZE, vocab_size))
    extra: dict[str, Value] = {}
    if family == "bert":
        foreign = set(family_fields("mobilebert")) - set(family_fields("bert"))
        extra = {field: values.pop(field) for field in foreign & set(values)}
    config = _config(values, family, vocab_size, max_position_embeddings)
    if extra:
        expected = row_of_config(config, family_fields("mobilebert"))
        for field, value in sorted(extra.items()):
            if value != expected[field]:
                raise SpaceError(
                    f"{field} must be {expected[field]!r} in a row of model_type bert with "
                    f"hidden_size {config.hidden_size}; got {value!r}"
                )
    return config


_NOT_TOLD = (
    VOCAB_SIZE,
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
)


def _config(
    values: Mapping[str, Value],
    family: str,
    vocab_size: int,
    max_position_embeddings: int = 512,
) -> EncoderConfig:
    _check_family(family)
    known = (*REQUIRED_FIELDS[family], *OPTIONAL_FIELDS[family], *_OWN_FIELDS[family][1:])
    if unknown := sorted(set(values) - set(known)):
        raise SpaceError(f"unknown fields {unknown} for {family}; it has {', '.join(known)}")
    if missing := sorted(set(REQUIRED_FIELDS[family]) - set(values)):
        raise SpaceError(f"{family} needs values for {', '.join(missing)}")
    arguments = dict(Architecture(values))
    narrow = arguments.get("use_bottleneck_attention", False)
    if not isinstance(narrow, bool):
        raise SpaceError(f"use_bottleneck_attention must be True or False; got {narrow!r}")
    if narrow:
        arguments["key_query_shared_bottleneck"] = False
    try:
        return FAMILIES[family](
            **arguments,  # type: ignore[arg-type]  # checked by the config
            vocab_size=vocab_size,
            max_position_embeddings=max_position_embeddings,
        )
    except TeacherError as error:
        raise SpaceError(str(error)) from error


def _check_family(family: str) -> None:
    if family not in FAMILIES:
        raise SpaceError(f"model_type must be one of {', '.join(FAMILIES)}; got {family!r}")
