"""Saved students, as other programs load them.

Tolerance: float32 on both sides, summed in another order, at values of about
unit size. Hidden states and logits agree to 1e-4, unit vectors to 1e-5.
"""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors

from autodistill.distill.passage_set import PassageSet
from autodistill.distill.start import random_weights
from autodistill.distill.student import Student, StudentProgram
from autodistill.distill.teacher_outputs import embed_passages
from autodistill.errors import ExportError
from autodistill.export import save_student
from autodistill.models import (
    BertConfig,
    EncoderConfig,
    MobileBertConfig,
    build_encoder,
    build_head,
)
from autodistill.teacher import Teacher, TeacherKind, load_teacher

torch = pytest.importorskip("torch", reason="transformers runs on torch")
transformers = pytest.importorskip("transformers", reason="it must load what we save")
sentence_transformers = pytest.importorskip(
    "sentence_transformers", reason="it must load what we save"
)

VOCABULARY = [
    *["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "The", "sea", "the"],
    *ascii_lowercase,
    *(f"##{letter}" for letter in ascii_lowercase),
]
TEACHER_WIDTH = 24
SENTENCES = [
    "The sea is cold.",
    "rain",
    "On the hills the night is warm, and the day is cold, but not by much.",
    "",
]

SIZES: dict[str, Any] = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": len(VOCABULARY),
    "max_position_embeddings": 128,
}
BERT = BertConfig(hidden_size=32, intermediate_size=40, **SIZES)
MOBILEBERT = MobileBertConfig(
    hidden_size=48, intermediate_size=40, embedding_size=16, intra_bottleneck_size=16, **SIZES
)
STUDENTS: dict[str, EncoderConfig] = {
    "bert": BERT,
    "mobilebert": MOBILEBERT,
    "mobilebert, embedding as wide as hidden": replace(MOBILEBERT, embedding_size=48),
    "mobilebert, layer norm, one network": replace(
        MOBILEBERT, normalization_type="layer_norm", num_feedforward_networks=1, hidden_act="gelu"
    ),
}


def a_student(config: EncoderConfig, *, head: bool = False, seed: int = 0) -> Student:
    """An untrained student in which no bias is zero."""
    rng = np.random.default_rng(seed)
    weights = random_weights(config, rng, head=head)
    for name, value in weights.items():
        if name.endswith("bias"):
            value += 0.1 * rng.standard_normal(value.shape, np.float32)
    kernel = rng.standard_normal((config.hidden_size, TEACHER_WIDTH), np.float32)
    return Student(config, weights, kernel, rng.standard_normal(TEACHER_WIDTH, np.float32), head)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def teacher_folder(folder: Path, *, head: bool = False, tokenizer: str = "whole") -> Path:
    """A random BERT; its tokenizer in one of the forms in which they come."""
    config = transformers.BertConfig(hidden_size=TEACHER_WIDTH, intermediate_size=32, **SIZES)
    kind = transformers.BertForMaskedLM if head else transformers.BertModel
    kind(config).save_pretrained(folder)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY) + "\n")
    if tokenizer in ("whole", "tokenizer.json"):
        transformers.BertTokenizer(str(vocabulary)).save_pretrained(folder)
    if tokenizer == "tokenizer.json":
        vocabulary.unlink()
        (folder / "tokenizer_config.json").unlink()
    if tokenizer == "cased vocab.txt":
        write_json(folder / "tokenizer_config.json", {"do_lower_case": False})
    return folder


def add_chain(folder: Path, *, mode: str, normalize: bool, tanh: bool = False) -> Path:
    """Make a checkpoint folder that of a sentence-transformers model."""
    kinds = ["Transformer", "Pooling", *["Dense"] * tanh, *["Normalize"] * normalize]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode": mode})
    if tanh:
        from sentence_transformers.models import Dense

        (folder / "2_Dense").mkdir()
        Dense(TEACHER_WIDTH, TEACHER_WIDTH).save(str(folder / "2_Dense"))
    return folder


