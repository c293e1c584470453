"""Losses between passage embeddings, as terms, against torch in float64."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from autodistill.distill.output_terms import PassageCosine, PassageSimilarity
from autodistill.distill.quantities import PassageOutputs
from autodistill.distill.terms import Compared


@pytest.fixture
def embeddings() -> tuple[np.ndarray, np.ndarray]:
    """Of student and teacher, eight passages each; not of unit length."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(8, 6)), rng.normal(0.3, 2, size=(8, 6))


def values(term, student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    ours, theirs = (SimpleNamespace(passages=jnp.asarray(x)) for x in (student, teacher))
    assert term.reads((1,), 64) == {PassageOutputs()} and term.kind == "passages"
    return np.asarray(term(Compared(ours, theirs, (1,), {}, {}, {})))


def test_the_cosine_term_is_that_of_torch(embeddings) -> None:
    """float32 against float64: some ulps of 1."""
    torch = pytest.importorskip("torch", reason="it is the other implementation")
    student, teacher = (torch.tensor(x) for x in embeddings)
    expected = 1 - torch.nn.functional.cosine_similarity(student, teacher, dim=-1)
    np.testing.assert_allclose(values(PassageCosine(), *embeddings), expected, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_the_similarity_term_is_that_of_torch(embeddings, temperature) -> None:
    """Rounding errors of a cosine, 1e-7, are divided by the temperature."""
    torch = pytest.importorskip("torch", reason="it is the other implementation")

    def others(x: np.ndarray):  # (B, B - 1) cosines to all but itself
        unit = torch.nn.functional.normalize(torch.tensor(x), dim=-1)
        cosine = unit @ unit.T / temperature
        rows = [torch.cat([row[:i], row[i + 1 :]]) for i, row in enumerate(cosine)]
        return torch.log_softmax(torch.stack(rows), dim=-1)

    student, teacher = embeddings
    expected = torch.nn.functional.kl_div(
        others(student), others(teacher), reduction="none", log_target=True
    ).sum(-1)
    found = values(PassageSimilarity(temperature), student, teacher)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
