"""The command line: what it leaves behind, and what it says to bad input."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from autodistill.profiler.__main__ import main
from autodistill.profiler.canary import canary_path
from autodistill.profiler.targets import TARGETS
from autodistill.profiler.tpu.cost import ProgramCost
from predictors.rows import LatencyRow
from predictors.table import LatencyTable, append_row, create_table, lock_table, read_table

SPACE = {
    "family": "mobilebert",
    "choices": {
        "num_hidden_layers": [1, 2],
        "hidden_size": [32, 40],
        "intra_bottleneck_size": [16, 32],
        "num_attention_heads": [1, 2],
        "intermediate_size": [32],
        "num_feedforward_networks": [1, 2],
        "embedding_size": [16],
    },
}


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(SPACE))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "latency" / "table.csv"


@pytest.fixture
def command(space, out, capsys):
    """Run it; gives exit code, output and errors, with all white space as one blank."""

    def run(*options: object, **changes: object) -> tuple[int, str, str]:
        given = {"space": space, "out": out, "samples": 5, "target": "cpu-roofline", **changes}
        arguments = [str(option) for option in options]
        for name, value in given.items():
            if value is not None:
                values = value if isinstance(value, list) else [] if value is True else [value]
                arguments += ["--" + name.replace("_", "-"), *map(str, values)]
        code = main(arguments)
        output = capsys.readouterr()
        return code, " ".join(output.out.split()), " ".join(output.err.split())

    return run


@pytest.fixture
def fake(monkeypatch, counting):
    """A target that answers at once takes the place of the one that was asked for."""
    target = counting(name="cpu-roofline")
    monkeypatch.setattr("autodistill.profiler.choose.choose_target", lambda *_: target)
    return target


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- what it says of itself -----------------------------------------------------


def help_of(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_main_help_teaches(capsys):
    text = help_of(capsys)
    assert "python -m autodistill.profiler --target cpu --samples 200 --dry-run" in text
    assert "python -m autodistill.profiler compare ESTIMATES.csv TIMINGS.csv" in text
    for option in ("space", "target", "samples", "architectures", "include-baselines",
                   "batch-size", "sequence-length", "dtype", "vocab-size", "seed", "out",
                   "precision", "max-seconds", "time-limit-s", "processes", "whole-programs",
                   "dry-run", "list-targets"):  # fmt: skip
        assert f"--{option}" in text, option
    assert "--no-" not in text


def test_main_help_of_compare(capsys):
    assert "compare [-h] ESTIMATES.csv TIMINGS.csv" in help_of(capsys, "compare")


def test_main_lists_targets(capsys):
    assert main(["--list-targets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(TARGETS)


# --- bad input ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "abacus"}, "unknown target 'abacus'; known are local:"),
        ({"space": "atlantis"}, "unknown space 'atlantis'; the presets are mobilebert"),
        ({"space": "missing.yaml"}, "missing.yaml cannot be read"),
        ({"samples": 33}, "--samples must be at most 32, the size of the space tiny; got 33"),
        ({"samples": -1}, "--samples must be at least 0"),
        ({"samples": 0}, "nothing to measure"),
        ({"batch_size": 0}, "must be positive; got 0"),
        ({"batch_size": [1, 8, 8]}, "one or more different numbers; got 1 8 8"),
        ({"sequence_length": 513}, "--sequence-length must be at most 512"),
        ({"dtype": "int4"}, "dtype must be one of float32, bfloat16"),
        ({"vocab_size": 0}, "--vocab-size must be at least 1"),
        ({"seed": -3}, "--seed must be between 0"),
        ({"precision": 0.1}, "--precision has no meaning for target cpu-roofline"),
        ({"max_seconds": 2}, "--max-seconds has no meaning for target cpu-roofline"),
        ({"processes": 2}, "--processes has no meaning for target cpu-roofline"),
        ({"target": "cpu", "processes": 2}, "--processes has no meaning for target cpu"),
        ({"target": "onnx-cpu", "dtype": "bfloat16"}, "onnx-cpu serves float32 alone; got"),
        ({"whole_programs": True}, "--whole-programs has no meaning for target cpu-roofline"),
        ({"target": "cpu", "precision": 0}, "--precision must be positive; got 0"),
        ({"time_limit_s": -1}, "--time-limit-s must be positive"),
        ({"architectures": "nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_main_refuses_before_anything_is_made(changes, message, command, out):
    code, _, err = command(**changes)
    assert code == 2 and err.startswith("error: ") and message in err, err
    assert not out.parent.exists()


def test_main_says_how_to_get_the_tpu_compiler(command, out, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == "libtpu" else real(name, *a)
    )
    code, _, err = command(target="tpu-v4i")
    assert code == 2 and 'pip install "autodistill-nas[tpu]"' in err, err
    assert not out.parent.exists()


def filled(path: Path, fields, **changes) -> LatencyTable:
    """A table of one row, as by another run."""
    facts = {
        "target": "cpu-roofline", "device_kind": "abacus", "batch_size": 1,
        "sequence_length": 128, "dtype": "float32", "latency_ms": 1.0,
        "statistic": "compiler_estimate", **changes,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    create_table(path, fields)
    append_row(path, LatencyRow(dict.fromkeys(fields, 1), **facts))
    return read_table(path)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "gpu"}, "holds rows with target 'gpu'; these would have 'cpu-roofline'"),
        ({"device_kind": "slide rule"}, "holds rows with device_kind 'slide rule'"),
        ({"batch_size": 4}, "holds rows with batch_size 4; these would have 1"),
        ({"dtype": "bfloat16"}, "holds rows with dtype 'bfloat16'"),
    ],
)
def test_main_leaves_another_table_alone(change, message, dry, command, fake, out):
    assert command(samples=1)[0] == 0
    fields = read_table(out).fields
    out.unlink()
    filled(out, fields, **change)
    before, asked = files(out.parent), len(fake.asked)
    code, _, err = command(*dry)
    assert code == 2 and message in err, err
    assert files(out.parent) == before and len(fake.asked) == asked


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "is not a latency table"),
        (b"\xff\xfe\x00", "is not CSV in UTF-8"),
    ],
)
def test_main_leaves_another_file_alone(content, message, command, fake, out):
    out.parent.mkdir()
    out.write_bytes(content)
    code, _, err = command()
    assert code == 2 and message in err, err
    assert files(out.parent) == {"table.csv": content}


def test_main_tables_of_other_vocabularies_are_told_apart(command, fake, out):
    assert command(samples=2, vocab_size=100)[0] == 0
    before = files(out.parent)
    code, _, err = command(samples=2)
    assert code == 2 and "has the fields" in err and "'vocab_size'" in err, err
    assert files(out.parent) == before
    assert command(samples=2, vocab_size=200)[0] == 0  # which the column tells apart
    assert [row.architecture["vocab_size"] for row in read_table(out).rows] == [100, 100, 200, 200]
    assert {config.vocab_size for config in fake.asked} == {100, 200}
    code, _, err = command(samples=0, architectures=out, out=out.with_name("others.csv"))
    assert code == 2 and "line 2: vocab_size must be 30522" in err and "got 100" in err


def test_main_leaves_a_table_of_other_fields_or_schema_alone(command, fake, out):
    filled(out, ["depth"])
    before = files(out.parent)
    code, _, err = command()
    assert code == 2 and "has the fields ['depth']" in err and files(out.parent) == before
    newer = before["table.csv"].replace(b",1,\n", b",2,\n")  # the schema, and no error
    assert newer != before["table.csv"]
    out.write_bytes(newer)
    code, _, err = command()
    assert code == 2 and "schema_version is 2" in err and out.read_bytes() == newer


def test_main_names_a_folder_that_cannot_be_made(command, fake, tmp_path):
    (tmp_path / "file").write_text("mine")
    code, _, err = command(out=tmp_path / "file" / "deep" / "table.csv")
    assert code == 2 and "the folder" in err and "cannot be made" in err, err
    (tmp_path / "folder.csv").mkdir()
    code, _, err = command(out=tmp_path / "folder.csv")
    assert code == 2 and "is a folder; give the name of a CSV file" in err, err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize("length", [250, 300])
def test_main_names_a_file_that_cannot_be(dry, length, command, fake, tmp_path):
    """Its canary's name has 7 bytes more."""
    code, _, err = command(*dry, out=tmp_path / ("x" * (length - 4) + ".csv"))
    assert code == 2 and "cannot be used: File name too long; choose another" in err, err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may search every folder")
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_main_names_a_folder_that_may_not_be_searched(dry, command, fake, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o600)
    code, _, err = command(*dry, out=closed / "table.csv")
    assert code == 2 and "cannot be used: Permission denied; choose another" in err, err


