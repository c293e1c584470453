"""Tiny checkpoints, written by the libraries that define the formats."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest

WORDS = ["the", "sea", "is", "cold", "warm", "day", "night", "rain", "on", "hills"]
VOCABULARY = [
    *["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "."],
    *WORDS,
    *ascii_lowercase,
    *(f"##{letter}" for letter in ascii_lowercase),
]
HIDDEN = 32


def write_checkpoint(folder: Path, *, family: str, head: bool) -> Path:
    """A random encoder with its tokenizer, as transformers saves them."""
    torch = pytest.importorskip("torch", reason="transformers runs on torch")
    transformers = pytest.importorskip("transformers", reason="it writes the checkpoints")
    sizes: dict[str, Any] = {
        "num_hidden_layers": 2,
        "hidden_size": HIDDEN,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "vocab_size": len(VOCABULARY),
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
    }
    if family == "bert":
        config: Any = transformers.BertConfig(**sizes)
    else:
        config = transformers.MobileBertConfig(
            **sizes, embedding_size=16, intra_bottleneck_size=16, classifier_activation=False
        )
    kind = transformers.AutoModelForMaskedLM if head else transformers.AutoModel
    torch.manual_seed(1)
    kind.from_config(config).save_pretrained(folder)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    transformers.BertTokenizer(str(vocabulary)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    """Checkpoints that are written once and copied by each test."""
    return cache(
        lambda family, head: write_checkpoint(
            tmp_path_factory.mktemp("original"), family=family, head=head
        )
    )


@pytest.fixture
def checkpoint(tmp_path: Path, originals: Callable[[str, bool], Path]) -> Callable[..., Path]:
    """Make a checkpoint folder of this test's own."""

    def make(family: str = "bert", head: bool = False) -> Path:
        return shutil.copytree(originals(family, head), tmp_path / "teacher")

    return make
