from .checkpoint import build_encoder, build_head, read_weights, weights_of
from .config import (
    BertConfig,
    EncoderConfig,
    MobileBertConfig,
    config_from_hugging_face,
)
from .encoder import Encoder, Trace
from .heads import MaskedLMHead

__all__ = [
    "BertConfig",
    "Encoder",
    "EncoderConfig",
    "MaskedLMHead",
    "MobileBertConfig",
    "Trace",
    "build_encoder",
    "build_head",
    "config_from_hugging_face",
    "read_weights",
    "weights_of",
]