def test_main_makes_missing_folders(command, fake, tmp_path):
    path = tmp_path / "a" / "b" / "table.csv"
    assert command(out=path)[0] == 0
    assert len(read_table(path).rows) == 5


def test_main_a_second_builder_is_told(command, fake, out):
    assert command(samples=2)[0] == 0
    before = out.read_bytes()
    with lock_table(out):
        code, _, err = command()
    assert code == 2 and f"is being written by another process (pid {os.getpid()})" in err, err
    assert out.read_bytes() == before
    assert command()[0] == 0


# --- a table --------------------------------------------------------------------


def test_main_sums_up(command, fake, out):
    fake.fails_at = 40
    code, text, _ = command(samples=32, batch_size=[8, 1])
    assert code == 0
    rows = read_table(out).rows
    assert len(rows) == 64 and {row.batch_size for row in rows} == {1, 8}
    measured = sorted(row.latency_ms for row in rows if row.batch_size == 1 and not row.error)
    assert f"plan 32 architectures, 64 rows of {out}" in text
    assert (
        "workload batch 8 x 128 tokens, float32; batch 1 x 128 tokens, float32 (float32 is" in text
    )
    assert (
        f"batch 1 x 128 tokens, float32: {len(measured)} measured, {32 - len(measured)} failed"
        in text
    )
    assert "0.463 ms fastest" in text and "0.606 ms slowest" in text  # 0.32 + 1/7, 0.32 + 2/7
    assert "first failure: RESOURCE_EXHAUSTED: no memory" in text
    assert "latency median: the median of timed runs" in text
    assert "time 64 rows in" in text and "resident at the peak" in text
    assert f"next python -m predictors fit {out} --out {out.with_suffix('.json')}" in text


