"""Measure in a process of its own, and outlive it.

An encoder can take down what measures it: the kernel kills the process for its
memory, a compiler crashes or never ends. Here a target works in one child
process; when that dies or falls silent, the encoder it had begun last is a
failed measurement, and a fresh child goes on with the others. Where it died with
others open, that encoder is measured once more, alone: the memory of all of them may
have been too much, and not its own. So is one that failed without taking the child down:
the device may have been beyond use since an earlier one. Whatever it is then worth, the
next child is fresh.

The parent never touches the device: a TPU belongs to one process at a time.
"""

import atexit
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from autodistill.errors import AutoDistillError, TargetError
from autodistill.models.config import EncoderConfig
from autodistill.profiler.heartbeat import beats_to
from autodistill.profiler.orphan import end_with_parent
from autodistill.profiler.target import Measurement, Target, Workload

START_LIMIT_S = 600.0  # until a child has imported everything and found its device
END_LIMIT_S = 10.0  # for a killed child to be gone
LONGEST_WAIT_S = 20 * 86400.0  # the system counts milliseconds in 31 bits: 24 days


class SupervisedTarget:
    """A target that works in a child process.

    The child starts when it is first needed and stays until ``close``, or the end
    of this process, however that comes.

    Args:
        name: As in the table.
        make: Makes the real target, in the child; sent there by ``pickle``, so a
            function of a module or a ``functools.partial`` of one.
        time_limit_s: How long nothing may be heard from the child while it
            measures: an event, or the end of one timed turn. Between two lies the
            compilation of one encoder at most. More than 20 days are 20 days.

    Raises:
        TargetError: The limit is not positive.
    """

    def __init__(
        self, name: str, make: Callable[[], Target], *, time_limit_s: float = 300.0
    ) -> None:
        if not time_limit_s > 0:
            raise TargetError(f"time_limit_s must be positive; got {time_limit_s}")
        self.name, self.time_limit_s = name, time_limit_s
        self._make = make
        self._child: _Child | None = None
        self._facts: _Facts | None = None

    @property
    def device_kind(self) -> str:
        """As the child says."""
        return self._asked().device_kind

    @property
    def statistic(self) -> str:
        """As the child says."""
        return self._asked().statistic

    @property
    def compiler_version(self) -> str:
        """As the child says."""
        return self._asked().compiler_version

    def measure(
        self, configs: Sequence[EncoderConfig], workload: Workload
    ) -> Iterator[tuple[int, Measurement | None]]:
        """Measure in the child; one that dies or falls silent costs at most one encoder.

        Encoders that were open beside that one are begun again in the next child, and
        so is that one, alone, where the child died or reported a failure.

        Raises:
            AutoDistillError: As the target in the child raises it.
            TargetError: Two children in a row died before they began anything.
        """
        left = list(range(len(configs)))
        died_idle = False
        suspect: int | None = None  # to be measured once more, alone
        failed: set[int] = set()  # those that have been suspects for a failure
        while left:
            sent = tuple(left) if suspect is None else (suspect,)
            open_: list[int] = []  # in the order in which they were begun
            child = self._ready()
            try:
                child.is_busy = True
                child.send(([configs[i] for i in sent], workload))
                while (event := child.receive(self.time_limit_s)) != _FINISHED:
                    position, measurement = event
                    i = sent[position]
                    if measurement is not None and measurement.error and i not in failed:
                        failed.add(i)
                        suspect = i
                        raise _Failed
                    if measurement is None:
                        open_ = [*(other for other in open_ if other != i), i]
                    else:
                        open_.remove(i)
                        left.remove(i)
                    died_idle = False
                    yield i, measurement
            except _Failed:
                self._let_go(child)
                continue
            except _Lost as lost:
                self._let_go(child)
                why, died = str(lost), not isinstance(lost, _Silent)
            except BaseException:
                self._let_go(child)  # it may be anywhere within its work
                raise
            else:
                child.is_busy = False
                if suspect is None:
                    return
                if suspect in failed:  # twice, perhaps: what is left of the device is not known
                    self._let_go(child)
                suspect = None
                continue
            if died and len(open_) > 1:
                suspect = open_[-1]
            elif open_:
                suspect = None
                left.remove(open_[-1])
                yield open_[-1], Measurement(None, error=why)
            elif died_idle:
                raise TargetError(
                    f"target {self.name!r} cannot measure here: twice in a row, before it began "
                    f"an encoder, it {why}; see what it printed above"
                )
            else:
                died_idle = True

    def close(self) -> None:
        """End the child, if there is one; the next question starts another."""
        if self._child is not None:
            self._let_go(self._child)

    def _let_go(self, child: "_Child") -> None:
        """End this child; another that has taken its place stays."""
        child.kill()
        if self._child is child:
            self._child = None

    def _asked(self) -> "_Facts":
        if self._facts is None:
            self._ready()
        assert self._facts is not None, "a child that is ready has said its facts"
        return self._facts

    def _ready(self) -> "_Child":
        """The child, idle; a fresh one where there is none, or it is at something else."""
        if self._child is not None and self._child.is_alive() and not self._child.is_busy:
            return self._child
        self.close()
        child = _Child(self._make)
        try:
            facts = child.receive(START_LIMIT_S)
        except _Lost as lost:
            child.kill()
            raise TargetError(
                f"target {self.name!r} cannot measure here: while it started, it {lost}; see "
                "what it printed above"
            ) from None
        except BaseException:
            child.kill()
            raise
        if self._facts not in (None, facts):
            child.kill()
            raise TargetError(
                f"target {self.name!r} was {self._facts}; started again, it is {facts}: its "
                "latencies would not be comparable"
            )
        self._child, self._facts = child, facts
        return child


