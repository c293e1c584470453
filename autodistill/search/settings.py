"""All that defines one search, resolved from the command line."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autodistill import __version__
from autodistill.distill.flash import FlashSettings
from autodistill.profiler import Target, Workload
from autodistill.search.budget import Budget
from autodistill.search.limits import Limits
from autodistill.search.materials import TextSettings
from autodistill.space import SearchSpace
from autodistill.teacher import Teacher


@dataclass(frozen=True)
class SearchSettings:
    """One search.

    Attributes:
        space: Where students are looked for; restricted to what the teacher's
            kind allows.
        target: What latency is measured on.
        samples: Random architectures of the first latency table.
        n_initial: Students, the baseline among them, before the surrogates
            propose.
    """

    budget: Budget
    teacher: Teacher
    space: SearchSpace
    target: Target
    workload: Workload
    limits: Limits
    text: TextSettings
    flash: FlashSettings
    run_dir: Path
    cache_dir: Path
    samples: int = 24
    n_initial: int = 4
    corpus_key: str = field(default="", repr=False)

    @property
    def seed(self) -> int:
        """One seed for all that is random."""
        return self.flash.seed

    def identity(self) -> dict[str, Any]:
        """What may not change while a run folder is continued: all but the budget."""
        return {
            "version": __version__,
            "space": self.space.describe(),
            "teacher": {"name": self.teacher.name, "fingerprint": self.teacher.fingerprint},
            "target": {
                "name": self.target.name,
                "device": self.target.device_kind,
                **asdict(self.workload),
            },
            "limits": asdict(self.limits),
            "corpus": self.corpus_key,
            "text": {
                "passage_length": self.text.passage_length,
                "passages_per_step": self.text.passages_per_step,
                "held_out_passages": self.text.held_out_passages,
            },
            "flash": asdict(self.flash),
            "samples": self.samples,
            "n_initial": self.n_initial,
        }

    def config(self) -> dict[str, Any]:
        """The resolved configuration, as it is written to ``config.yaml``."""
        return {
            **self.identity(),
            "budget": asdict(self.budget),
            "corpus_paths": [str(path) for path in self.text.corpus],
            "teacher_folder": str(self.teacher.folder),
            "vocab_size": self.teacher.config.vocab_size,
            "cache_dir": str(self.cache_dir),
        }