def test_main_says_that_an_estimate_is_one(command, fake, counting):
    fake.statistic = "compiler_estimate"
    _, text, _ = command(samples=2)
    assert "compiler_estimate: the compiler's own estimate, not a timing" in text
    assert "canary" not in text


def test_main_a_timed_table_has_a_canary(command, fake, out):
    code, text, _ = command()
    assert code == 0 and "canary: 2 timings, spread 0.0%, last +0.0%" in text
    assert len(read_table(canary_path(out)).rows) == 2


def test_main_shows_well_known_encoders_in_order_of_latency(command, fake):
    code, text, _ = command("--include-baselines", samples=0)
    assert code == 0
    order = ["TinyBERT4", "MobileBERT-TINY", "MobileBERT", "DistilBERT, TinyBERT6", "BERT_BASE"]
    places = [
        text.index(f"{name} {layers}L")
        for name, layers in zip(order, (4, 24, 24, 6, 12), strict=True)
    ]
    # by the fake's formula, width / 100 + depth / 7: 3.7, 8.5, 8.5, 8.5, 9.4
    assert places[0] < min(places[1:4]) and max(places[1:4]) < places[4]


def test_main_measures_architectures_of_a_file_alone(command, fake, out, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "num_hidden_layers,hidden_size,num_attention_heads,intermediate_size\n"
        "1,64,2,128\n3,64,2,128\n1,64,2,128\n"
    )
    code, text, _ = command(architectures=path, samples=None)
    assert code == 0 and "plan 2 architectures, 2 rows" in text
    assert [row.architecture["model_type"] for row in read_table(out).rows] == ["bert"] * 2
    assert command(architectures=path, samples=3)[0] == 0
    assert len(read_table(out).rows) == 5


def test_main_resumes_after_an_interrupt(command, fake, out):
    fake.statistic, fake.stops_after = "compiler_estimate", 3
    code, text, _ = command(samples=8)
    assert code == 130 and "interrupted; the same command goes on from here" in text
    before = out.read_bytes()
    assert len(read_table(out).rows) == 3
    fake.stops_after = 1000
    code, text, _ = command(samples=8)
    assert code == 0 and "3 of 8 rows are there already; 5 to measure" in text
    assert len(fake.asked) == len(set(fake.asked)) == 8
    assert out.read_bytes().startswith(before)
    code, text, _ = command(samples=8)
    assert code == 0 and "all 8 rows are there already; nothing to measure" in text
    assert len(fake.asked) == 8
    code, text, _ = command(samples=10)  # more samples add to the table
    assert code == 0 and "8 of 10 rows are there already; 2 to measure" in text


def test_main_sigterm_ends_as_an_interrupt_does(command, fake, out, monkeypatch):
    real = type(fake).measure

    def measure(self, configs, workload):
        for n, event in enumerate(real(self, configs, workload)):
            if n == 5:
                signal.raise_signal(signal.SIGTERM)
            yield event

    monkeypatch.setattr(type(fake), "measure", measure)
    code, text, _ = command()
    assert code == 130 and "goes on from here" in text
    assert 1 <= len(read_table(out).rows) < 5
    lock_table(out).release()  # nobody holds it


def test_main_dry_run_writes_nothing(command, fake, out, tmp_path):
    before = files(tmp_path)
    code, text, _ = command("--dry-run", samples=9, batch_size=[1, 8])
    assert code == 0 and "18 rows to measure" in text and "dry run: nothing was written" in text
    assert "18 rows will take about 0 s" in text
    assert len(fake.asked) == 6  # three under each workload
    assert files(tmp_path) == before and not out.parent.exists()


