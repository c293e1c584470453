"""One thread for linear algebra on small matrices; many small matrices on all cores.

On matrices of a few hundred rows the threads of a BLAS wait for each other more
than they work (a hundred times slower on a busy machine), and sums in another
order give other last digits. One thread is faster there, and repeatable. Where
there are many such matrices each core takes its own, with the same digits.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from threadpoolctl import OpenBLASController, ThreadpoolController

Part = TypeVar("Part")
Result = TypeVar("Result")


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


class _Limit:
    """The limit is the process's: the first who needs it sets it, the last one lifts it.

    From threadpoolctl 3.8 on, the thread that sets a limit of OpenBLAS controls it until it
    lets go; what others do meanwhile has no effect.
    """

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.limiter: Any = None

    def enter(self) -> None:
        with self.lock:
            if not self.users:
                self.limiter = _controller().limit(limits=1, user_api="blas")
            self.users += 1

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            if not self.users:
                self.limiter.restore_original_limits()
            let_go = getattr(OpenBLASController, "clear_controlling_thread", None)
            if let_go is not None:
                let_go()


_LIMIT = _Limit()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Context in which BLAS, in this process, uses one thread; threads may overlap in it."""
    _LIMIT.enter()
    try:
        yield
    finally:
        _LIMIT.leave()


def on_all_cores(work: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """``work`` of each part, in order, each core taking the next one when it is free."""
    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(work, parts))


def slices(n_rows: int, size: int) -> list[slice]:
    """Slices of at most so many rows that cover all of them, in order."""
    return [slice(start, start + size) for start in range(0, n_rows, size)]


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
