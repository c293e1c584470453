"""Spaces that come with the toolkit, each with the baseline it is compared with.

The baseline is MobileBERT's shape, scaled to the space: its depth, its heads,
its four stacked networks, its normalisation. ``mobilebert`` holds MobileBERT
itself; the ``-mini`` spaces take a third of its depth and half of its widths
(the word embedding keeps MobileBERT's 128), so that students train in a minute
on two CPU cores. Plain BERT blocks have no bottleneck: there the baseline is as
deep and, in parameters, as large as MobileBERT, or a third and a half of it.
"""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "mobilebert": {
        "family": "mobilebert",
        "choices": {
            "num_hidden_layers": list(range(4, 25)),
            "hidden_size": [128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768],
            "intra_bottleneck_size": [64, 96, 128, 160, 192, 224, 256],
            "num_attention_heads": [1, 2, 4, 8],
            "intermediate_size": [256, 384, 512, 640, 768, 896, 1024],
            "num_feedforward_networks": [1, 2, 3, 4, 5, 6],
            "embedding_size": [64, 128, 192, 256, 384],
            "normalization_type": ["no_norm", "layer_norm"],
            "hidden_act": ["relu", "gelu"],
        },
        "baseline": {
            "num_hidden_layers": 24,
            "hidden_size": 512,
            "intra_bottleneck_size": 128,
            "num_attention_heads": 4,
            "intermediate_size": 512,
            "num_feedforward_networks": 4,
            "embedding_size": 128,
            "normalization_type": "no_norm",
            "hidden_act": "relu",
        },
    },
    "mobilebert-mini": {
        "family": "mobilebert",
        "choices": {
            "num_hidden_layers": [2, 3, 4, 5, 6, 8],
            "hidden_size": [128, 192, 256, 320, 384],
            "intra_bottleneck_size": [64, 96, 128],
            "num_attention_heads": [1, 2, 4],
            "intermediate_size": [64, 128, 192, 256],
            "num_feedforward_networks": [1, 2, 3, 4],
            "embedding_size": [64, 128, 192, 256],
            "normalization_type": ["no_norm", "layer_norm"],
            "hidden_act": ["relu", "gelu"],
        },
        "baseline": {
            "num_hidden_layers": 8,
            "hidden_size": 256,
            "intra_bottleneck_size": 64,
            "num_attention_heads": 4,
            "intermediate_size": 256,
            "num_feedforward_networks": 4,
            "embedding_size": 128,
            "normalization_type": "no_norm",
            "hidden_act": "relu",
        },
    },
    "bert": {
        "family": "bert",
        "choices": {
            "num_hidden_layers": list(range(2, 25)),
            "hidden_size": [128, 192, 256, 320, 384, 448, 512, 640, 768],
            "num_attention_heads": [1, 2, 4, 8, 12],
            "intermediate_size": [256, 512, 768, 1024, 1536, 2048, 3072],
            "hidden_act": ["relu", "gelu"],
        },
        "baseline": {
            "num_hidden_layers": 24,
            "hidden_size": 256,
            "num_attention_heads": 4,
            "intermediate_size": 1024,
            "hidden_act": "relu",
        },
    },
    "bert-mini": {
        "family": "bert",
        "choices": {
            "num_hidden_layers": [2, 3, 4, 5, 6, 8],
            "hidden_size": [64, 128, 192, 256, 384],
            "num_attention_heads": [1, 2, 4, 8],
            "intermediate_size": [128, 256, 384, 512, 768, 1024],
            "hidden_act": ["relu", "gelu"],
        },
        "baseline": {
            "num_hidden_layers": 8,
            "hidden_size": 128,
            "num_attention_heads": 4,
            "intermediate_size": 512,
            "hidden_act": "relu",
        },
    },
}
