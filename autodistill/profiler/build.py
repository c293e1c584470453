"""Fill a latency table: measure architectures and append each as it is known."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import jax
import numpy as np

from autodistill.errors import TargetError
from autodistill.models.config import EncoderConfig
from autodistill.profiler.canary import Drift, canary_path, drift, with_canary
from autodistill.profiler.target import Measurement, Target, Workload
from autodistill.space import Architecture
from autodistill.space.families import encoder_config
from predictors.errors import TableError
from predictors.rows import LatencyRow
from predictors.table import (
    WORKLOAD,
    LatencyTable,
    append_row,
    create_table,
    header_of,
    read_table,
)


class TableBuilder:
    """Measures architectures on one target into one table.

    What the table already holds, of the same architecture and workload, is not
    measured again, failures included.

    Args:
        path: The CSV file; made if there is none, else continued.
        fields: Architecture fields, in the table's order.
        target: What measures.
        workloads: All that the file may hold; at least one.
        config_of: The encoder of an architecture. Without it, ``family`` and
            ``vocab_size`` say how to build one.
        family: Of all architectures.
        vocab_size: Rows of the word embedding.
        seed: Fixes the order in which architectures are measured.
        canary: Timed throughout, into a table beside this one, where the target
            times; see ``canary.py``.
        canary_every: Rows between two timings of the canary.

    Raises:
        TargetError: The file holds another target, workload or set of fields,
            or cannot be read or written.
    """

    def __init__(
        self,
        path: Path,
        fields: Sequence[str],
        *,
        target: Target,
        workloads: Sequence[Workload],
        config_of: Callable[[Architecture], EncoderConfig] | None = None,
        family: str = "",
        vocab_size: int = 0,
        seed: int = 0,
        canary: Architecture | None = None,
        canary_every: int = 10,
    ) -> None:
        if not workloads or canary_every < 1:
            raise TargetError(
                "a table needs at least one workload, and one row between two timings of its "
                f"canary; got {len(workloads)} and {canary_every}"
            )
        self.path, self.target, self.workloads = path, target, tuple(workloads)
        self._fields = tuple(sorted(fields))
        self._config_of = config_of or partial(encoder_config, family=family, vocab_size=vocab_size)
        self._seed = seed
        self._canary = canary if target.statistic == "median" else None
        self._canary_every = canary_every
        self._open(path)
        if self._canary is not None:
            self._open(canary_path(path))

    def rows(self) -> LatencyTable:
        """The table as it stands.

        Raises:
            TargetError: It cannot be read.
        """
        with _as_target_error():
            return read_table(self.path)

    def known(self, workload: Workload | None = None) -> dict[Architecture, LatencyRow]:
        """Measured and failed rows by architecture; the newest of repeated ones.

        Args:
            workload: Whose rows; the only one, if not given.

        Raises:
            TargetError: The table cannot be read, or the workload is not one of it.
        """
        wanted = _served(self._workload(workload))
        return {
            Architecture(row.architecture): row
            for row in self.rows().rows
            if _served(row) == wanted
        }

    def drift(self) -> Drift:
        """How far the canary strayed, over all commands that built this table.

        Raises:
            TargetError: Its table cannot be read.
        """
        path = canary_path(self.path)
        if not path.exists():
            return Drift(0)
        with _as_target_error():
            return drift(read_table(path).rows)

    def measure(
        self,
        architectures: Sequence[Architecture],
        workload: Workload | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[LatencyRow]:
        """Rows for these architectures, from the table or newly measured.

        Each new row is on disk before ``progress`` hears of it. The order of
        measuring is shuffled, so that the machine's moods fall on small and large
        alike; it is the same for those that an interrupted run has left.

        Args:
            architectures: One may come twice; it is measured once.
            workload: One of the table's; the only one, if not given.
            progress: Told how many of the rows there are.

        Raises:
            TargetError: The workload is not one of the table's, or the table cannot
                be read or written; rows so far are kept.
        """
        workload = self._workload(workload)
        known = self.known(workload)
        times = Counter(architectures)
        distinct = list(times)
        shuffled = [distinct[i] for i in np.random.default_rng(self._seed).permutation(len(times))]
        unknown = [architecture for architecture in shuffled if architecture not in known]
        done = sum(count for architecture, count in times.items() if architecture in known)
        if progress is not None and (done or not unknown):
            progress(done)
        for path, architecture, measurement in self._measured(unknown, workload):
            row = self._append(path, architecture, workload, measurement)
            if path != self.path:
                continue
            known[architecture] = row
            done += times[architecture]
            if progress is not None:
                progress(done)
        return [known[architecture] for architecture in architectures]

    def _measured(
        self, architectures: Sequence[Architecture], workload: Workload
    ) -> Iterator[tuple[Path, Architecture, Measurement]]:
        """Each as soon as it is known, with the table it belongs to."""
        order = [(self.path, architecture) for architecture in architectures]
        if self._canary is not None:
            canary = (canary_path(self.path), self._canary)
            order = [
                canary if i is None else order[i]
                for i in with_canary(len(order), self._canary_every)
            ]
        if not order:
            return
        configs = [self._config_of(architecture) for _, architecture in order]
        events = self.target.measure(configs, workload)
        try:
            for i, measurement in events:
                if measurement is not None:
                    yield *order[i], measurement
        finally:
            close = getattr(events, "close", None)  # of a generator: ends what it has begun
            if close is not None:
                close()

    def _append(
        self, path: Path, architecture: Architecture, workload: Workload, measurement: Measurement
    ) -> LatencyRow:
        failed = measurement.latency_ms is None
        row = LatencyRow(
            architecture=architecture.to_dict(),
            target=self.target.name,
            device_kind=self.target.device_kind,
            batch_size=workload.batch_size,
            sequence_length=workload.sequence_length,
            dtype=workload.dtype,
            latency_ms=measurement.latency_ms,
            latency_iqr_ms=measurement.latency_iqr_ms,
            repeats=None if failed else measurement.repeats,
            statistic=None if failed else self.target.statistic,
            compile_s=measurement.compile_s,
            flops=measurement.flops,
            bytes_accessed=measurement.bytes_accessed,
            peak_memory_bytes=measurement.peak_memory_bytes,
            jax_version=jax.__version__,
            compiler_version=self.target.compiler_version,
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
            error=measurement.error,
        )
        with _as_target_error():
            append_row(path, row)
        return row

    def _workload(self, workload: Workload | None) -> Workload:
        if workload is None and len(self.workloads) == 1:
            return self.workloads[0]
        if workload not in self.workloads:
            known = "; ".join(map(str, self.workloads))
            raise TargetError(f"{self.path} is for {known}; got {workload}: name one of them")
        return workload

    def _open(self, path: Path) -> None:
        """Make the table if there is none, and refuse one that is of something else."""
        if is_begun(path, self._fields):
            path.unlink()  # killed before it had written even the header
        with _as_target_error():
            if not path.exists():
                create_table(path, self._fields)
            table = read_table(path)
        if table.fields != self._fields:
            raise TargetError(
                f"{path} has the fields {list(table.fields)}; this space has "
                f"{list(self._fields)}: choose another file"
            )
        for row in table.rows:
            self._check(path, row)

    def _check(self, path: Path, row: LatencyRow) -> None:
        wanted: dict[str, list[object]] = {
            "target": [self.target.name],
            "device_kind": [self.target.device_kind],
            **{name: [getattr(one, name) for one in self.workloads] for name in WORKLOAD},
        }
        if row.statistic == "compiler_estimate":  # another compiler is another device
            wanted["compiler_version"] = [self.target.compiler_version]
            wanted["jax_version"] = [jax.__version__]
        for name, values in wanted.items():
            if getattr(row, name) not in values:
                would = " or ".join(map(repr, dict.fromkeys(values)))
                raise TargetError(
                    f"{path} holds rows with {name} {getattr(row, name)!r}; these would "
                    f"have {would}: choose another file"
                )
        if _served(row) not in map(_served, self.workloads):
            raise TargetError(
                f"{path} holds rows of {Workload(row.batch_size, row.sequence_length, row.dtype)}; "
                f"these would be of {'; '.join(map(str, self.workloads))}: choose another file"
            )


def is_begun(path: Path, fields: Sequence[str]) -> bool:
    """Whether a file is there that holds a part of a table's header, or nothing."""
    header = header_of(tuple(sorted(fields)))
    try:
        if not path.is_file() or path.stat().st_size >= len(header):
            return False
        return header.startswith(path.read_bytes())
    except OSError:
        return False  # said by whoever reads it


def _served(one: Workload | LatencyRow) -> tuple[object, ...]:
    """The workload of a row, or a workload, to be compared with others."""
    return tuple(getattr(one, name) for name in WORKLOAD)


@contextmanager
def _as_target_error() -> Iterator[None]:
    try:
        yield
    except TableError as error:
        raise TargetError(str(error)) from error
