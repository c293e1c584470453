"""Computations that take one form on CPUs and another elsewhere.

XLA's compiler for CPUs is picky about the form of a product or a function, and others are
not. The form is chosen when a program is compiled for a platform, which need not be one
that this machine has. ONNX knows no platforms: what is exported is traced under
``one_form``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import jax

ResultT = TypeVar("ResultT")

_one_form: ContextVar[bool] = ContextVar("one_form", default=False)


def by_platform(
    on_cpu: Callable[..., ResultT], elsewhere: Callable[..., ResultT], *arrays: jax.Array
) -> ResultT:
    """What the function for the platform says of the arrays; both must say the same."""
    if _one_form.get():
        return elsewhere(*arrays)
    found: ResultT = jax.lax.platform_dependent(*arrays, cpu=on_cpu, default=elsewhere)
    return found


@contextmanager
def one_form() -> Iterator[None]:
    """Everything traced meanwhile has the form that it has elsewhere than on CPUs."""
    token = _one_form.set(True)
    try:
        yield
    finally:
        _one_form.reset(token)
