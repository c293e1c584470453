"""Shapes of the encoders that we read, train and save, in Hugging Face's names.

A config is valid once built. ``from_hugging_face`` reads the ``config.json``
of a checkpoint; ``to_hugging_face`` writes one that ``transformers`` loads.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

from autodistill.errors import TeacherError

ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu")
NORMALIZATIONS = ("layer_norm", "no_norm")


@dataclass(frozen=True)
class _EncoderConfig:
    """The fields that every family has."""

    model_type: ClassVar[str]
    architecture_name: ClassVar[str]
    sizes: ClassVar[tuple[str, ...]] = (
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
        "type_vocab_size",
    )

    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str = "gelu"
    vocab_size: int = 30522
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0

    def __post_init__(self) -> None:
        for name in self.sizes:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise TeacherError(f"{name} must be a positive integer; got {value!r}")
        epsilon = self.layer_norm_eps
        if not isinstance(epsilon, int | float) or not epsilon >= 0:
            raise TeacherError(f"layer_norm_eps must be a number from 0 on; got {epsilon!r}")
        if self.hidden_act not in ACTIVATIONS:
            raise TeacherError(
                f"hidden_act must be one of {', '.join(ACTIVATIONS)}; got {self.hidden_act!r}"
            )
        if self.attention_width % self.num_attention_heads:
            raise TeacherError(
                f"num_attention_heads must divide the attention width {self.attention_width}; "
                f"got {self.num_attention_heads}"
            )

    @property
    def attention_width(self) -> int:
        """Width that the attention heads share."""
        return self.hidden_size

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.attention_width // self.num_attention_heads

    @classmethod
    def from_hugging_face(cls, raw: Mapping[str, Any]) -> Self:
        """Read a ``config.json``; fields that do not change the shape are ignored.

        Raises:
            TeacherError: A shape field is missing or cannot be used.
        """
        known = {f.name for f in fields(cls)}
        values = {name: raw[name] for name in known if name in raw}
        missing = [
            name
            for name in (
                "num_hidden_layers",
                "hidden_size",
                "num_attention_heads",
                "intermediate_size",
            )
            if name not in values
        ]
        if missing:
            raise TeacherError(f"the config lacks {', '.join(missing)}")
        return cls(**values)

    def to_hugging_face(self, *, masked_lm: bool) -> dict[str, Any]:
        """The ``config.json`` of a checkpoint with or without a masked-LM head."""
        name = f"{self.architecture_name}{'ForMaskedLM' if masked_lm else 'Model'}"
        return {
            "architectures": [name],
            "model_type": self.model_type,
            **asdict(self),
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "initializer_range": 0.02,
            "tie_word_embeddings": True,
        }


@dataclass(frozen=True)
class BertConfig(_EncoderConfig):
    """BERT (https://arxiv.org/abs/1810.04805): post-norm Transformer encoder."""

    model_type: ClassVar[str] = "bert"
    architecture_name: ClassVar[str] = "Bert"

    @property
    def embedding_width(self) -> int:
        """Width of one word embedding."""
        return self.hidden_size

    @classmethod
    def from_hugging_face(cls, raw: Mapping[str, Any]) -> Self:
        """As the base, but refuse position embeddings and uses that we do not compute."""
        if raw.get("position_embedding_type", "absolute") != "absolute":
            raise TeacherError(
                "position_embedding_type must be 'absolute'; "
                f"got {raw['position_embedding_type']!r}"
            )
        if raw.get("is_decoder"):
            raise TeacherError("the checkpoint is a decoder (is_decoder); an encoder is needed")
        return super().from_hugging_face(raw)


@dataclass(frozen=True)
class MobileBertConfig(_EncoderConfig):
    """MobileBERT (https://arxiv.org/abs/2004.02984): bottlenecked, stacked FFNs."""

    model_type: ClassVar[str] = "mobilebert"
    architecture_name: ClassVar[str] = "MobileBert"
    sizes: ClassVar[tuple[str, ...]] = (
        *_EncoderConfig.sizes,
        "embedding_size",
        "intra_bottleneck_size",
        "num_feedforward_networks",
    )

    hidden_act: str = "relu"
    embedding_size: int = 128
    intra_bottleneck_size: int = 128
    num_feedforward_networks: int = 4
    normalization_type: str = "no_norm"
    trigram_input: bool = True
    use_bottleneck: bool = True
    use_bottleneck_attention: bool = False
    key_query_shared_bottleneck: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.normalization_type not in NORMALIZATIONS:
            raise TeacherError(
                f"normalization_type must be one of {', '.join(NORMALIZATIONS)}; "
                f"got {self.normalization_type!r}"
            )
        own_query = not (self.use_bottleneck_attention or self.key_query_shared_bottleneck)
        if self.use_bottleneck and own_query and self.attention_width != self.hidden_size:
            raise TeacherError(
                "without key_query_shared_bottleneck and use_bottleneck_attention, "
                f"intra_bottleneck_size must equal hidden_size {self.hidden_size}; "
                f"got {self.intra_bottleneck_size}"
            )

    @property
    def attention_width(self) -> int:
        """The intra-bottleneck width, where bottlenecks are used."""
        return self.intra_bottleneck_size if self.use_bottleneck else self.hidden_size

    @property
    def embedding_width(self) -> int:
        """Width of one word embedding."""
        return self.embedding_size

    def to_hugging_face(self, *, masked_lm: bool) -> dict[str, Any]:
        """As the base; the pooler keeps the first token as it is and has no weights."""
        return {**super().to_hugging_face(masked_lm=masked_lm), "classifier_activation": False}


EncoderConfig = BertConfig | MobileBertConfig

FAMILIES: dict[str, type[BertConfig] | type[MobileBertConfig]] = {
    "bert": BertConfig,
    "mobilebert": MobileBertConfig,
}


def config_from_hugging_face(raw: Mapping[str, Any]) -> EncoderConfig:
    """Pick the family by ``model_type``.

    Raises:
        TeacherError: Another family, or fields that cannot be used.
    """
    family = raw.get("model_type")
    if family not in FAMILIES:
        raise TeacherError(
            f"the checkpoint's model_type must be one of {', '.join(FAMILIES)}; got {family!r}"
        )
    return FAMILIES[family].from_hugging_face(raw)
