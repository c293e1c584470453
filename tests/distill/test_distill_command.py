"""``python -m autodistill.distill``: the whole way, and what it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import distill_command
import jax
import numpy as np
import pytest
from distill_command import ARCHITECTURE, WORDS

from autodistill.distill.__main__ import main
from autodistill.distill.checkpoints import Checkpoints
from autodistill.distill.teacher_outputs import teacher_outputs
from autodistill.teacher import load_teacher

ROOT = Path(__file__).parents[2]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny embedding teacher, a text, and a student's shape."""
    torch = pytest.importorskip("torch", reason="transformers runs on torch")
    transformers = pytest.importorskip("transformers", reason="it writes the teacher")
    root = tmp_path_factory.mktemp("command")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        num_hidden_layers=2,
        hidden_size=24,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=len(VOCABULARY),
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    transformers.BertModel(config).save_pretrained(root / "teacher")
    (root / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    transformers.BertTokenizer(str(root / "vocab.txt")).save_pretrained(root / "teacher")
    rng = np.random.default_rng(0)
    (root / "text").mkdir()
    for i in range(60):
        text = " ".join(rng.choice(WORDS, 60))
        (root / "text" / f"{i}.txt").write_text(text)
    (root / "student.json").write_text(json.dumps([ARCHITECTURE]))
    return root


def options(folder: Path, out: Path, **changes: object) -> list[str]:
    own = {"teacher": folder / "teacher", "steps": 12, "log_every": 2, "checkpoint_every": 4}
    return distill_command.options(folder, out, **{**own, **changes})


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    out = folder / "finished"
    assert main(options(folder, out)) == 0
    return out


@pytest.fixture(scope="module")
def without_cache(folder: Path) -> Path:
    out = folder / "without"
    assert main(options(folder, out, teacher_cache="off")) == 0
    return out


def test_command_leaves_a_student_that_loads_and_its_figures(finished: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="it must load what we save")
    model = transformers.AutoModel.from_pretrained(finished / "student")
    assert model.config.hidden_size == 16 and model.config.num_hidden_layers == 2
    record = json.loads((finished / "result.json").read_text())
    assert record["recipe"] == "embedding" and record["settings"]["steps"] == 12
    assert 0 <= record["quality"] <= 1 and record["tokens_per_s"] > 0
    assert record["teacher_outputs"]["kept"] == [["passages", "tokens"]]
    assert record["flops_per_s"] > 0 and record["limit_flops_per_s"] > 0
    lines = [json.loads(line) for line in (finished / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert lines[-1] == record["losses"] and {"token_states", "passage_embedding"} < set(lines[0])


def test_command_begins_with_another_student(folder: Path, finished: Path) -> None:
    """With its quality; and the run is another than one that begins with words."""
    out, before = folder / "second", json.loads((finished / "result.json").read_text())
    given = options(folder, out, start_from=finished / "student")
    assert main(given) == 0
    record = json.loads((out / "result.json").read_text())
    assert record["start_from"].startswith("student ")
    assert record["start"]["quality"] == pytest.approx(before["quality"], abs=0.05)
    assert main(options(folder, out)) == 2


def test_command_names_the_flag_of_a_student_that_is_not_there(
    folder: Path, tmp_path: Path, capsys
) -> None:
    given = options(folder, tmp_path / "run", start_from=tmp_path / "nowhere")
    assert main(given) == 2
    said = capsys.readouterr().err
    assert f"--start-from {tmp_path / 'nowhere'} holds no student" in said
    assert not (tmp_path / "run").exists()


def test_command_goes_on_in_the_dtype_that_it_began_in(
    folder: Path, finished: Path, monkeypatch, capsys
) -> None:
    """Also on a machine that would choose another."""
    began = json.loads((finished / "run.json").read_text())["settings"]["dtype"]
    other = {"float32": "bfloat16", "bfloat16": "float32"}[began]
    monkeypatch.setattr("autodistill.distill.precision.best_dtype", lambda: other)
    assert main(options(folder, finished)) == 0
    assert f"steps, in {began}" in " ".join(capsys.readouterr().out.split())
    assert main(options(folder, finished, dtype=other)) == 2
    assert "differs in settings" in capsys.readouterr().err


def test_command_refuses_a_shape_with_another_vocabulary(
    folder: Path, tmp_path: Path, capsys
) -> None:
    path = tmp_path / "wide.json"
    path.write_text(json.dumps([{**ARCHITECTURE, "vocab_size": 8000}]))
    assert main(options(folder, tmp_path / "run", architecture=path)) == 2
    assert f"vocab_size must be {len(VOCABULARY)}" in capsys.readouterr().err


def test_command_refuses_two_starts_and_a_student_of_other_words(
    folder: Path, finished: Path, tmp_path: Path, capsys
) -> None:
    given = options(folder, tmp_path / "run", start_from=finished / "student", start="words")
    assert main(given) == 2
    assert "--start and --start-from exclude each other" in capsys.readouterr().err
    fewer = tmp_path / "vocab.txt"
    fewer.write_text("\n".join(VOCABULARY[:-3]) + "\n")
    given = options(folder, tmp_path / "run", start_from=finished / "student", vocabulary=fewer)
    assert main(given) == 2
    assert "one of the same 13 words, each of the same number" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def damage(cache: Path) -> None:
    """Overwrite parts of all that was kept of the teacher."""
    kept = list(cache.glob("*/rows"))
    assert kept
    for path in kept:
        data = np.memmap(path, np.uint8, "r+")
        data[:: len(data) // 20] ^= 0xFF


def test_command_killed_by_the_system_goes_on(folder: Path, finished: Path, tmp_path: Path) -> None:
    """Its losses and its student are bit for bit those of the run that was not killed.

    Also where the teacher's outputs were damaged in between.
    """
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "autodistill.distill", *options(folder, out)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not (out / "checkpoints" / "4").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    damage(folder / "cache" / "teacher")
    assert main(options(folder, out)) == 0
    assert (out / "losses.jsonl").read_bytes() == (finished / "losses.jsonl").read_bytes()
    for name in ("model.safetensors", "2_Dense/model.safetensors"):
        ours, theirs = (folder / "student" / name for folder in (out, finished))
        assert ours.read_bytes() == theirs.read_bytes()


def test_command_interrupted_says_how_to_go_on(folder, tmp_path, monkeypatch, capsys) -> None:
    from autodistill.distill.trainer import Trainer

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run", interrupted)
    assert main(options(folder, tmp_path / "run")) == 130
    assert "the same command goes on" in capsys.readouterr().out


def exhausted(*_: object, **__: object) -> None:
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("teacher.load_teacher", "the run is prepared"),
        ("distill.beginning.make_material", "the teacher reads some of the text"),
        ("distill.judge.make_held_out", "the teacher reads the held-out text"),
        ("distill.targets.Targets.fill", "the teacher reads the text"),
        ("distill.full.beginning", "the first weights are made"),
        ("distill.full.judge", "the student is judged"),
        ("distill.full.fit_output", "the output layer is fitted"),
    ],
)
def test_command_says_what_memory_does_not_suffice_for(
    where, message, folder, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(f"autodistill.{where}", exhausted)
    assert main(options(folder, tmp_path / "run", steps=1)) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert f"out of memory while {message} (Out of memory allocating 123 bytes); use" in shown


def test_command_copies_of_all_layers_begin_as_the_teacher(folder: Path, tmp_path: Path) -> None:
    teacher = {"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 2}
    (tmp_path / "same.json").write_text(json.dumps([{**teacher, "intermediate_size": 32}]))
    starts = {}
    for start in ("words", "teacher-layers"):
        out = tmp_path / start
        words = options(folder, out, architecture=tmp_path / "same.json", start=start, steps=1)
        assert main(words) == 0
        starts[start] = json.loads((out / "result.json").read_text())["start"]["quality"]
    assert starts["teacher-layers"] > 0.99 > starts["words"]
    assert (
        main(options(folder, tmp_path / "own", architecture=tmp_path / "same.json", steps=1)) == 0
    )
    own = json.loads((tmp_path / "own" / "run.json").read_text())
    assert own["start_from"] == "teacher-layers"  # as the recipe has it for these two


def test_command_lists_recipes(capsys) -> None:
    assert main(["--list-recipes"]) == 0
    shown = capsys.readouterr().out
    for name in ("autodistill", "embedding", "mobilebert", "distilbert", "tinybert", "minilm"):
        assert name in shown
    assert "nas-bert" in shown and "https://arxiv.org/abs/1909.10351" in shown


def test_command_help_teaches(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "goes on from the last checkpoint" in " ".join(shown.split())
    assert "python -m autodistill.distill --list-recipes" in shown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "bert"}, "--recipe must be one of these; got 'bert'"),
        ({"recipe": "mobilebert"}, "needs a teacher with a masked-LM head"),
        ({"steps": 0}, "--steps must be at least 1; got 0"),
        ({"batch_size": 0}, "--batch-size must be at least 1; got 0"),
        ({"batch_size": 9, "accumulate": 2}, "--batch-size must be a multiple of 2"),
        ({"batch_size": 100000}, "expected at least 100000 training passages"),
        ({"accumulate": -1}, "--accumulate must be at least 1; got -1"),
        ({"sequence_length": 2}, "--sequence-length must be at least 3; got 2"),
        ({"sequence_length": 33}, "must be at most 32, the positions that the teacher has; got 33"),
        ({"learning_rate": "nan"}, "--learning-rate must be positive; got nan"),
        ({"learning_rate": -1}, "--learning-rate must be positive; got -1"),
        ({"weight_decay": -1}, "--weight-decay must be at least 0; got -1"),
        ({"weight_decay": "nan"}, "--weight-decay must be at least 0; got nan"),
        ({"seed": 2**32}, "--seed must lie from 0"),
        ({"cache_gib": -1}, "--cache-gib must lie from 0 to 8,589,934,591; got -1"),
        ({"cache_gib": "1e300"}, "--cache-gib must lie from 0 to 8,589,934,591; got 1e+300"),
        ({"cache_gib": "nan"}, "--cache-gib must lie from 0 to 8,589,934,591; got nan"),
        ({"soft_targets": 0}, "--soft-targets must be at least 1; got 0"),
        ({"mask_copies": 0}, "--mask-copies must be at least 1; got 0"),
        ({"log_every": 0}, "--log-every must be at least 1"),
        ({"checkpoint_every": 0}, "--checkpoint-every must be at least 1"),
        ({"fitted_passages": 1}, "--fitted-passages must be at least 2"),
        ({"held_out_passages": 1}, "--held-out-passages must be at least 2"),
        ({"teacher": "nowhere"}, "nowhere is not a folder"),
        ({"architecture": "nowhere"}, "--architecture must be a file"),
        ({"architecture": "two.json"}, "must hold one architecture, the student's; it holds 2"),
        ({"architecture": "text.yaml"}, "architectures are read from .csv, .json, .jsonl"),
        ({"architecture": "odd.json"}, "num_attention_heads must divide"),
        (
            {"start": "teacher-layers", "architecture": "wide.json"},
            "of its vocabulary and activation; this one differs in hidden_size (32 of 24)",
        ),
    ],
)
def test_command_refuses_bad_input(changes, message, folder, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = {**ARCHITECTURE, "hidden_size": 32}
    Path("wide.json").write_text(json.dumps([other]))
    Path("two.json").write_text(json.dumps([ARCHITECTURE, other]))
    Path("odd.json").write_text(json.dumps([{**ARCHITECTURE, "num_attention_heads": 3}]))
    Path("text.yaml").write_text("hidden_size: 16")
    assert main(options(folder, tmp_path / "run", **changes)) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "error:" in shown and message in shown
    assert not (tmp_path / "run" / "student").exists()


def never(*_: object, **__: object) -> None:
    raise AssertionError("something slow is begun")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 9, "accumulate": 2}, "--batch-size must be a multiple of 2"),
        ({"out": "busy"}, "is not empty and holds no run"),
        ({"out": "busy/thesis.txt"}, "cannot be written"),
        ({"out": "finished", "steps": 13}, "which differs in settings"),
        ({"out": "finished", "sequence_length": 20}, "which differs in text"),
        ({"out": "held"}, "another process runs in"),
    ],
)
def test_command_refuses_before_anything_slow(
    changes, message, folder, finished, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("autodistill.search.materials.tokenised", never)
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "thesis.txt").write_text("text")
    held = Checkpoints(tmp_path / "held", {})
    outs = {"finished": finished}
    name = changes.get("out", "run")
    words = options(folder, **{**changes, "out": outs.get(name, tmp_path / name)})
    assert main(words) == 2
    held.close()
    assert message in " ".join(capsys.readouterr().err.split())


