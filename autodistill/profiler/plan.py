"""Which rows a table is to have: from what was asked for, before any device is touched.

A row is an architecture under a workload. Architectures come from three places,
in this order: well-known encoders, a file, a sample of the space. One that comes
twice is one row.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from autodistill.errors import ArgumentError
from autodistill.models.config import EncoderConfig
from autodistill.profiler.baselines import baselines_for, left_out_message
from autodistill.profiler.sampling import stratified_sample
from autodistill.profiler.table_fields import config_of_row, table_fields, to_row_architecture
from autodistill.profiler.target import Workload
from autodistill.space import Architecture, SearchSpace

MAX_POSITIONS = 512  # of every encoder, BERT's number
MAX_SEED = 2**32 - 1

Row = tuple[Architecture, Workload]


@dataclass(frozen=True)
class Plan:
    """The rows of one table.

    Attributes:
        fields: The table's architecture fields.
        architectures: All different, each with exactly these fields.
        workloads: All different.
        names: Of those architectures that have one.
        vocab_size: Rows of the word embedding.
        left_out: Which well-known encoders the table cannot hold; may be empty.
    """

    fields: tuple[str, ...]
    architectures: tuple[Architecture, ...]
    workloads: tuple[Workload, ...]
    names: Mapping[Architecture, str]
    vocab_size: int
    left_out: str = ""

    @property
    def rows(self) -> list[Row]:
        """Every architecture under the first workload, then under the next."""
        return [(a, w) for w in self.workloads for a in self.architectures]

    def todo(self, known: Collection[Row]) -> list[Row]:
        """The rows that are not known yet."""
        return [row for row in self.rows if row not in known]

    def config(self, architecture: Architecture) -> EncoderConfig:
        """What is measured for an architecture of this plan."""
        return config_of_row(architecture, self.vocab_size)


def make_plan(
    space: SearchSpace,
    *,
    samples: int,
    given: Sequence[tuple[str, Architecture]] = (),
    baselines: bool = False,
    workloads: Sequence[Workload],
    vocab_size: int,
    seed: int,
) -> Plan:
    """The rows that were asked for.

    Args:
        space: Where samples come from; a space of encoders.
        samples: How many.
        given: Family and architecture of more.
        baselines: Whether the well-known encoders are to be there too.
        workloads: Not empty; each architecture is measured under all of them.
        vocab_size: Rows of the word embedding.
        seed: Fixes the sample.

    Raises:
        ArgumentError: A number is out of range, or there is no row at all.
        SpaceError: A given architecture cannot be built, or the space is not
            one of encoders.
    """
    _check(space, samples=samples, workloads=workloads, vocab_size=vocab_size, seed=seed)
    if space.family is None:
        raise ArgumentError("the space must name its family, bert or mobilebert")
    fields = table_fields(space, vocab_size)
    names: dict[Architecture, str] = {}
    if baselines:
        for one in baselines_for(space.family)[0]:
            row = one.row(fields, vocab_size)  # several may be of one shape
            names[row] = f"{names[row]}, {one.name}" if row in names else one.name
    found = [
        *names,
        *(
            to_row_architecture(architecture, family, fields, vocab_size)
            for family, architecture in given
        ),
        *(
            to_row_architecture(architecture, space.family, fields, vocab_size)
            for architecture in stratified_sample(space, samples, seed)
        ),
    ]
    if not found:
        raise ArgumentError(
            "nothing to measure: give --samples, --architectures or --include-baselines"
        )
    left_out = left_out_message(space.family) if baselines else ""
    distinct = tuple(dict.fromkeys(found))
    return Plan(fields, distinct, tuple(workloads), names, vocab_size, left_out)


def workloads_of(
    batch_sizes: Sequence[int], sequence_length: int, dtype: str
) -> tuple[Workload, ...]:
    """One workload for each batch size.

    Raises:
        ArgumentError: None, or one twice, or too long a sequence.
        TargetError: A number below one, or an unknown dtype.
    """
    if not batch_sizes or len(set(batch_sizes)) < len(batch_sizes):
        raise ArgumentError(
            "--batch-size takes one or more different numbers; got "
            f"{' '.join(map(str, batch_sizes)) or 'none'}"
        )
    if sequence_length > MAX_POSITIONS:
        raise ArgumentError(
            f"--sequence-length must be at most {MAX_POSITIONS}, the positions that encoders have; "
            f"got {sequence_length}"
        )
    return tuple(Workload(batch, sequence_length, dtype) for batch in batch_sizes)


def default_dtype(target: str) -> str:
    """What is served on a target if nothing is said: TPUs multiply bfloat16."""
    return "bfloat16" if target.startswith("tpu") else "float32"


def _check(
    space: SearchSpace, *, samples: int, workloads: Sequence[Workload], vocab_size: int, seed: int
) -> None:
    for name, value, least in (("samples", samples, 0), ("vocab-size", vocab_size, 1)):
        if value < least:
            raise ArgumentError(f"--{name} must be at least {least}; got {value}")
    if not 0 <= seed <= MAX_SEED:
        raise ArgumentError(f"--seed must be between 0 and {MAX_SEED}; got {seed}")
    if not workloads:
        raise ArgumentError("a table needs at least one workload")
    if samples > space.size:
        raise ArgumentError(
            f"--samples must be at most {space.size:,}, the size of the space {space.name}; "
            f"got {samples:,}"
        )
