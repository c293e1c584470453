"""What is done where memory does not suffice outside of a step."""

import jax
import numpy as np
import pytest

from autodistill.distill.blocks import in_blocks
from autodistill.distill.memory import fits
from autodistill.errors import TrainingError

EXHAUSTED = "RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nBuffers: many"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (jax.errors.JaxRuntimeError(EXHAUSTED), r" \(Out of memory allocating 9 bytes\)"),
        (MemoryError("Unable to allocate 9 GiB"), r" \(Unable to allocate 9 GiB\)"),
        (MemoryError(), ""),
    ],
)
def test_memory_that_does_not_suffice_is_explained_once(error, why) -> None:
    with (
        pytest.raises(TrainingError, match=f"^out of memory while it is judged{why}; use less$"),
        fits("all is done", "use nothing"),
        fits("it is judged", "use less"),
    ):
        raise error


@pytest.mark.parametrize(
    "error", [jax.errors.JaxRuntimeError("INTERNAL: other"), ValueError("RESOURCE_EXHAUSTED")]
)
def test_memory_is_not_taken_for_the_cause_of_other_errors(error) -> None:
    with pytest.raises(type(error), match=str(error)), fits("it is judged", "use less"):
        raise error


@pytest.mark.parametrize("room", [1, 3, 64])
def test_memory_for_fewer_rows_gives_the_same_results(room) -> None:
    """Blocks are halved until the device has room for them."""
    rows = np.arange(150.0).reshape(75, 2)

    def doubled(block):
        if len(block) > room:
            raise jax.errors.JaxRuntimeError(EXHAUSTED)
        return block * 2

    np.testing.assert_array_equal(in_blocks(doubled, rows), rows * 2)


@pytest.mark.parametrize("error", [EXHAUSTED, "INTERNAL: other"])
def test_memory_for_no_row_and_other_errors_are_raised(error) -> None:
    seen = []

    def never(block):
        seen.append(len(block))
        raise jax.errors.JaxRuntimeError(error)

    with pytest.raises(jax.errors.JaxRuntimeError, match=error[:8]):
        in_blocks(never, np.zeros((75, 2)), rows=4)
    assert seen == ([4, 2, 1] if error == EXHAUSTED else [4])
