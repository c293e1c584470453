"""The user's own files: what becomes a document, and every way in which a file can be bad."""

import gzip
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from autodistill.corpus import Document, expected_characters, fingerprint, read_documents
from autodistill.errors import CorpusError


def read(*paths: Path) -> list[Document]:
    return list(read_documents(paths))


def test_small_file_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "small.txt"
    path.write_bytes("\ufeffGrüße.\r\n\r\nSecond line.\r\n".encode())
    assert read(path) == [Document("small.txt#0", "Grüße.\n\nSecond line.\n", "small.txt")]


def test_folder_is_read_in_sorted_order_and_by_suffix(tmp_path: Path) -> None:
    root = tmp_path / "texts"
    (root / "b").mkdir(parents=True)
    for name in ("z.txt", "a.MD", "b/c.rst", "b/d.text", "b/e.tokens"):
        (root / name).write_text(name)
    (root / "empty.txt").touch()
    (root / "picture.png").write_bytes(b"\0\1")
    (root / "f.txt.gz").write_bytes(gzip.compress(b"packed"))
    documents = read(root)
    assert [document.text for document in documents] == [
        "a.MD", "packed", "z.txt", "b/c.rst", "b/d.text", "b/e.tokens",
    ]  # fmt: skip
    assert documents[3].name == "texts/b/c.rst#0"
    assert {document.source for document in documents} == {"texts"}


