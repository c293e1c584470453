"""``python -m autodistill.teacher adapt``: what it leaves loads elsewhere with equal outputs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autodistill.distill.checkpoints import Checkpoints
from autodistill.teacher import TeacherKind, load_teacher
from autodistill.teacher.__main__ import main

torch = pytest.importorskip("torch", reason="transformers runs on torch")
transformers = pytest.importorskip("transformers", reason="it must load what we save")

LINES = ["the sea is cold .", "the day is warm .", "rain on the hills .", "the night is cold ."]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words that can be guessed from their neighbours."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("text")
    for i in range(60):
        (folder / f"{i}.txt").write_text(" ".join(rng.choice(LINES, 14)))
    return folder


@pytest.fixture(scope="module")
def adapted(
    originals: Callable[[str, bool], Path], text: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, bool], Path]:
    """Checkpoints after some steps of training, each made once."""
    made: dict[tuple[str, bool], Path] = {}
    root = tmp_path_factory.mktemp("adapted")

    def make(family: str, head: bool) -> Path:
        if (family, head) not in made:
            out = root / f"{family}-{head}"
            teacher = originals(family, head)
            assert main(options(teacher, text, root / "cache", out)) == 0
            made[family, head] = out
        return made[family, head]

    return make


def options(teacher: Path, text: Path, cache: Path, out: Path, /, **changes: object) -> list[str]:
    values: dict[str, object] = {
        "teacher": teacher,
        "corpus": text,
        "cache-dir": cache,
        "steps": 200,
        "batch-size": 16,
        "sequence-length": 16,
        "learning-rate": 5e-3,
        "log-every": 4,
        "out": out,
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return ["adapt", *(word for n, v in values.items() for word in (f"--{n}", str(v)))]


CASES = [("bert", False), ("mobilebert", True)]


@pytest.mark.parametrize(
    ("family", "head"), [CASES[0], pytest.param(*CASES[1], marks=pytest.mark.slow)]
)
def test_adapted_teachers_load_in_transformers_with_equal_logits(
    family: str, head: bool, adapted: Callable[[str, bool], Path]
) -> None:
    folder = adapted(family, head)
    model, info = transformers.AutoModelForMaskedLM.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(info.values()), info
    own = load_teacher(folder)
    assert own.kind is TeacherKind.MASKED_LM and own.head is not None
    ids = np.random.default_rng(0).integers(5, own.config.vocab_size, (2, 20))
    mask = np.ones_like(ids)
    mask[1, 12:] = 0
    table = jnp.asarray(own.word_embeddings)
    ours = own.head(own.encoder(jnp.asarray(ids), jnp.asarray(mask)), table)
    with torch.no_grad():
        theirs = model.eval()(
            input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)
        ).logits.numpy()
    real = mask > 0
    # Both in float32, summed in another order.
    np.testing.assert_allclose(np.asarray(ours)[real], theirs[real], rtol=1e-4, atol=1e-4)
    assert transformers.AutoTokenizer.from_pretrained(folder).mask_token == "[MASK]"


@pytest.mark.parametrize(("family", "head"), CASES)
def test_adapting_lowers_the_loss(
    family: str, head: bool, adapted: Callable[[str, bool], Path]
) -> None:
    path = adapted(family, head).with_name(f"{family}-{head}.training") / "losses.jsonl"
    losses = [json.loads(line)["masked_lm"] for line in path.read_text().splitlines()]
    assert len(losses) == 50
    assert np.mean(losses[-5:]) < losses[0] - 0.5


def test_a_new_head_begins_at_the_entropy_of_single_words(
    adapted: Callable[[str, bool], Path], text: Path
) -> None:
    """It knows how frequent words are, and nothing of their neighbours."""
    path = adapted("bert", False).with_name("bert-False.training") / "losses.jsonl"
    first = json.loads(path.read_text().splitlines()[0])["masked_lm"]
    words = " ".join(file.read_text() for file in text.iterdir()).split()
    _, counts = np.unique(words, return_counts=True)
    share = counts / counts.sum()
    entropy = -(share * np.log(share)).sum()
    # The first record is the mean of four steps of a rising rate; scores add noise of 0.1.
    assert first == pytest.approx(entropy, abs=0.35)


def test_adapting_changes_every_weight_that_a_word_reaches(
    adapted: Callable[[str, bool], Path], originals: Callable[[str, bool], Path]
) -> None:
    before, after = load_teacher(originals("bert", False)), load_teacher(adapted("bert", False))
    for name, value in after.weights.items():
        # softmax does not see a constant added to all keys
        if name in before.weights and "key.bias" not in name:
            assert (value != before.weights[name]).any(), name
    assert after.fingerprint != before.fingerprint


def test_a_finished_command_repeats_to_the_same_teacher(
    adapted: Callable[[str, bool], Path],
    originals: Callable[[str, bool], Path],
    text: Path,
    capsys: Any,
) -> None:
    """Nothing is trained again: the last checkpoint is read."""
    out = adapted("bert", False)
    before = (out / "model.safetensors").read_bytes()
    teacher = originals("bert", False)
    assert main(options(teacher, text, out.parent / "cache", out)) == 0
    assert (out / "model.safetensors").read_bytes() == before
    shown = capsys.readouterr().out
    record = json.loads((out / "adaptation.json").read_text())
    accuracy, start = record["masked_accuracy"], record["masked_accuracy_at_start"]
    assert f"masked-token accuracy {accuracy:.3f}" in shown and f"at the start {start:.3f}" in shown
    steps, batch = record["settings"]["steps"], record["settings"]["train"]["batch_size"]
    assert record["tokens"] == steps * batch * record["text"]["sequence_length"]
    assert record["teacher"] == load_teacher(teacher).fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "rtd"}, "--objective must be one of mlm; got 'rtd'"),
        ({"steps": 0}, "--steps must be at least 1; got 0"),
        ({"batch_size": 0}, "--batch-size must be at least 1; got 0"),
        ({"batch_size": 10**6}, "expected at least 1000000 training passages"),
        ({"sequence_length": 65}, "must be at most 64, the positions that the teacher has; got 65"),
        ({"sequence_length": 2}, "--sequence-length must be at least 3; got 2"),
        ({"learning_rate": "inf"}, "--learning-rate must be positive; got inf"),
        ({"weight_decay": -1}, "--weight-decay must be at least 0"),
        ({"seed": -1}, "--seed must lie from 0"),
        ({"held_out_passages": 0}, "--held-out-passages must be at least 2"),
        ({"checkpoint_every": 0}, "--checkpoint-every must be at least 1"),
        ({"teacher": "nowhere"}, "nowhere is not a folder"),
        ({"corpus": "nowhere"}, "nowhere"),
        ({"out": "mine"}, "is not a saved student"),
    ],
)
def test_bad_input_is_refused(
    changes: dict[str, Any],
    message: str,
    originals: Callable[[str, bool], Path],
    text: Path,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    (Path("mine") / "thesis.txt").write_text("text")
    teacher = originals("bert", False)
    assert main(options(teacher, text, tmp_path / "cache", tmp_path / "out", **changes)) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "error:" in shown and message in shown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 9, "accumulate": 2}, "--batch-size must be a multiple of 2"),
        ({"out": "busy"}, "is not empty and holds no run"),
        ({"out": "held"}, "another process runs in"),
    ],
)
def test_refusals_come_before_anything_slow(
    changes: dict[str, Any],
    message: str,
    originals: Callable[[str, bool], Path],
    text: Path,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("something slow is begun")

    monkeypatch.setattr("autodistill.search.materials.tokenised", never)
    (tmp_path / "busy.training").mkdir()
    (tmp_path / "busy.training" / "thesis.txt").write_text("text")
    held = Checkpoints(tmp_path / "held.training", {})
    out = tmp_path / changes.pop("out", "out")
    teacher = originals("bert", False)
    assert main(options(teacher, text, tmp_path / "cache", out, **changes)) == 2
    held.close()
    assert message in " ".join(capsys.readouterr().err.split())


def test_memory_that_does_not_suffice_is_explained(
    originals: Callable[[str, bool], Path],
    text: Path,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(*_: object) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")

    folder = originals("bert", False)
    for where, doing in (
        ("distill.adapt.judge", "the teacher is judged"),
        ("teacher.load_teacher", "the run is prepared"),
    ):
        monkeypatch.setattr(f"autodistill.{where}", exhausted)
        assert main(options(folder, text, tmp_path / "cache", tmp_path / "out")) == 2
        shown = " ".join(capsys.readouterr().err.split())
        assert f"out of memory while {doing} (Out of memory allocating 9 bytes); use" in shown


def test_what_the_teacher_is_and_what_was_assumed_is_shown(
    originals: Callable[[str, bool], Path],
    text: Path,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autodistill.search.materials.tokenised", stop)
    folder = originals("bert", False)
    assert main(options(folder, text, tmp_path / "cache", tmp_path / "out")) == 130
    shown, teacher = " ".join(capsys.readouterr().out.split()), load_teacher(folder)
    assert f"{teacher.name}: embedding, a new masked-LM head" in shown
    assert teacher.notes and all(note in shown for note in teacher.notes)


def test_the_teachers_own_folder_is_left_alone(
    checkpoint: Callable[..., Path], text: Path, tmp_path: Path, capsys: Any
) -> None:
    teacher = checkpoint("bert")
    assert main(options(teacher, text, tmp_path / "cache", teacher)) == 2
    assert "must not be the teacher's own folder" in capsys.readouterr().err
    assert main(["adapt", "--steps", "3"]) == 2
    assert "--out FOLDER is needed" in capsys.readouterr().err


def test_other_commands_are_refused_with_the_usage(capsys: Any) -> None:
    assert main(["train"]) == 2
    assert "python -m autodistill.teacher adapt" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "adapt" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["adapt", "--help"])
    assert end.value.code == 0
    assert "transformers.AutoModelForMaskedLM" in " ".join(capsys.readouterr().out.split())
