"""The command line: what it hands back, and what it says to bad input."""

import contextlib
import dataclasses
import json
import re
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from autodistill.distill.flash import FlashDistiller
from autodistill.search.__main__ import Arguments, main
from autodistill.search.limits import Limits, student_parameters
from autodistill.space import Architecture, SearchSpace
from autodistill.study import CandidateState, Study
from autodistill.teacher import load_teacher
from predictors import load

BIG_TEACHER_FILE = 1_000_000  # bytes; what the tiny search writes is below, the report above


@pytest.fixture(scope="module")
def run_dir(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search: a really distilled baseline and one student."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main(tiny.arguments(folder)) == 0
    return folder


def stored(folder: Path) -> dict[str, bytes]:
    """Every file of a run folder; the lock holds the last process's number."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def said(text: str) -> str:
    return " ".join(text.split())


# --- what it hands back ---------------------------------------------------------


def test_command_students_return_vectors_of_the_teachers_size(run_dir: Path, tiny) -> None:
    library = pytest.importorskip("sentence_transformers", reason="it must load what we save")
    teacher = library.SentenceTransformer(str(tiny.teacher), device="cpu")
    texts = ["bar ben dir", "mon mur", "kat " * 90]
    wanted = teacher.encode(texts)
    for folder in (run_dir / "students").iterdir():
        vectors = library.SentenceTransformer(str(folder), device="cpu").encode(texts)
        assert vectors.shape == wanted.shape == (3, 32)
        # The teacher normalises, so its students do; float32 rounds to about 1e-7.
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
        assert all(np.diag(vectors @ wanted.T) > 0.2)  # not at random


def test_command_counts_parameters_as_they_are_saved(run_dir: Path) -> None:
    with Study.open(run_dir / "study.sqlite", read_only=True) as study:
        for candidate in study.candidates():
            folder = run_dir / "distilled" / str(candidate.number)
            files = [folder / "model.safetensors", folder / "2_Dense" / "model.safetensors"]
            saved = sum(v.size for file in files for v in load_file(file).values())
            assert candidate.parameters == saved


def test_command_writes_the_resolved_configuration(run_dir: Path, tiny) -> None:
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert config["budget"] == {"students": 1, "seconds": None}
    assert config["teacher"]["name"] == "teacher"
    assert config["teacher_folder"] == str(tiny.teacher)
    assert config["corpus_paths"] == [str(tiny.corpus)]
    assert config["target"]["name"] == "cpu-roofline"
    assert config["target"]["sequence_length"] == 128
    assert config["flash"]["steps"] == 8 and config["samples"] == 6
    space = SearchSpace.from_yaml(tiny.space)
    assert config["space"]["choices"] == {k: list(v) for k, v in space.choices.items()}
    assert config["limits"] == {"max_latency_ms": None, "max_params": None}


def test_command_the_report_opens_offline(run_dir: Path) -> None:
    page = (run_dir / "report.html").read_text()
    assert not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)\s*=\s*['\"]?https?:", page)
    assert "fidelity" in page and "cpu-roofline" in page and "tiny-space" in page


def test_command_the_predictor_loads_and_predicts_the_table(run_dir: Path, tiny) -> None:
    predictor = load(run_dir / "predictors" / "latency.json")
    assert predictor.target_name_ == "cpu-roofline"
    assert {"batch_size", "device_kind", "dtype"} < predictor.workload_.keys()
    space = SearchSpace.from_yaml(tiny.space)
    assert set(space.columns) < set(predictor.column_names_)
    assert predictor.n_rows_ == len((run_dir / "latency.csv").read_text().splitlines()) - 1


def test_command_prints_the_table(run_dir: Path, tiny, command, no_training) -> None:
    code, out, err = command(tiny.arguments(run_dir))  # again: it prints what is known
    assert code == 0 and err == "" and no_training == []
    for heading in ("student", "architecture", "params", "pred.", "error", "fidelity", "agree"):
        assert heading in out
    lines = out.splitlines()
    assert any(line.startswith(" base ") and "±" in line for line in lines)
    assert any(line.startswith(" 1 ") and "±" in line for line in lines)
    assert any("ref." in line and "ridge from mean word embedding" in line for line in lines)
    assert any(line.startswith(" teacher ") for line in lines)
    assert "beat the baseline on both" in said(out) or "beats the baseline on both" in said(out)
    assert str(run_dir / "report.html") in out


def test_command_quality_stands_far_above_an_untrained_student(run_dir: Path) -> None:
    with Study.open(run_dir / "study.sqlite", read_only=True) as study:
        for candidate in study.candidates():
            untrained = candidate.details["untrained_quality"]
            assert candidate.quality > untrained + 5 * candidate.quality_se


def test_command_help_names_every_option(command) -> None:
    code, out, _ = command(["--help"])
    assert code == 0
    for field in dataclasses.fields(Arguments):
        assert "--" + field.name.replace("_", "-") in out


def test_command_names_the_run_folder_by_its_settings(
    tiny, tmp_path: Path, command, no_training, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = set()
    for seed in (0, 1, 0):
        code, out, _ = command(tiny.arguments(None, seed=seed, samples=4))
        assert code == 0
        names.add(re.search(r"^run +(\S+)$", out, re.MULTILINE)[1])
    assert len(names) == 2
    assert all(re.fullmatch(r"runs/teacher-tiny-space-cpu-roofline-\w{6}", n) for n in names)


# --- limits ---------------------------------------------------------------------


def test_command_limits_are_kept_and_what_misses_them_is_shown(
    tiny, tmp_path: Path, command, no_training, monkeypatch, quick
) -> None:
    """Proposals are made blind to the limits here, so that some miss them."""
    monkeypatch.setattr(Limits, "excess", lambda self, a, **_: [-1.0] * len(a))
    limits = {"max_latency_ms": 0.15, "max_params": 45_000}
    code, out, _ = command(tiny.arguments(tmp_path / "run", budget=4, samples=4, **limits))
    assert code == 0
    teacher, space = load_teacher(tiny.teacher), SearchSpace.from_yaml(tiny.space)
    with Study.open(tmp_path / "run" / "study.sqlite", read_only=True) as study:
        baseline, *others = study.candidates()
    complete = [c for c in others if c.state is CandidateState.COMPLETE]
    infeasible = [c for c in others if c.state is CandidateState.INFEASIBLE]
    assert len(complete) == 4 and infeasible and len(complete) + len(infeasible) == len(others)
    assert baseline.state is CandidateState.COMPLETE  # the measure of the others is kept
    for c in others:
        assert c.parameters == student_parameters(Architecture(c.architecture), space, teacher)
        within = c.latency_ms <= 0.15 and c.parameters <= 45_000
        assert within == (c in complete)
        assert c.error is None if within else re.search("over", str(c.error))
        assert (tmp_path / "run" / "distilled" / str(c.number)).exists() == within
    assert len(no_training) == 5
    assert f"{infeasible[0].number} " in out and "not distilled" in out


@pytest.mark.parametrize("limits", [{"max_latency_ms": 0.12}, {"max_params": 40_000}])
def test_command_proposals_keep_the_limits(
    limits: dict[str, float], tiny, tmp_path: Path, command, no_training, quick
) -> None:
    code, _, _ = command(tiny.arguments(tmp_path / "run", budget=3, **limits))
    assert code == 0
    with Study.open(tmp_path / "run" / "study.sqlite", read_only=True) as study:
        _, *others = study.candidates()
    done = [c for c in others if c.state is CandidateState.COMPLETE]
    assert len(done) == 3
    assert all(c.latency_ms <= limits.get("max_latency_ms", 9) for c in done)
    assert all(c.parameters <= limits.get("max_params", 1e9) for c in done)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_params": 1000}, r"meets --max-params 1,000: the smallest has \d\d,\d{3} parameters"),
        ({"max_latency_ms": 0.001}, r"meets --max-latency-ms 0\.001: .* the fastest takes 0\.0\d+"),
        ({"max_params": 0}, "--max-params must be positive; got 0"),
        ({"max_latency_ms": -1}, "--max-latency-ms must be positive; got -1"),
        ({"max_latency_ms": "nan"}, "--max-latency-ms must be positive; got nan"),
    ],
)
def test_command_limits_that_nothing_meets_are_named_before_training(
    limits: dict[str, Any], message: str, tiny, tmp_path: Path, command, no_training
) -> None:
    code, _, err = command(tiny.arguments(tmp_path / "run", **limits))
    assert code == 2 and re.search(message, said(err)), err
    assert no_training == []
    assert not (tmp_path / "run" / "distilled").exists()


# --- bad input ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "--budget must be positive; got '0'"),
        ({"budget": "-3"}, "--budget must be positive; got '-3'"),
        ({"budget": "-5m"}, "--budget must be positive; got '-5m'"),
        ({"budget": "0s"}, "--budget must be positive; got '0s'"),
        ({"budget": "soon"}, "--budget takes a number of students (8) or a time"),
        ({"budget": "8 students"}, "--budget takes a number of students (8) or a time"),
        ({"budget": ""}, "--budget takes a number of students (8) or a time"),
        ({"budget": "nan"}, "--budget takes a number of students (8) or a time"),
        ({"budget": "2.5"}, "--budget without a unit is a whole number of students"),
        ({"steps": 0}, "--steps must be at least 1; got 0"),
        ({"samples": 3}, "--samples must be at least 4; got 3"),
        ({"seed": -1}, "--seed must be at least 0; got -1"),
        ({"seed": 2**32}, "--seed must be at most 4294967295; got 4294967296"),
        ({"sequence_length": 513}, "--sequence-length must be at most 512"),
        ({"sequence_length": 0}, "batch size and sequence length must be positive"),
        ({"batch_size": 0}, "batch size and sequence length must be positive"),
        ({"dtype": "int4"}, "dtype must be one of float32, bfloat16; got 'int4'"),
        ({"target": "abacus"}, "unknown target 'abacus'; known are"),
        ({"space": "enormous"}, "unknown space 'enormous'; the presets are mobilebert"),
        ({"space": "missing.yaml"}, "missing.yaml cannot be read: No such file"),
        ({"steps": "many"}, "--steps"),
        ({"colour": "red"}, "--colour"),
    ],
    ids=str,
)
def test_command_refuses_arguments(
    options: dict[str, Any], message: str, tiny, tmp_path: Path, command
) -> None:
    code, _, err = command(tiny.arguments(tmp_path / "run", **options))
    assert code == 2 and message in said(err), err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("choices: {num_hidden_layers: [1]}", "the space must name its family, bert or mobilebert"),
        ("family: bert\nchoices: {colour: [red]}", "unknown fields ['colour'] for bert"),
        ("family: bert\nchoices: {num_hidden_layers: []}", "num_hidden_layers"),
        ("family: bert\nchoices: {}", "needs"),
        ("family: bert\nchoices: [", "is not valid YAML"),
        ("family: llama\nchoices: {num_hidden_layers: [1]}", "family must be one of bert"),
        ("family: bert\nsize: 3\nchoices: {hidden_size: [8]}", "unknown keys ['size']"),
        (
            "family: bert\nchoices: {num_hidden_layers: [1], hidden_size: [10], "
            "num_attention_heads: [3], intermediate_size: [8]}",
            "the space is empty",
        ),
        ("", "must be a mapping with the key 'choices'"),
    ],
)
def test_command_refuses_spaces(text: str, message: str, tiny, tmp_path: Path, command) -> None:
    path = tmp_path / "[my] space.yaml"  # rich must not take it for markup
    path.write_text(text)
    code, _, err = command(tiny.arguments(tmp_path / "run", space=path))
    assert code == 2 and message in said(err) and str(path) in said(err), err
    assert not (tmp_path / "run").exists()


def cut_weights(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def change_config(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        raw = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(raw | values))

    return change


def drop_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors")


def longer_vocabulary(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with (folder / "vocab.txt").open("a") as file:
        file.write("superfluous\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "is not a folder; --teacher takes a Hugging Face checkpoint"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (cut_weights, "is not a complete safetensors file"),
        (drop_weight, "lacks the weight 'encoder.layer.1.output.dense.weight'"),
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "config.json").write_text('{"model_'), "cannot be read as JSON"),
        (lambda f: (f / "1_Pooling" / "config.json").unlink(), "config.json is missing"),
        (change_config(model_type="llama"), "model_type must be one of bert, mobilebert"),
        (change_config(hidden_size=64), "must have shape"),
        (longer_vocabulary, "the tokenizer has 147 entries and the word embedding 146 rows"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "cannot be read"),
    ],
)
def test_command_refuses_teachers(
    spoil: Callable[[Path], None], message: str, tiny, tmp_path: Path, command
) -> None:
    teacher = shutil.copytree(tiny.teacher, tmp_path / "teacher")
    spoil(teacher)
    code, _, err = command(tiny.arguments(tmp_path / "run", teacher=teacher))
    assert code == 2 and message in said(err), err
    assert str(teacher) in err
    assert not (tmp_path / "run").exists()


def test_command_a_teacher_of_few_positions_is_read_within_them(
    tiny, tmp_path: Path, command, no_training
) -> None:
    """Fewer than a training passage has by default, and than are served."""
    teacher = shutil.copytree(tiny.teacher, tmp_path / "teacher")
    weights = load_file(teacher / "model.safetensors")
    name = "embeddings.position_embeddings.weight"
    weights[name] = weights[name][:40].copy()
    save_file(weights, teacher / "model.safetensors")
    change_config(max_position_embeddings=40)(teacher)
    code, _, err = command(tiny.arguments(tmp_path / "run", teacher=teacher, samples=4))
    assert code == 0, err
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["text"]["passage_length"] == 40


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing", None, "there is no such file or folder"),
        ("empty.txt", b"", "the file is empty"),
        ("blank.txt", b" \n\n", "empty"),
        ("binary.txt", b"bar\0ben" * 1000, "it is binary"),
        ("latin.txt", "bär ".encode("latin-1") * 1000, "expected UTF-8 text"),
        ("torn.txt.gz", b"\x1f\x8b\x08\x00 torn", "gzip"),
        ("one.txt", b"bar ben dir", "expected at least 2 documents with text"),
        ("few.jsonl", b'{"text": "bar ben"}\n{"text": "dir"}', "expected at least 16 training"),
        ("other.jsonl", b'{"body": "bar ben"}\n', "text"),
    ],
)
def test_command_refuses_corpora(
    name: str, content: bytes | None, message: str, tiny, tmp_path: Path, command, no_training
) -> None:
    corpus = tmp_path / name
    if content is not None:
        corpus.write_bytes(content)
    code, _, err = command(tiny.arguments(tmp_path / "run", corpus=corpus, samples=4))
    assert code == 2 and message in said(err), err
    assert no_training == []


def test_command_refuses_a_corpus_that_cannot_be_read(tiny, tmp_path: Path, command) -> None:
    corpus = Path("/proc/self/mem")  # a file whose first page nobody may read, root included
    if not corpus.exists():
        pytest.skip("needs Linux's /proc")
    code, _, err = command(tiny.arguments(tmp_path / "run", corpus=corpus))
    assert code == 2 and str(corpus) in err, err


# --- the run folder -------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("space", "space.name"),
        ("teacher", "teacher.fingerprint"),
        ("workload", "target.batch_size"),
        ("target", "target.name"),
        ("corpus", "corpus"),
        ("seed", "flash.seed"),
        ("steps", "flash.steps"),
        ("limits", "limits.max_params"),
        ("version", "version"),
    ],
)
def test_command_a_run_folder_of_another_search_is_left_alone(
    change: str,
    named: str,
    run_dir: Path,
    tiny,
    tmp_path: Path,
    command,
    write_teacher,
    write_corpus,
    monkeypatch,
    no_training,
) -> None:
    options: dict[str, Any] = {}
    match change:
        case "space":
            options["space"] = shutil.copy(tiny.space, tmp_path / "other.yaml")
        case "teacher":
            options["teacher"] = write_teacher(tmp_path / "teacher", seed=1)
        case "workload":
            options["batch_size"] = 2
        case "target":
            options["target"] = "cpu"
        case "corpus":
            options["corpus"] = write_corpus(tmp_path / "corpus.jsonl", seed=1)
        case "limits":
            options["max_params"] = 1_000_000
        case "version":
            monkeypatch.setattr("autodistill.search.settings.__version__", "99.0")
        case _:
            options[change] = 7
    before = stored(run_dir)
    code, _, err = command(tiny.arguments(run_dir, **options))
    assert code == 2 and "belongs to another search" in err
    assert re.search(rf"^  {re.escape(named)}: the study has .*, now ", err, re.MULTILINE), err
    assert "another --run-dir" in err
    assert stored(run_dir) == before


def test_command_memory_that_does_not_suffice_is_explained(
    tiny, tmp_path: Path, command, monkeypatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")

    monkeypatch.setattr("autodistill.search.materials.teacher_outputs", exhausted)
    code, _, err = command(tiny.arguments(tmp_path / "run"))
    assert code == 2
    assert "out of memory while the search runs (Out of memory allocating 9 bytes); end" in err


def test_command_a_run_folder_that_is_a_file_is_refused(tiny, tmp_path: Path, command) -> None:
    (tmp_path / "run").write_text("mine")
    code, _, err = command(tiny.arguments(tmp_path / "run"))
    assert code == 2 and "cannot be written" in said(err), err
    assert (tmp_path / "run").read_text() == "mine"
    code, _, err = command(tiny.arguments(tmp_path / "run" / "inner"))
    assert code == 2 and "cannot be written" in said(err), err


def test_command_a_run_folder_that_takes_no_files_is_refused(tiny, tmp_path: Path, command) -> None:
    """Each of the files that the command begins with is a folder already."""
    for name in ("study.sqlite", "config.yaml", "latency.csv"):
        run_dir = tmp_path / name.replace(".", "-")
        (run_dir / name).mkdir(parents=True)
        code, _, err = command(tiny.arguments(run_dir, samples=4))
        assert code == 2 and str(run_dir) in err, err


def test_command_a_second_search_on_one_folder_is_told(
    run_dir: Path, tiny, command, no_training
) -> None:
    with Study.open(run_dir / "study.sqlite"):
        before = stored(run_dir)
        code, _, err = command(tiny.arguments(run_dir, budget=2))
        assert code == 2 and "in use by another process" in said(err), err
        assert stored(run_dir) == before
    assert no_training == []


# --- a disk that is full --------------------------------------------------------


@contextlib.contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """The system refuses to let any file grow over this size, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("limit", "warm", "message"),
    [
        (2_000, True, "study.sqlite"),
        (50_000, False, "encoded corpus"),
        (90_000, True, "the student cannot be saved in"),
        (BIG_TEACHER_FILE, True, "cannot write the report"),
    ],
)
def test_command_a_full_disk_loses_nothing(
    limit: int, warm: bool, message: str, tiny, tmp_path: Path, command, no_training
) -> None:
    options = {"cache_dir": tmp_path / "cache", "samples": 4}
    if warm:  # what is shared by all runs lies on the disk already
        assert command(tiny.arguments(tmp_path / "earlier", **options))[0] == 0
    arguments = tiny.arguments(tmp_path / "run", **options)
    with no_file_above(limit):
        code, _, err = command(arguments)
    assert code == 2 and message in said(err), err
    assert "Traceback" not in err
    code, _, err = command(arguments)  # there is space again
    assert code == 0, err
    with Study.open(tmp_path / "run" / "study.sqlite", read_only=True) as study:
        assert [c.state for c in study.candidates()] == [CandidateState.COMPLETE] * 2


