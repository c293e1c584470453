"""Zero-shot STS-B of a teacher and of its students: a check from outside their training text.

    python benchmarks/sts_zero_shot.py --sts STS-B --run runs/NAME

Reads the students of a search's run folder (and the teacher, by default the demo's), embeds
the sentence pairs of STS-B and correlates cosine similarity with the human score
(Spearman). Nobody was trained on it. The mean of the teacher's word embeddings is
the line that a student must pass to be of use. Writes ``sts_zero_shot.json`` beside
this script. About 20 seconds a model on two cores.
"""

import argparse
import json
import platform
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from autodistill.distill.linear import mean_word_embedding
from autodistill.distill.passage_set import PassageSet
from autodistill.distill.teacher_outputs import embed_passages
from autodistill.study import CandidateState, Study
from autodistill.teacher import Teacher, demo_teacher_folder, load_teacher

LENGTH = 128


def read_dev(folder: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Sentence pairs and scores of the development set."""
    lines = (folder / "dev.tsv").read_text(encoding="utf-8").splitlines()
    names = lines[0].split("\t")
    rows = [line.split("\t") for line in lines[1:]]
    columns = [names.index(name) for name in ("sentence1", "sentence2", "score")]
    first, second, score = ([row[c] for row in rows] for c in columns)
    return first, second, np.array(score, float)


def read_test(folder: Path) -> tuple[list[str], list[str], np.ndarray]:
    """The same of the labelled test set: score in column 5, sentences in 6 and 7, from one."""
    rows = [
        line.split("\t")
        for line in (folder / "sts-test.tsv").read_text(encoding="utf-8").splitlines()
    ]
    return (
        [row[5] for row in rows],
        [row[6] for row in rows],
        np.array([float(row[4]) for row in rows]),
    )


def tokens(teacher: Teacher, sentences: list[str]) -> PassageSet:
    """Token ids padded to one length."""
    tokenizer = teacher.tokenizer
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH, pad_id=teacher.special.pad)
    encoded = tokenizer.encode_batch(sentences)
    return PassageSet(
        np.array([e.ids for e in encoded], np.int32),
        np.array([e.attention_mask for e in encoded], np.int32),
        np.arange(len(encoded), dtype=np.int32),
    )


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row-wise cosine similarity."""
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)).clip(1e-12)


def score(model: Teacher, pairs: tuple[list[str], list[str], np.ndarray]) -> float:
    """Spearman correlation of cosine similarity with the human score."""
    first, second = (embed_passages(model, tokens(model, side)) for side in pairs[:2])
    return float(spearmanr(cosine(first, second), pairs[2]).statistic)


def word_mean_score(model: Teacher, pairs: tuple[list[str], list[str], np.ndarray]) -> float:
    """The same for the mean of the word embeddings, special tokens left out."""
    means = []
    for side in pairs[:2]:
        passages = tokens(model, side)
        special = np.isin(passages.input_ids, model.special.ids())
        mask = passages.attention_mask * ~special
        means.append(mean_word_embedding(model.word_embeddings, passages.input_ids, mask))
    return float(spearmanr(cosine(*means), pairs[2]).statistic)


def of_search(run: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and facts of each student of a search."""
    study = Study.open(run / "study.sqlite", read_only=True)
    for candidate in study.candidates():
        folder = run / "distilled" / str(candidate.number)
        if candidate.state is CandidateState.COMPLETE and folder.exists():
            yield (
                folder,
                {
                    "model": f"{candidate.role} {candidate.number}",
                    "front": (run / "students" / candidate.architecture_id).exists(),
                    "fidelity": candidate.quality,
                    "latency_ms": candidate.latency_ms,
                    "parameters": candidate.parameters,
                    "steps": study.config["flash"]["steps"],
                    "seed": study.config["flash"]["seed"],
                },
            )


def report(
    found: Iterable[tuple[Path, dict[str, Any]]], sts: Path, out: Path, teacher: Path | None = None
) -> None:
    """Score the teacher, its words and the students; print a table, write the JSON."""
    sets = {"dev": read_dev(sts), "test": read_test(sts)}
    whole = load_teacher(teacher or demo_teacher_folder())
    rows: list[dict[str, Any]] = [
        {"model": "teacher", **{name: score(whole, pairs) for name, pairs in sets.items()}},
        {
            "model": "mean word embedding",
            **{name: word_mean_score(whole, pairs) for name, pairs in sets.items()},
        },
    ]
    for folder, facts in found:
        student = load_teacher(folder)
        rows.append(facts | {name: score(student, pairs) for name, pairs in sets.items()})
    for row in rows:
        mark = "*" if row.get("front") else " "
        print(f"{mark} {row['model']:<20} dev {row['dev']:.4f}  test {row['test']:.4f}")
    record = {
        "command": f"python benchmarks/{Path(sys.argv[0]).name} ...",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "metric": "Spearman of cosine similarity with the human score",
        "rows": rows,
    }
    out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Score the students of one search."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sts", type=Path, required=True, help="folder with dev.tsv, sts-test.tsv")
    parser.add_argument("--run", type=Path, required=True, help="run folder of a search")
    parser.add_argument("--teacher", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    report(of_search(options.run), options.sts, options.out, options.teacher)


if __name__ == "__main__":
    main()
