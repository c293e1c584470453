"""Tasks in processes of their own, so that none of them can take the build down.

A task that takes longer than it may is a ``Lost`` result, and so is one whose process
dies twice: the second time, after all others, it runs alone, as the first may have been
the memory that others took. A fresh process goes on with the next. A process that has
grown is replaced, so that memory stays bounded however many tasks there are.
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

from autodistill.errors import AutoDistillError, TargetError
from autodistill.profiler.memory import process_bytes
from autodistill.profiler.orphan import end_with_parent

IDLE_DEATHS = 3  # of each process, while not one task is done, until that is an error


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


@dataclass(frozen=True)
class _Raised:
    """An error that ends everything, to be raised here."""

    error: type[AutoDistillError]
    message: str


@dataclass(frozen=True)
class _Died:
    """A process ended by itself."""

    code: int | None


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
            a ``Lost`` with the error's text, unless the user can mend it.
        tasks: Each can be pickled.
        settings: See there.

    Raises:
        AutoDistillError: As a task raises it; nothing is said of the others.
        TargetError: Processes keep dying without a task.
    """
    waiting = deque(range(len(tasks)))
    suspects: deque[int] = deque()  # their process died; to be run once more, alone
    tried: set[int] = set()  # those that were
    at_once = min(settings.processes, len(tasks))
    idle_deaths = 0
    workers: list[_Worker] = []
    try:
        while waiting or suspects or _busy(workers):
            if suspects and not waiting and not _busy(workers):
                for worker in list(workers):
                    _stop(worker, workers)  # which leaves all memory to the suspect
                waiting.append(suspects.popleft())
                tried.add(waiting[0])
                at_once = 1
            while waiting and len(workers) < at_once:
                workers.append(_start(function, settings.environment))
            for worker in workers:
                if worker.ready and worker.task is None and waiting:
                    _give(worker, waiting, tasks)
            for connection in wait([worker.connection for worker in workers], timeout=0.5):
                worker = next(w for w in workers if w.connection is connection)
                event = _receive(worker, workers, settings)
                if event is None:
                    continue
                task, result = event
                if task is None:
                    idle_deaths += 1
                    if idle_deaths >= IDLE_DEATHS * at_once:
                        raise TargetError(
                            f"worker processes keep ending without a task, the last with exit "
                            f"code {result.code}; see what they printed above, and whether "
                            "there is memory for them"
                        )
                elif isinstance(result, _Died) and task not in tried:
                    suspects.append(task)
                elif isinstance(result, _Raised):
                    raise result.error(result.message)
                else:
                    idle_deaths = 0
                    yield task, Lost(_death(result.code)) if isinstance(result, _Died) else result
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


def _busy(workers: Sequence[_Worker]) -> bool:
    return any(worker.task is not None for worker in workers)


def _give(worker: _Worker, waiting: deque[int], tasks: Sequence[Any]) -> None:
    """The next task, which stays where it is if nobody is there to read it."""
    with suppress(ConnectionError):  # it died idle, as the next look at it shows
        worker.connection.send(tasks[waiting[0]])
        worker.task, worker.since = waiting.popleft(), time.monotonic()


def _receive(
    worker: _Worker, workers: list[_Worker], settings: WorkerSettings
) -> tuple[int | None, Any] | None:
    """Task and result, or ``_Died`` for a result, where the task may be None."""
    try:
        message = worker.connection.recv()
    except (EOFError, ConnectionError):
        worker.process.join(5)
        code = worker.process.exitcode
        _stop(worker, workers)
        return worker.task, _Died(code)
    if not worker.ready:
        worker.ready = True
        return None
    task, worker.task = worker.task, None
    result, resident_bytes = message
    if resident_bytes > settings.memory_limit_bytes:
        _stop(worker, workers)
    assert task is not None
    return task, result


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
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    connection.send("ready")
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            result: Any = function(task)
        except AutoDistillError as error:
            result = _Raised(type(error), str(error))
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
