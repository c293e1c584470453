"""What a person sees while one model is trained."""

import io

from rich.console import Console

from autodistill.distill.progress import TrainingProgress


def test_progress_off_a_terminal_every_tenth_that_the_teacher_has_read_is_a_line() -> None:
    shown = io.StringIO()
    with TrainingProgress(Console(file=shown, width=40), 100) as progress:
        for done in range(64, 2001, 64):
            progress.teacher(done, 2000)
        progress.teacher(2000, 2000)
        progress({"step": 1, "phase": "joint", "loss": 2.0})
    lines = shown.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "  teacher has read 256 of 2,000 texts"
    assert lines[-1] == "  teacher has read 2,000 of 2,000 texts"
