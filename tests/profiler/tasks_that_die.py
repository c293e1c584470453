"""Functions for worker processes, importable by name in a fresh one."""

import os
import signal
import time
from pathlib import Path

from autodistill.errors import TargetError


def square(number: int) -> int:
    return number * number


def environment(name: str) -> str | None:
    return os.environ.get(name)


def process(_: int) -> int:
    return os.getpid()


def hang_at_two(number: int) -> int:
    if number == 2:
        time.sleep(60)
    return number


def killed_at_two(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def raise_at_two(number: int) -> int:
    if number == 2:
        raise ValueError("two\nlines")
    return number


def exit_at_two(number: int) -> int:
    if number == 2:
        os._exit(3)
    return number


def killed_once(task: tuple[str, int]) -> tuple[int, bool]:
    """At two, where a file is absent; says whether another process of the parent runs."""
    folder, number = task
    mark = Path(folder) / "killed"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    children = Path(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read_text().split()
    names = [Path(f"/proc/{child}/cmdline").read_text() for child in children]
    return number, sum("spawn_main" in name for name in names) > 1


def hang_with_pid(mark: str) -> None:
    Path(mark).write_text(str(os.getpid()))
    time.sleep(600)


def refuse_at_two(number: int) -> int:
    if number == 2:
        raise TargetError("libtpu cannot compile for v99:1x1")
    return number


class DiesAtStart:
    """A function that its process cannot even read."""

    def __call__(self, number: int) -> int:
        return number

    def __reduce__(self):
        return os._exit, (7,)