@dataclass(frozen=True)
class _Facts:
    """What a child says when it is ready."""

    device_kind: str
    statistic: str
    compiler_version: str


@dataclass(frozen=True)
class _Raised:
    """An error of the target, to be raised in the parent."""

    error: type[Exception]
    message: str


_FINISHED = "finished"


_BEAT = "beat"  # nothing to tell, but work goes on


class _Lost(Exception):
    """The child died or fell silent; the message says how, after the word "it"."""


class _Silent(_Lost):
    """It fell silent."""


class _Failed(Exception):
    """It could not measure an encoder; whether that is the encoder's fault is to be seen."""


# -- in the parent -----------------------------------------------------------


class _Child:
    """A process that serves a target, and the pipe to it."""

    def __init__(self, make: Callable[[], Target]) -> None:
        context = multiprocessing.get_context("spawn")
        self.is_busy = False
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, theirs), daemon=True)
        with _interrupts_held():
            self._process.start()
        theirs.close()  # so that its death ends the pipe
        atexit.register(self.kill)  # before multiprocessing ends it less quietly

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def send(self, message: object) -> None:
        """Raises _Lost where nobody is there to read it."""
        try:
            self._pipe.send(message)
        except OSError:
            raise _Lost(self._death()) from None

    def receive(self, limit_s: float) -> Any:
        """The next message that is more than a sign of life.

        Raises:
            _Lost: The process died, or gave no sign of life for ``limit_s``.
            AutoDistillError: The target raised it.
            RuntimeError: The target raised something else, with its traceback.
        """
        try:
            message: Any = _BEAT
            while message == _BEAT:
                if not self._pipe.poll(min(limit_s, LONGEST_WAIT_S)):
                    raise _Silent(f"passed its time limit of {limit_s:g} s without a result")
                message = self._pipe.recv()
        except (EOFError, OSError):
            raise _Lost(self._death()) from None
        if isinstance(message, _Raised):
            raise message.error(message.message)
        return message

    def kill(self) -> None:
        atexit.unregister(self.kill)
        self._process.kill()
        self._process.join(END_LIMIT_S)
        self._pipe.close()

    def _death(self) -> str:
        self._process.join(END_LIMIT_S)
        code = self._process.exitcode
        if code is None:
            return "closed its pipe and hangs"
        if code >= 0:
            return f"ended on its own with exit code {code}"
        cause = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"died with signal {-code}, {signal.Signals(-code).name}{cause}"


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start a process within: it is deaf to Ctrl-C for ever, this one for a moment."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # would lift the mask on its own start
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- in the child ------------------------------------------------------------


def _serve(make: Callable[[], Target], pipe: Connection) -> None:
    """Make the target, say what it is, and measure what is asked, until the pipe ends."""
    end_with_parent()
    try:
        target = make()
        pipe.send(_Facts(target.device_kind, target.statistic, target.compiler_version))
        while True:
            configs, workload = pipe.recv()
            with beats_to(lambda: pipe.send(_BEAT)):
                for event in target.measure(configs, workload):
                    pipe.send(event)
            pipe.send(_FINISHED)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # nobody asks any more
    except AutoDistillError as error:
        pipe.send(_Raised(type(error), str(error)))
    except Exception:
        pipe.send(_Raised(RuntimeError, f"in the process that measures:\n{traceback.format_exc()}"))
