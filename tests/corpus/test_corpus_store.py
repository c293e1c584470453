"""The store: tokens as the tokenizer gives them, a split by name, a cache that is checked."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from autodistill.corpus import CorpusSummary, Document, SourceCount, TokenStore, prepare
from autodistill.errors import CorpusError

DOCUMENTS = [
    Document(f"text {number}", " ".join(f"w{number + step}" for step in range(number + 1)), "all")
    for number in range(40)
]


def make(
    folder: Path, tokenizer: Tokenizer, documents: list[Document] = DOCUMENTS, **options: Any
) -> TokenStore:
    return prepare(
        lambda: documents, tokenizer, cache_dir=folder, **{"cache_key": "key", **options}
    )


def never() -> list[Document]:
    raise AssertionError("the documents were read although the corpus is cached")


def test_tokens_are_those_of_the_tokenizer(tmp_path: Path, real_tokenizer: Tokenizer) -> None:
    documents = [
        Document("a", "Hello, wörld! " * 400),
        Document("b", "Encoded batch by batch."),
        Document("c", "naïve 漢字 antidisestablishmentarianism\n\n\tend"),
    ]
    store = make(tmp_path, real_tokenizer, documents)
    assert store.names == ("a", "b", "c")
    assert isinstance(store.tokens, np.memmap) and store.tokens.dtype == np.uint16
    for number, document in enumerate(documents):
        # One text at a time, through the plain call: another path through the library.
        tokenizer = Tokenizer.from_str(real_tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        expected = tokenizer.encode(document.text, add_special_tokens=False).ids
        assert store.document_tokens(number).tolist() == expected


def test_text_that_spells_a_special_token_is_text(
    tmp_path: Path, real_tokenizer: Tokenizer
) -> None:
    text = "Write [MASK] and [SEP] here."
    store = make(tmp_path, real_tokenizer, [Document("a", text), Document("b", text)])
    assert real_tokenizer.token_to_id("[MASK]") in real_tokenizer.encode(text).ids
    for name in ("[MASK]", "[SEP]", "[CLS]", "[PAD]"):
        assert real_tokenizer.token_to_id(name) not in store.tokens


def test_truncation_and_padding_are_off_here_and_left_on_there(
    tmp_path: Path, word_tokenizer: Tokenizer
) -> None:
    tokenizer = Tokenizer.from_str(word_tokenizer.to_str())
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=9)
    before = tokenizer.to_str()
    store = make(tmp_path, tokenizer)
    assert np.diff(store.offsets).tolist() == list(range(1, 41))
    assert tokenizer.to_str() == before
    assert make(tmp_path, word_tokenizer).folder == store.folder


def test_large_vocabulary_takes_wide_integers(
    tmp_path: Path, large_word_tokenizer: Tokenizer
) -> None:
    documents = [Document("a", "w69999 w0"), Document("b", "w65530 w65531")]
    store = make(tmp_path, large_word_tokenizer, documents)
    assert store.tokens.dtype == np.uint32
    assert store.tokens.tolist() == [70_004, 5, 65_535, 65_536]


def test_summary_counts(tmp_path: Path, word_tokenizer: Tokenizer) -> None:
    documents = [
        Document("1", "w0 w1", "books"),
        Document("2", "  \n", "books"),
        Document("3", "w3", "notes"),
        Document("4", "w4 w5 w6", "books"),
    ]
    store = make(tmp_path, word_tokenizer, documents, held_out_fraction=0.5)
    assert store.names == ("1", "3", "4")  # a document without tokens is none
    assert store.summary.sources == {"books": SourceCount(2, 13, 5), "notes": SourceCount(1, 2, 1)}
    lengths = np.diff(store.offsets)
    assert store.summary.held_out_tokens == lengths[store.held_out].sum()
    assert store.summary.train_tokens == lengths[~store.held_out].sum()
    assert (store.summary.documents, store.summary.tokens, store.summary.characters) == (3, 6, 15)


def test_summary_table_groups_small_sources() -> None:
    sources = {f"s{number}": SourceCount(1, 10, number + 1_000) for number in range(5)}
    table = CorpusSummary(sources, 4, 4_000, 1, 1_010).describe(most=2).splitlines()
    assert [line.split()[0] for line in table] == ["source", "s4", "s3", "3", "all", "held"]
    assert "3,003" in table[3] and "5,010" in table[4] and "1,010 tokens" in table[5]


# The split.


def test_split_follows_the_name_by_a_hash_that_never_changes(
    tmp_path: Path, word_tokenizer: Tokenizer
) -> None:
    store = make(tmp_path, word_tokenizer, held_out_fraction=0.25)

    def position(name: str) -> float:
        return int(hashlib.blake2b(name.encode(), digest_size=8).hexdigest(), 16) / 16.0**16

    assert store.held_out.tolist() == [position(name) < 0.25 for name in store.names]


def test_split_does_not_follow_pythons_own_hash(tmp_path: Path) -> None:
    """Python salts ``hash`` anew in each process; the split must not notice."""
    code = (
        "from autodistill.corpus.store import _split\n"
        "print(_split([f'text {n}' for n in range(50)], 0.3).tolist())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1 and "True" in runs.pop()


def test_adding_documents_moves_no_other(tmp_path: Path, word_tokenizer: Tokenizer) -> None:
    some = make(tmp_path, word_tokenizer, DOCUMENTS[::2], cache_key="some")
    more = make(tmp_path, word_tokenizer, DOCUMENTS[::-1], cache_key="more")
    side = dict(zip(more.names, more.held_out, strict=True))
    assert [side[name] for name in some.names] == some.held_out.tolist()


def test_share_held_out(tmp_path: Path, word_tokenizer: Tokenizer) -> None:
    documents = [Document(str(number), "w1") for number in range(2_000)]
    store = make(tmp_path, word_tokenizer, documents, held_out_fraction=0.1)
    # Binomial with standard deviation sqrt(2000 * 0.1 * 0.9) = 13.4: five of them either side.
    assert abs(store.held_out.sum() - 200) < 68


@pytest.mark.parametrize("fraction", [1e-9, 0.5, 1 - 1e-9])
def test_each_side_has_a_document(
    tmp_path: Path, word_tokenizer: Tokenizer, fraction: float
) -> None:
    store = make(tmp_path, word_tokenizer, DOCUMENTS[:2], held_out_fraction=fraction)
    assert sorted(store.held_out.tolist()) == [False, True]


@pytest.mark.parametrize("texts", [[], [""], ["w1"], ["w1", " "]])
def test_too_few_documents(tmp_path: Path, word_tokenizer: Tokenizer, texts: list[str]) -> None:
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    with pytest.raises(CorpusError, match="at least 2 documents with text"):
        make(tmp_path, word_tokenizer, documents)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_bad_fraction(tmp_path: Path, word_tokenizer: Tokenizer, fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        make(tmp_path, word_tokenizer, held_out_fraction=fraction)


# The cache.


def same(a: TokenStore, b: TokenStore) -> bool:
    return (
        np.array_equal(a.tokens, b.tokens)
        and np.array_equal(a.offsets, b.offsets)
        and np.array_equal(a.held_out, b.held_out)
        and (a.names, a.summary, a.folder) == (b.names, b.summary, b.folder)
    )


def test_second_call_reads_nothing(tmp_path: Path, word_tokenizer: Tokenizer) -> None:
    first = make(tmp_path, word_tokenizer)
    shares: list[float] = []
    second = prepare(
        never,
        word_tokenizer,
        cache_dir=tmp_path,
        cache_key="key",
        progress=lambda message, share: shares.append(share),
    )
    assert same(first, second)
    assert shares == [1.0]
    assert [path.name for path in tmp_path.iterdir()] == [first.folder.name]


def test_another_key_tokenizer_or_fraction_is_another_corpus(
    tmp_path: Path, word_tokenizer: Tokenizer, large_word_tokenizer: Tokenizer
) -> None:
    stores = [
        make(tmp_path, word_tokenizer),
        make(tmp_path, word_tokenizer, cache_key="other"),
        make(tmp_path, word_tokenizer, held_out_fraction=0.2),
        make(tmp_path, large_word_tokenizer),
    ]
    assert len({store.folder for store in stores}) == 4


def damage(folder: Path, how: str) -> None:
    if how.startswith("missing "):
        (folder / how.removeprefix("missing ")).unlink()
    elif how.startswith("cut "):
        path = folder / how.removeprefix("cut ")
        path.write_bytes(path.read_bytes()[:-3])
    elif how.startswith("longer "):
        path = folder / how.removeprefix("longer ")
        path.write_bytes(path.read_bytes() + b"\0\0")
    elif how.startswith("bit of "):
        path = folder / how.removeprefix("bit of ")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif how == "edited count":
        path = folder / "summary.json"
        summary = json.loads(path.read_text())
        summary["train_tokens"] += 1
        path.write_text(json.dumps(summary))
    elif how == "another format":
        (folder / "summary.json").write_text("[1, 2]")
    else:
        raise AssertionError(how)


@pytest.mark.parametrize(
    "how",
    [
        f"{verb} {file}"
        for verb in ("missing", "cut", "longer", "bit of")
        for file in ("tokens.bin", "documents.npz", "summary.json")
        if (verb, file) != ("longer", "summary.json")
    ]
    + ["edited count", "another format"],
)
def test_damaged_cache_is_made_again(tmp_path: Path, word_tokenizer: Tokenizer, how: str) -> None:
    store = make(tmp_path / "cache", word_tokenizer)
    good = make(tmp_path / "good", word_tokenizer)
    damage(store.folder, how)
    calls = []

    def documents() -> list[Document]:
        calls.append(how)
        return DOCUMENTS

    again = prepare(documents, word_tokenizer, cache_dir=tmp_path / "cache", cache_key="key")
    assert calls == [how]
    assert np.array_equal(again.tokens, good.tokens)
    assert again.summary == good.summary and again.names == good.names
    prepare(never, word_tokenizer, cache_dir=tmp_path / "cache", cache_key="key")


def test_interrupted_build_leaves_nothing(tmp_path: Path, word_tokenizer: Tokenizer) -> None:
    def interrupted() -> Iterator[Document]:
        yield from DOCUMENTS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(interrupted, word_tokenizer, cache_dir=tmp_path, cache_key="key")
    assert list(tmp_path.iterdir()) == []


def test_two_builders_at_once_share_the_first_result(
    tmp_path: Path, word_tokenizer: Tokenizer
) -> None:
    first: list[TokenStore] = []

    def overtaken() -> list[Document]:
        first.append(make(tmp_path, word_tokenizer))  # as another process might, meanwhile
        return DOCUMENTS

    second = prepare(overtaken, word_tokenizer, cache_dir=tmp_path, cache_key="key")
    assert same(first[0], second)
    assert [path.name for path in tmp_path.iterdir()] == [second.folder.name]


def test_cache_folder_that_cannot_be_made(tmp_path: Path, word_tokenizer: Tokenizer) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CorpusError, match="expected to write .*Choose another cache folder"):
        make(tmp_path / "file" / "cache", word_tokenizer)


def test_full_disk(
    tmp_path: Path, word_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **arrays: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(CorpusError, match="No space left"):
        make(tmp_path, word_tokenizer)
    assert list(tmp_path.iterdir()) == []


def test_a_users_error_while_reading_is_not_blamed_on_the_cache(
    tmp_path: Path, word_tokenizer: Tokenizer
) -> None:
    def unreadable() -> Iterator[Document]:
        yield DOCUMENTS[0]
        raise CorpusError("line 7 is bad")

    with pytest.raises(CorpusError, match="^line 7 is bad$"):
        prepare(unreadable, word_tokenizer, cache_dir=tmp_path, cache_key="key")


@pytest.mark.parametrize("known", ["list", "expected", "neither"])
def test_progress_rises_to_one(
    tmp_path: Path, word_tokenizer: Tokenizer, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autodistill.corpus.store._BATCH_CHARACTERS", 500)
    characters = sum(len(document.text) for document in DOCUMENTS)
    shares: list[float] = []
    prepare(
        lambda: DOCUMENTS if known == "list" else iter(DOCUMENTS),
        word_tokenizer,
        cache_dir=tmp_path,
        cache_key="key",
        expected_characters=characters if known == "expected" else None,
        progress=lambda message, share: shares.append(share),
    )
    assert len(shares) > 5 and shares == sorted(shares) and shares[-1] == 1.0
    assert (shares[-2] == 0.0) == (known == "neither")