def test_command_shows_what_the_teacher_is_and_what_was_assumed(
    folder, tmp_path, capsys, monkeypatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autodistill.search.materials.tokenised", stop)
    assert main(options(folder, tmp_path / "run")) == 130
    shown = " ".join(capsys.readouterr().out.split())
    teacher = load_teacher(folder / "teacher")
    assert "teacher: embedding, 0.0M parameters" in shown
    assert teacher.notes and all(note in shown for note in teacher.notes)


def test_command_keeps_all_that_the_teacher_says_in_the_cache_it_is_given(
    folder, tmp_path, monkeypatch
) -> None:
    """Its folder and its limit; what a large limit let in would be evicted under another."""
    seen = []

    def spy(*arguments: object, **options: object) -> object:
        seen.append((options["cache_dir"], options["limit"]))
        return teacher_outputs(*arguments, **options)

    monkeypatch.setattr("autodistill.distill.beginning.teacher_outputs", spy)
    changes = {"cache_dir": tmp_path / "cache", "steps": 1}
    kept = options(folder, tmp_path / "a", teacher_cache=tmp_path / "big", cache_gib=200, **changes)
    assert main(kept) == 0
    assert seen.pop() == (tmp_path / "big", 200 * 2**30)
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"tokens"}
    before = sorted((tmp_path / "big").rglob("*"))
    off = options(folder, tmp_path / "b", teacher_cache="off", **changes)
    assert main(off) == 0
    assert seen.pop()[0] is None
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"tokens"}
    assert sorted((tmp_path / "big").rglob("*")) == before


