"""Memory that does not suffice: told from other errors, and explained."""

from collections.abc import Iterator
from contextlib import contextmanager

from autodistill.errors import TrainingError

SIGN = "RESOURCE_EXHAUSTED"  # how jax says it, in a RuntimeError of its own


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python's or jax's says that memory does not suffice."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and SIGN in str(error)
    )


@contextmanager
def fits(doing: str, advice: str) -> Iterator[None]:
    """Explain it where memory does not suffice for what is done within.

    Args:
        doing: What is done, as in "out of memory while ...".
        advice: What can be done about it.

    Raises:
        TrainingError: Memory does not suffice.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        lines = str(error).removeprefix(f"{SIGN}: ").splitlines()
        why = f" ({lines[0].rstrip('.')})" if lines else ""
        raise TrainingError(f"out of memory while {doing}{why}; {advice}") from error
