"""A tiny teacher built from arrays, and passages that it has read."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from autodistill.corpus import SpecialTokens, mask_tokens
from autodistill.distill.flash import FlashDistiller, FlashSettings, HeldOut
from autodistill.distill.passage_set import Masked, PassageSet
from autodistill.distill.start import random_weights, word_start
from autodistill.distill.teacher_outputs import embed_passages, teacher_outputs
from autodistill.models.checkpoint import build_encoder, build_head
from autodistill.models.config import BertConfig
from autodistill.teacher import Pooling, Teacher, TeacherKind

VOCABULARY, WIDTH, LENGTH = 60, 24, 20
SPECIAL = SpecialTokens(cls=2, sep=3, pad=0, mask=4, unk=1)


def make_teacher(pooling: Pooling | None = None, *, head: bool = False, seed: int = 0) -> Teacher:
    """A random BERT of two layers; its words tell more than their positions."""
    config = BertConfig(2, WIDTH, 2, 48, vocab_size=VOCABULARY, max_position_embeddings=32)
    weights = random_weights(config, np.random.default_rng(seed), head=head)
    weights["embeddings.word_embeddings.weight"] *= 50.0
    return Teacher(
        name="tiny",
        folder=Path("tiny"),
        fingerprint=f"tiny-{seed}-{head}",
        kind=TeacherKind.MASKED_LM if head else TeacherKind.EMBEDDING,
        config=config,
        weights=weights,
        encoder=build_encoder(config, weights),
        head=build_head(config, weights) if head else None,
        pooling=None if head else pooling or Pooling(normalize=True),
        tokenizer=Tokenizer(models.WordLevel({}, "[UNK]")),
        special=SPECIAL,
    )


def make_passages(count: int, *, seed: int, masked: bool = False) -> PassageSet:
    """Passages of 6 to 18 words; each keeps to five, and two make a document."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((count, LENGTH), np.int32)
    lengths = rng.integers(8, LENGTH + 1, count)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = rng.choice(rng.integers(5, VOCABULARY, 5), length)
        row[0], row[length - 1] = SPECIAL.cls, SPECIAL.sep
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int32)
    hidden = None
    if masked:
        batch = mask_tokens(
            ids, mask, seed=seed, step=0, special=SPECIAL, vocab_size=VOCABULARY, rate=0.15
        )
        ids, hidden = batch.input_ids, Masked(batch.positions, batch.labels, batch.weights)
    return PassageSet(ids, mask, (np.arange(count) // 2).astype(np.int32), hidden)


@pytest.fixture(scope="session")
def make_distiller(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., FlashDistiller]:
    """All that distilling needs, for a teacher of a given pooling or with a head."""
    cache = tmp_path_factory.mktemp("cache")

    def make(
        pooling: Pooling | None = None, *, head: bool = False, **settings: float
    ) -> FlashDistiller:
        teacher = make_teacher(pooling, head=head)
        train = make_passages(256, seed=1, masked=head)
        held = make_passages(64, seed=2, masked=head)
        # The folder is named by fingerprint and passages, neither of which tells the pooling.
        folder = cache / str(hash(repr((pooling, head))))
        outputs = teacher_outputs(teacher, train, cache_dir=folder)
        start = word_start(teacher.word_embeddings, train, outputs, pad=SPECIAL.pad)
        embeddings = None if head else embed_passages(teacher, held)
        options = FlashSettings(**({"steps": 40} | settings))  # type: ignore[arg-type]
        return FlashDistiller(teacher, train, outputs, start, HeldOut(held, embeddings), options)

    return make


@pytest.fixture(scope="session")
def passages() -> Callable[..., PassageSet]:
    """As ``make_passages``."""
    return make_passages


@pytest.fixture(scope="session")
def teacher() -> Teacher:
    """An embedding teacher: mean pooling, unit length."""
    return make_teacher()


@pytest.fixture(scope="session")
def make_tiny_teacher() -> Callable[..., Teacher]:
    """As ``make_teacher``."""
    return make_teacher


@contextmanager
def limit_file_size(limit: int) -> Iterator[None]:
    """The operating system refuses larger files, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """As ``limit_file_size``."""
    return limit_file_size
