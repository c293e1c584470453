"""CSV in UTF-8 as cells, line by line; what cannot be read is named by its line."""

import csv
import io
from os import PathLike

from predictors.errors import TableError


def csv_lines(path: str | PathLike[str], content: bytes) -> list[tuple[int, list[str]]]:
    """The cells of each line that is not empty, with the number of the line, from 1.

    Quoted cells may hold line ends; their row has the number of its last line.

    Args:
        path: Where the content comes from, for messages.
        content: With a byte order mark or without.

    Raises:
        TableError: The content is not UTF-8, or quotes do not match.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise TableError(
            f"{path} is not CSV in UTF-8: line {line} has the byte "
            f"0x{error.object[error.start]:02x} ({error.reason}). Save it anew, in UTF-8"
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[tuple[int, list[str]]] = []
    begun = 1
    try:
        for cells in reader:
            if cells:
                lines.append((reader.line_num, cells))
            begun = reader.line_num + 1
    except csv.Error as error:
        raise TableError(
            f"{path} is not CSV in UTF-8: {error}, in the row that begins in line {begun}. "
            "Look for a stray quote"
        ) from error
    return lines
