"""Latency in the search: the table, the model fitted on it, and what it predicts.

Axes: n = architectures, d = columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autodistill.errors import ExportError, TargetError
from autodistill.profiler import TableBuilder
from autodistill.search.surrogates import Surrogate, fit_surrogate
from autodistill.space import Architecture, SearchSpace
from predictors import save

Describe = Callable[[Sequence[Architecture]], np.ndarray]


@dataclass(frozen=True)
class LatencyModel:
    """Latency of any architecture of the space, from the table as it stood."""

    surrogate: Surrogate
    describe: Describe
    rows: int

    def __call__(
        self, architectures: Sequence[Architecture]
    ) -> tuple[np.ndarray, np.ndarray]:  # (n,), (n,)
        """Predicted latency and its standard deviation, in ms."""
        predictor = self.surrogate.predictor
        return predictor.predict(self.describe(architectures), return_std=True)  # type: ignore[attr-defined]

    def save(
        self,
        path: Path,
        *,
        columns: Sequence[str],
        target: str,
        workload: Mapping[str, int | str],
    ) -> None:
        """Keep the model as a file that ``predictors.load`` reads.

        Args:
            path: Of the file.
            columns: What ``describe`` gives.
            target: What was measured on.
            workload: What all measurements had in common: batch size, device kind and so on.

        Raises:
            ExportError: Its folder cannot be made.
            PersistError: The file cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(
                f"{path.parent} cannot be made: {error.strerror or error}; free some space and run "
                "the same command again"
            ) from error
        predictor = self.surrogate.predictor
        save(predictor, path, columns=list(columns), target=target, workload=workload)


def fit_latency(
    builder: TableBuilder,
    describe: Describe,
    *,
    seed: int,
    without: Architecture | None = None,
) -> LatencyModel:
    """The better of both kinds of model on the measured rows, one perhaps left out.

    Raises:
        TargetError: Nothing could be measured.
    """
    rows = [row for row in builder.rows().measured if Architecture(row.architecture) != without]
    if len(rows) < 2:
        failed = [row.error for row in builder.rows().rows if row.error]
        raise TargetError(
            f"only {len(rows)} architectures could be measured on {builder.target.name}; "
            f"the first failure: {failed[0] if failed else 'none recorded'}"
        )
    x = describe([Architecture(row.architecture) for row in rows])
    y = np.array([row.latency_ms for row in rows])
    return LatencyModel(fit_surrogate(x, y, seed=seed, log_target=True), describe, len(rows))


def profile_sample(
    space: SearchSpace, count: int, *, seed: int, first: Sequence[Architecture]
) -> list[Architecture]:
    """The given architectures, then random ones of the space, all different."""
    first = list(dict.fromkeys(first))
    rng = np.random.default_rng([seed, 1])
    return first + space.sample_distinct(max(count - len(first), 0), rng, exclude=first)