@pytest.fixture
def make_teacher(tmp_path: Path) -> Callable[..., Teacher]:
    def make(
        *,
        head: bool = False,
        mode: str = "mean",
        normalize: bool = True,
        tanh: bool = False,
        **options: Any,
    ) -> Teacher:
        folder = teacher_folder(tmp_path / "teacher", head=head, **options)
        if not head:
            add_chain(folder, mode=mode, normalize=normalize, tanh=tanh)
        return load_teacher(folder)

    return make


def tokens(teacher: Teacher) -> tuple[np.ndarray, np.ndarray]:
    """The sentences, padded to the longest."""
    encoded = [teacher.tokenizer.encode(sentence).ids for sentence in SENTENCES]
    longest = max(map(len, encoded))
    ids = np.full((len(encoded), longest), teacher.special.pad, np.int32)
    for row, one in enumerate(encoded):
        ids[row, : len(one)] = one
    mask = (np.arange(longest) < np.array([[len(one)] for one in encoded])).astype(np.int32)
    return ids, mask


def served(student: Student, teacher: Teacher) -> np.ndarray:
    """Vectors as the training program computes them."""
    assert teacher.pooling is not None
    program = StudentProgram(
        student.config,
        pooling_mode=teacher.pooling.mode,
        normalize=teacher.pooling.normalize,
    )
    params = program.parameters(student.weights, head=False)
    params["output"] = {"kernel": student.kernel, "bias": student.bias}
    return program.embed(params, *tokens(teacher))


def in_torch(model: Any, teacher: Teacher, **options: Any) -> Any:
    ids, mask = map(torch.tensor, tokens(teacher))
    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=mask, **options)


# --- what loads ---------------------------------------------------------------


@pytest.mark.parametrize("name", STUDENTS)
def test_auto_model_loads_students_of_embedding_teachers(
    make_teacher: Callable[..., Teacher], tmp_path: Path, name: str
) -> None:
    teacher, student = make_teacher(), a_student(STUDENTS[name])
    save_student(student, teacher, tmp_path / "student")
    model, info = transformers.AutoModel.from_pretrained(
        tmp_path / "student", output_loading_info=True
    )
    assert not any(info.values()), info
    assert model.config.architectures == [type(model).__name__]
    theirs = in_torch(model, teacher, output_hidden_states=True)
    encoder = build_encoder(student.config, student.weights)
    states = encoder.trace(*map(jnp.asarray, tokens(teacher))).hidden_states
    for one, other in zip(states, theirs.hidden_states, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-4)
    first = theirs.last_hidden_state[:, 0]
    expected = first.tanh() if name == "bert" else first  # the neutral poolers
    np.testing.assert_allclose(theirs.pooler_output, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "mode", "normalize"),
    [
        ("bert", "mean", True),
        ("mobilebert", "max", False),
        ("mobilebert, layer norm, one network", "cls", True),
    ],
)
def test_sentence_transformers_returns_the_vectors_that_were_trained(
    make_teacher: Callable[..., Teacher], tmp_path: Path, name: str, mode: str, normalize: bool
) -> None:
    teacher = make_teacher(mode=mode, normalize=normalize)
    student = a_student(STUDENTS[name])
    folder = tmp_path / "student"
    save_student(student, teacher, folder)
    expected = served(student, teacher)

    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    vectors = model.encode(SENTENCES)
    assert vectors.shape == (len(SENTENCES), teacher.output_width)
    np.testing.assert_allclose(vectors, expected, atol=1e-5 if normalize else 1e-4)
    if student.config is BERT:  # MobileBERT's trigram sees one padded neighbour
        alone = np.concatenate([model.encode([sentence]) for sentence in SENTENCES])
        np.testing.assert_allclose(vectors, alone, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "mobilebert"])
