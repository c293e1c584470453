"""Teachers cut to a part of their words, against the whole ones and against transformers.

Tolerance: float32 on both sides. A cut teacher adds up the same numbers as the
whole one, so 1e-5 at values of about unit size; transformers does so in another
order, 1e-4.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer, Tokenizer, models, pre_tokenizers, processors

from autodistill.errors import TeacherError
from autodistill.teacher import Teacher, load_teacher, restrict, restrict_to_file

torch = pytest.importorskip("torch", reason="transformers runs on torch")
transformers = pytest.importorskip("transformers", reason="it is the reference")

MakeCheckpoint = Callable[..., Path]

# In an order of their own; "warm", "night" and most letters are left out.
KEPT = ["the", "sea", "[MASK]", "cold", "##s", "is", "[SEP]", "d", "##a", "##y", "[CLS]", "[UNK]"]
KEPT += [".", "[PAD]", "rain", "on", "##i", "a", "hills"]
SENTENCES = ["The sea is cold.", "Rain on hills, DAY", "a warm night"]


def vocabulary(folder: Path, tokens: list[str]) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return path


def batch(teacher: Teacher, sentences: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask, padded to the longest."""
    encoded = [teacher.tokenizer.encode(sentence).ids for sentence in sentences]
    longest = max(map(len, encoded))
    ids = np.full((len(encoded), longest), teacher.special.pad, np.int32)
    for row, one in enumerate(encoded):
        ids[row, : len(one)] = one
    return ids, (np.arange(longest) < [[len(one)] for one in encoded]).astype(np.int32)


def rows_of(teacher: Teacher) -> np.ndarray:
    """The whole teacher's ids of a cut teacher's tokens, looked up one by one."""
    assert teacher.whole is not None
    tokens = [teacher.tokenizer.id_to_token(i) for i in range(teacher.config.vocab_size)]
    return np.array([teacher.whole.tokenizer.token_to_id(token) for token in tokens])


@pytest.fixture(params=["bert", "mobilebert"])
def cut(request: pytest.FixtureRequest, checkpoint: MakeCheckpoint, tmp_path: Path) -> Teacher:
    """A masked-LM teacher of either family with the words of ``KEPT``."""
    whole = load_teacher(checkpoint(family=request.param, head=True))
    return restrict_to_file(whole, vocabulary(tmp_path, KEPT))


def test_a_cut_teacher_reads_the_students_pieces(cut: Teacher) -> None:
    assert [cut.tokenizer.id_to_token(i) for i in range(len(KEPT))] == KEPT
    assert cut.config.vocab_size == len(cut.word_embeddings) == len(KEPT)
    pieces = cut.tokenizer.encode("The SEAS on a day, warm.").tokens
    assert " ".join(pieces) == "[CLS] the sea ##s on a d ##a ##y [UNK] [UNK] . [SEP]"
    special = cut.special
    ids = (special.cls, special.sep, special.pad, special.mask, special.unk)
    assert [KEPT[i] for i in ids] == ["[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]"]
    assert cut.config.pad_token_id == KEPT.index("[PAD]")
    assert f"students keep {len(KEPT)} of the teacher's 68 tokens" in cut.notes


def test_a_cut_teacher_agrees_with_the_whole_one_on_pieces_of_both(cut: Teacher) -> None:
    """States are equal; scores and their softmax are those of the words that are kept."""
    assert cut.whole is not None and cut.head is not None and cut.whole.head is not None
    ids, mask = batch(cut, SENTENCES)
    states = cut.encoder(ids, mask)
    whole_states = cut.whole.encoder(rows_of(cut)[ids], mask)
    np.testing.assert_allclose(states, whole_states, atol=1e-5)
    logits = cut.head(states, jnp.asarray(cut.word_embeddings))
    whole_logits = cut.whole.head(whole_states, jnp.asarray(cut.whole.word_embeddings))
    np.testing.assert_allclose(logits, whole_logits[..., rows_of(cut)], atol=1e-4)


