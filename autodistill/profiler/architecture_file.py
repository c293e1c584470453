"""Architectures from a file: CSV, JSON or JSONL.

``.csv``   a header of fields, then one architecture per line. A latency table is
           such a file: its other columns are ignored.
``.json``  an object, field to value, or a list of them.
``.jsonl`` one such object per line.

The family is ``model_type`` where that is given; else MobileBERT's where a field
says so that BERT does not have, else BERT's. Fields that are left out take Hugging
Face's defaults. All have one vocabulary, which the caller knows; a ``vocab_size`` may be
given, and must then be that.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autodistill.errors import SpaceError
from autodistill.profiler.table_fields import (
    BERT_VOCABULARY,
    VOCAB_SIZE,
    config_of_row,
    family_fields,
    row_of_config,
)
from autodistill.space import Architecture
from predictors.rows import PROVENANCE, parse_value

Located = tuple[int, Mapping[str, Any]]  # line of the file, from 1, and what it says


def read_architectures(
    path: str | Path, vocab_size: int = BERT_VOCABULARY
) -> list[tuple[str, Architecture]]:
    """Family and architecture, with all fields of the family, each once, in order.

    Args:
        path: The file.
        vocab_size: What these encoders will have.

    Raises:
        SpaceError: The file cannot be read or is of another kind, it holds no
            architecture, or one that cannot be built; named by line and field.
    """
    path = Path(path)
    found: dict[tuple[str, Architecture], None] = {}
    for line, values in _read(path):
        try:
            found[_completed(values, vocab_size)] = None
        except SpaceError as error:
            raise SpaceError(f"{path}, line {line}: {error}") from error
    if not found:
        raise SpaceError(f"{path} holds no architecture; expected one or more")
    return list(found)


def _completed(values: Mapping[str, Any], vocab_size: int) -> tuple[str, Architecture]:
    if empty := [field for field, value in values.items() if value == ""]:
        raise SpaceError(f"{', '.join(empty)}: empty; leave the column out for the default")
    if values.get(VOCAB_SIZE, vocab_size) != vocab_size:
        raise SpaceError(
            f"{VOCAB_SIZE} must be {vocab_size}, that of the vocabulary in use, or left out; got "
            f"{values[VOCAB_SIZE]!r}"
        )
    row = Architecture({field: value for field, value in values.items() if field != VOCAB_SIZE})
    if "model_type" not in row:
        own = set(family_fields("mobilebert")) - set(family_fields("bert"))
        row = Architecture(row, model_type="mobilebert" if own & set(row) else "bert")
    config = config_of_row(row, BERT_VOCABULARY)
    told = row_of_config(config, family_fields(config.model_type)).to_dict()
    del told["model_type"]
    return config.model_type, Architecture(told)


def _read(path: Path) -> Iterator[Located]:
    readers = {".csv": _from_csv, ".json": _from_json, ".jsonl": _from_jsonl}
    if path.suffix.lower() not in readers:
        raise SpaceError(
            f"architectures are read from {', '.join(readers)} files; got {path}: rename it or "
            "write it as one of these"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpaceError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpaceError(f"{path} is not text in UTF-8: {error}") from error
    return readers[path.suffix.lower()](path, text)


def _from_csv(path: Path, text: str) -> Iterator[Located]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            if not cells:
                continue
            if not header:
                header = cells
                if not all(header) or len(set(header)) < len(header):
                    raise SpaceError(
                        f"{path}, line {reader.line_num}: column names must be given and "
                        f"distinct; got {','.join(header)}"
                    )
                continue
            if len(cells) != len(header):
                raise SpaceError(
                    f"{path}, line {reader.line_num}: expected {len(header)} cells, one for each "
                    f"column; got {len(cells)}"
                )
            pairs = zip(header, cells, strict=True)
            yield (
                reader.line_num,
                {field: parse_value(cell) for field, cell in pairs if field not in PROVENANCE},
            )
    except csv.Error as error:
        raise SpaceError(f"{path}, line {reader.line_num}: not CSV: {error}") from error


def _from_jsonl(path: Path, text: str) -> Iterator[Located]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _object(path, number, _parsed(path, line, number))


def _from_json(path: Path, text: str) -> Iterator[Located]:
    """The one object, or the list's items, each with the line on which it begins."""
    whole = _parsed(path, text, 1)
    if isinstance(whole, dict):
        yield text.count("\n", 0, text.index("{")) + 1, whole
        return
    if not isinstance(whole, list):
        raise SpaceError(
            f"{path} must hold an object of fields, or a list of such, as in [{{...}}, {{...}}]"
        )
    decoder = json.JSONDecoder()
    place = text.index("[") + 1
    while True:
        while text[place].isspace() or text[place] == ",":
            place += 1
        if text[place] == "]":
            return
        number = text.count("\n", 0, place) + 1
        item, place = decoder.raw_decode(text, place)
        yield number, _object(path, number, item)


def _parsed(path: Path, text: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise SpaceError(
            f"{path}, line {line}, column {error.colno}: not JSON: {error.msg}"
        ) from error
    except (ValueError, RecursionError) as error:  # too many digits, or too deep
        raise SpaceError(f"{path}, from line {first_line}: cannot be read: {error}") from error


def _object(path: Path, number: int, item: Any) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise SpaceError(f"{path}, line {number}: expected an object of fields; got {item!r}")
    return item
