"""What each command does, once its arguments are read."""

import argparse
import csv
import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TextIO

from sklearn.exceptions import ConvergenceWarning

from predictors import metrics
from predictors.document import check_destination
from predictors.errors import SubsetWarning, TableError
from predictors.features import encode, parse_cells, read_architectures, read_cells
from predictors.gp import GPPredictor
from predictors.held_out import row_groups
from predictors.notes import (
    check_device,
    check_other_fields,
    fields_of,
    naming,
    note,
    note_ignored,
    note_outside,
    note_workload,
    noting,
)
from predictors.parity import parity_text, write_parity_page
from predictors.persist import load
from predictors.protocol import Predictor
from predictors.rows import PROVENANCE, LatencyRow, Value
from predictors.selection import CrossValidation, select
from predictors.sources import Device, devices_of, join_sources, matrices, shared_columns
from predictors.table import WORKLOAD, LatencyTable, read_table, workload_features
from predictors.transfer import TransferPredictor
from predictors.writing import check_writable, refuse_loss, write_whole
from predictors.xgb import XGBPredictor

COVERAGE = 0.9
PREDICTED = ("predicted", "std", "lower90", "upper90")


def fit(options: argparse.Namespace) -> None:
    """Latency table -> predictor file."""
    check_destination(options.out)
    refuse_loss("--out", options.out, {"the table": [options.table]})
    table = _read(options.table, options)
    with naming(options.table):
        X, y, columns = table.matrix()
    kinds: dict[str, Predictor] = {"gp": GPPredictor(), "xgb": XGBPredictor()}
    one = None if options.kind == "best" else {options.kind: kinds[options.kind]}
    kept = [j for j, name in enumerate(columns) if name.partition("=")[0] not in WORKLOAD]
    groups = row_groups(X[:, kept])  # an architecture at all its workloads
    with noting(SubsetWarning, ConvergenceWarning):
        selection = select(
            X, y, log_target=True, random_state=options.seed, candidates=one, groups=groups
        )
    selection.predictor.save(
        options.out, columns=columns, target=table.target, workload=_common(table)
    )
    print(f"target {table.target}: {len(y)} {table.how} rows, {len(columns)} columns")
    for name, score in selection.scores.items():
        print(f"{name:>5}: {_summary(score)}")
    less = [f"{share:.1%} less than {name}" for name, share in selection.margins.items()]
    by = f" (RMSE {', '.join(less)})" if less else ""
    print(f"saved {selection.name} to {options.out}{by}")


def predict(options: argparse.Namespace) -> None:
    """Predictor file + architectures -> predictions."""
    inputs = {"the predictor": [options.predictor], "the architectures": [options.architectures]}
    _check_destination("--out", options.out, inputs)
    predictor = load(options.predictor)
    read = read_cells(options.architectures)  # once: it may be a pipe
    architectures = parse_cells(read)
    clash = [name for name in PREDICTED if name in architectures[0]]
    if clash:
        raise TableError(
            f"{options.architectures} already has the columns {', '.join(clash)}; rename them"
        )
    rows = range(len(architectures))
    X = encode(architectures, predictor.column_names_, origin=options.architectures)
    devices = [(row.get("target", ""), row.get("device_kind", "")) for row in read]
    allowed = options.other_target
    check_device(
        predictor, options.predictor, options.architectures, devices, rows, other_allowed=allowed
    )
    used = {*fields_of(predictor), *PROVENANCE}
    ignored = [field for field in read[0] if field not in used]
    note_ignored(ignored, "the predictor has", options.architectures)
    note_workload(predictor, options.architectures, architectures, rows)
    note_outside(predictor, X, options.architectures, rows)
    median, std = predictor.predict(X, return_std=True)
    lower, upper = predictor.predict_interval(X, COVERAGE)
    predicted = [
        {**cells, **dict(zip(PREDICTED, map(float, numbers), strict=True))}
        for cells, *numbers in zip(read, median, std, lower, upper, strict=True)
    ]
    if options.out is None:
        _write_rows(sys.stdout, predicted)
    else:
        _save_rows(options.out, predicted)


