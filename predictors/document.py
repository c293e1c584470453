"""The predictor file: one JSON object, written whole or not at all.

``{"format", "schema_version", "kind", "columns", "target", "n_rows",
"training_error", "range", "workload", "state"}``. ``range`` holds the smallest and largest
training value of each column; files of version 1 lack it. ``workload`` holds what all
training rows had in common and no column says, such as the batch size; files before
version 3 lack it. What ``state`` holds is the business of the kind.
"""

import json
import os
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from sklearn.utils.validation import check_is_fitted

from predictors.errors import PersistError

FORMAT = "autodistill-predictor"
SCHEMA_VERSION = 3
# 1: no range, no calibrated intervals, another trend of "gp". 2: no workload; a
# "transfer" trusts all measurements alike.
READABLE_VERSIONS = (1, 2, 3)
_KEYS: dict[str, Any] = {
    "kind": str,
    "columns": list,
    "target": (str, type(None)),
    "n_rows": int,
    "training_error": (int, float),
    "state": dict,
}


def save(
    predictor: Any,
    path: str | PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    target: str | None = None,
    workload: Mapping[str, int | str] | None = None,
) -> None:
    """Write a fitted predictor as JSON; an existing file is replaced in one step.

    Args:
        predictor: A fitted predictor of this package.
        path: Where to write; its folder must exist.
        columns: Names of the columns of X, in order; by default those the
            predictor was fitted or loaded with.
        target: What is predicted, for instance the name of a device; by default
            the one it was loaded with.
        workload: Under which workload, for instance ``{"batch_size": 8}``; by
            default the one it was loaded with.

    Raises:
        PersistError: The names do not fit, or the file cannot be written.
        NotFittedError: ``fit`` was not called.
    """
    if not hasattr(predictor, "to_state"):
        raise PersistError(
            f"expected a predictor of this package; got {type(predictor).__name__}, "
            "which has no plain-text form"
        )
    check_is_fitted(predictor)
    names = list(columns) if columns is not None else list(predictor.column_names_)
    if len(names) != predictor.n_features_in_:
        raise PersistError(
            f"the predictor was fitted on {predictor.n_features_in_} columns; "
            f"got {len(names)} column names. Pass one name for each column"
        )
    document = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "kind": predictor.kind,
        "columns": names,
        "target": target if target is not None else predictor.target_name_,
        "n_rows": predictor.n_rows_,
        "training_error": predictor.training_error_,
        "range": seen.to_state() if (seen := predictor.column_range_) is not None else None,
        "workload": dict(predictor.workload_ if workload is None else workload),
        "state": predictor.to_state(),
    }
    _replace(Path(path), json.dumps(document, allow_nan=False) + "\n")


def read_document(path: str | PathLike[str]) -> dict[str, Any]:
    """The JSON object at ``path``, once its header is known to be ours.

    Raises:
        PersistError: The file is missing, cut off, of another format or of
            another schema version, or lacks a key.
    """
    try:
        document = json.loads(
            Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant
        )
    except OSError as error:
        raise PersistError(f"cannot read predictor file {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise PersistError(
            f"{path} is not whole JSON ({error}); it may have been cut off. Fit and save again"
        ) from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise PersistError(
            f"{path} is not a predictor file: expected format {FORMAT!r}; got {found!r}"
        )
    if document.get("schema_version") not in READABLE_VERSIONS:
        raise PersistError(
            f"{path} has schema version {document.get('schema_version')!r}; this version reads "
            f"{', '.join(map(str, READABLE_VERSIONS))}. Fit and save again, or use the version "
            "that wrote it"
        )
    for key, kinds in _KEYS.items():
        if not isinstance(document.get(key, ...), kinds):
            raise PersistError(
                f"{path} lacks a valid {key!r}: got {document.get(key)!r}. Fit and save again"
            )
    if not isinstance(document.setdefault("workload", {}), dict):
        raise PersistError(
            f"{path} lacks a valid 'workload': got {document['workload']!r}. Fit and save again"
        )
    return document


def plain_params(estimator: Any) -> dict[str, Any]:
    """Constructor arguments for JSON; a generator cannot be kept and becomes None."""
    params = estimator.get_params()
    seed = params["random_state"]
    params["random_state"] = None if seed is None or hasattr(seed, "get_state") else int(seed)
    return {
        name: value.item() if hasattr(value, "item") else value for name, value in params.items()
    }


def _replace(path: Path, text: str) -> None:
    """Write a new file beside ``path``, force it to disk, then rename it."""
    if not path.name or path.is_dir():
        raise PersistError(f"cannot write predictor file {path}: it is a folder; name a file in it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise PersistError(
            f"cannot write predictor file {path}: {error.strerror}. "
            "Check that the folder exists, may be written and has space"
        ) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
