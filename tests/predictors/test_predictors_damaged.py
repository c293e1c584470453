"""Predictor files with numbers that cannot be meant: refused, and the file named."""

import json
from pathlib import Path

import numpy as np
import pytest

from predictors import (
    BlendPredictor,
    GPPredictor,
    PersistError,
    TransferPredictor,
    XGBPredictor,
    load,
)
from predictors import state as checked

FIXTURES = Path(__file__).parent / "fixtures"


def data(n=20):
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 100, (n, 3))
    return X, np.exp(X @ [0.01, 0.02, 0.0]) + 0.1 * rng.random(n)


def fitted(kind):
    X, y = data()
    if kind == "transfer":  # three measurements: always the mixture
        sources = {"a": (X, y), "b": (X[:12], 2 * y[:12] + X[:12, 0])}
        return TransferPredictor().fit_sources(sources).fit(X[:3], 3 * y[:3])
    if kind == "scratch":
        return TransferPredictor().fit(X[:6], y[:6])
    members = {"gp": GPPredictor(), "xgb": XGBPredictor(n_trees=4)}
    return BlendPredictor(members=members, n_splits=2).fit(X, y) if kind == "blend" else (
        members[kind].fit(X, y)
    )  # fmt: skip


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    found = {}
    for kind in ("gp", "xgb", "blend", "transfer", "scratch"):
        fitted(kind).save(folder / f"{kind}.json")
        found[kind] = (folder / f"{kind}.json").read_text()
    return found


def put(document, place, value):
    """Set what lies at ``a.b.0.c`` of the state, or at ``/key`` of the document."""
    part = document if place.startswith("/") else document["state"]
    *path, last = place.strip("/").split(".")
    for step in path:
        part = part[int(step) if isinstance(part, list) else step]
    key = int(last) if isinstance(part, list) else last
    part[key] = value(part[key]) if callable(value) else value


INFINITE = "1e999"  # what JSON reads as infinity, and no encoder writes


@pytest.mark.parametrize(
    ("kind", "place", "value", "message"),
    [
        ("gp", "inputs.0.0", None, "'inputs' must hold numbers only"),
        ("gp", "inputs.0.0", INFINITE, "'inputs' must be finite"),
        ("gp", "inputs.0", [1.0], "'inputs' must have rows of one length"),
        ("gp", "inputs.0.0", "7", "'inputs' must hold numbers only"),
        ("gp", "targets.3", None, "'targets' must hold numbers only"),
        ("gp", "targets", [1.0], r"'targets' must have the shape \(20\); got \(1\)"),
        ("gp", "input_scale.centre.0", None, "'centre' must hold numbers only"),
        ("gp", "input_scale.scale", [1.0], r"'scale' must have the shape \(3\); got \(1\)"),
        ("gp", "input_scale.scale.0", 0.0, "'scale' must be above 0; got 0"),
        ("gp", "target_scale.scale", -1.0, "'scale' must be above 0; got -1"),
        ("gp", "target_scale.centre", INFINITE, "'centre' must be finite"),
        ("gp", "target_scale.log", None, "'log' must be true or false; got None"),
        ("gp", "kernel.lengthscales.0", 0.0, "'lengthscales' must be above 0"),
        ("gp", "kernel.lengthscales.0", -1.0, "'lengthscales' must be above 0"),
        ("gp", "kernel.trend_lengthscales", [1.0], "'trend_lengthscales' must have the shape"),
        ("gp", "kernel.noise", 0.0, "'noise' must be above 0"),
        ("gp", "kernel.matern", -1.0, "'matern' must be at least 0"),
        ("gp", "error_scale.ratios", lambda ratios: [0.0] * len(ratios), "'ratios' are all zero"),
        ("gp", "error_scale.ratios", lambda ratios: ratios[::-1], "'ratios' must be sorted"),
        ("gp", "error_scale.ratios", [], r"'ratios' must have the shape \(20\)"),
        ("gp", "error_scale.ratios.0", -1.0, "'ratios' must be at least 0"),
        ("gp", "error_scale.spread", 0.0, "'spread' must be above 0"),
        ("gp", "error_scale.n_rows", -3, "'n_rows' must be a whole number of at least 0"),
        ("gp", "error_scale.n_rows", 20.5, "'n_rows' must be a whole number"),
        ("xgb", "calibration.floor", -1.0, "'floor' must be above 0"),
        ("xgb", "calibration.slope", None, "'slope' must hold numbers only"),
        ("xgb", "members.0.learner.gradient_booster.model.trees.0.base_weights.0", None,
         "XGBoost cannot read a member"),
        ("xgb", "members.0.learner.gradient_booster.model.trees.0.base_weights.0", INFINITE,
         "Out of range float"),
        ("blend", "weights.0", lambda weight: weight - 2, "'weights' must be at least 0"),
        ("blend", "weights", [0.0, 0.0], "'weights' must add up to 1; got 0"),
        ("blend", "weights", [1.0], r"'weights' must have the shape \(2\)"),
        ("blend", "members.1.name", "gp", "two members have one name"),
        ("transfer", "n_columns", 2, "known devices have 3 columns, not 2"),
        ("transfer", "model.rows.0.0", None, "'rows' must hold numbers only"),
        ("transfer", "model.u", [1.0], r"'u' must have the shape \(3\)"),
        ("transfer", "model.noise.0", 0.0, "'noise' must be above 0"),
        ("transfer", "model.variances.0.0", -1.0, "'variances' must be at least 0"),
        ("transfer", "model.weights.0.0", lambda weight: weight + 1, "'weights' must add up to 1"),
        ("transfer", "model.factors.0", 0.0, "'factors' must be above 0"),
        ("transfer", "model.level_variance", INFINITE, "'level_variance' must be finite"),
        ("transfer", "known", None, "a mixture needs known devices"),
        ("transfer", "known.profiles.0.0", None, "'profiles' must hold numbers only"),
        ("transfer", "known.reference.g.0", [1.0], "'g' must have rows of one length"),
        ("transfer", "known.centres", [1.0], r"'centres' must have the shape \(2\)"),
        ("transfer", "known.column_range.lowest.0", 1e9, "'lowest' is above 'highest'"),
        ("transfer", "known.models.0.weights", [1.0], "columns"),
        ("transfer", "known.models.0.intercept", None, "'intercept' must hold numbers only"),
        ("transfer", "known.scales", lambda scales: scales[:1], "of 2 known devices were expected"),
        ("transfer", "known.examples.0.0", INFINITE, "'examples' must be finite"),
        ("scratch", "model.rows.0", lambda row: [*row, 1.0], "'rows' must have rows of one length"),
        ("scratch", "model.training_error", -1, "'training_error' must be at least 0"),
        ("scratch", "model.given", None, "'given' must be true or false"),
        ("gp", "params.log_target", True, "'log_target' is True, but .* log=False"),
        ("gp", "params.log_target", "no", "'log_target' is 'no', but"),
        ("gp", "target_scale.log", True, "'log_target' is False, but .* log=True"),
        ("xgb", "params.log_target", True, "'log_target' is True, but"),
        ("blend", "params.log_target", True, "'log_target' is True, but what was learned has"),
        ("transfer", "params.log_target", False, "'log_target' is False, but"),
        ("transfer", "known.log", False, "'log_target' is True, but .* log=False and log=True"),
        ("transfer", "model.scale.log", False, "'log_target' is True, but"),
        ("scratch", "params.log_target", False, "'log_target' is False, but"),
        ("gp", "/range.lowest.0", None, "'lowest' must hold numbers only"),
        ("gp", "/range.highest.0", -1e9, "'lowest' is above 'highest'"),
        ("gp", "/training_error", INFINITE, "lacks a valid 'training_error'"),
        ("gp", "/training_error", 10**400, "lacks a valid 'training_error'"),
        ("gp", "/training_error", -1.0, "lacks a valid 'training_error'"),
        ("gp", "/n_rows", 0, "lacks a valid 'n_rows'"),
        ("gp", "/columns", [0, 1, 2], "lacks a valid 'columns'"),
        ("gp", "/workload", {"batch_size": None}, "lacks a valid 'workload'"),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_meant_are_refused(
    documents, tmp_path, kind, place, value, message
):  # fmt: skip
    document = json.loads(documents[kind])
    put(document, place, value)
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(document).replace(json.dumps(INFINITE), INFINITE))
    with pytest.raises(PersistError, match=message) as error:
        load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["gp", "xgb", "blend", "transfer", "scratch"])