def test_a_student_can_be_a_teacher(
    make_teacher: Callable[..., Teacher], tmp_path: Path, name: str
) -> None:
    teacher, student = make_teacher(), a_student(STUDENTS[name])
    save_student(student, teacher, tmp_path / "student")
    again = load_teacher(tmp_path / "student")
    assert again.kind is TeacherKind.EMBEDDING
    assert again.notes == ()
    assert again.parameters == student.parameters
    passages = PassageSet(*tokens(teacher), np.arange(len(SENTENCES)))
    vectors = embed_passages(again, passages)
    np.testing.assert_allclose(vectors, served(student, teacher), atol=1e-5)


def test_a_tanh_of_the_teacher_is_not_the_students(
    make_teacher: Callable[..., Teacher], tmp_path: Path
) -> None:
    teacher, student = make_teacher(tanh=True, normalize=False), a_student(BERT)
    save_student(student, teacher, tmp_path / "student")
    model = sentence_transformers.SentenceTransformer(str(tmp_path / "student"), device="cpu")
    vectors = model.encode(SENTENCES)
    assert np.abs(vectors).max() > 1, "a tanh would bound them"
    np.testing.assert_allclose(vectors, served(student, teacher), atol=1e-4)


@pytest.mark.parametrize("name", STUDENTS)
def test_auto_model_for_masked_lm_loads_students_with_a_head(
    make_teacher: Callable[..., Teacher], tmp_path: Path, name: str
) -> None:
    teacher, student = make_teacher(head=True), a_student(STUDENTS[name], head=True)
    folder = tmp_path / "student"
    save_student(student, teacher, folder)
    ids, mask = map(jnp.asarray, tokens(teacher))
    hidden = build_encoder(student.config, student.weights)(ids, mask)
    table = jnp.asarray(student.weights["embeddings.word_embeddings.weight"])
    logits = build_head(student.config, student.weights)(hidden, table)

    model, info = transformers.AutoModelForMaskedLM.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(info.values()), info
    assert model.config.architectures == [type(model).__name__]
    np.testing.assert_allclose(logits, in_torch(model, teacher).logits.numpy(), atol=1e-4)
    assert student.parameters == sum(p.numel() for p in model.parameters())
    with safetensors.safe_open(folder / "model.safetensors", framework="np") as file:
        names = set(file.keys())
        assert file.metadata() == {"format": "pt"}
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert names == set(model.state_dict()) - tied

    encoder, info = transformers.AutoModel.from_pretrained(folder, output_loading_info=True)
    states = in_torch(encoder, teacher).last_hidden_state.numpy()
    np.testing.assert_allclose(hidden, states, atol=1e-4)
    # As with any checkpoint that has a head, bert-base-uncased for one.
    assert {key.split(".")[0] for key in info["unexpected_keys"]} == {"cls"}
    missing = {"pooler.dense.weight", "pooler.dense.bias"} if name == "bert" else set()
    assert info["missing_keys"] == missing

    again = load_teacher(folder)
    assert again.kind is TeacherKind.MASKED_LM
    assert again.parameters == student.parameters
    assert again.head is not None
    np.testing.assert_allclose(again.head(again.encoder(ids, mask), table), logits, atol=1e-5)
    assert not (folder / "modules.json").exists()


