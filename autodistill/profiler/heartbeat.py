"""A sign of life between two events of a target, for whoever waits for the next.

A target may work for long without an event: programs that take turns have none until
one of them is settled. It calls ``beat`` as it gets on. Nothing comes of that unless
somebody listens, as the process of a ``SupervisedTarget`` does.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LISTENER: ContextVar[Callable[[], None] | None] = ContextVar("listener", default=None)


def beat() -> None:
    """Say that work goes on."""
    listener = _LISTENER.get()
    if listener is not None:
        listener()


@contextmanager
def beats_to(listener: Callable[[], None]) -> Iterator[None]:
    """Call ``listener`` at each beat within the block."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
