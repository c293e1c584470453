"""Students with a smaller vocabulary of their own: distilled, saved, and loaded elsewhere."""

import json
from pathlib import Path
from string import ascii_lowercase

import distill_command
import numpy as np
import pytest
from distill_command import ARCHITECTURE, WORDS
from tokenizers import BertWordPieceTokenizer, Tokenizer

from autodistill.corpus import Document
from autodistill.distill.__main__ import main
from autodistill.distill.own_pieces import own_pieces
from autodistill.distill.start import random_weights
from autodistill.distill.student import Student
from autodistill.export import save_student
from autodistill.models import BertConfig
from autodistill.teacher import Teacher, load_teacher, restrict_to_file

torch = pytest.importorskip("torch", reason="transformers runs on torch")
transformers = pytest.importorskip("transformers", reason="it writes teachers and loads students")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*ascii_lowercase, *(f"##{letter}" for letter in ascii_lowercase)]
VOCABULARY = [*SPECIAL, *WORDS, *LETTERS]
KEPT = ["the", *reversed(SPECIAL), "sea", "is", "cold", *LETTERS, "."]
SENTENCES = ["The sea is cold.", "warm rain on hills", "DAY and night"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny teachers of both kinds, a text, a student's shape and its vocabulary."""
    root = tmp_path_factory.mktemp("vocabulary")
    config = transformers.BertConfig(
        num_hidden_layers=2,
        hidden_size=24,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=len(VOCABULARY),
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    (root / "all.txt").write_text("\n".join(VOCABULARY) + "\n")
    (root / "vocab.txt").write_text("\n".join(KEPT) + "\n")
    for name, kind in (("plain", "BertModel"), ("head", "BertForMaskedLM")):
        torch.manual_seed(0)
        getattr(transformers, kind)(config).save_pretrained(root / name)
        transformers.BertTokenizer(str(root / "all.txt")).save_pretrained(root / name)
    rng = np.random.default_rng(0)
    (root / "text").mkdir()
    for i in range(40):
        (root / "text" / f"{i}.txt").write_text(" ".join(rng.choice(WORDS, 60)))
    (root / "student.json").write_text(json.dumps([ARCHITECTURE]))
    half = {**ARCHITECTURE, "num_hidden_layers": 1, "hidden_size": 24}
    (root / "half.json").write_text(json.dumps([half]))
    return root


def options(folder: Path, out: Path, **changes: object) -> list[str]:
    own = {"teacher": folder / "plain", "vocabulary": folder / "vocab.txt"}
    own |= {"steps": 4, "held_out_passages": 32}
    return distill_command.options(folder, out, **{**own, **changes})


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    out = folder / "finished"
    assert main(options(folder, out)) == 0
    return out


def check_saved(student: Path, teacher: Teacher) -> None:
    """Sizes, ids and special tokens, as transformers sees them and as we do."""
    config = json.loads((student / "config.json").read_text())
    assert config["vocab_size"] == len(KEPT) and config["pad_token_id"] == KEPT.index("[PAD]")
    tokenizer = transformers.AutoTokenizer.from_pretrained(student)
    assert len(tokenizer) == tokenizer.vocab_size == len(KEPT)
    assert tokenizer.get_vocab() == {token: i for i, token in enumerate(KEPT)}
    for role in ("cls", "sep", "pad", "mask", "unk"):
        expected = KEPT.index(f"[{role.upper()}]")
        assert getattr(tokenizer, f"{role}_token_id") == expected
        assert getattr(teacher.special, role) == expected
    assert (student / "vocab.txt").read_text() == "\n".join(KEPT) + "\n"
    again = load_teacher(student)
    assert again.special == teacher.special
    for text in SENTENCES:
        ids = teacher.tokenizer.encode(text).ids
        assert tokenizer(text)["input_ids"] == again.tokenizer.encode(text).ids == ids
        spelled = Tokenizer.from_file(str(student / "tokenizer.json")).encode(text).tokens
        assert spelled == teacher.tokenizer.encode(text).tokens


def test_a_student_of_fewer_words_loads_with_its_own_tokenizer(
    folder: Path, finished: Path
) -> None:
    out = finished
    teacher = restrict_to_file(load_teacher(folder / "plain"), folder / "vocab.txt")
    check_saved(out / "student", teacher)
    model = transformers.AutoModel.from_pretrained(out / "student")
    assert model.get_input_embeddings().weight.shape == (len(KEPT), 16)
    record = json.loads((out / "result.json").read_text())
    assert record["student"]["vocab_size"] == len(KEPT)
    assert record["teacher"] == teacher.fingerprint
    assert 0 < record["own_pieces"]["fidelity"]["value"] < 1
    assert record["own_pieces"]["pieces"] > 1 and record["own_pieces"]["unknown"] == 0

    library = pytest.importorskip("sentence_transformers", reason="it must load what we save")
    sentences = library.SentenceTransformer(str(out / "student"), device="cpu")
    assert sentences.encode(SENTENCES).shape == (3, 24)
    ids = sentences.tokenize(SENTENCES[:1])["input_ids"][0].tolist()
    assert ids == teacher.tokenizer.encode(SENTENCES[0]).ids


def test_a_student_with_a_head_scores_its_own_words(folder: Path, tmp_path: Path, capsys) -> None:
    """It begins as copies of the teacher's layers and words; soft targets are over its words."""
    out = tmp_path / "run"
    changes = {"architecture": folder / "half.json", "recipe": "distilbert"}
    assert main(options(folder, out, teacher=folder / "head", **changes)) == 0
    assert "judged by their own words" in " ".join(capsys.readouterr().out.split())
    teacher = restrict_to_file(load_teacher(folder / "head"), folder / "vocab.txt")
    check_saved(out / "student", teacher)
    model, info = transformers.AutoModelForMaskedLM.from_pretrained(
        out / "student", output_loading_info=True
    )
    assert not any(info.values()), info
    assert model(torch.tensor([[KEPT.index("sea")]])).logits.shape == (1, 1, len(KEPT))


def test_a_run_with_another_vocabulary_is_refused(
    folder: Path, finished: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join([*KEPT[1:], KEPT[0]]))
    turned = options(folder, finished, vocabulary=tmp_path / "vocab.txt")
    none = options(folder, finished)
    where = none.index("--vocabulary")
    for words, message in (
        (turned, "which differs in student, teacher"),
        (none[:where] + none[where + 2 :], "which differs in student, teacher"),
    ):
        assert main(words) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_command_says_what_the_vocabulary_is_and_costs(
    folder: Path, finished: Path, capsys
) -> None:
    assert main(options(folder, finished)) == 0  # again: it prints what is known
    shown = " ".join(capsys.readouterr().out.split())
    assert f"students keep {len(KEPT)} of the teacher's {len(VOCABULARY)} tokens" in shown
    assert "on 40 sample texts, students' pieces are" in shown and "to itself" in shown


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (None, "nowhere.txt is not there"),
        ([*KEPT, "tide"], "'tide', of 63, is not: leave out"),
        (KEPT[1:], None),
        (KEPT[2:], "'[MASK]' is missing"),
    ],
)
def test_command_refuses_vocabularies_at_once(
    tokens: list[str] | None, message: str | None, folder: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autodistill.search.materials.tokenised", stop)
    path = tmp_path / "nowhere.txt"
    if tokens is not None:
        path = tmp_path / "vocab.txt"
        path.write_text("\n".join(tokens))
    code = main(options(folder, tmp_path / "run", vocabulary=path))
    assert code == (130 if message is None else 2)
    assert (message or "") in " ".join(capsys.readouterr().err.split())


# --- tokenizers of the student's own -----------------------------------------------


@pytest.mark.parametrize("lower", [True, False])
def test_a_tokenizer_of_the_students_own_is_saved_as_it_is(
    lower: bool, folder: Path, tmp_path: Path
) -> None:
    """Also beside a teacher of which sentence-transformers says that it lowers case."""
    library = pytest.importorskip("sentence_transformers", reason="it must load what we save")
    source = tmp_path / "teacher"
    source.mkdir()
    for file in (folder / "plain").iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    (source / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    made = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=lower)
    made.save(str(tmp_path / "tokenizer.json"))
    teacher = restrict_to_file(load_teacher(source), tmp_path / "tokenizer.json")
    expected = [made.encode(text).ids for text in SENTENCES]
    assert (KEPT.index("[UNK]") in expected[-1]) == (not lower)  # "DAY"
    config = BertConfig(
        **ARCHITECTURE,
        vocab_size=len(KEPT),
        max_position_embeddings=32,
        pad_token_id=teacher.special.pad,
    )
    kernel = np.zeros((16, 24), np.float32)
    weights = random_weights(config, np.random.default_rng(0), head=False)
    save_student(Student(config, weights, kernel, kernel[0], False), teacher, tmp_path / "student")
    check_saved(tmp_path / "student", teacher)
    model = library.SentenceTransformer(str(tmp_path / "student"), device="cpu")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "student")
    for text, ids in zip(SENTENCES, expected, strict=True):
        assert tokenizer(text)["input_ids"] == teacher.tokenizer.encode(text).ids == ids
        assert model.tokenize([text])["input_ids"][0].tolist() == ids


