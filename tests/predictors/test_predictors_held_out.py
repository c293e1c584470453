"""Rows that tell of each other are held out together."""

import numpy as np
import pandas
import pytest

from predictors import BlendPredictor, GPPredictor, InputError, XGBPredictor, select
from predictors.held_out import held_out_folds, row_groups
from predictors.metrics import covered, rmse

SMALL = {"gp": GPPredictor(n_starts=1), "xgb": XGBPredictor()}


def architectures(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and what a noiseless device says of them."""
    X = rng.integers(1, 13, (n, 5)).astype(float)
    return X, np.exp(0.1 * X @ np.array([2.0, 1.0, 0.5, 0.2, 0.1]) + 0.3 * np.sin(X[:, 0]))


def test_equal_rows_are_of_one_group_in_order_of_appearance() -> None:
    rows = np.array([[2.0, 1.0], [0.0, 3.0], [2.0, 1.0], [1.0, 1.0], [-0.0, 3.0]])
    assert row_groups(rows).tolist() == [0, 1, 0, 2, 1]
    assert row_groups(rows, ["b", "a", "a", "b", "c"]).tolist() == [0, 1, 1, 0, 2]
    for alike in (np.ones((3, 2)), np.ones((3, 0))):  # nothing else could be held out
        assert row_groups(alike).tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=r"a label for each of 5 rows; got shape \(2,\)"):
        row_groups(rows, [0, 1])


@pytest.mark.parametrize("n_splits", [2, 3, 20])
def test_folds_keep_groups_whole(n_splits: int) -> None:
    groups = np.random.default_rng(0).integers(0, 12, 50)
    folds = held_out_folds(groups, n_splits=n_splits, random_state=0)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(50))
    for fold in folds:
        assert not set(groups[fold]) & set(np.delete(groups, fold))
    assert len(folds) == (12 if n_splits == 20 else n_splits)


@pytest.mark.parametrize("kind", ["gp", "xgb"])
@pytest.mark.parametrize("repeats", [3, 10])
def test_repeated_measurements_flatter_no_error_and_no_interval(kind: str, repeats: int) -> None:
    rng = np.random.default_rng(1)
    X, y = architectures(40, rng)
    X_new, y_new = architectures(500, rng)
    X, y = np.repeat(X, repeats, axis=0), np.repeat(y, repeats)
    model = SMALL[kind].__class__(log_target=True)
    model.fit(X, y * np.exp(0.01 * rng.normal(size=len(y))))
    error = rmse(np.log(y_new), np.log(model.predict(X_new)))
    assert error / 2 < model.training_error_ < 4 * error  # without groups: an eighth, for trees
    assert 0.75 < covered(y_new, *model.predict_interval(X_new)) <= 1


def test_labels_hold_out_what_is_not_equal() -> None:
    """Pure chance at two batch sizes: who knows an architecture at one knows the other."""
    rng = np.random.default_rng(2)
    X, chance = rng.uniform(size=(80, 4)), rng.normal(size=160)
    rows = np.vstack([np.c_[X[:40], np.full(40, size)] for size in (1.0, 8.0)])
    new = np.vstack([np.c_[X[40:], np.full(40, size)] for size in (1.0, 8.0)])
    y, y_new = (
        np.exp(np.tile(chance[i : i + 40], 2)) * (1 + 5 * (rows[:, 4] > 1)) for i in (0, 40)
    )
    labels = np.tile(np.arange(40), 2)

    blind = XGBPredictor(log_target=True).fit(rows, y)
    model = XGBPredictor(log_target=True).fit(rows, y, groups=labels)
    error = rmse(np.log(y_new), np.log(model.predict(new)))
    assert blind.training_error_ < 0.7 * error
    assert 0.75 * error < model.training_error_ < 1.33 * error
    assert covered(y_new, *blind.predict_interval(new)) < 0.7
    assert covered(y_new, *model.predict_interval(new)) > 0.8

    def chosen(groups: np.ndarray | None) -> float:
        found = select(
            *(rows, y),
            log_target=True,
            random_state=0,
            candidates=SMALL,
            groups=groups,
        )
        return found.scores["xgb"].rmse

    assert chosen(None) < 0.7 * chosen(labels)


def test_blend_takes_labels() -> None:
    rng = np.random.default_rng(3)
    X, y = architectures(20, rng)
    rows, targets = np.repeat(X, 2, axis=0), np.repeat(y, 2)
    labels = np.repeat(np.arange(20), 2)
    blend = BlendPredictor(log_target=True, members=SMALL)
    by_rows = blend.fit(rows, targets).predict(X)
    np.testing.assert_array_equal(blend.fit(rows, targets, groups=labels).predict(X), by_rows)
    with pytest.raises(InputError, match="groups must have a label for each of 40 rows"):
        blend.fit(rows, targets, groups=labels[:-1])


@pytest.mark.parametrize("blend", [False, True])
def test_selected_predictors_know_the_names_of_a_data_frame(blend: bool) -> None:
    rng = np.random.default_rng(4)
    X = rng.uniform(0, 1, (24, 2))
    frame = pandas.DataFrame(X, columns=["layers", "width"])
    y = 1 + X[:, 0] + (X[:, 1] > 0.5)
    found = select(
        frame, y, log_target=True, random_state=0, candidates=SMALL, blend=blend
    ).predictor
    assert found.column_names_ == ("layers", "width")
    assert list(found.feature_names_in_) == ["layers", "width"]
    np.testing.assert_array_equal(found.predict(frame), found.predict(frame))
    with pytest.raises(ValueError, match="feature names should match|columns"):
        found.predict(frame[["width", "layers"]])
