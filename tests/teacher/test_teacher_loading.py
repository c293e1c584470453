"""Teachers against transformers and sentence-transformers, and every way to fail.

Tolerance: float32 on both sides, summed in another order; vectors are of unit
size, so 1e-4 is four digits.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autodistill.distill.passage_set import PassageSet
from autodistill.distill.teacher_outputs import embed_passages
from autodistill.errors import TeacherError
from autodistill.teacher import Teacher, TeacherKind, demo_teacher_folder, load_teacher

torch = pytest.importorskip("torch", reason="transformers runs on torch")
transformers = pytest.importorskip("transformers", reason="it is the reference")
sentence_transformers = pytest.importorskip(
    "sentence_transformers", reason="it is the reference for embeddings"
)
safetensors_numpy = pytest.importorskip("safetensors.numpy")

MakeCheckpoint = Callable[..., Path]

SENTENCES = [
    "The sea is cold.",
    "rain",
    "On the hills the night is warm and the day is cold. The SEA is warm on the day.",
    "",
]


def embed(teacher: Teacher, sentences: list[str]) -> np.ndarray:
    """Vectors of sentences of mixed length, padded to the longest."""
    encoded = [teacher.tokenizer.encode(sentence).ids for sentence in sentences]
    longest = max(map(len, encoded))
    ids = np.full((len(encoded), longest), teacher.special.pad, np.int32)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(encoded):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return embed_passages(teacher, PassageSet(ids, mask, np.arange(len(encoded))))


def chain(folder: Path, *modules: Any, target: Path) -> Any:
    """Save a sentence-transformers model around a checkpoint, and return it."""
    from sentence_transformers.models import Transformer

    model = sentence_transformers.SentenceTransformer(
        modules=[Transformer(str(folder)), *modules], device="cpu"
    )
    model.save(str(target))
    return model


def edit(path: Path, **changes: Any) -> None:
    """Change fields of a JSON object in a file; None takes a field out."""
    raw = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in raw.items() if v is not None}))


# --- teachers that load ---------------------------------------------------


def test_the_demo_teacher_embeds_as_sentence_transformers_does() -> None:
    try:
        folder = demo_teacher_folder()
    except TeacherError:
        pytest.skip("the demo teacher is not installed (extra: demo)")
    teacher = load_teacher(folder)
    assert (teacher.kind, teacher.output_width) == (TeacherKind.EMBEDDING, 384)
    assert teacher.name == "all-MiniLM-L6-v2"
    assert teacher.notes == ()
    # BERT's own count, 22,713,216, has the pooler's 384 * 384 + 384 too.
    assert teacher.parameters == 22_713_216 - 147_840
    teacher.tokenizer.no_padding()
    sentences = [
        "A cat sat on the mat.",
        "Compilers turn source code into machine code, and the best of them do so quickly; "
        "naïve ones — there are many! — do not.",
        "x",
    ]
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(embed(teacher, sentences), model.encode(sentences), atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "mobilebert"])
def test_a_head_makes_a_masked_lm_teacher(checkpoint: MakeCheckpoint, family: str) -> None:
    folder = checkpoint(family=family, head=True)
    teacher = load_teacher(folder)
    assert teacher.kind is TeacherKind.MASKED_LM
    assert teacher.pooling is None
    assert teacher.notes == ()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    encoded = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = model(**encoded).logits.numpy()
    assert teacher.head is not None
    ids, mask = encoded["input_ids"].numpy(), encoded["attention_mask"].numpy()
    ours = teacher.head(teacher.encoder(ids, mask), teacher.word_embeddings)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert teacher.parameters == sum(p.numel() for p in model.parameters())


def test_a_plain_encoder_is_an_embedding_teacher_by_the_mean(checkpoint: MakeCheckpoint) -> None:
    folder = checkpoint()
    teacher = load_teacher(folder)
    assert teacher.kind is TeacherKind.EMBEDDING
    assert teacher.head is None
    assert teacher.pooling is not None
    assert teacher.pooling.mode == "mean"
    assert "mean pooling" in teacher.notes[0]
    # What sentence-transformers assumes of such a folder, too.
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(embed(teacher, SENTENCES), model.encode(SENTENCES), atol=1e-4)


@pytest.mark.parametrize(
    ("mode", "style", "normalize"),
    [
        ("mean", "new", True),
        ("mean", "old", False),
        ("cls", "new", False),
        ("cls", "old", True),
        ("max", "new", True),
        ("max", "old", False),
    ],
)
def test_pooling_as_the_folder_says(
    checkpoint: MakeCheckpoint, tmp_path: Path, mode: str, style: str, normalize: bool
) -> None:
    from sentence_transformers.models import Normalize, Pooling

    folder = tmp_path / "model"
    modules = [Pooling(32, mode), *([Normalize()] if normalize else [])]
    model = chain(checkpoint(), *modules, target=folder)
    if style == "old":
        names = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
        flags = {f"pooling_mode_{name}": key == mode for key, name in names.items()}
        old = {"word_embedding_dimension": 32, **flags, "include_prompt": True}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(old))
    teacher = load_teacher(folder)
    assert teacher.notes == ()
    np.testing.assert_allclose(embed(teacher, SENTENCES), model.encode(SENTENCES), atol=1e-4)


@pytest.mark.parametrize(("activation", "bias"), [("Identity", True), ("Tanh", False)])
def test_dense_layers_as_the_folder_says(
    checkpoint: MakeCheckpoint, tmp_path: Path, activation: str, bias: bool
) -> None:
    from sentence_transformers.models import Dense, Normalize, Pooling

    function = getattr(torch.nn, activation)()
    layers = [
        Dense(32, 20, bias=bias, activation_function=function),
        Dense(20, 8, bias=bias, activation_function=function),
    ]
    folder = tmp_path / "model"
    model = chain(checkpoint(), Pooling(32, "mean"), *layers, Normalize(), target=folder)
    teacher = load_teacher(folder)
    assert teacher.output_width == 8
    assert teacher.pooling is not None
    assert teacher.pooling.is_linear == (activation == "Identity")
    np.testing.assert_allclose(embed(teacher, SENTENCES), model.encode(SENTENCES), atol=1e-4)


def test_dense_without_an_activation_named_is_tanh(
    checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    from sentence_transformers.models import Dense, Pooling

    folder = tmp_path / "model"
    model = chain(checkpoint(), Pooling(32, "mean"), Dense(32, 8), target=folder)
    edit(folder / "2_Dense" / "config.json", activation_function=None)
    np.testing.assert_allclose(
        embed(load_teacher(folder), SENTENCES), model.encode(SENTENCES), atol=1e-4
    )


def test_the_encoder_may_lie_in_a_folder_of_its_own(
    checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    from sentence_transformers.models import Pooling

    folder = tmp_path / "model"
    model = chain(checkpoint(), Pooling(32, "cls"), target=folder)
    inner = folder / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(inner / name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = inner.name
    (folder / "modules.json").write_text(json.dumps(modules))
    teacher = load_teacher(folder)
    assert teacher.folder == inner
    np.testing.assert_allclose(embed(teacher, SENTENCES), model.encode(SENTENCES), atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"do_lower_case": True}, {"do_lower_case": False}])
def test_vocab_txt_alone_is_a_tokenizer(
    checkpoint: MakeCheckpoint, options: dict[str, bool]
) -> None:
    folder = checkpoint()
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    if options:
        (folder / "tokenizer_config.json").write_text(json.dumps(options))
    theirs = transformers.BertTokenizer(str(folder / "vocab.txt"), **options)
    teacher = load_teacher(folder)
    for text in [*SENTENCES, "Ráin, 海 [MASK]!"]:
        assert teacher.tokenizer.encode(text).ids == theirs(text)["input_ids"]


def test_lower_casing_may_be_said_by_sentence_transformers(
    checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    from sentence_transformers.models import Pooling, Transformer

    folder = checkpoint()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    edit(folder / "tokenizer_config.json", do_lower_case=False)
    with_case = load_teacher(folder)
    modules = [Transformer(str(folder), do_lower_case=True), Pooling(32, "mean")]
    model = sentence_transformers.SentenceTransformer(modules=modules, device="cpu")
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    teacher = load_teacher(folder)
    np.testing.assert_allclose(embed(teacher, SENTENCES), model.encode(SENTENCES), atol=1e-4)
    assert np.abs(embed(with_case, SENTENCES[:1]) - model.encode(SENTENCES[:1])).max() > 1e-2
    assert with_case.fingerprint != teacher.fingerprint


def test_special_tokens_are_found_by_their_names(checkpoint: MakeCheckpoint) -> None:
    folder = checkpoint()
    special = load_teacher(folder).special
    assert (special.pad, special.unk, special.cls, special.sep, special.mask) == (0, 1, 2, 3, 4)
    edit(folder / "tokenizer_config.json", cls_token={"content": "the"}, mask_token="sea")
    renamed = load_teacher(folder).special
    assert (renamed.cls, renamed.mask) == (6, 7)


# --- fingerprints -----------------------------------------------------------


@pytest.fixture(scope="session")
def original_chain(
    originals: Callable[[str, bool], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from sentence_transformers.models import Dense, Normalize, Pooling

    folder = tmp_path_factory.mktemp("chain")
    modules = [Pooling(32, "mean"), Dense(32, 8), Normalize()]
    chain(originals("bert", False), *modules, target=folder)
    return folder


@pytest.fixture
def embedding_folder(original_chain: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original_chain, tmp_path / "model")


def test_fingerprint_stays_when_the_folder_moves(embedding_folder: Path, tmp_path: Path) -> None:
    before = load_teacher(embedding_folder).fingerprint
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(embedding_folder, moved)
    (moved / "README.md").write_text("words about it")
    assert load_teacher(moved).fingerprint == before


def change_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = safetensors_numpy.load_file(path)
    tensors["embeddings.LayerNorm.bias"] = tensors["embeddings.LayerNorm.bias"] + 1e-3
    safetensors_numpy.save_file(tensors, path)


def change_dense(folder: Path) -> None:
    path = folder / "2_Dense" / "model.safetensors"
    tensors = safetensors_numpy.load_file(path)
    safetensors_numpy.save_file({k: v + 1e-3 for k, v in tensors.items()}, path)


def change_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"lowercase": true', '"lowercase": false'))


def drop_normalize(folder: Path) -> None:
    path = folder / "modules.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:-1]))


@pytest.mark.parametrize(
    "change",
    [
        change_weights,
        change_dense,
        change_tokenizer,
        drop_normalize,
        lambda folder: edit(folder / "1_Pooling" / "config.json", pooling_mode="cls"),
        lambda folder: edit(folder / "config.json", hidden_act="relu"),
        lambda folder: edit(folder / "tokenizer_config.json", mask_token="sea"),
    ],
    ids=["weights", "dense", "tokenizer", "modules", "pooling", "config", "special tokens"],
)
def test_fingerprint_changes_with_the_outputs(
    embedding_folder: Path, change: Callable[[Path], None]
) -> None:
    shutil.rmtree(embedding_folder / "3_Normalize")  # as older versions wrote it: no config
    before = load_teacher(embedding_folder).fingerprint
    change(embedding_folder)
    assert load_teacher(embedding_folder).fingerprint != before


# --- folders that cannot be used -----------------------------------------


def cut(path: Path, share: float = 0.5) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])


def rewrite_tensors(folder: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    path = folder / "model.safetensors"
    tensors = safetensors_numpy.load_file(path)
    change(tensors)
    safetensors_numpy.save_file(tensors, path)


def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def in_shards(folder: Path, weight_map: Any) -> None:
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def spoilt(name: str, value: float) -> Callable[[dict[str, np.ndarray]], None]:
    """One value of this tensor, whatever its prefix, is ``value``."""

    def change(tensors: dict[str, np.ndarray]) -> None:
        (full,) = (one for one in tensors if one.endswith(name))
        tensors[full] = tensors[full].copy()
        tensors[full].flat[-1] = value

    return change


def lose_token(folder: Path, token: str) -> None:
    """Rename a token, so that the size stays."""
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace(f'"{token}"', '"[OTHER]"'))


def longer_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with (folder / "vocab.txt").open("a") as file:
        file.write("another\n")


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "teacher is not a folder"),
    "no config": (lambda f: (f / "config.json").unlink(), r"config.json is missing"),
    "half a config": (lambda f: cut(f / "config.json"), r"config.json cannot be read as JSON"),
    "config of bytes": (
        lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"),
        r"config.json cannot be read as JSON",
    ),
    "config is a list": (
        lambda f: (f / "config.json").write_text("[]"),
        r"config.json must hold a JSON object; got list",
    ),
    "another family": (
        lambda f: edit(f / "config.json", model_type="distilbert"),
        r"config.json.*model_type must be one of bert, mobilebert; got 'distilbert'",
    ),
    "size is text": (
        lambda f: edit(f / "config.json", hidden_size="32"),
        r"config.json.*hidden_size must be a positive integer; got '32'",
    ),
    "size is missing": (
        lambda f: edit(f / "config.json", num_attention_heads=None),
        r"config.json.*lacks num_attention_heads",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"model.safetensors is missing$"),
    "half the weights": (
        lambda f: cut(f / "model.safetensors"),
        r"model.safetensors is not a complete safetensors file",
    ),
    "weights of zero bytes": (
        lambda f: (f / "model.safetensors").write_bytes(b""),
        r"model.safetensors is not a complete safetensors file",
    ),
    "weights in a pickle": (only_a_pickle, r"pytorch_model.bin is a pickle, which is not read"),
    "a weight too few": (
        lambda f: rewrite_tensors(f, lambda t: t.pop("encoder.layer.1.output.dense.bias")),
        r"teacher.*lacks the weight 'encoder.layer.1.output.dense.bias'",
    ),
    "more layers than weights": (
        lambda f: edit(f / "config.json", num_hidden_layers=3),
        r"teacher.*lacks the weight 'encoder.layer.2",
    ),
    "shape of another width": (
        lambda f: edit(f / "config.json", intermediate_size=48),
        r"teacher.*dense.*must have shape \(48, 32\) by config.json.*holds \(40, 32\)"
        r"|teacher.*dense.bias' must have shape \(48,\) by config.json.*holds \(40,\)",
    ),
    "a weight that is not a number": (
        lambda f: rewrite_tensors(f, spoilt("encoder.layer.1.output.dense.bias", np.nan)),
        r"model.safetensors: .*encoder.layer.1.output.dense.bias holds values that are not finite",
    ),
    "an infinite weight": (
        lambda f: rewrite_tensors(f, spoilt("embeddings.word_embeddings.weight", -np.inf)),
        r"model.safetensors: .*word_embeddings.weight holds values that are not finite",
    ),
    "index without its shard": (
        lambda f: in_shards(f, {"a": "model-1.safetensors", "b": "model-2.safetensors"}),
        r"model-2.safetensors is missing",
    ),
    "index that is a list": (
        lambda f: in_shards(f, ["model-1.safetensors"]),
        r"index.json must map each weight to a file beside it",
    ),
    "index that is empty": (lambda f: in_shards(f, {}), r"index.json must map each weight"),
    "index of numbers": (lambda f: in_shards(f, {"a": 1}), r"index.json must map each weight"),
    "index of files elsewhere": (
        lambda f: in_shards(f, {"a": "../model-1.safetensors"}),
        r"index.json must map each weight to a file beside it",
    ),
    "half an index": (
        lambda f: (in_shards(f, {"a": "b"}), cut(f / "model.safetensors.index.json")),
        r"index.json cannot be read as JSON",
    ),
    "no tokenizer": (
        lambda f: ((f / "tokenizer.json").unlink(), (f / "vocab.txt").unlink()),
        r"teacher has neither tokenizer.json nor vocab.txt",
    ),
    "half a tokenizer": (
        lambda f: cut(f / "tokenizer.json"),
        r"the tokenizer in .*teacher cannot be read",
    ),
    "garbled vocabulary": (
        lambda f: ((f / "tokenizer.json").unlink(), (f / "vocab.txt").write_bytes(b"\xff\x00")),
        r"the tokenizer in .*teacher cannot be read",
    ),
    "half the tokenizer's options": (
        lambda f: cut(f / "tokenizer_config.json"),
        r"tokenizer_config.json cannot be read as JSON",
    ),
    "tokenizer of another size": (
        longer_tokenizer,
        r"teacher: the tokenizer has 69 entries and the word embedding 68 rows",
    ),
    "no mask token": (
        lambda f: lose_token(f, "[MASK]"),
        r"teacher lacks the mask token '\[MASK\]'",
    ),
    "no padding token": (
        lambda f: lose_token(f, "[PAD]"),
        r"teacher lacks the pad token '\[PAD\]'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_checkpoint_is_named(checkpoint: MakeCheckpoint, name: str) -> None:
    folder = checkpoint()
    damage, message = BROKEN[name]
    damage(folder)
    with pytest.raises(TeacherError, match=message):
        load_teacher(folder)


def test_a_file_is_not_a_teacher(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(TeacherError, match="file is not a folder"):
        load_teacher(tmp_path / "file")


def test_a_head_of_its_own_matrix_is_refused(checkpoint: MakeCheckpoint) -> None:
    folder = checkpoint(head=True)
    name = "cls.predictions.decoder.weight"
    table = "bert.embeddings.word_embeddings.weight"
    rewrite_tensors(folder, lambda tensors: tensors.update({name: tensors[table].copy()}))
    assert load_teacher(folder).kind is TeacherKind.MASKED_LM
    rewrite_tensors(folder, lambda tensors: tensors.update({name: tensors[table] + 1}))
    with pytest.raises(TeacherError, match=r"decoder\.weight differs from the word embeddings"):
        load_teacher(folder)


def test_half_a_head_is_named(checkpoint: MakeCheckpoint) -> None:
    folder = checkpoint(head=True)
    rewrite_tensors(folder, lambda tensors: tensors.pop("cls.predictions.bias"))
    with pytest.raises(TeacherError, match=r"lacks the weight 'cls\.predictions\.bias'"):
        load_teacher(folder)


def rewrite_modules(folder: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    path = folder / "modules.json"
    modules = json.loads(path.read_text())
    path.write_text(json.dumps(change(modules)))


def retyped(index: int, kind: Any) -> Callable[[Path], None]:
    def change(modules: list[dict[str, Any]]) -> list[dict[str, Any]]:
        modules[index]["type"] = kind
        return modules

    return lambda folder: rewrite_modules(folder, change)


def rewrite_dense(folder: Path, **tensors: np.ndarray) -> None:
    safetensors_numpy.save_file(
        {f"linear.{name}": value for name, value in tensors.items()},
        folder / "2_Dense" / "model.safetensors",
    )


BROKEN_CHAINS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "half the modules": (lambda f: cut(f / "modules.json"), r"modules.json is not a list of mod"),
    "modules in a dictionary": (
        lambda f: rewrite_modules(f, lambda modules: {"modules": modules}),
        r"modules.json is not a list of modules",
    ),
    "module without a type": (
        lambda f: rewrite_modules(f, lambda modules: [{"path": ""}]),
        r"modules.json is not a list of modules",
    ),
    "no module": (
        lambda f: rewrite_modules(f, lambda modules: []),
        r"modules.json must chain .*no",
    ),
    "unknown module": (
        retyped(2, "sentence_transformers.models.LSTM"),
        r"modules.json has a module LSTM; known are Transformer, Pooling, Dense and Normalize",
    ),
    "type is a number": (retyped(2, 3), r"modules.json has a module 3"),
    "encoder is not first": (
        lambda f: rewrite_modules(f, lambda modules: modules[::-1]),
        r"modules.json must chain .*got Normalize, Dense, Pooling, Transformer",
    ),
    "normalised before the dense layer": (
        lambda f: rewrite_modules(f, lambda m: [m[0], m[1], m[3], m[2]]),
        r"modules.json must chain .*got Transformer, Pooling, Normalize, Dense",
    ),
    "no pooling": (
        lambda f: rewrite_modules(f, lambda m: [m[0], m[2]]),
        r"modules.json must chain .*got Transformer, Dense",
    ),
    "weighted mean": (
        lambda f: edit(f / "1_Pooling" / "config.json", pooling_mode="weightedmean"),
        r"1_Pooling/config.json must choose one pooling of mean, cls, max; got \['weightedmean'\]",
    ),
    "weighted mean, old style": (
        lambda f: (f / "1_Pooling" / "config.json").write_text(
            '{"pooling_mode_mean_tokens": false, "pooling_mode_weightedmean_tokens": true}'
        ),
        r"1_Pooling/config.json must choose one pooling.*got \['weightedmean_tokens'\]",
    ),
    "two poolings": (
        lambda f: edit(f / "1_Pooling" / "config.json", pooling_mode=["mean", "max"]),
        r"1_Pooling/config.json must choose one pooling.*got \['mean', 'max'\]",
    ),
    "no pooling config": (
        lambda f: (f / "1_Pooling" / "config.json").unlink(),
        r"1_Pooling/config.json is missing",
    ),
    "half a pooling config": (
        lambda f: cut(f / "1_Pooling" / "config.json"),
        r"1_Pooling/config.json cannot be read as JSON",
    ),
    "another activation": (
        lambda f: edit(f / "2_Dense" / "config.json", activation_function="torch.nn.GELU"),
        r"2_Dense/config.json: activation_function must be Identity or Tanh; got 'GELU'",
    ),
    "dense with a residual": (
        lambda f: edit(f / "2_Dense" / "config.json", use_residual=True),
        r"2_Dense/config.json: use_residual is not supported",
    ),
    "dense on tokens": (
        lambda f: edit(f / "2_Dense" / "config.json", module_input_name="token_embeddings"),
        r"2_Dense/config.json: module_input_name must be 'sentence_embedding'",
    ),
    "tokens normalised": (
        lambda f: edit(f / "3_Normalize" / "config.json", module_input_name="token_embeddings"),
        r"3_Normalize/config.json: module_input_name must be 'sentence_embedding'",
    ),
    "no dense weights": (
        lambda f: (f / "2_Dense" / "model.safetensors").unlink(),
        r"2_Dense/model.safetensors is missing",
    ),
    "half the dense weights": (
        lambda f: cut(f / "2_Dense" / "model.safetensors"),
        r"2_Dense/model.safetensors is not a complete safetensors file",
    ),
    "dense of another width": (
        lambda f: rewrite_dense(f, weight=np.zeros((8, 5), np.float32)),
        r"2_Dense/model.safetensors must hold linear.weight of shape \(outputs, 32\).*\(8, 5\)",
    ),
    "dense that is not finite": (
        lambda f: rewrite_dense(
            f, weight=np.full((8, 32), np.inf, np.float32), bias=np.zeros(8, np.float32)
        ),
        r"2_Dense/model.safetensors: linear.weight holds values that are not finite",
    ),
    "dense without its weight": (
        lambda f: rewrite_dense(f, bias=np.zeros(8, np.float32)),
        r"2_Dense/model.safetensors must hold linear.weight",
    ),
    "dense with a bias of another width": (
        lambda f: rewrite_dense(
            f, weight=np.zeros((8, 32), np.float32), bias=np.zeros(7, np.float32)
        ),
        r"2_Dense/model.safetensors must hold .*got \(8, 32\) and \(7,\)",
    ),
}


@pytest.mark.parametrize("name", BROKEN_CHAINS)
def test_a_broken_chain_is_named(embedding_folder: Path, name: str) -> None:
    damage, message = BROKEN_CHAINS[name]
    damage(embedding_folder)
    with pytest.raises(TeacherError, match=message):
        load_teacher(embedding_folder)
