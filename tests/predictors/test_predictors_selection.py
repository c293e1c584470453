"""Cross-validation by hand, and who wins."""

import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.model_selection import KFold, LeaveOneOut

from predictors import GPPredictor, InputError, XGBPredictor, select
from predictors.selection import held_out_folds


def rows(n=24, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 1, (n, 2))
    return X, np.exp(2 * X[:, 0] + X[:, 1] + 0.05 * rng.normal(size=n))


SMALL = {"gp": GPPredictor(n_starts=1), "xgb": XGBPredictor(n_trees=30)}


def test_score_is_cross_validation_by_hand():
    X, y = rows()
    found = select(X, y, log_target=True, random_state=3, candidates=SMALL)
    folds = held_out_folds(np.arange(len(y)), n_splits=5, random_state=3)
    for name, candidate in SMALL.items():
        errors, relative, inside = [], [], []
        for fold in folds:
            kept = [i for i in range(len(y)) if i not in set(fold)]
            model = clone(candidate).set_params(log_target=True, random_state=3)
            model.fit(X[kept], y[kept])
            predicted = model.predict(X[fold])
            lower, upper = model.predict_interval(X[fold], 0.9)
            errors += list(np.log(predicted) - np.log(y[fold]))
            relative += list(abs(predicted - y[fold]) / y[fold])
            inside += list((lower <= y[fold]) & (y[fold] <= upper))
        score = found.scores[name]
        assert score.rmse == pytest.approx(np.sqrt(np.mean(np.square(errors))))
        assert score.mape == pytest.approx(np.mean(relative))
        assert score.coverage90 == pytest.approx(np.mean(inside))
        assert score.n_rows == len(y)
    assert found.name == min(found.scores, key=lambda name: found.scores[name].rmse)


def test_winner_is_fitted_on_all_rows():
    X, y = rows()
    found = select(X, y, log_target=True, random_state=0, candidates=SMALL)
    model = clone(SMALL[found.name]).set_params(log_target=True, random_state=0).fit(X, y)
    np.testing.assert_array_equal(found.predictor.predict(X), model.predict(X))


def test_smooth_targets_go_to_the_process_and_steps_to_trees():
    X, y = rows(40)
    assert select(X, y, log_target=True, random_state=0, candidates=SMALL).name == "gp"
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(150, 4))
    y = 5.0 * ((X[:, 0] * 7).astype(int) % 2) + 3.0 * ((X[:, 1] * 5).astype(int) % 2)
    candidates = {"gp": GPPredictor(n_starts=1), "xgb": XGBPredictor(n_trees=100)}
    assert select(X, y, log_target=False, random_state=0, candidates=candidates).name == "xgb"


def test_same_arguments_same_selection():
    X, y = rows(12)
    first, second = (
        select(X, y, log_target=True, random_state=5, candidates=SMALL) for _ in range(2)
    )
    assert first.scores == second.scores and first.name == second.name
    np.testing.assert_array_equal(first.predictor.predict(X), second.predictor.predict(X))


def test_equal_errors_go_to_the_first():
    candidates = {"b": GPPredictor(), "a": GPPredictor()}
    found = select(*rows(10), log_target=False, random_state=0, candidates=candidates)
    assert found.name == "b" and found.scores["a"] == found.scores["b"]


def test_default_candidates_and_few_rows():
    found = select([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.1], log_target=True, random_state=0)
    assert set(found.scores) == {"gp", "xgb"}
    assert found.scores["gp"].n_rows == 3


def test_targets_of_any_sign_have_no_relative_error():
    X, y = rows(12)
    found = select(X, y - y.mean(), log_target=False, random_state=0, candidates=SMALL)
    assert found.scores["gp"].mape is None


def test_candidates_stay_as_they_are():
    candidate = GPPredictor(log_target=False, random_state=9, n_starts=1)
    select(*rows(10), log_target=True, random_state=0, candidates={"gp": candidate})
    assert candidate.get_params() == GPPredictor(random_state=9, n_starts=1).get_params()
    assert not hasattr(candidate, "posterior_")


@pytest.mark.parametrize(("n", "splitter"), [(9, LeaveOneOut()), (10, KFold(5)), (23, KFold(5))])
def test_folds_have_the_sizes_of_scikit_learn(n, splitter):
    folds = held_out_folds(np.arange(n), n_splits=5, random_state=0)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(n))
    expected = [len(test) for _, test in splitter.split(np.zeros((n, 1)))]
    assert [len(fold) for fold in folds] == expected


def test_a_bad_cell_of_a_data_frame_is_named():
    frame = pandas.DataFrame({"layers": [1.0, 2, 3, 4], "heads": [1.0, 2, np.nan, 4]})
    options = {"log_target": True, "random_state": 0}
    with pytest.raises(InputError, match=r"row 2, column 1 \(heads\) is NaN"):
        select(frame, [1.0, 2, 3, 4], **options)
    with pytest.raises(InputError, match=r"row 0, column 1 \(heads\) is 'x'"):
        select(frame.assign(heads=["x", 1, 2, 3]), [1.0, 2, 3, 4], **options)
    with pytest.raises(InputError, match="y must hold numbers; row 3 is 'x'"):
        select(frame.assign(heads=1), [1.0, 2, 3, "x"], **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": {}}, "at least one candidate"),
        ({"n_splits": 1}, "n_splits must be at least 2; got 1"),
        ({"X": [[1.0], [2.0]], "y": [1.0, 2.0]}, "at least 3 rows; got 2"),
        ({"X": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0]}, "X must be"),
        ({"X": [[1.0]] * 4, "y": [1.0, 2.0, 3.0]}, "X must be"),
        ({"X": [[1.0], [2.0], [3.0], [np.nan]], "y": [1.0, 2, 3, 4]}, "row 3, column 0 is NaN"),
        ({"X": [[1.0], [2.0], [3.0], [4.0]], "y": [1.0, 2, -3, 4]}, "row 2 is -3"),
    ],
)
def test_bad_input(change, message):
    X, y = rows(12)
    arguments = {"X": X, "y": y, "log_target": True, "random_state": 0, **change}
    with pytest.raises(InputError, match=message):
        select(**arguments)
