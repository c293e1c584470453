"""What can go wrong in this package, as one small family of exceptions."""


class PredictorError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(PredictorError, ValueError):
    """Rows or targets that cannot be used; also a ValueError, as scikit-learn expects."""


class TableError(PredictorError):
    """A latency table that cannot be read, written or used as asked."""


class PersistError(PredictorError):
    """A predictor file that cannot be written or loaded."""


class SubsetWarning(UserWarning):
    """A model was fitted on fewer rows than it was given."""


class ExtrapolationWarning(UserWarning):
    """Rows lie outside the range that a predictor was trained on."""