def suggest(options: argparse.Namespace) -> None:
    """Tables of known devices -> the architectures to measure on a new one."""
    _check_destination("--out", options.out, _transfer_inputs(options))
    sources = _sources(options)
    pool = _pool(sources, options.pool)
    known = [architecture for device in sources for architecture in device.architectures]
    fields, device, tried = sources[0].fields, None, set()
    if options.measurements is not None:
        table = _read_measurements(options, sources)
        device = _new_device(table, options.measurements, sources)
        tried = {tuple(row.architecture.get(f) for f in fields) for row in table.rows}
    elif any(getattr(options, name) is not None for name in WORKLOAD):
        raise TableError(
            "--batch-size, --sequence-length and --dtype choose rows of --measurements, which is "
            "not given"
        )
    measured = [] if device is None else list(device.architectures)
    pool = [row for row in pool if tuple(row[field] for field in fields) not in tried]
    if not 1 <= options.k <= len(pool):
        raise TableError(
            f"-k must lie between 1 and the {len(pool)} architectures to choose from; "
            f"got {options.k}"
        )
    columns = shared_columns(
        ("sources", known), (options.pool, pool), (options.measurements, measured)
    )
    predictor = TransferPredictor(random_state=options.seed)
    predictor.fit_sources(matrices(sources, columns))
    if device is not None:
        predictor.fit(encode(device.architectures, columns), device.latency_ms)
    chosen = [pool[index] for index in predictor.suggest(encode(pool, columns), options.k)]
    _save_rows(options.out, chosen)
    print(_described(sources))
    print(f"{len(chosen)} of {len(pool)} architectures written to {options.out}; measure them on")
    print("the new device, for instance with python -m autodistill.profiler --target NAME")
    print(f"--architectures {options.out} --out new.csv, then run python -m predictors adapt")


def adapt(options: argparse.Namespace) -> None:
    """Tables of known devices + a few measurements -> predictor of the new device."""
    check_destination(options.out)
    refuse_loss("--out", options.out, _transfer_inputs(options))
    sources = _sources(options)
    table = _read_measurements(options, sources)
    device = _new_device(table, options.measurements, sources)
    known = [architecture for source in sources for architecture in source.architectures]
    columns = shared_columns(("sources", known), (options.measurements, device.architectures))
    predictor = TransferPredictor(random_state=options.seed)
    predictor.fit_sources(matrices(sources, columns))
    predictor.fit(encode(device.architectures, columns), device.latency_ms)
    predictor.save(options.out, columns=columns, target=table.target, workload=_common(table))
    print(_described(sources))
    print(f"new device: {device.name}, {len(device.latency_ms)} measurements")
    print(f"RMSE of log latency, each measurement from the others: {predictor.training_error_:.4f}")
    print(f"saved {predictor.kind} to {options.out}")


