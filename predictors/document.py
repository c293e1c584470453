"""The predictor file: one JSON object, written whole or not at all.

``{"format", "schema_version", "kind", "columns", "target", "n_rows",
"training_error", "range", "workload", "state"}``. ``range`` holds the smallest and largest
training value of each column; files of version 1 lack it, and what was saved again from
such has null. ``workload`` holds what all training rows had in common and no column
says, such as the batch size and the ``device_kind``; files before version 3 lack it. What
``state`` holds is the business of the kind.
"""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from predictors.errors import PersistError
from predictors.inputs import default_names
from predictors.rows import is_finite
from predictors.writing import check_writable, write_whole

FORMAT = "autodistill-predictor"
SCHEMA_VERSION = 4
# 1: no range, no calibrated intervals, another trend of "gp". 2: no workload; a
# "transfer" trusts all measurements alike. 3: a "transfer" has no blends of devices.
READABLE_VERSIONS = (1, 2, 3, 4)
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
        path: Where to write; its folder must exist. A link is followed; a device or
            pipe is written to.
        columns: Names of the columns of X, in order; by default those the
            predictor was fitted or loaded with, and the same where it has names.
        target: What is predicted, for instance the name of a device; by default
            the one it was loaded with.
        workload: Under which workload, for instance ``{"batch_size": 8}``, and on which
            ``device_kind``, as far as known: whole numbers or text; by default what it
            was loaded with.

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
    names = list(predictor.column_names_) if columns is None else _names(predictor, columns)
    if twice := twice_named(names):
        raise PersistError(
            f"two columns are called {twice!r}; predictions need to tell them apart. Give every "
            "column a name of its own"
        )
    document = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "kind": predictor.kind,
        "columns": names,
        "target": predictor.target_name_ if target is None else _text("target", target),
        "n_rows": predictor.n_rows_,
        "training_error": predictor.training_error_,
        "range": seen.to_state() if (seen := predictor.column_range_) is not None else None,
        "workload": _plain_workload(predictor.workload_ if workload is None else workload),
        "state": predictor.to_state(),
    }
    try:
        text = json.dumps(document, allow_nan=False) + "\n"
    except ValueError as error:
        raise PersistError(
            f"cannot write predictor file {path}: the predictor holds numbers that are not finite "
            f"({error}). Fit it anew"
        ) from error
    try:
        write_whole(path, text)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def check_destination(path: str | PathLike[str]) -> None:
    """Refuse a path that ``save`` could not write to, before a predictor is fitted for it.

    Raises:
        PersistError: It is a folder, its own folder is missing, or one may not write there.
    """
    try:
        check_writable(path)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


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
    version = document["schema_version"]
    for key, since in (("range", 2), ("workload", 3)):
        if key not in document and version >= since:
            raise PersistError(f"{path} lacks {key!r}. Fit and save again")
    workload, error_size = document.setdefault("workload", {}), document["training_error"]
    for key, valid in (
        ("columns", all(isinstance(name, str) for name in document["columns"])),
        ("n_rows", document["n_rows"] >= 1),
        ("training_error", is_finite(error_size) and error_size >= 0),
        ("workload", isinstance(workload, dict) and all(map(_is_plain, workload.values()))),
    ):
        if not valid:
            raise PersistError(
                f"{path} lacks a valid {key!r}: got {document[key]!r}. Fit and save again"
            )
    return document


def twice_named(names: Sequence[str]) -> str | None:
    """A name that comes more than once, if there is one."""
    return next((name for index, name in enumerate(names) if name in names[:index]), None)


def plain_params(estimator: Any) -> dict[str, Any]:
    """Constructor arguments for JSON; a generator cannot be kept and becomes None."""
    params = estimator.get_params()
    params["random_state"] = plain_seed(params["random_state"])
    return {
        name: value.item() if hasattr(value, "item") else value for name, value in params.items()
    }


def plain_seed(seed: Any) -> int | None:
    """A seed for JSON; None where it is a generator or none."""
    return None if seed is None or hasattr(seed, "get_state") else int(seed)


def _names(predictor: Any, columns: Sequence[str]) -> list[str]:
    """The names to be saved, once they are known to be those of the predictor's columns."""
    if isinstance(columns, str):
        raise PersistError(f"columns must be a list of names; got the text {columns!r}")
    names = [_text("a column's name", name) for name in columns]
    n_columns = predictor.n_features_in_
    if len(names) != n_columns:
        raise PersistError(
            f"the predictor was fitted on {n_columns} columns; "
            f"got {len(names)} column names. Pass one name for each column"
        )
    fitted, known = predictor.column_names_, getattr(predictor, "known_", None)
    if fitted == default_names(n_columns) and known is not None:
        fitted = known.columns  # those of the tables of known devices
    if fitted != default_names(n_columns) and tuple(names) != tuple(fitted):
        raise PersistError(
            f"the predictor was fitted on the columns {', '.join(fitted)}; got "
            f"{', '.join(names)}. Pass these names in this order, or none"
        )
    return names


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise PersistError(f"{what} must be text; got {value!r}")
    return str(value)  # also of NumPy's text


def _plain_workload(workload: Mapping[str, int | str]) -> dict[str, int | str]:
    if not isinstance(workload, Mapping):
        raise PersistError(f'workload must be like {{"batch_size": 8}}; got {workload!r}')
    plain: dict[str, int | str] = {}
    for name, value in workload.items():
        if not _is_plain(value) and not isinstance(value, np.integer):
            raise PersistError(
                f"workload must hold whole numbers and text; {name!r} is {value!r}. "
                'Pass it like {"batch_size": 8, "dtype": "float32"}'
            )
        key = _text("a name in workload", name)
        plain[key] = str(value) if isinstance(value, str) else int(value)
    return plain


def _is_plain(value: object) -> bool:
    """Whether a workload may hold this."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def _unwritable(path: str | PathLike[str], error: OSError | ValueError) -> PersistError:
    reason = getattr(error, "strerror", None) or error
    hint = "Check that the folder exists, may be written and has space"
    told = reason if isinstance(error, IsADirectoryError) else f"{reason}. {hint}"
    return PersistError(f"cannot write predictor file {path}: {told}")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
