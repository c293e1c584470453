"""Students of about a half and a tenth of MiniLM, fully distilled, on STS-B without training.

    python benchmarks/sts_full_distillation.py --out runs/sts

Distils both students of the demo's teacher (``STUDENTS``) by the recipe ``embedding`` on
public English text, without labels: paragraphs and questions of SQuAD, sentences of SST-2,
RTE, WNLI, CoLA and QNLI, and a seventh of a hundred novels. What is a sentence of STS-B is
left out. Then ``sts_zero_shot.py`` scores both and their teacher;
``sts_full_distillation.json`` beside this script is the result (its times of training were
taken beside other work). The shares are of multiply-adds per token in the encoder, without
tables.

An hour and a half on two cores; a run that was stopped goes on where it was. The teacher's
outputs take 9 GB of disk. A trial with other ``--steps`` writes its result to the folder of
``--out`` instead.
"""

import argparse
import gzip
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from public_data import FOLDER
from sts_zero_shot import read_dev, read_test, report

from autodistill.distill.__main__ import main as distil
from autodistill.distill.allocator import keep_freed_memory, restart_with_jemalloc
from autodistill.space import Value
from autodistill.space.cost import encoder_cost
from autodistill.space.families import REQUIRED_FIELDS
from autodistill.teacher import demo_teacher_folder, load_teacher

LENGTH, BATCH = 32, 64
BERT: dict[str, Value] = {"model_type": "bert", "hidden_act": "gelu", "num_attention_heads": 12}
STUDENTS: dict[str, tuple[Mapping[str, Value], float, int]] = {  # with learning rate and steps
    "half": (
        BERT | {"num_hidden_layers": 3, "hidden_size": 384, "intermediate_size": 1536},
        1e-3,
        20_000,
    ),
    "tenth": (
        BERT | {"num_hidden_layers": 3, "hidden_size": 192, "intermediate_size": 512},
        4e-3,
        8_000,
    ),
}
SENTENCES = {  # of GLUE: file, columns
    "SST-2/train.tsv": ("sentence",),
    "RTE/train.tsv": ("sentence1", "sentence2"),
    "RTE/test.tsv": ("sentence1", "sentence2"),
    "QNLI/dev.tsv": ("question", "sentence"),
    "WNLI/train.tsv": ("sentence1", "sentence2"),
}
NOVEL_CHARACTERS, EVERY = 1000, 7  # of all stretches of so many characters, one in so many


def texts(data: Path) -> Iterator[str]:
    """All texts, in a fixed order, with repetitions."""
    with gzip.open(data / "squad" / "train-v1.1.json.gz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    for article in articles:
        for paragraph in article["paragraphs"]:
            yield paragraph["context"]
            yield from (asked["question"] for asked in paragraph["qas"])
    glue = data / "glue"
    for name, columns in SENTENCES.items():
        header, *rows = (glue / name).read_text(encoding="utf-8").splitlines()
        places = [header.split("\t").index(column) for column in columns]
        for row in rows:
            cells = row.split("\t")
            yield from (cells[place] for place in places if place < len(cells))
    for row in (glue / "CoLA" / "train.tsv").read_text(encoding="utf-8").splitlines():
        yield row.split("\t")[3]
    with tarfile.open(data / "novels" / "english_novels.tar.gz") as novels:
        for member in sorted(novels.getmembers(), key=lambda one: one.name):
            if (file := novels.extractfile(member)) is not None:
                novel = " ".join(file.read().decode("utf-8-sig").split())
                for begin in range(0, len(novel), EVERY * NOVEL_CHARACTERS):
                    yield novel[begin : begin + NOVEL_CHARACTERS]


def plain(text: str) -> str:
    """What two copies of a sentence have in common."""
    return "".join(filter(str.isalnum, text.lower()))


def write_text(data: Path, path: Path) -> None:
    """One document a line; what STS-B has is left out."""
    dev, test = read_dev(data / "glue" / "STS-B"), read_test(data / "glue" / "STS-B")
    judged = {plain(sentence) for pairs in (dev, test) for side in pairs[:2] for sentence in side}
    lines = (
        json.dumps({"text": text.strip()}) + "\n"
        for text in texts(data)
        if text.strip() and plain(text) not in judged
    )
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        file.writelines(lines)
    part.replace(path)


def multiply_adds(config: Mapping[str, Any]) -> int:
    """Of the encoder, per token; attention between tokens is left out."""
    fields = {name: config[name] for name in REQUIRED_FIELDS["bert"]}
    return encoder_cost(fields, family="bert", vocab_size=config["vocab_size"]).multiply_adds


def of_distillation(run: Path, teacher_cost: int) -> tuple[Path, dict[str, Any]]:
    """Folder and facts of the student of one full distillation."""
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    settings = result["settings"]
    passages_read = settings["steps"] * settings["train"]["batch_size"]
    return run / "student", {
        "model": run.name,
        "fidelity": result["quality"],
        "fidelity_at_start": result["start"]["quality"],
        "recipe": result["recipe"],
        "start_from": result["start_from"],
        "steps": settings["steps"],
        "passages_read": passages_read,
        "sequence_length": result["text"]["sequence_length"],
        "train_s": result["seconds"],
        "student": result["student"],
        "share_of_encoder_cost": multiply_adds(result["student"]) / teacher_cost,
        "seed": settings["seed"],
    }


def main() -> None:
    """Write the text, distil, score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, required=True, help="folder for text and runs")
    parser.add_argument("--steps", type=int, help="of each; default: as in STUDENTS")
    parser.add_argument("--students", nargs="+", choices=STUDENTS, default=list(STUDENTS))
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    text = options.out / "text.jsonl"
    if not text.exists():
        write_text(options.data, text)
    for name in options.students:
        architecture, rate, steps = STUDENTS[name]
        file = options.out / f"{name}.json"
        file.write_text(json.dumps(dict(architecture)), encoding="utf-8")
        flags = {
            "--architecture": file,
            "--recipe": "embedding",
            "--start": "teacher-layers",
            "--learning-rate": rate,
            "--corpus": text,
            "--sequence-length": LENGTH,
            "--batch-size": BATCH,
            "--steps": options.steps or steps,
            "--out": options.out / name,
        }
        if code := distil([*(str(word) for pair in flags.items() for word in pair), "--unroll"]):
            raise SystemExit(code)
    teacher_cost = multiply_adds(asdict(load_teacher(demo_teacher_folder()).config))
    found = (of_distillation(options.out / name, teacher_cost) for name in options.students)
    published = options.steps is None and len(options.students) == len(STUDENTS)
    folder = Path(__file__).parent if published else options.out
    report(found, options.data / "glue" / "STS-B", folder / "sts_full_distillation.json")


if __name__ == "__main__":
    restart_with_jemalloc()
    keep_freed_memory()
    main()
