"""``python -m autodistill.teacher vocabulary``: the tokens that a text needs most."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from autodistill.teacher import load_teacher, restrict_to_file
from autodistill.teacher.__main__ import main

pytest.importorskip("transformers", reason="it writes the teacher")

TEXTS = ["the sea is cold . " * 3 + "sag", "the sea . the rain"]
SPECIAL = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}


def options(teacher: Path, folder: Path, /, **changes: object) -> list[str]:
    (folder / "texts").mkdir(exist_ok=True)
    for i, text in enumerate(TEXTS):
        (folder / "texts" / f"{i}.txt").write_text(text)
    values: dict[str, object] = {
        "teacher": teacher,
        "corpus": folder / "texts",
        "cache-dir": folder / "cache",
        "out": folder / "vocab.txt",
        **changes,
    }
    return ["vocabulary", *(word for n, v in values.items() for word in (f"--{n}", str(v)))]


def test_vocabulary_keeps_the_commonest_and_all_characters(
    checkpoint: Callable[..., Path], tmp_path: Path, capsys
) -> None:
    teacher = load_teacher(checkpoint())
    pieces = Counter(
        piece for text in TEXTS for piece in teacher.tokenizer.encode(text).tokens[1:-1]
    )
    letters = {c for piece in pieces for c in piece.removeprefix("##")}
    own = sorted(teacher.tokenizer.get_vocab(), key=teacher.tokenizer.token_to_id)
    spelling = {t for t in own if t.removeprefix("##") in letters}
    words = [word for word, _ in pieces.most_common() if word not in spelling]
    assert words[:2] == ["the", "sea"]
    size = len(SPECIAL) + len(spelling) + 2
    assert main(options(teacher.folder, tmp_path, size=size)) == 0
    found = (tmp_path / "vocab.txt").read_text().splitlines()
    assert set(found) == SPECIAL | spelling | set(words[:2])
    assert found == [token for token in own if token in found]
    kept = sum(pieces[token] for token in found) / pieces.total()
    assert f"{size} of 68 tokens, {kept:.2%} of the text" in " ".join(
        capsys.readouterr().out.split()
    )

    cut = restrict_to_file(teacher, tmp_path / "vocab.txt")
    for text in TEXTS:
        assert cut.special.unk not in cut.tokenizer.encode(text).ids

    assert main(options(teacher.folder, tmp_path, size=10_000, out=tmp_path / "all.txt")) == 0
    assert set((tmp_path / "all.txt").read_text().splitlines()) == SPECIAL | spelling | set(words)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 7}, "--size must be at least"),
        ({"out": "texts"}, "--out must be a new file that ends in .txt"),
        ({"out": "texts/0.txt"}, "--out must be a new file that ends in .txt"),
        ({"out": "nowhere/vocab.txt"}, "in a folder that exists; got"),
        ({"corpus": "nowhere"}, "there is no such file or folder"),
        ({"teacher": "nowhere"}, "nowhere is not a folder"),
    ],
)
def test_vocabulary_refuses_bad_input(
    changes: dict[str, object], message: str, checkpoint, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(options(checkpoint(), tmp_path, **changes)) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "texts" / "0.txt").read_text() == TEXTS[0]


def test_vocabulary_needs_a_file_and_says_what_it_is_for(capsys) -> None:
    assert main(["vocabulary"]) == 2
    assert "--out FILE is needed" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["vocabulary", "--help"])
    assert end.value.code == 0
    assert "spelled in shorter pieces" in " ".join(capsys.readouterr().out.split())
    assert main(["--help"]) == 0
    assert "vocabulary" in capsys.readouterr().out