# --- what the vocabulary costs the teacher ------------------------------------------


def documents(texts: list[str]) -> list[Document]:
    return [Document(str(i), text) for i, text in enumerate(texts)]


def test_own_pieces_are_counted(folder: Path) -> None:
    cut = restrict_to_file(load_teacher(folder / "plain"), folder / "vocab.txt")
    found = own_pieces(cut, documents(["the sea is cold", "rain é 海 day"]), sequence_length=32)
    # sea ... are 4 pieces of both; "rain" is 4 of the student's and 1 of the teacher's, "day" 3 and
    # 1, "é" loses its accent and 海 is unknown to both.
    assert found.texts == 2
    assert found.pieces == pytest.approx((4 + 4 + 1 + 1 + 3) / (4 + 1 + 1 + 1 + 1))
    assert (found.unknown, found.whole_unknown) == (pytest.approx(1 / 13), pytest.approx(1 / 8))


def mean_embeddings(teacher: Teacher, texts: list[str]) -> np.ndarray:
    encoded = [teacher.tokenizer.encode(text).ids for text in texts]
    ids = np.full((len(texts), 40), teacher.special.pad)
    for row, one in zip(ids, encoded, strict=True):
        row[: len(one)] = one
    lengths = np.array([len(one) for one in encoded])
    states = np.asarray(teacher.encoder(ids, np.arange(40) < lengths[:, None]), np.float64)
    return np.array([one[:n].mean(0) for one, n in zip(states, lengths, strict=True)])