def test_subfolders_are_read_in_sorted_order(tmp_path: Path) -> None:
    names = [f"folder {number}" for number in range(9)]
    for name in (*names[::2], *names[1::2]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    assert [document.text for document in read(tmp_path)] == names


@pytest.mark.parametrize("packed", [False, True])
def test_jsonl_gives_a_document_per_line(tmp_path: Path, packed: bool) -> None:
    lines = [{"text": "one\n\ntwo", "id": 7}, {"text": "  "}, {"text": "three"}]
    data = "\n\n".join(json.dumps(line) for line in lines).encode()
    path = tmp_path / ("x.jsonl.gz" if packed else "x.jsonl")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert [(d.name, d.text) for d in read(path)] == [
        (f"{path.name}#1", "one\n\ntwo"),
        (f"{path.name}#5", "three"),
    ]


def test_equal_documents_are_read_once(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("the same")
    assert [document.name for document in read(tmp_path)] == [f"{tmp_path.name}/a.txt#0"]


def numbered_words(count: int) -> list[str]:
    return [f"w{number:05d}" for number in range(count)]  # 7 characters with the space


def test_long_file_is_cut_at_blank_lines(tmp_path: Path) -> None:
    words = numbered_words(30_000)
    paragraphs = [" ".join(words[i : i + 100]) for i in range(0, len(words), 100)]
    path = tmp_path / "novel.txt"
    path.write_text("\n\n".join(paragraphs))
    documents = read(path)
    assert "".join(document.text for document in documents) == path.read_text()
    assert all(12_000 <= len(document.text) <= 30_000 for document in documents)
    assert all(document.text.endswith("\n\n") for document in documents[:-1])
    assert [d.name for d in documents] == [f"novel.txt#{i}" for i in range(len(documents))]


@pytest.mark.parametrize("separator", ["\n", " ", ""])
def test_long_file_without_blank_lines_is_cut_too(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "dump"
    path.write_text(separator.join(numbered_words(30_000)))
    documents = read(path)
    assert "".join(document.text for document in documents) == path.read_text()
    assert all(12_000 <= len(document.text) <= 30_000 for document in documents)
    if separator:
        assert all(document.text.endswith(separator) for document in documents[:-1])


@pytest.mark.parametrize(("length", "documents"), [(23_999, 1), (30_000, 2)])
def test_how_long_a_file_must_be_to_be_split(tmp_path: Path, length: int, documents: int) -> None:
    path = tmp_path / "a.txt"
    path.write_text("0123456789abcd\n\n" * (length // 16))
    path.write_text(path.read_text() + "." * (length % 16))
    assert len(read(path)) == documents


def test_appending_leaves_earlier_documents_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    line = " ".join(numbered_words(50)) + "\n\n"
    path.write_text(line * 400)
    before = read(path)
    path.write_text(line.upper() * 1 + line * 399 + "More.\n\n" * 5_000)
    assert read(path)[1 : len(before) - 1] == before[1:-1]


# Errors. Each names the file and says what to do.


def test_missing_path_is_found_before_reading(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no-such\.txt; there is no such file"):
        read_documents([tmp_path / "no-such.txt"])


def test_no_paths(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="at least one file or folder"):
        read_documents([])


def test_a_single_string_is_not_a_list_of_paths() -> None:
    with pytest.raises(TypeError, match="sequence of paths"):
        read_documents("corpus.txt")


def test_special_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as made, pytest.raises(CorpusError, match="neither"):
        made.bind("socket")
        read_documents(["socket"])


def test_folder_without_text(tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    with pytest.raises(CorpusError, match=r"ending in \.txt.*found none"):
        read_documents([tmp_path])


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.txt"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"empty\.txt; the file is empty"):
        read(path)


def test_folder_of_empty_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.txt").touch()
    with pytest.raises(CorpusError, match="all 2 files are empty"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text\0text", "NUL"),
        (b"\x89PNG\r\n\x1a\n", "UTF-8"),
        ("Grüße".encode("latin-1"), "UTF-8"),
        ("text".encode("utf-16"), "UTF-8"),
        ("text".encode("utf-16-le"), "NUL"),
    ],
)
def test_binary_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=rf"{message}(.|\n)*leave it out") as raised:
        read(path)
    assert str(path) in str(raised.value)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is put in by hand, since the superuser is refused nothing."""
    path = tmp_path / "secret.txt"
    path.write_text("text")

    def refuse(self: Path, *args: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CorpusError, match=r"secret\.txt.*Permission denied.*permissions"):
        read(path)


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CorpusError, match="Permission denied"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "cut', "bad JSON"),
        ("[" * 100_000, "nested too deep|bad JSON"),
        ('["text"]', "got list"),
        ('{"body": "x", "id": 3}', "field 'text'.*got 'body', 'id'"),
        ("{}", "got no fields"),
        ('{"text": null}', "'text' of type NoneType"),
        ('{"text": "\\ud800"}', "surrogate"),
    ],
)
def test_bad_jsonl_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "good"}\n\n' + line + "\n")
    with pytest.raises(CorpusError, match=message) as raised:
        read(path)
    assert f"{path}, line 3" in str(raised.value)


@pytest.mark.parametrize("how", ["cut", "altered", "never packed"])
def test_broken_gzip(tmp_path: Path, how: str) -> None:
    good = gzip.compress(" ".join(numbered_words(5_000)).encode())
    path = tmp_path / "x.txt.gz"
    path.write_bytes(
        {
            "cut": good[: len(good) // 2],
            "altered": good[:-8] + b"\0" * 8,
            "never packed": b"plain text",
        }[how]
    )
    with pytest.raises(CorpusError, match=r"x\.txt\.gz; it is damaged or cut short"):
        read(path)


# The key of the cache.


def test_fingerprint_follows_name_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")
    os.utime(path, ns=(0, 1_000))
    before = fingerprint([tmp_path])
    assert fingerprint([tmp_path]) == before
    os.utime(path, ns=(0, 2_000))
    later = fingerprint([tmp_path])
    path.write_text("texts")
    os.utime(path, ns=(0, 1_000))
    longer = fingerprint([tmp_path])
    (tmp_path / "b.txt").write_text("more")
    assert len({before, later, longer, fingerprint([tmp_path])}) == 4


def test_fingerprint_of_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="there is no such file"):
        fingerprint([tmp_path / "none"])


def test_expected_characters_of_plain_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 100)
    (tmp_path / "b.txt").write_text("y" * 50)
    assert expected_characters([tmp_path]) == 150
