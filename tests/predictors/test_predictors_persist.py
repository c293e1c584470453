"""Files there and back, files of the first version, and files to refuse."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from predictors import (
    GPPredictor,
    PersistError,
    TransferPredictor,
    XGBPredictor,
    load,
    save,
)

FIXTURES = Path(__file__).parent / "fixtures"


def data(n=20):
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 100, (n, 3))
    return X, np.exp(X @ [0.01, 0.02, 0.0]) + 0.1 * rng.random(n)


def small(kind, **options):
    return {"gp": GPPredictor(**options), "xgb": XGBPredictor(n_trees=8, **options)}[kind]


@pytest.fixture(params=["gp", "xgb"])
def kind(request):
    return request.param


@pytest.fixture
def saved(kind, tmp_path):
    path = tmp_path / "p.json"
    small(kind).fit(*data()).save(path)
    return path


@pytest.mark.parametrize("log_target", [False, True])
def test_predictions_are_the_same_numbers(kind, log_target, tmp_path):
    X, y = data()
    model = small(kind, log_target=log_target, random_state=4).fit(X, y)
    path = tmp_path / "p.json"
    model.save(path, columns=["a", "b", "c"], target="tpu-v4i")
    back = load(path)
    new = np.random.default_rng(1).uniform(-50, 150, (50, 3))
    for found, expected in zip(
        back.predict(new, return_std=True), model.predict(new, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(back.predict_interval(new), model.predict_interval(new))
    assert type(back) is type(model) and back.get_params() == model.get_params()
    assert back.column_names_ == ("a", "b", "c") and back.target_name_ == "tpu-v4i"
    assert back.training_error_ == model.training_error_ and back.n_rows_ == 20


def test_what_is_asked_for_is_what_is_loaded(tmp_path):
    path, columns = tmp_path / "p.json", ["a", "b", "c"]
    model = small("gp").fit(*data())
    model.save(path, columns=columns, target="tpu-v4i")
    assert load(path, target="tpu-v4i", columns=tuple(columns)).column_names_ == tuple(columns)
    with pytest.raises(PersistError, match=r"p\.json is a predictor of 'tpu-v4i'; expected 'cpu'"):
        load(path, target="cpu")
    for other in (["a", "c", "b"], ["a", "b"], []):
        told = f"has the columns a, b, c; expected {', '.join(other)}"
        with pytest.raises(PersistError, match=told):
            load(path, columns=other)
    model.save(path)
    with pytest.raises(PersistError, match="does not say its target; expected 'tpu-v4i'"):
        load(path, target="tpu-v4i")
    assert load(path).target_name_ is None


def test_saved_again_it_is_the_same_file(saved, tmp_path):
    again = tmp_path / "again.json"
    save(load(saved), again)
    assert again.read_bytes() == saved.read_bytes()


def test_file_is_plain_json_with_a_version(saved, kind):
    document = json.loads(saved.read_text())
    assert document["format"] == "autodistill-predictor"
    assert document["schema_version"] == 4
    assert document["kind"] == kind
    assert document["columns"] == ["x0", "x1", "x2"]
    assert document["target"] is None
    assert document["n_rows"] == 20
    assert document["training_error"] > 0


def test_loaded_predictor_can_be_fitted_anew(saved):
    X, y = data(9)
    model = load(saved).fit(X[:, :2], y)
    assert model.n_features_in_ == 2 and model.column_names_ == ("x0", "x1")


def test_loaded_predictor_wants_its_columns(saved):
    with pytest.raises(ValueError, match="2 features.*expecting 3"):
        load(saved).predict([[1.0, 2.0]])


def test_generator_as_seed_is_not_kept(kind, tmp_path):
    model = small(kind, random_state=np.random.RandomState(0)).fit(*data())
    model.save(tmp_path / "p.json")
    assert load(tmp_path / "p.json").random_state is None


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("v1", "gp"),
        ("v1", "xgb"),
        ("v2", "gp"),
        ("v2", "xgb"),
        ("v2", "blend"),
        ("v4", "normal_scores"),
    ],
)
def test_files_of_every_version_still_load(version, name):
    """Written by that schema version; the tolerance is for another BLAS or processor."""
    expected = json.loads((FIXTURES / f"expected_{version}.json").read_text())
    model = load(FIXTURES / f"{name}_{version}.json")
    median, std = model.predict(expected["X"], return_std=True)
    np.testing.assert_allclose(median, expected[name]["median"], rtol=1e-6)
    np.testing.assert_allclose(std, expected[name]["std"], rtol=1e-6)
    assert model.column_names_ == ("num_hidden_layers", "hidden_act=relu")
    assert model.target_name_ == "tpu-v4i"
    if version != "v1":
        bounds = model.predict_interval(expected["X"])
        np.testing.assert_allclose(bounds, expected[name]["interval"], rtol=1e-6)
        assert model.is_outside(expected["X"]).tolist() == expected[name]["outside"]


def test_a_file_keeps_its_workload(kind, tmp_path):
    model = small(kind).fit(*data())
    assert model.workload_ == {}
    model.save(tmp_path / "a.json", workload={"batch_size": 8, "dtype": "bfloat16"})
    back = load(tmp_path / "a.json")
    assert back.workload_ == {"batch_size": 8, "dtype": "bfloat16"}
    back.save(tmp_path / "b.json")
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    assert load(FIXTURES / "gp_v2.json").workload_ == {}
    assert back.fit(*data()).workload_ == {}


def test_a_file_of_the_first_version_saves_as_one_of_this(tmp_path):
    model = load(FIXTURES / "gp_v1.json")
    model.save(tmp_path / "p.json")
    X = [[3.0, 0.0], [5.0, 1.0], [500.0, 1.0]]
    np.testing.assert_allclose(load(tmp_path / "p.json").predict(X), model.predict(X), rtol=1e-9)


def test_wrong_number_of_names(kind, tmp_path):
    model = small(kind).fit(*data())
    with pytest.raises(PersistError, match="fitted on 3 columns; got 2 column names"):
        model.save(tmp_path / "p.json", columns=["a", "b"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": [0, 1, 2]}, "a column's name must be text; got 0"),
        ({"columns": ["a", "b", "a"]}, "two columns are called 'a'"),
        ({"columns": "abc"}, "columns must be a list of names; got the text 'abc'"),
        ({"target": 5}, "target must be text; got 5"),
        ({"workload": {"batch_size": 8.5}}, "'batch_size' is 8.5"),
        ({"workload": {"batch_size": True}}, "'batch_size' is True"),
        ({"workload": {8: 1}}, "a name in workload must be text; got 8"),
        ({"workload": ["batch_size"]}, "workload must be like"),
    ],
)
def test_arguments_that_save_refuses(kind, tmp_path, arguments, message):
    model = small(kind).fit(*data())
    with pytest.raises(PersistError, match=message):
        model.save(tmp_path / "p.json", **arguments)
    assert not list(tmp_path.iterdir())


def test_save_takes_numbers_and_text_of_numpy(kind, tmp_path):
    model = small(kind).fit(*data())
    model.save(
        tmp_path / "p.json",
        columns=np.array(["a", "b", "c"]),
        target=np.str_("tpu-v4i"),
        workload={"batch_size": np.int64(8), "dtype": np.str_("bfloat16")},
    )
    back = load(tmp_path / "p.json")
    assert back.column_names_ == ("a", "b", "c") and back.target_name_ == "tpu-v4i"
    assert back.workload_ == {"batch_size": 8, "dtype": "bfloat16"}


def test_names_of_a_fit_or_a_file_are_kept(kind, tmp_path):
    """Others, or the same in another order, would be learned of one column and said of another."""
    model = small(kind).fit(*data())
    model.save(tmp_path / "p.json", columns=["a", "b", "c"])
    back = load(tmp_path / "p.json")
    for names in (["b", "a", "c"], ["a", "b", "d"]):
        with pytest.raises(PersistError, match=f"the columns a, b, c; got {', '.join(names)}"):
            back.save(tmp_path / "q.json", columns=names)
    back.save(tmp_path / "q.json", columns=("a", "b", "c"))
    assert (tmp_path / "q.json").read_bytes() == (tmp_path / "p.json").read_bytes()


def test_names_of_a_data_frame_are_kept(kind, tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = data()
    model = small(kind).fit(pandas.DataFrame(X, columns=["a", "b", "c"]), y)
    with pytest.raises(PersistError, match="the columns a, b, c; got x, y, z"):
        model.save(tmp_path / "p.json", columns=["x", "y", "z"])


def test_names_of_the_known_devices_are_kept(tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = data()
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    model = TransferPredictor().fit_sources({"one": (frame, y)}).fit(X[:3], 2 * y[:3])
    with pytest.raises(PersistError, match="the columns a, b, c; got x, y, z"):
        model.save(tmp_path / "p.json", columns=["x", "y", "z"])
    model.save(tmp_path / "p.json", columns=["a", "b", "c"])
    assert load(tmp_path / "p.json").column_names_ == ("a", "b", "c")


def test_a_predictor_with_numbers_that_are_not_finite_is_not_saved(tmp_path):
    model = small("gp").fit(*data())
    model.training_error_ = float("nan")
    with pytest.raises(PersistError, match="cannot write .*not finite"):
        model.save(tmp_path / "p.json")
    assert not list(tmp_path.iterdir())


def test_only_fitted_predictors_of_ours(kind, tmp_path):
    with pytest.raises(NotFittedError):
        small(kind).save(tmp_path / "p.json")
    with pytest.raises(PersistError, match="got Ridge"):
        save(Ridge().fit(*data()), tmp_path / "p.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "expected format 'autodistill-predictor'; got 'other'"),
        ({"schema_version": 5}, "schema version 5; this version reads 1, 2, 3, 4"),
        ({"schema_version": None}, "schema version None; this version reads 1, 2, 3, 4"),
        ({"kind": "forest"}, "kind 'forest'; this version knows 'blend', 'gp', .*'xgb'"),
        ({"columns": ["a", "b", "a"]}, "has two columns 'a'; every column needs a name of its own"),
        ({"columns": ["a", "b"]}, "names 2 columns, but its .* state has 3"),
        ({"columns": None}, "lacks a valid 'columns': got None"),
        ({"n_rows": "many"}, "lacks a valid 'n_rows'"),
        ({"state": {}}, "state in .* is damaged"),
        ({"state": []}, "lacks a valid 'state'"),
        ({"workload": 8}, "lacks a valid 'workload': got 8"),
    ],
)
def test_headers_to_refuse(saved, change, message):
    saved.write_text(json.dumps({**json.loads(saved.read_text()), **change}))
    with pytest.raises(PersistError, match=message) as error:
        load(saved)
    assert str(saved) in str(error.value)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("gp", "params", {"speed": 3}),
        ("gp", "kernel", {"matern": 1.0}),
        ("gp", "inputs", [[1.0, 2.0]]),
        ("gp", "inputs", "many"),
        ("gp", "input_scale", [1]),
        ("gp", "target_scale", {"log": True}),
        ("xgb", "members", []),
        ("xgb", "members", [{"learner": {}}]),
        ("xgb", "members", 3),
        ("xgb", "calibration", {}),
        ("xgb", "input_scale", {"centre": [0.0], "scale": [1.0]}),
    ],
    indirect=["kind"],
)
def test_states_to_refuse(saved, key, value):
    document = json.loads(saved.read_text())
    document["state"][key] = value
    saved.write_text(json.dumps(document))
    with pytest.raises(PersistError, match="damaged|names 3 columns"):
        load(saved)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_cut_off_files(saved, share):
    content = saved.read_text().rstrip()
    saved.write_text(content[: int(len(content) * share)])
    with pytest.raises(PersistError, match="not whole JSON"):
        load(saved)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[1, 2]", b"3", b'{"x": NaN}', b"[" * 100_000])
def test_other_files(tmp_path, content):
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(PersistError, match="not whole JSON|not a predictor file"):
        load(tmp_path / "p.json")


def test_missing_file_and_folder(kind, tmp_path):
    with pytest.raises(PersistError, match="cannot read predictor file .*No such file"):
        load(tmp_path / "none.json")
    with pytest.raises(PersistError, match="cannot write predictor file .*No such file"):
        small(kind).fit(*data()).save(tmp_path / "none" / "p.json")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_keeps_the_old_file(saved, kind, monkeypatch, step):
    before = saved.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(PersistError, match="No space left"):
        small(kind, random_state=1).fit(*data(10)).save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