def test_a_cut_teacher_is_transformers_model_cut_by_hand(cut: Teacher) -> None:
    assert cut.whole is not None and cut.head is not None
    model = transformers.AutoModelForMaskedLM.from_pretrained(cut.whole.folder).eval()
    rows = torch.tensor(rows_of(cut))
    predictions = model.cls.predictions
    embeddings = model.get_input_embeddings()
    embeddings.weight.data = embeddings.weight.data[rows]
    embeddings.padding_idx = None
    predictions.bias.data = predictions.bias.data[rows]
    predictions.decoder.weight = embeddings.weight
    predictions.decoder.bias = predictions.bias
    if hasattr(predictions, "dense"):  # MobileBERT
        predictions.dense.weight.data = predictions.dense.weight.data[:, rows]
    ids, mask = batch(cut, SENTENCES)
    with torch.no_grad():
        theirs = model(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            output_hidden_states=True,
        )
    states = cut.encoder(ids, mask)
    np.testing.assert_allclose(states, theirs.hidden_states[-1], atol=1e-4)
    ours = cut.head(states, jnp.asarray(cut.word_embeddings))
    np.testing.assert_allclose(ours, theirs.logits, atol=1e-4)


def test_an_embedding_teacher_is_transformers_model_cut_by_hand(
    checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    folder = checkpoint()
    cut = restrict_to_file(load_teacher(folder), vocabulary(tmp_path, KEPT))
    model = transformers.AutoModel.from_pretrained(folder).eval()
    table = model.embeddings.word_embeddings.weight.data[torch.tensor(rows_of(cut))]
    model.embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(table)
    ids, mask = batch(cut, SENTENCES)
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
    np.testing.assert_allclose(cut.encoder(ids, mask), theirs.last_hidden_state, atol=1e-4)
    assert cut.head is None and cut.pooling == load_teacher(folder).pooling


def test_an_untied_output_matrix_is_cut_with_the_words(
    checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    whole = load_teacher(checkpoint(head=True))
    decoder = "cls.predictions.decoder"
    weights = dict(whole.weights)
    weights[f"{decoder}.weight"] = whole.word_embeddings
    weights[f"{decoder}.bias"] = weights["cls.predictions.bias"]
    cut = restrict_to_file(replace(whole, weights=weights), vocabulary(tmp_path, KEPT))
    np.testing.assert_array_equal(cut.weights[f"{decoder}.weight"], cut.word_embeddings)
    np.testing.assert_array_equal(
        cut.weights[f"{decoder}.bias"], cut.weights["cls.predictions.bias"]
    )


def test_all_the_teachers_words_in_another_order_are_a_part_of_them(
    checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    whole = load_teacher(checkpoint())
    own = whole.tokenizer.get_vocab()
    turned = restrict_to_file(whole, vocabulary(tmp_path, sorted(own, key=lambda t: -own[t])))
    text = "The warm day."
    encoded = turned.tokenizer.encode(text)
    assert encoded.tokens == whole.tokenizer.encode(text).tokens
    assert encoded.ids == [len(own) - 1 - i for i in whole.tokenizer.encode(text).ids]
    ids, mask = batch(turned, SENTENCES)
    np.testing.assert_allclose(
        turned.encoder(ids, mask), whole.encoder(*batch(whole, SENTENCES)), atol=1e-5
    )


def test_the_fingerprint_is_that_of_teacher_and_vocabulary(
    checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    whole = load_teacher(checkpoint())
    turned = [*KEPT[1:], KEPT[0]]
    found = {
        restrict_to_file(whole, vocabulary(tmp_path, tokens)).fingerprint
        for tokens in (KEPT, turned, KEPT[:-1], KEPT)
    }
    assert len(found) == 3 and whole.fingerprint not in found
    other = replace(whole, fingerprint="another")
    assert restrict_to_file(other, vocabulary(tmp_path, KEPT)).fingerprint not in found


@pytest.mark.parametrize("form", ["vocab.txt", "tokenizer.json", "folder", "both"])
def test_a_vocabulary_is_a_list_or_a_tokenizer_or_a_folder(
    form: str, checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    path = vocabulary(tmp_path, KEPT)
    whole = load_teacher(checkpoint())
    expected = restrict_to_file(whole, path)
    if form in ("tokenizer.json", "both"):
        BertWordPieceTokenizer(str(path)).save(str(tmp_path / "tokenizer.json"))
    if form == "both":  # a folder's tokenizer.json says all
        vocabulary(tmp_path, ["the"])
    given = tmp_path if form in ("folder", "both") else tmp_path / form
    found = restrict_to_file(whole, given)
    assert found.special == expected.special
    np.testing.assert_array_equal(found.word_embeddings, expected.word_embeddings)
    for text in SENTENCES:
        assert found.tokenizer.encode(text).ids == expected.tokenizer.encode(text).ids


def test_a_list_may_come_from_windows(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(("\ufeff" + "\r\n".join(KEPT) + "\r\n").encode())
    cut = restrict_to_file(load_teacher(checkpoint()), path)
    assert cut.config.vocab_size == len(KEPT)


def test_a_list_changes_nothing_else_of_the_teachers_tokenizer(
    checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    """Case, padding, the framing of pairs and tokens added to the words."""
    folder = checkpoint()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["sea"])
    tokenizer.enable_padding(pad_id=0, length=12)
    tokenizer.enable_truncation(12)
    raw = json.loads(tokenizer.to_str())
    raw["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    cut = restrict_to_file(load_teacher(folder), vocabulary(tmp_path, KEPT))
    one = cut.tokenizer.encode("seas The", "is")
    expected = ["[CLS]", "sea", "[UNK]", "[UNK]", "[SEP]", "is", "[SEP]"]
    assert one.tokens == [*expected, *["[PAD]"] * (12 - len(expected))]
    assert one.ids == [KEPT.index(token) for token in one.tokens]
    assert one.type_ids[:7] == [0, 0, 0, 0, 0, 1, 1]
    assert len(cut.tokenizer.encode("sea " * 20).ids) == 12


def test_bert_processing_frames_with_the_new_ids(
    checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    whole = load_teacher(checkpoint())
    framing = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    whole.tokenizer.post_processor = processors.Sequence([framing])  # type: ignore[assignment]
    cut = restrict_to_file(whole, vocabulary(tmp_path, KEPT))
    assert cut.tokenizer.encode("sea").ids == [KEPT.index(t) for t in ("[CLS]", "sea", "[SEP]")]


# --- vocabularies that cannot be used ------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n".join([*KEPT, "the"]), r"'the' is on line 1 and again on line 20"),
        ("\n".join([*KEPT[:4], "", *KEPT[4:]]), r"line 5 is blank; each line must hold one token"),
        ("\n".join(KEPT) + "\n\n", r"line 20 is blank"),
        ("", r"line 1 is blank"),
        ("\n".join([*KEPT, "tide"]), r"a part of its teacher's; 'tide', of 20, is not: leave out"),
        (
            "\n".join([*KEPT, *(f"w{i}" for i in range(1007))]),
            r"'w0', 'w1', 'w2', 'w3', 'w4' and 1,002 more, of 1,026, are not: leave out",
        ),
        (
            "\n".join(t for t in KEPT if t not in ("[PAD]", "[UNK]")),
            r"\[CLS\] \[SEP\] \[PAD\] \[MASK\] \[UNK\] must be there; "
            r"'\[PAD\]', '\[UNK\]' are missing",
        ),
        ("\n".join(t for t in KEPT if t != "[MASK]"), r"'\[MASK\]' is missing: add"),
        ("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", r"special tokens .* alone; add words"),
    ],
)
def test_lists_that_are_refused(
    text: str, message: str, checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text(text)
    with pytest.raises(TeacherError, match=rf"--vocabulary .*vocab.txt: .*{message}"):
        restrict_to_file(load_teacher(checkpoint(head=True)), path)


def test_paths_that_are_refused(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    teacher = load_teacher(checkpoint())
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.csv").write_text("the\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "half.json").write_text('{"version": "1.0"')
    takes = r"--vocabulary takes a vocab.txt .*, a tokenizer.json, or a folder with either; "
    for name, message in (
        ("nowhere", takes + r".*nowhere is not there"),
        ("empty", takes + r".*empty is a folder with neither"),
        ("words.csv", takes + r".*words.csv is no file that ends in .txt or .json"),
        ("bytes.txt", r"bytes.txt: cannot be read as UTF-8 text"),
        ("half.json", r"half.json: cannot be read by the tokenizers library"),
    ):
        with pytest.raises(TeacherError, match=message):
            restrict_to_file(teacher, tmp_path / name)


def tokenizer_over(tokens: dict[str, int], **options: Any) -> Tokenizer:
    """Made by the library, part by part, not from the teacher's."""
    tokenizer = Tokenizer(models.WordPiece(tokens, **({"unk_token": "[UNK]"} | options)))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]",
        special_tokens=[(name, tokens[name]) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def no_framing(tokens: dict[str, int]) -> Tokenizer:
    tokenizer = tokenizer_over(tokens)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A")  # type: ignore[assignment]
    return tokenizer


NUMBERED = {token: i for i, token in enumerate(KEPT)}
WHOLE = tokenizer_over(NUMBERED).to_str()
REFUSED = {
    "gaps": (
        tokenizer_over(NUMBERED | {"warm": 40}).to_str(),
        r"ids of the 20 tokens must be 0 to 19, each once; the lowest is 0, the highest 40",
    ),
    "an id twice": (
        WHOLE.replace('"hills":18', '"hills":17'),
        r"ids of the 19 tokens must be 0 to 18, each once; the lowest is 0, the highest 17",
    ),
    "no token": (Tokenizer(models.WordLevel({}, "[UNK]")).to_str(), r"special tokens .* missing"),
    "another's": (tokenizer_over(NUMBERED | {"tide": 19}).to_str(), r"'tide', of 20, is not"),
    "no framing": (
        no_framing(NUMBERED).to_str(),
        r"must be read as \[CLS\] \[SEP\], as the teacher does; got nothing",
    ),
    "framing of other ids": (
        WHOLE.replace('"ids":[10]', '"ids":[9]'),
        r"must be read as \[CLS\] \[SEP\].*; got ##y \[SEP\], of ids \[9, 6\]",
    ),
    "another unknown word": (
        tokenizer_over(NUMBERED, unk_token="a").to_str(),
        r"unk_token must be the teacher's, '\[UNK\]'; got 'a'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tokenizers_that_are_refused(name: str, checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    text, message = REFUSED[name]
    (tmp_path / "tokenizer.json").write_text(text)
    teacher = load_teacher(checkpoint())
    with pytest.raises(TeacherError, match=rf"tokenizer.json: .*{message}"):
        restrict_to_file(teacher, tmp_path)


def test_a_tokenizer_may_split_words_in_its_own_way(checkpoint: MakeCheckpoint) -> None:
    whole = load_teacher(checkpoint())
    cut = restrict(whole, tokenizer_over(NUMBERED))
    assert cut.tokenizer.encode("The sea").tokens == ["[CLS]", "[UNK]", "sea", "[SEP]"]
    assert cut.whole is whole


def test_a_list_is_for_wordpiece_alone(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    whole = load_teacher(checkpoint())
    words = Tokenizer(models.WordLevel(whole.tokenizer.get_vocab(), "[UNK]"))
    words.post_processor = whole.tokenizer.post_processor
    whole = replace(whole, tokenizer=words)
    path = vocabulary(tmp_path, KEPT)
    with pytest.raises(TeacherError, match=r"for WordPiece alone; .* WordLevel: give a tokenizer"):
        restrict_to_file(whole, path)
    kept = Tokenizer(models.WordLevel(NUMBERED, "[UNK]"))
    kept.post_processor = tokenizer_over(NUMBERED).post_processor
    assert restrict(whole, kept).config.vocab_size == len(KEPT)


def test_a_framing_token_of_pairs_must_be_there(checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    whole = load_teacher(checkpoint())
    whole.tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]",
        pair="[CLS] $A warm $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3), ("warm", 10)],
    )
    with pytest.raises(TeacherError, match=r"frames its texts with 'warm', which is not among"):
        restrict_to_file(whole, vocabulary(tmp_path, KEPT))
