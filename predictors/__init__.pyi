from .blend import BlendPredictor
from .column_range import warn_outside
from .document import save
from .errors import (
    ExtrapolationWarning,
    InputError,
    PersistError,
    PredictorError,
    SubsetWarning,
    TableError,
)
from .features import encode, feature_columns, read_architectures
from .gp import GPPredictor
from .normal_scores import NormalScoresPredictor
from .persist import load
from .protocol import Predictor
from .rows import PROVENANCE, SCHEMA_VERSION, LatencyRow
from .selection import CrossValidation, Selection, select
from .table import LatencyTable, append_row, create_table, read_table
from .table_lock import TableLock, lock_table
from .transfer import TransferPredictor
from .xgb import XGBPredictor

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
    "NormalScoresPredictor",
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
