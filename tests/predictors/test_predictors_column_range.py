"""Rows outside the training range: told by every predictor, warned of once."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from predictors import (
    BlendPredictor,
    ExtrapolationWarning,
    GPPredictor,
    InputError,
    PersistError,
    XGBPredictor,
    load,
    warn_outside,
)
from predictors.column_range import LEASH, ColumnRange

FIXTURES = Path(__file__).parent / "fixtures"
MEMBERS = {"gp": GPPredictor(), "xgb": XGBPredictor(n_trees=5)}
every = pytest.mark.parametrize(
    "predictor",
    [GPPredictor(), XGBPredictor(n_trees=5), BlendPredictor(members=MEMBERS, n_splits=2)],
    ids=lambda predictor: predictor.kind,
)


def data():
    X = np.array([[1.0, 64.0, 7.0], [2.0, 128.0, 7.0], [4.0, 64.0, 7.0], [3.0, 96.0, 7.0]])
    return X, X[:, 0] * X[:, 1]


@every
def test_rows_outside_are_told(predictor):
    model = predictor.fit(*data())
    rows = np.array(
        [
            [2.5, 100.0, 7.0],  # between
            [1.0, 128.0, 7.0],  # a new combination at the edges
            [0.5, 100.0, 7.0],  # below
            [2.0, 128.1, 7.0],  # above
            [2.0, 128.0, 8.0],  # a column that was constant
            [4.0 + 1e-10, 64.0 - 1e-9, 7.0],  # rounding
        ]
    )
    assert model.is_outside(rows).tolist() == [False, False, True, True, True, False]
    assert model.is_outside(rows).dtype == bool


@every
def test_range_survives_its_file(predictor, tmp_path):
    predictor.fit(*data()).save(tmp_path / "p.json", columns=["layers", "width", "batch"])
    back = load(tmp_path / "p.json")
    assert back.is_outside([[2.0, 80.0, 7.0], [5.0, 80.0, 7.0]]).tolist() == [False, True]
    with pytest.warns(ExtrapolationWarning, match="layers: row 0 has layers = 5"):
        warn_outside(back, [[5.0, 80.0, 7.0]])


def test_one_warning_names_count_columns_and_cell():
    model = GPPredictor().fit(*data())
    rows = [[2.0, 80.0, 7.0], [2.0, 300.0, 9.0], [9.0, 80.0, 7.0]]
    with pytest.warns(ExtrapolationWarning) as caught:
        warn_outside(model, rows)
    assert [str(warning.message) for warning in caught] == [
        "2 of 3 rows lie outside the range that the predictor was trained on, in x0 and 2 more "
        "columns: row 1 has x1 = 300, trained on 64 to 128. Predictions there are extrapolated"
    ]


def test_rows_inside_are_silent_and_so_is_predict():
    model = GPPredictor().fit(*data())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_outside(model, [[2.0, 80.0, 7.0]])
        model.predict([[90.0, 8000.0, 7.0]], return_std=True)


@pytest.mark.parametrize("kind", ["gp", "xgb"])
def test_files_of_the_first_version_say_no_range(kind):
    model = load(FIXTURES / f"{kind}_v1.json")
    assert model.column_range_ is None
    with pytest.raises(InputError, match="first version"):
        model.is_outside([[3.0, 0.0]])
    with pytest.warns(ExtrapolationWarning, match="does not say which range"):
        warn_outside(model, [[3.0, 0.0]])


def test_damaged_range_is_refused(tmp_path):
    path = tmp_path / "p.json"
    GPPredictor().fit(*data()).save(path)
    document = json.loads(path.read_text())
    for damage, message in (
        ({"lowest": [0.0], "highest": [1.0]}, "range of"),
        ({"lowest": [0.0, 1.0, 2.0]}, "damaged"),
        ("wide", "damaged"),
    ):
        path.write_text(json.dumps({**document, "range": damage}))
        with pytest.raises(PersistError, match=message):
            load(path)


def test_range_of_rows_by_hand():
    seen = ColumnRange.of(np.array([[1.0, -3.0], [0.0, 5.0]]))
    assert seen.lowest.tolist() == [0.0, -3.0] and seen.highest.tolist() == [1.0, 5.0]
    cells = seen.outside(np.array([[0.5, 6.0], [-1.0, 0.0]]))
    assert cells.tolist() == [[False, True], [True, False]]


def test_reins_are_loose_nearby_and_tighten_far_outside():
    seen = ColumnRange(np.array([0.0, -2.0, 5.0]), np.array([1.0, 2.0, 5.0]))
    near = np.array([[0.0, 2.0, 5.0], [0.3, -1.0, 5.0], [2.0, -6.0, 6.0], [-1.0, 5.5, 4.3]])
    np.testing.assert_allclose(seen.reined_in(near), near, rtol=1e-15)
    far = seen.reined_in(np.array([[12.0, -46.0, 7.0]]))[0]
    # Ten widths beyond the first one in the first two columns, one unit in the constant one.
    reach = LEASH * np.log(1 + 10 / LEASH)
    np.testing.assert_allclose(far, [2 + reach, -6 - 4 * reach, 6 + LEASH * np.log(1 + 1 / LEASH)])
    # Where it begins to count for less its slope is still one, and it never turns back.
    line = seen.reined_in(np.column_stack([np.linspace(2, 4, 2001)] + 2 * [np.full(2001, 5.0)]))
    steps = np.diff(line[:, 0]) / 1e-3
    assert steps[0] == pytest.approx(1, abs=0.01) and (steps > 0).all()


def test_a_trend_does_not_run_away():
    """log y grows by 1 per layer from 1 to 8; at 1,000 layers that would be infinite."""
    X = np.arange(1.0, 9.0)[:, None]
    model = GPPredictor(log_target=True).fit(X, np.exp(X[:, 0]))
    near, far = np.log(model.predict([[9.0], [1000.0]]))
    assert near == pytest.approx(9, abs=0.4)
    assert near < far < 40
