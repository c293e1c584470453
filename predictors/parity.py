"""Predicted against measured, as a picture: in the terminal and as an HTML page."""

from os import PathLike

import numpy as np

from predictors.errors import InputError, PredictorError, TableError
from predictors.protocol import FloatArray
from predictors.writing import write_whole

COLUMNS, LINES = 60, 20  # characters of the plot in the terminal


def parity_text(truth: FloatArray, predicted: FloatArray, *, truth_is: str = "measured") -> str:
    """A plot of characters: measured to the right, predicted upwards, both alike.

    The diagonal is dotted; a digit is the number of rows at a place, + more than
    nine. The axes are logarithmic if all values are positive.

    Raises:
        InputError: There is no row, or one has a value that is not finite.
    """
    _check_rows(truth, predicted)
    values = np.concatenate([truth, predicted])
    if logarithmic := bool((values > 0).all()):
        truth, predicted, values = np.log(truth), np.log(predicted), np.log(values)
    low, high = float(values.min()), float(values.max())
    unit = (high / 2 - low / 2) or 1.0  # halves, as the whole may be too far for 64-bit numbers

    def place(numbers: FloatArray, cells: int) -> np.ndarray:
        return np.minimum(((numbers / 2 - low / 2) / unit * cells).astype(int), cells - 1)

    counts = np.zeros((LINES, COLUMNS), int)
    np.add.at(counts, (place(predicted, LINES), place(truth, COLUMNS)), 1)
    drawn = []
    for line in range(LINES - 1, -1, -1):
        cells = [
            _mark(count) if count else "." if column * LINES // COLUMNS == line else " "
            for column, count in enumerate(counts[line])
        ]
        drawn.append(("  |" + "".join(cells)).rstrip())
    ends = [float(np.exp(end)) if logarithmic else end for end in (low, high)]
    left, right = (f"{end:.4g}" for end in ends)
    drawn.append("  +" + "-" * COLUMNS)
    drawn.append(f"   {left}{right:>{COLUMNS - len(left)}}")
    scale = "logarithmic, " if logarithmic else ""
    drawn.append(f"   {truth_is} (right) and predicted (up), {scale}{left} to {right} on both")
    return "\n".join(drawn)


def write_parity_page(
    path: str | PathLike[str],
    truth: FloatArray,
    predicted: FloatArray,
    bounds: tuple[FloatArray, FloatArray],
    *,
    title: str,
    truth_is: str = "measured",
) -> None:
    """Write an HTML page with each row, its 90% interval and the diagonal.

    Raises:
        PredictorError: plotly is not installed.
        TableError: The file cannot be written.
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise PredictorError(
            "the parity page needs plotly: pip install plotly, or leave --plot out"
        ) from error
    lower, upper = bounds
    ends = [float(min(truth.min(), lower.min())), float(max(truth.max(), upper.max()))]
    kind = "log" if ends[0] > 0 else "linear"
    figure = go.Figure(
        [
            go.Scatter(x=ends, y=ends, mode="lines", line={"dash": "dot"}, name="equal"),
            go.Scatter(
                x=truth,
                y=predicted,
                mode="markers",
                name="rows, with 90% intervals",
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": upper - predicted,
                    "arrayminus": predicted - lower,
                    "thickness": 0.6,
                },
            ),
        ]
    )
    figure.update_layout(title=title, template="plotly_white")
    figure.update_xaxes(title=truth_is, type=kind)
    figure.update_yaxes(title="predicted", type=kind)
    try:
        write_whole(path, figure.to_html(include_plotlyjs=True))
    except OSError as error:
        raise TableError(f"cannot write {path}: {error.strerror}") from error


def _check_rows(truth: FloatArray, predicted: FloatArray) -> None:
    if not len(truth):
        raise InputError("a parity plot needs at least one row; got none")
    bad = np.flatnonzero(~(np.isfinite(truth) & np.isfinite(predicted)))
    if bad.size:
        raise InputError(
            f"a parity plot needs finite values; row {bad[0]} is {truth[bad[0]]:g} measured and "
            f"{predicted[bad[0]]:g} predicted"
        )


def _mark(count: int) -> str:
    return str(count) if count < 10 else "+"
