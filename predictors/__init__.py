"""Latency and accuracy predictors for encoder architectures, and their tables.

Stands alone: needs NumPy, SciPy, scikit-learn and XGBoost only.

Example:
    >>> import numpy as np
    >>> from predictors import GPPredictor
    >>> layers = np.array([[2.0], [4.0], [6.0], [8.0]])
    >>> latency_ms = np.array([1.0, 2.0, 3.0, 4.0])
    >>> model = GPPredictor().fit(layers, latency_ms)
    >>> float(model.predict([[5.0]])[0].round(1))
    2.5
"""

from predictors.blend import BlendPredictor
from predictors.column_range import warn_outside
from predictors.document import save
from predictors.errors import (
    ExtrapolationWarning,
    InputError,
    PersistError,
    PredictorError,
    SubsetWarning,
    TableError,
)
from predictors.features import encode, feature_columns, read_architectures
from predictors.gp import GPPredictor
from predictors.persist import load
from predictors.protocol import Predictor
from predictors.rows import PROVENANCE, SCHEMA_VERSION, LatencyRow
from predictors.selection import CrossValidation, Selection, select
from predictors.table import LatencyTable, append_row, create_table, read_table
from predictors.table_lock import TableLock, lock_table
from predictors.transfer import TransferPredictor
from predictors.xgb import XGBPredictor

__all__ = [
    "PROVENANCE",
    "SCHEMA_VERSION",
    "BlendPredictor",
    "CrossValidation",
    "ExtrapolationWarning",
    "GPPredictor",
    "InputError",
    "LatencyRow",
    "LatencyTable",
    "PersistError",
    "Predictor",
    "PredictorError",
    "Selection",
    "SubsetWarning",
    "TableError",
    "TableLock",
    "TransferPredictor",
    "XGBPredictor",
    "append_row",
    "create_table",
    "encode",
    "feature_columns",
    "load",
    "lock_table",
    "read_architectures",
    "read_table",
    "save",
    "select",
    "warn_outside",
]
