"""Targets that go wrong in their process. A child process imports this by its plain name.

The number of layers of an encoder says what befalls the target when it measures it.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from autodistill.errors import SpaceError, TargetError
from autodistill.profiler import Measurement
from autodistill.profiler.rolling import TimingSettings, interleaved

FINE, HANGS, KILLS_ITSELF, LEAVES, REFUSES, BREAKS, KILLED_ONCE, POISONS = range(1, 9)


@dataclass(frozen=True)
class Troubled:
    """Latency is the width; what was begun and by whom goes to a log, a line each.

    Attributes:
        log: The file.
        together: Encoders that are begun before the first of them is done.
        device_kind: As of a target.
    """

    log: Path
    together: int = 1
    device_kind: str = "abacus"
    name = "troubled"
    statistic = "median"

    @property
    def compiler_version(self):
        return f"process {os.getpid()}" if self.device_kind == "moody" else "beads 1.2"

    def measure(self, configs, workload):
        for begin in range(0, len(configs), self.together):
            window = range(begin, min(begin + self.together, len(configs)))
            for i in window:
                yield i, None
                with self.log.open("a") as file:
                    file.write(f"{os.getpid()} {configs[i].hidden_size}\n")
                suffer(configs[i].num_hidden_layers, self.log)
            for i in window:
                yield i, Measurement(float(configs[i].hidden_size), 0.5, 20)


def begun_are(log, count):
    return len(log.read_text().splitlines()) == count


def suffer(what, log):
    if what == HANGS:
        time.sleep(1000)
    elif what == KILLS_ITSELF or (what == KILLED_ONCE and begun_are(log, 2)):
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == LEAVES:
        os._exit(3)
    elif what == REFUSES:
        raise SpaceError("no such shape")
    elif what == BREAKS:
        raise ZeroDivisionError("a bug")


def absent():
    raise TargetError("target 'absent': jax sees no such device here")


def dies_at_start():
    os.kill(os.getpid(), signal.SIGSEGV)


@dataclass(frozen=True)
class DiesIdle(Troubled):
    """Dies when it is asked, before it begins anything."""

    def measure(self, configs, workload):
        os.kill(os.getpid(), signal.SIGKILL)
        yield


@dataclass(frozen=True)
class Poisoned(Troubled):
    """A device that, after a failure, fails at everything in this process."""

    def measure(self, configs, workload):
        poisoned = False
        for i, config in enumerate(configs):
            for _, measurement in super().measure([config], workload):
                poisoned = poisoned or config.num_hidden_layers == POISONS
                if measurement is not None and poisoned:
                    measurement = Measurement.failed(RuntimeError("ILLEGAL_ADDRESS"))
                yield i, measurement


@dataclass(frozen=True)
class TakesTurns(Troubled):
    """Two programs that take 0.1 s a run, and so are silent for ten runs each."""

    def measure(self, configs, workload):
        settings = TimingSettings(min_repeats=10, min_rounds=5, max_seconds=1.0)
        return interleaved(lambda i: Slow(), len(configs), settings)


class Slow:
    facts = Measurement(None)

    def run(self):
        time.sleep(0.1)
        return 0.1
