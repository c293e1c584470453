"""The latency table of a run folder."""

from autodistill.profiler import TableBuilder
from autodistill.search.settings import SearchSettings


def open_table(settings: SearchSettings) -> TableBuilder:
    """The table of this search, new or as far as it has come.

    Raises:
        TargetError: It holds another target, workload or space, or cannot be
            read or written.
    """
    assert settings.space.family is not None, "students are built from a space of encoders"
    return TableBuilder(
        settings.run_dir / "latency.csv",
        settings.space.fields,
        target=settings.target,
        workloads=[settings.workload],
        family=settings.space.family,
        vocab_size=settings.teacher.config.vocab_size,
    )