def test_own_pieces_fidelity_is_a_squared_correlation(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    kept = ["the", "sea", "is", "cold", "."]  # and one word in five that is spelled
    texts = [" ".join([*rng.choice(kept, 8), *rng.choice(WORDS, 2)]) for _ in range(30)]
    whole = load_teacher(folder / "plain")
    cut = restrict_to_file(whole, folder / "vocab.txt")
    found = own_pieces(cut, documents(texts), sequence_length=40).fidelity
    assert found is not None
    t, s = (mean_embeddings(one, texts) for one in (whole, cut))
    correlation = np.corrcoef((t - t.mean(0)).ravel(), (s - s.mean(0)).ravel())[0, 1]
    # Vectors are float32, summed in another order.
    assert found.value == pytest.approx(correlation**2, abs=1e-4)
    assert correlation > 0.1 and found.value < 0.99

    (tmp_path / "vocab.txt").write_text("\n".join(reversed(VOCABULARY)))
    same = restrict_to_file(whole, tmp_path / "vocab.txt")
    nothing_lost = own_pieces(same, documents(texts), sequence_length=40)
    assert nothing_lost.fidelity is not None
    assert nothing_lost.fidelity.value == pytest.approx(1, abs=1e-6)
    assert nothing_lost.pieces == 1


def test_own_pieces_of_long_and_single_texts(folder: Path) -> None:
    cut = restrict_to_file(load_teacher(folder / "plain"), folder / "vocab.txt")
    long = own_pieces(cut, documents(["rain " * 1000] * 300), sequence_length=8)
    # 24 characters: five words and "rai" or so, however few pieces passages have
    assert long.texts == 100 and long.pieces == pytest.approx(4, abs=0.1)
    single = own_pieces(cut, documents(["rain"]), sequence_length=8)
    assert single.fidelity is None and single.pieces == 4
    assert len(single.describe()) == 1  # nothing of what was not measured