def score(options: argparse.Namespace) -> None:
    """Predictor file + latency table -> errors and a parity plot."""
    inputs = {"the predictor": [options.predictor], "the table": [options.table]}
    _check_destination("--plot", options.plot, inputs)
    predictor = load(options.predictor)
    whole = _read_whole(options.table)
    table = _chosen(whole, options.table, options)
    with naming(options.table):
        _, y, _ = table.matrix()
    if not set(WORKLOAD) & fields_of(predictor):
        _one_workload(table, options.table)
    rows = _numbers(whole, options)
    check_other_fields(
        fields_of(predictor),
        "the predictor has",
        options.table,
        [row.architecture for row in table.measured],
        rows,
    )
    features = [workload_features(row) for row in table.measured]
    X = encode(features, predictor.column_names_, origin=options.table, numbers=rows)
    devices = [(row.target, row.device_kind) for row in table.measured]
    allowed = options.other_target
    check_device(predictor, options.predictor, options.table, devices, rows, other_allowed=allowed)
    told = [
        {**feature, "statistic": row.statistic or ""}
        for feature, row in zip(features, table.measured, strict=True)
    ]
    note_workload(predictor, options.table, told, rows)
    note_outside(predictor, X, options.table, rows)
    median = predictor.predict(X)
    bounds = predictor.predict_interval(X, COVERAGE)
    title = f"predictor of {predictor.target_name_}, {table.how} on {table.target}: {len(y)} rows"
    print(title)
    print(f"MAPE      {_percent(metrics.mape(y, median))}")
    print(f"RMSE      {metrics.rmse(y, median):.6g} ms")
    print(f"Spearman  {_decimal(metrics.spearman(y, median))}")
    print(f"Kendall   {_decimal(metrics.kendall(y, median))}")
    print(f"coverage  {_percent(metrics.covered(y, *bounds))} of rows in their 90% interval")
    print(parity_text(y, median, truth_is=table.how))
    if options.plot is not None:
        write_parity_page(options.plot, y, median, bounds, title=title, truth_is=table.how)
        print(f"parity page: {options.plot}")


def _read(path: str, options: argparse.Namespace) -> LatencyTable:
    """The table, with the rows of the workload that was asked for."""
    return _chosen(_read_whole(path), path, options)


def _read_whole(path: str) -> LatencyTable:
    """The table with all its rows; a line that was torn is told of."""
    table = read_table(path)
    if table.torn_line is not None:
        note(f"{path} ends within line {table.torn_line}; that row is left out")
    return table


def _chosen(table: LatencyTable, path: str, options: argparse.Namespace) -> LatencyTable:
    rows = tuple(row for row in table.rows if _is_asked_for(row, options))
    if not rows and (asked := _asked(options)):
        told = ", ".join(f"{name} {value}" for name, value in asked.items())
        raise TableError(f"{path} has no row with {told}; it holds {_workloads(table)}")
    return replace(table, rows=rows)


def _asked(options: argparse.Namespace) -> dict[str, int | str]:
    """The workload that was asked for, as far as one was."""
    return {name: value for name in WORKLOAD if (value := getattr(options, name)) is not None}


def _is_asked_for(row: LatencyRow, options: argparse.Namespace) -> bool:
    return all(getattr(row, name) == value for name, value in _asked(options).items())


def _numbers(table: LatencyTable, options: argparse.Namespace) -> list[int]:
    """The rows of a whole table that were measured under the workload asked for."""
    return [
        number
        for number, row in enumerate(table.rows)
        if row.latency_ms is not None and _is_asked_for(row, options)
    ]


def _sources(options: argparse.Namespace) -> list[Device]:
    return join_sources([(path, _read_whole(path)) for path in options.sources])


def _read_measurements(options: argparse.Namespace, sources: Sequence[Device]) -> LatencyTable:
    """The table of the new device, checked against the known ones before rows are chosen."""
    whole = _read_whole(options.measurements)
    _check_like(sources, options.measurements, [row.architecture for row in whole.rows])
    table = _chosen(whole, options.measurements, options)
    if measured := [row.architecture for row in table.measured]:
        check_other_fields(
            sources[0].fields,
            "the sources have",
            options.measurements,
            measured,
            _numbers(whole, options),
        )
    return table


def _check_like(
    sources: Sequence[Device], path: str, architectures: Sequence[Mapping[str, Value]]
) -> None:
    """Refuse architectures, all those of a file, that the known devices' fields do not fit."""
    known = [architecture for device in sources for architecture in device.architectures]
    shared_columns(("sources", known), (path, architectures))


def _common(table: LatencyTable) -> dict[str, int | str]:
    """What the measured rows share of workload, kind of latency and kind of device."""
    names = (*WORKLOAD, "statistic", "device_kind")
    found = {name: {getattr(row, name) for row in table.measured} for name in names}
    return {name: values.pop() for name, values in found.items() if len(values) == 1}


