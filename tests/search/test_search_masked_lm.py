"""The command with a teacher that has a masked-LM head."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from autodistill.space.load import load_space
from autodistill.space.restrict import for_masked_lm
from autodistill.study import CandidateState, Study
from autodistill.teacher import TeacherKind, load_teacher

TINY_BERT = {
    "family": "bert",
    "choices": {
        "num_hidden_layers": [1, 2],
        "hidden_size": [16, 32],
        "num_attention_heads": [1, 2],
        "intermediate_size": [32],
    },
}


@pytest.fixture(scope="module", params=["mobilebert", pytest.param("bert", marks=pytest.mark.slow)])
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def run_dir(family: str, tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of a few students."""
    from autodistill.search.__main__ import main

    root = tmp_path_factory.mktemp(family)
    space = tiny.space
    if family == "bert":
        space = root / "space.yaml"
        space.write_text(yaml.safe_dump(TINY_BERT))
    arguments = tiny.arguments(
        root / "run", teacher=tiny.masked_teacher, space=space, steps=4, samples=4
    )
    assert main(arguments) == 0
    return root / "run"


def test_masked_lm_quality_is_masked_token_accuracy(run_dir: Path, tiny) -> None:
    with Study.open(run_dir / "study.sqlite", read_only=True) as study:
        students = study.candidates()
        reference, teacher = study.get_value("reference"), study.get_value("teacher")
    assert [c.state for c in students] == [CandidateState.COMPLETE] * 2
    assert all(0 <= c.quality <= 1 and c.details["agreement"] is None for c in students)
    assert reference["name"] == "commonest token" and reference["agreement"] is None
    assert 0 <= teacher["quality"] <= 1
    assert "masked-token accuracy" in (run_dir / "report.html").read_text()


def test_masked_lm_students_can_be_teachers_with_a_head(run_dir: Path, family: str) -> None:
    for folder in (run_dir / "distilled").iterdir():
        student = load_teacher(folder)
        assert student.kind is TeacherKind.MASKED_LM and student.config.model_type == family
        assert not (folder / "modules.json").exists()


def test_masked_lm_students_load_in_transformers_with_equal_logits(run_dir: Path, tiny) -> None:
    torch = pytest.importorskip("torch", reason="transformers runs on torch")
    transformers = pytest.importorskip("transformers", reason="it must load what we save")
    for folder in (run_dir / "students").iterdir():
        model, info = transformers.AutoModelForMaskedLM.from_pretrained(
            folder, output_loading_info=True
        )
        assert not any(info.values()), info
        own = load_teacher(folder)
        assert own.head is not None
        ids = np.random.default_rng(0).integers(5, own.config.vocab_size, (2, 20))
        mask = np.ones_like(ids)
        mask[1, 12:] = 0
        hidden = own.encoder(ids, mask)
        logits = np.asarray(own.head(hidden, own.word_embeddings))
        with torch.no_grad():
            theirs = model.eval()(torch.tensor(ids), torch.tensor(mask)).logits.numpy()
        # Float32 on both sides, summed in another order.
        real = mask > 0
        np.testing.assert_allclose(logits[real], theirs[real], atol=1e-4, rtol=1e-4)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        assert tokenizer.mask_token == "[MASK]" and len(tokenizer) == own.config.vocab_size


def test_masked_lm_an_embedding_wider_than_hidden_is_not_in_the_space(tiny) -> None:
    space = load_space(str(tiny.space))
    wide = [a for a in space.enumerate() if a["embedding_size"] > a["hidden_size"]]
    restricted = for_masked_lm(space)
    assert wide and restricted.size == space.size - len(wide)
    assert not any(a in restricted for a in wide)


def test_masked_lm_an_embedding_wider_than_hidden_is_never_measured(
    run_dir: Path, family: str
) -> None:
    """Neither among the profiled architectures nor among the students."""
    if family == "bert":
        pytest.skip("BERT's embedding is as wide as its hidden states")
    for folder in (run_dir / "distilled").iterdir():
        config = json.loads((folder / "config.json").read_text())
        assert config["embedding_size"] <= config["hidden_size"]
    header, *rows = (run_dir / "latency.csv").read_text().splitlines()
    columns = header.split(",")
    embedding, hidden = columns.index("embedding_size"), columns.index("hidden_size")
    assert len(rows) >= 4
    assert all(int(r.split(",")[embedding]) <= int(r.split(",")[hidden]) for r in rows)


def test_masked_lm_text_of_unknown_words_alone_is_refused(
    tiny, tmp_path: Path, command, no_training
) -> None:
    corpus = tmp_path / "strange.jsonl"
    lines = [json.dumps({"text": "12 " * 100 + "3" * n}) for n in range(1, 201)]
    corpus.write_text("\n".join(lines))
    code, _, err = command(
        tiny.arguments(tmp_path / "run", teacher=tiny.masked_teacher, corpus=corpus)
    )
    assert code == 2
    assert re.search("tokenizer knows none of the text", err)
    assert no_training == []