@pytest.mark.parametrize("form", ["whole", "tokenizer.json", "vocab.txt", "cased vocab.txt"])
def test_the_tokenizer_is_the_teachers(
    make_teacher: Callable[..., Teacher], tmp_path: Path, form: str
) -> None:
    teacher = make_teacher(tokenizer=form)
    folder = tmp_path / "student"
    save_student(a_student(MOBILEBERT), teacher, folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in [*SENTENCES, "Thé SEA, 海 [MASK]!"]:
        expected = teacher.tokenizer.encode(text).ids
        assert tokenizer(text)["input_ids"] == expected
        assert load_teacher(folder).tokenizer.encode(text).ids == expected
    for role in ("cls", "sep", "pad", "mask", "unk"):
        assert getattr(tokenizer, f"{role}_token_id") == getattr(teacher.special, role)
    assert tokenizer.model_max_length == SIZES["max_position_embeddings"]
    assert (folder / "vocab.txt").exists() == (form != "tokenizer.json")
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    assert (
        model.tokenize(["the SEA"])["input_ids"][0].tolist()
        == teacher.tokenizer.encode("the SEA").ids
    )


@pytest.mark.parametrize(
    ("of_the_teacher", "positions", "expected"), [(None, 128, 128), (64, 128, 64), (64, 32, 32)]
)
def test_long_texts_are_cut_where_the_teacher_cuts_them(
    make_teacher: Callable[..., Teacher],
    tmp_path: Path,
    of_the_teacher: int | None,
    positions: int,
    expected: int,
) -> None:
    teacher = make_teacher()
    if of_the_teacher is not None:
        write_json(teacher.folder / "sentence_bert_config.json", {"max_seq_length": of_the_teacher})
    student = a_student(replace(BERT, max_position_embeddings=positions))
    save_student(student, teacher, tmp_path / "student")
    model = sentence_transformers.SentenceTransformer(str(tmp_path / "student"), device="cpu")
    assert model.max_seq_length == expected
    assert model.encode(["sea " * 500]).shape == (1, TEACHER_WIDTH)


# --- how it is written -----------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_saved_student_is_replaced_whole(
    make_teacher: Callable[..., Teacher], tmp_path: Path
) -> None:
    teacher = make_teacher()
    folder, other = tmp_path / "students" / "a", tmp_path / "students" / "b"
    save_student(a_student(MOBILEBERT), teacher, folder)
    (folder / "stale.txt").write_text("of the first")
    save_student(a_student(BERT), teacher, folder)
    save_student(a_student(BERT), teacher, other)
    assert contents(folder) == contents(other)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("failing", ["write_bytes", "write_text"])
def test_a_full_disk_leaves_the_old_student(
    make_teacher: Callable[..., Teacher],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    teacher, folder = make_teacher(), tmp_path / "students" / "a"
    save_student(a_student(BERT), teacher, folder)
    before = contents(folder)

    def full(*args: Any, **options: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, failing, full)
        with pytest.raises(ExportError, match=r"students/a: .*No space left.*Free disk space"):
            save_student(a_student(MOBILEBERT), teacher, folder)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["a"]


def test_a_failed_rename_leaves_the_old_student(
    make_teacher: Callable[..., Teacher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, folder = make_teacher(), tmp_path / "students" / "a"
    save_student(a_student(BERT), teacher, folder)
    before = contents(folder)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        with pytest.raises(ExportError, match="Input/output error"):
            save_student(a_student(MOBILEBERT), teacher, folder)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["a"]


def test_what_a_killed_run_left_is_cleared_and_restored(
    make_teacher: Callable[..., Teacher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between its two renames, a run leaves the old student under another name."""
    teacher, folder = make_teacher(), tmp_path / "students" / "a"
    save_student(a_student(BERT), teacher, folder)
    before = contents(folder)
    folder.rename(folder.with_name(".a.replaced"))
    (folder.parent / ".a.partial").mkdir()

    def full(*args: Any, **options: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ExportError):
            save_student(a_student(MOBILEBERT), teacher, folder)
    assert contents(folder) == before
    save_student(a_student(MOBILEBERT), teacher, folder)
    assert contents(folder) != before
    assert [path.name for path in folder.parent.iterdir()] == ["a"]


def test_what_is_no_student_is_not_replaced(
    make_teacher: Callable[..., Teacher], tmp_path: Path
) -> None:
    teacher, student = make_teacher(), a_student(BERT)
    folder = tmp_path / "thesis"
    folder.mkdir()
    save_student(student, teacher, folder)  # an empty folder may be filled

    (tmp_path / "file").write_text("text")
    work = tmp_path / "work"
    work.mkdir()
    (work / "chapter.tex").write_text("years of work")
    for path in (work, tmp_path / "file"):
        with pytest.raises(ExportError, match=f"{path.name} exists and is not a saved student"):
            save_student(student, teacher, path)
    assert (work / "chapter.tex").read_text() == "years of work"
    with pytest.raises(ExportError, match=r"file/student: .*choose a folder that can be written"):
        save_student(student, teacher, tmp_path / "file" / "student")
