"""One thread for linear algebra on small matrices.

On matrices of a few hundred rows the threads of a BLAS wait for each other more
than they work (a hundred times slower on a busy machine), and sums in another
order give other last digits. One thread is faster there, and repeatable.
"""

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Context in which BLAS, in this process, uses one thread."""
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited
