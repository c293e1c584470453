"""Oracles that need no geometry, a search that is quick, and tiny things to search on."""

import json
import signal
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import settings
from safetensors.numpy import save_file
from tokenizers import BertWordPieceTokenizer

from autodistill.distill.flash import Distilled, FlashDistiller, Judged
from autodistill.distill.quality import Estimate
from autodistill.distill.start import random_weights
from autodistill.distill.student import Student
from autodistill.models.config import BertConfig
from autodistill.search import proposal, surrogates
from autodistill.search.__main__ import main

# The same examples in every run, and no folder of remembered ones.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def union_volume():
    """Volume of the boxes between points and a reference, by inclusion and exclusion.

    Exact, and exponential in the number of points: for at most eight.
    """

    def volume(points, reference):
        sides = np.clip(np.asarray(reference) - np.asarray(points), 0, None)
        return sum(
            (-1) ** (size + 1) * np.min(chosen, axis=0).prod()
            for size in range(1, len(sides) + 1)
            for chosen in combinations(sides, size)
        )

    return volume


@pytest.fixture(scope="session")
def front_of():
    """Indices of the rows that no other dominates, pair by pair."""

    def front(values):
        rows = np.asarray(values, float)
        return [
            i for i, row in enumerate(rows)
            if not any((other <= row).all() and (other < row).any() for other in rows)
        ]  # fmt: skip

    return front


@pytest.fixture
def quick(monkeypatch):
    """Gaussian processes alone, a short evolution and climb: a proposal in a fifth of the time."""
    monkeypatch.setattr(surrogates, "MIN_ROWS_FOR_TREES", 10_000)
    monkeypatch.setattr(proposal, "GENERATIONS", 4)
    monkeypatch.setattr(proposal, "ROUNDS", 2)


# Tiny things that a whole search runs on in seconds.

WORDS = [a + b + c for a in "bdfgklm" for b in "aeiou" for c in "nrst"]  # 140 words
TINY_SPACE = {
    "family": "mobilebert",
    "choices": {
        "num_hidden_layers": [1, 2],
        "hidden_size": [32, 48],
        "intra_bottleneck_size": [16, 32],
        "num_attention_heads": [1, 2],
        "intermediate_size": [32],
        "num_feedforward_networks": [1, 2],
        "embedding_size": [16, 40],
        "normalization_type": ["no_norm", "layer_norm"],
    },
    "baseline": {
        "num_hidden_layers": 2,
        "hidden_size": 48,
        "intra_bottleneck_size": 32,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "num_feedforward_networks": 2,
        "embedding_size": 16,
        "normalization_type": "no_norm",
    },
}


def write_tiny_teacher(folder: Path, *, head: bool = False, seed: int = 0) -> Path:
    """A random BERT of two layers: with a masked-LM head, or with mean pooling."""
    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertWordPieceTokenizer(str(folder / "vocab.txt")).save(str(folder / "tokenizer.json"))
    config = BertConfig(2, 32, 2, 64, vocab_size=len(vocabulary), max_position_embeddings=128)
    weights = random_weights(config, np.random.default_rng(seed), head=head)
    weights["embeddings.word_embeddings.weight"] *= 50.0  # words, not positions, tell most
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config.to_hugging_face(masked_lm=head)))
    if not head:
        (folder / "1_Pooling").mkdir()
        pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
        chain = [
            {"idx": i, "name": kind, "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(kinds.items())
        ]
        (folder / "modules.json").write_text(json.dumps(chain))
    return folder


def write_tiny_corpus(path: Path, *, documents: int = 300, seed: int = 0) -> Path:
    """Documents of 100 words; each is about a few words of its own."""
    rng = np.random.default_rng(seed)
    with path.open("w") as file:
        for _ in range(documents):
            topic = rng.choice(WORDS, 12)
            text = " ".join(rng.choice(topic, 100))
            file.write(json.dumps({"text": text}) + "\n")
    return path


@dataclass(frozen=True)
class Tiny:
    """Where the tiny things lie, and the command that uses them."""

    teacher: Path
    masked_teacher: Path
    corpus: Path
    space: Path
    cache: Path

    def arguments(self, run_dir: Path | None, **changes: object) -> list[str]:
        """A command line; options by keyword, ``None`` leaves one out."""
        options: dict[str, object] = {
            "budget": 1,
            "teacher": self.teacher,
            "corpus": self.corpus,
            "space": self.space,
            "target": "cpu-roofline",
            "steps": 8,
            "samples": 6,
            "run_dir": run_dir,
            "cache_dir": self.cache,
        } | changes
        given = {name: value for name, value in options.items() if value is not None}
        return [
            text
            for name, value in given.items()
            for text in ("--" + name.replace("_", "-"), str(value))
        ]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """One tiny teacher of each kind, corpus and space for all tests."""
    root = tmp_path_factory.mktemp("tiny")
    space = root / "tiny-space.yaml"
    space.write_text(yaml.safe_dump(TINY_SPACE))
    return Tiny(
        write_tiny_teacher(root / "teacher"),
        write_tiny_teacher(root / "masked-teacher", head=True),
        write_tiny_corpus(root / "corpus.jsonl"),
        space,
        root / "cache",
    )


@pytest.fixture(scope="session")
def write_teacher():
    """As ``write_tiny_teacher``."""
    return write_tiny_teacher


@pytest.fixture(scope="session")
def write_corpus():
    """As ``write_tiny_corpus``."""
    return write_tiny_corpus


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command in this process: exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "120")
    handler = signal.getsignal(signal.SIGTERM)

    def run(arguments):
        try:
            code = main(arguments)
        except SystemExit as end:  # of the argument parser
            code = end.code
        return code, *capsys.readouterr()

    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def no_training(monkeypatch):
    """Students of random weights whose quality grows with their latency; none is trained.

    The list that it gives holds the configs that were asked for.
    """
    asked = []

    def distil(self, config, *, progress=None):
        asked.append(config)
        head = self.teacher.head is not None
        rng = np.random.default_rng(0)
        kernel = np.ones((config.hidden_size, self.teacher.output_width), np.float32)
        student = Student(
            config, random_weights(config, rng, head=head), kernel, kernel[0] * 0, head
        )
        share = config.num_hidden_layers / 10 + config.hidden_size / 1000
        judged = Judged(Estimate(share, 0.01), 0.5)
        return Distilled(student, judged, judged, judged, share, {"loss": 1.0}, 1.0, 0.5, 100.0)

    monkeypatch.setattr(FlashDistiller, "distil", distil)
    return asked
