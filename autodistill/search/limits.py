"""Hard limits on students, and whether any architecture can meet them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autodistill.errors import ArgumentError
from autodistill.search.latency import LatencyModel
from autodistill.space import Architecture, SearchSpace
from autodistill.space.cost import encoder_cost
from autodistill.teacher import Teacher, TeacherKind
from predictors.table import LatencyTable


def student_parameters(architecture: Architecture, space: SearchSpace, teacher: Teacher) -> int:
    """Weights that serving a student needs: encoder and output layer or head."""
    assert space.family is not None, "students are built from a space of encoders"
    vocabulary = teacher.config.vocab_size
    own = encoder_cost(architecture, family=space.family, vocab_size=vocabulary).parameters
    hidden = int(architecture["hidden_size"])
    if teacher.kind is TeacherKind.EMBEDDING:
        return own + (hidden + 1) * teacher.output_width
    head = hidden * hidden + 3 * hidden + vocabulary
    if space.family == "mobilebert":
        head += vocabulary * (hidden - int(architecture.get("embedding_size", 128)))
    return own + head


def smallest(space: SearchSpace, teacher: Teacher) -> Architecture:
    """The architecture with the fewest parameters.

    Parameters never fall when a field that no rule ties to others grows, so
    such fields stay at their least choice; the others are tried in full.
    """
    conditions = space.conditions.parents
    tied = {field for rule in space.rules for field in rule.fields}
    tied |= {*conditions, *conditions.values()}
    reduced = SearchSpace(
        {field: values if field in tied else values[:1] for field, values in space.choices.items()},
        family=space.family,
        rules=space.extra_rules,
        conditions=space.conditions.given,
    )
    return min(reduced.enumerate(), key=lambda a: student_parameters(a, space, teacher))


@dataclass(frozen=True)
class Limits:
    """What a student must not exceed; ``None`` is no limit."""

    max_latency_ms: float | None = None
    max_params: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_latency_ms", "max_params"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                flag = "--" + name.replace("_", "-")
                raise ArgumentError(f"{flag} must be positive; got {value}")

    def check_parameters(self, space: SearchSpace, teacher: Teacher) -> None:
        """Refuse a limit under the smallest student.

        Raises:
            ArgumentError: No architecture of the space meets ``max_params``.
        """
        if self.max_params is None:
            return
        least = smallest(space, teacher)
        count = student_parameters(least, space, teacher)
        if count > self.max_params:
            raise ArgumentError(
                f"no student of the space {space.name!r} meets --max-params {self.max_params:,}: "
                f"the smallest has {count:,} parameters ({least.to_dict()}); raise the limit or "
                "give a --space with smaller choices"
            )

    def why_over(self, latency_ms: float | None, parameters: int | None) -> str | None:
        """What limit a measured student is over, if any; None counts as within."""
        if self.max_latency_ms is not None and (latency_ms or 0) > self.max_latency_ms:
            return f"takes {latency_ms:.3g} ms, over the limit {self.max_latency_ms:g}"
        if self.max_params is not None and (parameters or 0) > self.max_params:
            return f"has {parameters:,} parameters, over the limit {self.max_params:,}"
        return None

    def most_hopeful(
        self,
        space: SearchSpace,
        teacher: Teacher,
        model: LatencyModel,
        table: LatencyTable,
        *,
        seed: int,
    ) -> Architecture | None:
        """What to measure next in search of an architecture within the limits.

        Returns:
            The one that is predicted fastest of those not measured; None if the
            table holds one within the limits, or if no prediction comes within two
            standard deviations of them.
        """
        limit = self.max_latency_ms
        if limit is None or self._fastest_ms(space, teacher, table) <= limit:
            return None
        known = [Architecture(row.architecture) for row in table.rows]
        pool = space.sample_distinct(4096, np.random.default_rng([seed, 2]), exclude=known)
        pool = [a for a in pool if self._is_small_enough(a, space, teacher)]
        if not pool:
            return None
        mean, std = model(pool)
        hopeful = np.flatnonzero(mean - 2 * std <= limit)
        return pool[hopeful[np.argmin(mean[hopeful])]] if len(hopeful) else None

    def check_latency(self, space: SearchSpace, teacher: Teacher, table: LatencyTable) -> None:
        """Refuse a limit that nothing measured meets; see ``most_hopeful``.

        Raises:
            ArgumentError: No architecture of the table is within the limits.
        """
        fastest_ms = self._fastest_ms(space, teacher, table)
        if self.max_latency_ms is None or fastest_ms <= self.max_latency_ms:
            return
        small = "" if self.max_params is None else f" with at most {self.max_params:,} parameters"
        raise ArgumentError(
            f"no student of the space {space.name!r} meets --max-latency-ms "
            f"{self.max_latency_ms:g}: of {len(table.measured):,} measured, the fastest{small} "
            f"takes {fastest_ms:.3g} ms, and none is predicted to be fast enough; raise the limit "
            "or give a --space with smaller choices"
        )

    def _fastest_ms(self, space: SearchSpace, teacher: Teacher, table: LatencyTable) -> float:
        """Least latency measured under ``max_params``; infinite if there is none."""
        return min(
            (
                row.latency_ms
                for row in table.measured
                if row.latency_ms is not None
                and self._is_small_enough(Architecture(row.architecture), space, teacher)
            ),
            default=float("inf"),
        )

    def _is_small_enough(
        self, architecture: Architecture, space: SearchSpace, teacher: Teacher
    ) -> bool:
        if self.max_params is None:
            return True
        return student_parameters(architecture, space, teacher) <= self.max_params

    def excess(
        self,
        architectures: Sequence[Architecture],
        *,
        space: SearchSpace,
        teacher: Teacher,
        model: LatencyModel,
    ) -> np.ndarray:  # (n,)
        """By how large a share each architecture is over its worst limit; <= 0 is within."""
        over = np.full(len(architectures), -1.0)
        if self.max_params is not None:
            counts = [student_parameters(a, space, teacher) for a in architectures]
            over = np.maximum(over, np.array(counts) / self.max_params - 1)
        if self.max_latency_ms is not None:
            over = np.maximum(over, model(architectures)[0] / self.max_latency_ms - 1)
        return over