@pytest.mark.parametrize("hindrance", ["disk", "limit", "file"])
def test_command_what_the_disk_does_not_allow_is_computed(
    hindrance, folder, tmp_path, monkeypatch, without_cache, capsys
) -> None:
    """With the losses of a run without a cache, to the last bit; nothing is written."""
    cache = tmp_path / "teacher"
    changes: dict[str, object] = {"teacher_cache": cache}
    if hindrance == "disk":
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40, 2**29))
    elif hindrance == "limit":
        changes["cache_gib"] = 0
    else:
        cache.write_text("in the way")
    assert main(options(folder, tmp_path / "run", **changes)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "the teacher's outputs are held in memory: they need 0 MiB, and" in shown
    assert not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size]
    losses = (tmp_path / "run" / "losses.jsonl").read_text()
    assert losses == (without_cache / "losses.jsonl").read_text()


def test_command_outputs_that_fit_nowhere_are_told_the_flags(
    folder, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("autodistill.distill.teacher_outputs.IN_MEMORY", 1000)
    words = options(folder, tmp_path / "run", teacher_cache=tmp_path / "teacher", cache_gib=0)
    assert main(words) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "--teacher-cache off, a larger --cache-gib or fewer --fitted-passages" in shown


def test_command_needs_a_folder_and_leaves_others_alone(folder, finished, tmp_path, capsys) -> None:
    assert main(["--steps", "3"]) == 2
    assert "--out FOLDER is needed" in capsys.readouterr().err
    (tmp_path / "thesis.txt").write_text("text")
    assert main(options(folder, tmp_path)) == 2
    assert "is not empty and holds no run" in " ".join(capsys.readouterr().err.split())
    assert main(options(folder, finished, steps=13)) == 2
    assert "which differs in settings" in " ".join(capsys.readouterr().err.split())
    assert main(options(folder, finished, teacher_cache="off")) == 2
    shown = capsys.readouterr()
    assert "which differs in teacher_outputs" in " ".join(shown.err.split())
    assert "embedding: the teacher runs at every step" in " ".join(shown.out.split())


@pytest.mark.parametrize(
    ("name", "family", "layers"),
    [
        ("mobilebert-mini", "mobilebert", 8),
        ("TinyBERT4", "bert", 4),
        ("mobilebert", "mobilebert", 24),
    ],
)
def test_command_shapes_by_name(name, family, layers, folder) -> None:
    from autodistill.distill.shape import student_config

    config = student_config(name, load_teacher(folder / "teacher"))
    assert (config.model_type, config.num_hidden_layers) == (family, layers)
    assert config.vocab_size == len(VOCABULARY) and config.max_position_embeddings == 32
