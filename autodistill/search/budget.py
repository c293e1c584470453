"""How long a search may go on: a number of students, or a time."""

import re
from dataclasses import dataclass

from autodistill.errors import ArgumentError

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """Exactly one of the two is given.

    Attributes:
        students: Distilled candidates, the baseline not counted.
        seconds: Wall-clock time of one command, from its start.
    """

    students: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """``8`` students, or ``90s``, ``30m``, ``1.5h``.

        Raises:
            ArgumentError: Neither, or not positive.

        Example:
            >>> Budget.parse("8"), Budget.parse("30m").seconds
            (Budget(students=8, seconds=None), 1800.0)
        """
        match = re.fullmatch(r"\s*([+-]?\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
        if match is None:
            raise ArgumentError(
                f"--budget takes a number of students (8) or a time (90s, 30m, 2h); got {text!r}"
            )
        number, unit = float(match[1]), match[2]
        if number <= 0:
            raise ArgumentError(f"--budget must be positive; got {text!r}")
        if unit:
            return cls(seconds=number * _UNITS_S[unit])
        if number != int(number):
            raise ArgumentError(
                f"--budget without a unit is a whole number of students; got {text!r}"
            )
        return cls(students=int(number))

    def is_spent(self, students: int, seconds: float, next_seconds: float) -> bool:
        """Whether another student, expected to take ``next_seconds``, is too much."""
        if self.students is not None:
            return students >= self.students
        assert self.seconds is not None
        return seconds + next_seconds > self.seconds
