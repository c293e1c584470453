"""Fill a latency table: measure architectures and append each as it is known."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import jax
import jaxlib

from autodistill.errors import TargetError
from autodistill.profiler.target import Measurement, Target, Workload
from autodistill.space import Architecture
from autodistill.space.families import encoder_config
from predictors.errors import TableError
from predictors.rows import LatencyRow
from predictors.table import LatencyTable, append_row, create_table, read_table


class TableBuilder:
    """Measures architectures of one family on one target into one table.

    What the table already holds is not measured again, failures included.

    Args:
        path: The CSV file; made if there is none, else continued.
        fields: Architecture fields, in the table's order.
        vocab_size: Rows of the word embedding.

    Raises:
        TargetError: The file holds another target, workload or set of fields,
            or cannot be read or written.
    """

    def __init__(
        self,
        path: Path,
        fields: Sequence[str],
        *,
        family: str,
        target: Target,
        workload: Workload,
        vocab_size: int,
    ) -> None:
        self.path, self.family, self.target = path, family, target
        self.workload, self.vocab_size = workload, vocab_size
        self._fields = tuple(sorted(fields))
        if path.is_file() and not path.stat().st_size:
            path.unlink()  # killed before it had written even the header
        if not path.exists():
            with _as_target_error():
                create_table(path, self._fields)
        self._check(self.rows())

    def rows(self) -> LatencyTable:
        """The table as it stands.

        Raises:
            TargetError: It cannot be read.
        """
        with _as_target_error():
            return read_table(self.path)

    def known(self) -> dict[Architecture, LatencyRow]:
        """Measured and failed rows by architecture; the newest of repeated ones."""
        return {Architecture(row.architecture): row for row in self.rows().rows}

    def measure(
        self,
        architectures: Sequence[Architecture],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[LatencyRow]:
        """Rows for these architectures, from the table or newly measured.

        Raises:
            TargetError: The table cannot be read or written; rows so far are kept.
        """
        known = self.known()
        rows = []
        for done, architecture in enumerate(architectures, 1):
            if architecture not in known:
                config = encoder_config(
                    architecture, family=self.family, vocab_size=self.vocab_size
                )
                measurement = self.target.measure([config], self.workload)[0]
                known[architecture] = self._append(architecture, measurement)
            rows.append(known[architecture])
            if progress is not None:
                progress(done)
        return rows

    def _append(self, architecture: Architecture, measurement: Measurement) -> LatencyRow:
        failed = measurement.latency_ms is None
        row = LatencyRow(
            architecture=architecture.to_dict(),
            target=self.target.name,
            device_kind=self.target.device_kind,
            batch_size=self.workload.batch_size,
            sequence_length=self.workload.sequence_length,
            dtype=self.workload.dtype,
            latency_ms=measurement.latency_ms,
            latency_iqr_ms=measurement.latency_iqr_ms,
            repeats=None if failed else measurement.repeats,
            statistic=None if failed else self.target.statistic,
            compile_s=measurement.compile_s,
            flops=measurement.flops,
            bytes_accessed=measurement.bytes_accessed,
            peak_memory_bytes=measurement.peak_memory_bytes,
            jax_version=jax.__version__,
            compiler_version=f"jaxlib {jaxlib.__version__}",
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
            error=measurement.error,
        )
        with _as_target_error():
            append_row(self.path, row)
        return row

    def _check(self, table: LatencyTable) -> None:
        if table.fields != self._fields:
            raise TargetError(
                f"{self.path} has the fields {list(table.fields)}; this space has "
                f"{list(self._fields)}: choose another file"
            )
        wanted = {
            "target": self.target.name,
            "device_kind": self.target.device_kind,
            "batch_size": self.workload.batch_size,
            "sequence_length": self.workload.sequence_length,
            "dtype": self.workload.dtype,
        }
        for row in table.rows:
            for name, value in wanted.items():
                if getattr(row, name) != value:
                    raise TargetError(
                        f"{self.path} holds rows with {name} {getattr(row, name)!r}; these would "
                        f"have {value!r}: choose another file"
                    )


@contextmanager
def _as_target_error() -> Iterator[None]:
    try:
        yield
    except TableError as error:
        raise TargetError(str(error)) from error