def test_whole_files_still_load(documents, tmp_path, kind):
    path = tmp_path / "whole.json"
    path.write_text(documents[kind])
    X, _ = data()
    np.testing.assert_array_equal(load(path).predict(X), fitted(kind).predict(X))


def test_a_file_without_its_range_is_refused(documents, tmp_path):
    document = json.loads(documents["gp"])
    for key in ("range", "workload"):
        path = tmp_path / "lacking.json"
        path.write_text(json.dumps({k: v for k, v in document.items() if k != key}))
        with pytest.raises(PersistError, match=f"lacking.json lacks '{key}'"):
            load(path)
    second = json.loads((FIXTURES / "gp_v2.json").read_text())
    del second["range"]
    path.write_text(json.dumps(second))
    with pytest.raises(PersistError, match="lacks 'range'"):
        load(path)


@pytest.mark.parametrize("kind", ["gp", "xgb"])
def test_latencies_without_any_error_are_saved_and_loaded(tmp_path, kind):
    """Ratios that are rightly all zero: every latency was foretold exactly."""
    X, _ = data(8)
    model = {"gp": GPPredictor(), "xgb": XGBPredictor(n_trees=4)}[kind].fit(X, np.full(8, 2.0))
    model.save(tmp_path / "p.json")
    np.testing.assert_array_equal(load(tmp_path / "p.json").predict(X), model.predict(X))


def test_helpers_say_which_value_is_wrong():
    assert checked.numbers({"a": []}, "a", (None,)).shape == (0,)
    assert checked.count({"n": 3}, "n") == 3
    assert checked.flag({"log": 1}, "log") is True
    with pytest.raises(ValueError, match="'n' must be a whole number of at least 0; got True"):
        checked.count({"n": True}, "n")
    with pytest.raises(ValueError, match=r"'a' must have the shape \(any, 2\); got \(2\)"):
        checked.numbers({"a": [1, 2]}, "a", (None, 2))
    with pytest.raises(KeyError):
        checked.number({}, "a")
