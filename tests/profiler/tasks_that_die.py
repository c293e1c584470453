"""Functions for worker processes, importable by name in a fresh one."""

import os
import signal
import time


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
