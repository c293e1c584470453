"""Encoders in Flax with Hugging Face's names: BERT and MobileBERT."""

from autodistill.models.checkpoint import build_encoder, build_head, read_weights, weights_of
from autodistill.models.config import (
    BertConfig,
    EncoderConfig,
    MobileBertConfig,
    config_from_hugging_face,
)
from autodistill.models.encoder import Encoder, Trace
from autodistill.models.heads import MaskedLMHead

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