@pytest.mark.parametrize("content", [b"", b"embedding_size,hid"])
def test_main_dry_run_leaves_a_table_that_is_being_begun(content, command, fake, out):
    out.parent.mkdir()
    out.write_bytes(content)
    code, text, _ = command("--dry-run")
    assert code == 0 and "nothing was written" in text
    assert files(out.parent) == {"table.csv": content}


def test_main_dry_run_of_whole_programs(command, out, tmp_path, monkeypatch):
    """Thirty of them in a row, of which three are tried, in 0.2 s each."""
    tried = []

    def compile_slowly(function, tasks, settings):
        for index, task in enumerate(tasks):
            tried.append(task)
            time.sleep(0.2)
            yield index, ProgramCost(5, 1.5, 2.5, 3, 4, 5, 0.2)

    monkeypatch.setattr("autodistill.profiler.tpu.target.check_installed", lambda: "0")
    monkeypatch.setattr("autodistill.profiler.tpu.target.run_tasks", compile_slowly)
    before = files(tmp_path)
    code, text, _ = command(
        "--dry-run", "--whole-programs", target="tpu-v4i", samples=30, processes=1,
        cache_dir=tmp_path / "cache",
    )  # fmt: skip
    assert code == 0 and "30 rows will take about 6 s" in text, text
    assert len(tried) == 3 and {task.cache_dir for task in tried} == {None}
    assert files(tmp_path) == before and not out.parent.exists()


def test_main_dry_run_knows_what_is_there(command, fake, out):
    fake.statistic = "compiler_estimate"
    assert command(samples=7)[0] == 0
    before = files(out.parent)
    code, text, _ = command("--dry-run", samples=9)
    assert code == 0 and "7 of 9 rows are there already; 2 to measure" in text
    assert len(fake.asked) == 9
    code, text, _ = command("--dry-run", samples=7)
    assert code == 0 and "nothing to measure" in text and len(fake.asked) == 9
    assert files(out.parent) == before


# --- two tables -----------------------------------------------------------------


def test_main_compares_two_tables(tmp_path, capsys):
    first, second = tmp_path / "estimates.csv", tmp_path / "timings.csv"
    for path, factor, facts in (
        (first, 1.0, {"target": "tpu-v4i", "statistic": "compiler_estimate"}),
        (second, 2.0, {"target": "tpu", "statistic": "median"}),
    ):
        create_table(path, ["num_hidden_layers"])
        for layers in (1, 2, 4):
            append_row(
                path,
                LatencyRow(
                    {"num_hidden_layers": layers}, device_kind="TPU v4i", batch_size=8,
                    sequence_length=128, dtype="bfloat16", latency_ms=factor * layers, **facts,
                ),
            )  # fmt: skip
    assert main(["compare", str(first), str(second)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "compiler_estimate: the TPU compiler's own estimate, not a timing" in text
    assert "median: the median of timed runs" in text
    assert "8 x 128 bfloat16 3 1.000 2.000 50.0% 50.0% 0.0% 0.0%" in text
    assert (
        "the 3 rows that lie furthest apart" in text
        and "4L 8 x 128 bfloat16 4.00 ms 8.00 ms -50.0%" in text
    )


def test_main_compare_refuses(tmp_path, capsys):
    assert main(["compare", str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]) == 2
    assert "cannot read table" in capsys.readouterr().err


# --- for real -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "statistic", "options"),
    [("cpu", "median", ["--max-seconds", "0.1"]), ("cpu-roofline", "compiler_estimate", [])],
)
def test_main_measures_for_real(target, statistic, options, space, tmp_path):
    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "autodistill.profiler", "--space", str(space), "--samples", "3",
             "--target", target, "--sequence-length", "16", *options, *more],
            capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip

    done = run()
    assert done.returncode == 0, done.stderr
    table = read_table(tmp_path / "latency" / f"{target}.csv")
    assert len(table.measured) == 3
    assert {row.target for row in table.rows} == {target}
    assert {row.statistic for row in table.rows} == {statistic}
    assert ("canary: 2 timings" in done.stdout) == (statistic == "median")
    again = run("--dry-run")
    assert again.returncode == 0 and "all 3 rows are there already" in again.stdout
    assert read_table(tmp_path / "latency" / f"{target}.csv") == table


def test_a_table_must_be_called_csv(command, out):
    """The command that comes next names its predictor after the table."""
    code, _, error = command(out=out.with_suffix(".json"))
    assert code == 2 and "its name must end in .csv; got" in error
    assert not out.with_suffix(".json").exists()


def test_what_comes_next_can_be_pasted(command, tmp_path):
    table = tmp_path / "my tables" / "a.csv"
    code, output, _ = command(out=table, samples=2)
    assert code == 0
    assert f"predictors fit '{table}' --out '{table.with_suffix('.json')}'" in output
