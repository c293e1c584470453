"""Loading predictor files: from a kind to the class that knows it."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from predictors.blend import BlendPredictor
from predictors.column_range import ColumnRange
from predictors.document import read_document, twice_named
from predictors.errors import PersistError
from predictors.gp import GPPredictor
from predictors.normal_scores import NormalScoresPredictor
from predictors.protocol import Predictor
from predictors.transfer import TransferPredictor
from predictors.xgb import XGBPredictor

KINDS: dict[str, Any] = {
    predictor.kind: predictor
    for predictor in (
        GPPredictor,
        XGBPredictor,
        BlendPredictor,
        NormalScoresPredictor,
        TransferPredictor,
    )
}


def load(
    path: str | PathLike[str], *, target: str | None = None, columns: Sequence[str] | None = None
) -> Predictor:
    """Read a predictor that ``save`` wrote; its predictions are the same numbers.

    Args:
        path: A JSON file of this package.
        target: What it must predict, as the file names it; by default anything.
        columns: Which columns it must have, in this order; by default any.

    Returns:
        A fitted predictor with ``column_names_``, ``target_name_``, ``workload_``,
        ``n_rows_`` and ``training_error_`` as saved.

    Raises:
        PersistError: The file is missing, cut off, damaged, of an unknown kind,
            of another schema version, or of another target or other columns than
            asked for.
    """
    document = read_document(path)
    if twice := twice_named(document["columns"]):
        raise PersistError(
            f"{path} has two columns {twice!r}; every column needs a name of its own. Fit and save "
            "again"
        )
    _refuse_other(path, document, target, columns)
    kind = document["kind"]
    if kind not in KINDS:
        raise PersistError(
            f"{path} holds a predictor of kind {kind!r}; this version knows "
            f"{', '.join(map(repr, sorted(KINDS)))}. Use the version that wrote it"
        )
    try:
        predictor: Predictor = KINDS[kind].from_state(document["state"])
        seen = ColumnRange.from_state(document.get("range"))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise PersistError(
            f"the {kind!r} state in {path} is damaged ({type(error).__name__}: {error}). "
            "Fit and save again"
        ) from error
    if len(document["columns"]) != predictor.n_features_in_:
        raise PersistError(
            f"{path} names {len(document['columns'])} columns, but its {kind!r} state has "
            f"{predictor.n_features_in_}. Fit and save again"
        )
    if seen is not None and not (
        seen.lowest.shape == seen.highest.shape == (predictor.n_features_in_,)
    ):
        raise PersistError(
            f"{path} has a range of {seen.lowest.shape} columns, but its {kind!r} state has "
            f"{predictor.n_features_in_}. Fit and save again"
        )
    predictor.column_range_ = seen
    predictor.column_names_ = tuple(document["columns"])
    predictor.target_name_ = document["target"]
    predictor.workload_ = document["workload"]
    predictor.n_rows_ = document["n_rows"]
    predictor.training_error_ = float(document["training_error"])
    return predictor


def _refuse_other(
    path: str | PathLike[str],
    document: Mapping[str, Any],
    target: str | None,
    columns: Sequence[str] | None,
) -> None:
    found = document["target"]
    if target is not None and found != target:
        held = "does not say its target" if found is None else f"is a predictor of {found!r}"
        raise PersistError(f"{path} {held}; expected {target!r}. Load the file of that target")
    if columns is not None and document["columns"] != list(columns):
        raise PersistError(
            f"{path} has the columns {', '.join(document['columns'])}; expected "
            f"{', '.join(columns)}. Encode rows by the former, or load the file of the latter"
        )