def _one_workload(table: LatencyTable, path: str) -> Device:
    with naming(path):
        devices = devices_of(table)
    if len(devices) > 1:
        raise TableError(
            f"{path} holds {_workloads(table)}, and the predictor knows one workload; choose with "
            "--batch-size, --sequence-length or --dtype"
        )
    return devices[0]


def _new_device(table: LatencyTable, path: str, sources: Sequence[Device]) -> Device:
    """What a table measured, once it is known to be none of the sources."""
    device = _one_workload(table, path)
    if device.identity in [source.identity for source in sources]:
        raise TableError(
            f"the sources hold {device.name} themselves, the device of {path}; "
            "leave its table out of --sources, or fit it with python -m predictors fit"
        )
    return device


def _workloads(table: LatencyTable) -> str:
    found = {tuple(getattr(row, name) for name in WORKLOAD): None for row in table.rows}
    told = [f"batch {batch} x {length} {dtype}" for batch, length, dtype in found]
    return " and ".join(told) or "no rows"


def _pool(sources: Sequence[Device], path: str | None) -> list[dict[str, Value]]:
    """The architectures to choose from, each once, with the fields of the sources."""
    fields = sources[0].fields
    if path is None:
        found = [dict(row) for device in sources for row in device.architectures]
    else:
        found = read_architectures(path)
        for index, architecture in enumerate(found):
            if missing := [field for field in fields if field not in architecture]:
                raise TableError(
                    f"{path}, row {index} has no field {missing[0]!r}; expected {', '.join(fields)}"
                )
        _check_like(sources, path, found)
        known = {*fields, *PROVENANCE, *PREDICTED}
        rows = range(len(found))
        check_other_fields(known, "the sources have", path, found, rows, labels_allowed=True)
    distinct = {tuple(architecture[field] for field in fields) for architecture in found}
    ordered = sorted(distinct, key=lambda values: [str(value) for value in values])
    return [dict(zip(fields, values, strict=True)) for values in ordered]


def _described(sources: Sequence[Device]) -> str:
    listed = [f"  {device.name}: {len(device.latency_ms)} rows" for device in sources]
    return "\n".join([f"{len(sources)} known devices:", *listed])


def _transfer_inputs(options: argparse.Namespace) -> dict[str, list[str]]:
    """The files that ``suggest`` and ``adapt`` read."""
    one = {f"the {name}": getattr(options, name, None) for name in ("measurements", "pool")}
    given = {name: [path] for name, path in one.items() if path is not None}
    return {"a source": options.sources, **given}


def _check_destination(option: str, path: str | None, inputs: Mapping[str, Sequence[str]]) -> None:
    """Refuse a path where no table or page could be, or an input is, before work is done for it."""
    if path is None:
        return
    try:
        check_writable(path)
    except OSError as error:
        raise TableError(f"cannot write {path}: {error.strerror}") from error
    refuse_loss(option, path, inputs)


def _save_rows(path: str, rows: Sequence[Mapping[str, object]]) -> None:
    text = io.StringIO()
    _write_rows(text, rows)
    try:
        write_whole(path, text.getvalue())
    except OSError as error:
        raise TableError(f"cannot write {path}: {error.strerror}") from error


def _write_rows(file: TextIO, rows: Sequence[Mapping[str, object]]) -> None:
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _summary(score: CrossValidation) -> str:
    return (
        f"held-out MAPE {_percent(score.mape)}, RMSE of log latency {score.rmse:.4f}, "
        f"Spearman {_decimal(score.spearman)}, 90% interval holds {_percent(score.coverage90)}"
    )


def _percent(share: float | None) -> str:
    return "undefined" if share is None else f"{100 * share:.2f}%"


def _decimal(value: float) -> str:
    return "undefined (constant)" if math.isnan(value) else f"{value:.4f}"
