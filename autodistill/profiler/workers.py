"""Tasks in processes of their own, so that none of them can take the build down.

A task that crashes its process, or takes longer than it may, is a ``Lost`` result;
a fresh process goes on with the next. A process that has grown is replaced, so that
memory stays bounded however many tasks there are.
"""

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from autodistill.profiler.memory import process_bytes


@dataclass(frozen=True)
class Lost:
    """A task without a result, and why."""

    reason: str


@dataclass(frozen=True)
class WorkerSettings:
    """How tasks are run.

    Attributes:
        processes: At once.
        time_limit_s: For one task; the start of its process is not counted.
        memory_limit_bytes: A process that has grown beyond is replaced once its
            task is done.
        environment: Variables that the processes have, on top of this one's.
    """

    processes: int = 1
    time_limit_s: float = 300.0
    memory_limit_bytes: int = 3 << 30
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Worker:
    process: Any
    connection: Connection
    task: int | None = None
    since: float = 0.0
    ready: bool = False


def run_tasks(
    function: Callable[[Any], Any], tasks: Sequence[Any], settings: WorkerSettings
) -> Iterator[tuple[int, Any]]:
    """``(index, function(task))`` as each is done, in any order; ``Lost`` where there is none.

    Args:
        function: Importable by name; called in a fresh process. What it raises is
            a ``Lost`` with the error's text.
        tasks: Each can be pickled.
        settings: See there.
    """
    waiting = deque(range(len(tasks)))
    workers: list[_Worker] = []
    try:
        while waiting or any(worker.task is not None for worker in workers):
            while waiting and len(workers) < min(settings.processes, len(tasks)):
                workers.append(_start(function, settings.environment))
            for worker in workers:
                if worker.ready and worker.task is None and waiting:
                    worker.task, worker.since = waiting.popleft(), time.monotonic()
                    worker.connection.send(tasks[worker.task])
            for connection in wait([worker.connection for worker in workers], timeout=0.5):
                worker = next(w for w in workers if w.connection is connection)
                yield from _receive(worker, workers, settings)
            for worker in list(workers):
                late = worker.task is not None and (
                    time.monotonic() - worker.since > settings.time_limit_s
                )
                if late:
                    _stop(worker, workers)
                    yield worker.task, Lost(f"passed its time limit of {settings.time_limit_s:g} s")  # type: ignore[misc]
    finally:
        for worker in list(workers):
            _stop(worker, workers)


def _receive(
    worker: _Worker, workers: list[_Worker], settings: WorkerSettings
) -> Iterator[tuple[int, Any]]:
    try:
        message = worker.connection.recv()
    except (EOFError, ConnectionError) as error:
        worker.process.join(5)
        code = worker.process.exitcode
        _stop(worker, workers)
        if worker.task is None:
            raise RuntimeError(f"a worker process ended with code {code} as it started") from error
        yield worker.task, Lost(_death(code))
        return
    if not worker.ready:
        worker.ready = True
        return
    task, worker.task = worker.task, None
    result, resident_bytes = message
    if resident_bytes > settings.memory_limit_bytes:
        _stop(worker, workers)
    assert task is not None
    yield task, result


def _death(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "the process that worked on it was killed, as when memory runs out"
    if code is not None and code < 0:
        return f"the process that worked on it died with {signal.Signals(-code).name}"
    return f"the process that worked on it ended with exit code {code}"


def _start(function: Callable[[Any], Any], environment: Mapping[str, str]) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(function, theirs), daemon=True)
    with _environment(environment):
        process.start()
    theirs.close()
    return _Worker(process, ours)


def _stop(worker: _Worker, workers: list[_Worker]) -> None:
    workers.remove(worker)
    worker.connection.close()
    worker.process.kill()
    worker.process.join()


def _work(function: Callable[[Any], Any], connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    connection.send("ready")
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            result: Any = function(task)
        except Exception as error:
            result = Lost(" ".join(f"{type(error).__name__}: {error}".split())[:300])
        with suppress(BrokenPipeError):
            connection.send((result, process_bytes(os.getpid())))


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Variables set while a process starts, which then has them from the first import on."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
