"""The errors that a user can cause, one class per thing that went wrong.

Each message says what was expected, what came, and what to do next. The
command line prints the message alone and exits with code 2; a traceback is
for our own mistakes.
"""


class AutoDistillError(Exception):
    """Base of every error that the user can mend."""


class SpaceError(AutoDistillError, ValueError):
    """A search space, or an architecture of it, is malformed or empty."""


class TeacherError(AutoDistillError):
    """A checkpoint folder is missing, damaged, or of a family we do not read."""


class CorpusError(AutoDistillError):
    """Text is missing, unreadable, or too little."""


class TargetError(AutoDistillError):
    """A latency target is unknown, or cannot measure here."""


class SearchError(AutoDistillError, ValueError):
    """The search was asked or told something that it cannot use."""


class InfeasibleError(SearchError):
    """No architecture of the space is within the constraints."""


class StudyError(AutoDistillError):
    """A run folder belongs to another search, or cannot be read or written."""


class ReportError(AutoDistillError):
    """A report cannot be written."""


class ExportError(AutoDistillError):
    """A student cannot be saved."""


class TrainingError(AutoDistillError):
    """A student's training diverged or could not be run."""


class RecipeError(AutoDistillError, ValueError):
    """A distillation recipe does not fit the teacher or the student."""


class ArgumentError(AutoDistillError, ValueError):
    """A command-line value cannot be used."""
