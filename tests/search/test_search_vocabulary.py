"""The search command with students that have a smaller vocabulary of their own."""

import json
from pathlib import Path

import pytest
import yaml

from autodistill.study import Study
from autodistill.teacher import load_teacher


@pytest.fixture
def vocabulary(tiny, tmp_path: Path) -> Path:
    """Two words in three; the others are unknown to students."""
    own = load_teacher(tiny.teacher).tokenizer.get_vocab()
    tokens = [token for token, i in own.items() if i < 6 or i % 3]
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(tokens) + "\n")
    return path


def test_vocabulary_of_the_students_is_searched_and_saved(
    vocabulary: Path, tiny, tmp_path: Path, command, no_training, monkeypatch
) -> None:
    folder, size = tmp_path / "run", len(vocabulary.read_text().split())
    arguments = tiny.arguments(folder, vocabulary=vocabulary)
    code, out, err = command(arguments)
    assert code == 0, err
    said = " ".join(out.split())
    assert f"students keep {size} of the teacher's 146 tokens" in said
    assert "to itself; students are judged against it" in said
    assert no_training and all(config.vocab_size == size for config in no_training)
    assert yaml.safe_load((folder / "config.yaml").read_text())["vocab_size"] == size
    for student in (folder / "students").iterdir():
        assert json.loads((student / "config.json").read_text())["vocab_size"] == size
        assert load_teacher(student).tokenizer.get_vocab_size() == size
    with Study.open(folder / "study.sqlite", read_only=True) as study:
        lines = study.get_value("own_pieces")

    def measured_again(*_: object, **__: object) -> None:
        raise AssertionError("the study has it")

    monkeypatch.setattr("autodistill.search.run.own_pieces", measured_again)
    code, out, _ = command(arguments)
    assert code == 0 and all(line in " ".join(out.split()) for line in lines)
    code, _, err = command(tiny.arguments(folder))
    assert code == 2 and "teacher" in err


def test_vocabulary_that_is_no_part_is_refused_first(
    tiny, tmp_path: Path, command, no_training
) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("tide\n")
    code, _, err = command(tiny.arguments(tmp_path / "run", vocabulary=path))
    assert code == 2 and "'tide', of 1, is not" in err
    assert not (tmp_path / "run").exists() and not no_training