# --- what goes wrong on the way -------------------------------------------------


def test_command_a_student_that_diverges_is_shown_and_the_search_goes_on(
    tiny, tmp_path: Path, command, no_training, monkeypatch
) -> None:
    from autodistill.errors import TrainingError

    real = FlashDistiller.distil

    def distil(self, config, *, progress=None):
        if len(no_training) == 1:
            no_training.append(config)
            raise TrainingError("the loss became nan by step 20 [/mnt]; the student diverged")
        return real(self, config, progress=progress)

    monkeypatch.setattr(FlashDistiller, "distil", distil)
    code, out, _ = command(tiny.arguments(tmp_path / "run", budget=2, samples=4))
    assert code == 0 and "became nan by step 20 [/mnt]" in said(out)
    with Study.open(tmp_path / "run" / "study.sqlite", read_only=True) as study:
        states = [c.state for c in study.candidates()]
    assert states == [CandidateState.COMPLETE, CandidateState.FAILED, CandidateState.COMPLETE]


def test_command_a_small_space_is_searched_to_its_end(
    tiny, tmp_path: Path, command, no_training, quick
) -> None:
    space = yaml.safe_load(tiny.space.read_text())
    kept = ("num_hidden_layers", "embedding_size")
    space["choices"] = {
        name: values if name in kept else [space["baseline"][name]]
        for name, values in space["choices"].items()
    }
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(space))
    code, out, _ = command(tiny.arguments(tmp_path / "run", budget=9, space=path))
    assert code == 0 and "all 4 architectures of the space are evaluated" in out
    assert len(no_training) == 4


def test_command_a_time_is_kept(tiny, tmp_path: Path, command, no_training) -> None:
    """The baseline is distilled in any case; nothing is begun that would not end in time."""
    code, out, _ = command(tiny.arguments(tmp_path / "run", budget="1s", samples=4))
    assert code == 0 and "baseline" in out
    assert len(no_training) == 1
    with Study.open(tmp_path / "run" / "study.sqlite", read_only=True) as study:
        assert [candidate.role for candidate in study.candidates()] == ["baseline"]


def test_command_sigterm_ends_as_an_interrupt_does(
    tiny, tmp_path: Path, command, no_training, monkeypatch
) -> None:
    real = FlashDistiller.distil

    def distil(self, config, *, progress=None):
        if no_training:
            signal.raise_signal(signal.SIGTERM)
        return real(self, config, progress=progress)

    monkeypatch.setattr(FlashDistiller, "distil", distil)
    code, out, _ = command(tiny.arguments(tmp_path / "run", samples=4))
    assert code == 130 and "goes on from here" in said(out)
    assert (tmp_path / "run" / "report.html").exists()
