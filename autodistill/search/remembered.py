"""A function of architectures that is asked about each of them once in a proposal.

What a caller knows (counts, a latency model) is asked of the same few thousand
architectures many times in one proposal, and is often plain Python.

Its last digits may depend on which architectures are asked about together, as those
of a matrix product do. So each proposal begins with nothing remembered: then all that
it asks follows from the history, and not from what was proposed on the way.

Axes: n = architectures, d = columns.
"""

from collections.abc import Callable, Sequence

import numpy as np

from autodistill.space import Architecture


class Remembered:
    """Rows of numbers by architecture.

    Args:
        function: ``architectures -> (n, d)``; never asked about none.
    """

    def __init__(self, function: Callable[[Sequence[Architecture]], np.ndarray]) -> None:
        self._function = function
        self._rows: dict[Architecture, np.ndarray] = {}

    def forget(self) -> None:
        """Ask about all of them anew."""
        self._rows.clear()

    def __call__(self, architectures: Sequence[Architecture]) -> np.ndarray:  # (n, d)
        """The rows of at least one architecture."""
        new = [a for a in dict.fromkeys(architectures) if a not in self._rows]
        if new:
            self._rows.update(zip(new, self._function(new), strict=True))
        return np.array([self._rows[a] for a in architectures])
