"""Ranks instead of values: monotone maps of y change nothing, outliers little."""

import json

import numpy as np
import pandas
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from predictors import (
    BlendPredictor,
    GPPredictor,
    InputError,
    NormalScoresPredictor,
    PersistError,
    TransferPredictor,
    XGBPredictor,
    load,
    metrics,
    select,
)
from predictors.held_out import held_out_folds
from predictors.normal_scores import NormalScores

SMALL = {"gp": GPPredictor(), "xgb": XGBPredictor(n_trees=20)}


def failing(n=60, seed=0):
    """Accuracies of which every ninth is of a training that failed."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 1, (n, 2))
    y = 0.77 + 0.01 * X[:, 0] + 0.005 * np.sin(3 * X[:, 1]) + 0.0005 * rng.normal(size=n)
    y[::9] = 0.58 + 0.001 * rng.normal(size=len(y[::9]))
    return X, y


@parametrize_with_checks([NormalScoresPredictor()])
def test_is_an_estimator(estimator, check):
    check(estimator)


def test_scores_are_normal_quantiles_of_ranks_and_ties_share_theirs():
    y = np.array([5.0, -2.0, 5.0, 100.0])
    ranks = np.array([2.5, 1.0, 2.5, 4.0])
    found = NormalScores.of(y, log=False)
    np.testing.assert_allclose(found.apply(y), norm.ppf((ranks - 0.5) / 4), rtol=1e-12)
    np.testing.assert_allclose(found.median(found.apply(y)), y)


@pytest.mark.parametrize("log", [False, True])
def test_scores_go_there_and_back_beyond_the_targets_too(log):
    y = np.exp(np.random.default_rng(0).normal(size=30))
    found = NormalScores.of(y, log=log)
    z = np.linspace(-5, 5, 101)
    there = found.median(z)
    np.testing.assert_allclose(found.apply(there), z, atol=1e-9)
    assert (np.diff(there) > 0).all() and (there > 0).all() == log


def test_beyond_the_targets_outliers_do_not_say_how_steep():
    y = np.append(np.linspace(1, 2, 99), 1e6)
    found = NormalScores.of(y, log=False)
    low, high = np.interp([-0.6745, 0.6745], found.scores, found.values)
    step = found.modelled(np.array([4.0]))[0] - found.modelled(np.array([3.0]))[0]
    assert step == pytest.approx((high - low) / (2 * 0.6745), rel=1e-4)


def test_equal_targets_are_predicted():
    model = NormalScoresPredictor().fit([[1.0], [2.0], [3.0]], [4.0, 4.0, 4.0])
    median, std = model.predict([[2.5]], return_std=True)
    assert median[0] == pytest.approx(4.0) and np.isfinite(std).all()


def test_a_monotone_map_of_the_targets_changes_no_score():
    X, y = failing()
    plain, cubed = (NormalScoresPredictor().fit(X, of) for of in (y, y**3))
    new = failing(20, seed=1)[0]
    np.testing.assert_allclose(
        cubed.scores_.apply(cubed.predict(new)), plain.scores_.apply(plain.predict(new)), atol=1e-9
    )


def test_failed_trainings_spoil_the_order_less():
    new = np.random.default_rng(9).uniform(0, 1, (300, 2))
    truth = 0.01 * new[:, 0] + 0.005 * np.sin(3 * new[:, 1])
    gains = []
    for seed in range(5):
        X, y = failing(seed=seed)
        plain = metrics.kendall(truth, GPPredictor().fit(X, y).predict(new))
        ranks = metrics.kendall(truth, NormalScoresPredictor().fit(X, y).predict(new))
        gains.append(ranks - plain)
    assert np.mean(gains) > 0.1


def test_intervals_hold_and_spread_is_that_of_targets():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))  # normal targets: their scores have one noise everywhere
    y = np.exp(0.9 * X[:, 0] + 0.3 * rng.normal(size=300))
    model = NormalScoresPredictor(log_target=True).fit(X[:150], y[:150])
    lower, upper = model.predict_interval(X[150:])
    assert 0.84 < np.mean((lower <= y[150:]) & (y[150:] <= upper)) < 0.96
    median, std = model.predict(X[150:], return_std=True)
    expected = median * np.sqrt(np.expm1(0.09) * np.exp(0.09))  # log-normal of spread 0.3
    assert np.median(std / expected) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("log_target", [False, True])
def test_selection_is_cross_validation_of_scores(log_target):
    X, y = failing(40)
    found = select(
        X, y, log_target=log_target, random_state=3, candidates=SMALL, blend=True,
        normal_scores=True,
    )  # fmt: skip
    scores = NormalScores.of(y, log=log_target)
    z = scores.apply(y)
    folds = held_out_folds(np.arange(40), n_splits=5, random_state=3)
    for name, candidate in SMALL.items():
        predicted, inside = np.empty(40), np.empty(40)
        for fold in folds:
            kept = np.setdiff1d(np.arange(40), fold)
            model = clone(candidate).set_params(random_state=3).fit(X[kept], z[kept])
            predicted[fold] = model.predict(X[fold])
            lower, upper = model.predict_interval(X[fold])
            inside[fold] = (lower <= z[fold]) & (z[fold] <= upper)
        score, back = found.scores[name], scores.median(predicted)
        assert score.rmse == pytest.approx(np.sqrt(np.mean((predicted - z) ** 2)))
        assert score.mape == pytest.approx(np.mean(np.abs(back - y) / y))
        assert score.coverage90 == pytest.approx(np.mean(inside))
    alone = select(X, z, log_target=False, random_state=3, candidates=SMALL, blend=True)
    assert found.name == alone.name
    assert found.scores["blend"].rmse == pytest.approx(alone.scores["blend"].rmse)
    np.testing.assert_array_equal(
        found.predictor.predict(X), scores.median(alone.predictor.predict(X))
    )


def test_selection_keeps_the_names_of_columns():
    X, y = failing(12)
    frame = pandas.DataFrame(X, columns=["hidden_size", "num_hidden_layers"])
    found = select(frame, y, log_target=False, random_state=0, candidates=SMALL, normal_scores=True)
    assert found.predictor.column_names_ == ("hidden_size", "num_hidden_layers")
    with pytest.raises(ValueError, match="feature names"):
        found.predictor.predict(frame[["num_hidden_layers", "hidden_size"]])


def test_a_blend_of_scores_is_given_plain_rows(recwarn):
    """Its frame's names are those of the whole, which checks them."""
    X, y = failing(40)
    frame = pandas.DataFrame(X, columns=["a", "b"])
    found = select(
        frame, y, log_target=False, random_state=5, candidates=SMALL, blend=True,
        normal_scores=True,
    )  # fmt: skip
    scores = NormalScores.of(y, log=False).apply(y)
    alone = select(X, scores, log_target=False, random_state=5, candidates=SMALL, blend=True)
    assert found.name == alone.name
    found.predictor.predict(frame)
    assert not [w for w in recwarn if "feature names" in str(w.message)]


MEMBERS = {**SMALL, "blend": BlendPredictor(members=SMALL, n_splits=2)}


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("log_target", [False, True])
def test_file_holds_the_scores_and_the_member(name, log_target, tmp_path):
    X, y = failing(20)
    model = NormalScoresPredictor(log_target=log_target, member=MEMBERS[name], random_state=4)
    model.fit(X, y).save(tmp_path / "p.json", columns=["a", "b"], target="QNLI")
    back = load(tmp_path / "p.json", target="QNLI", columns=["a", "b"])
    new = np.random.default_rng(1).uniform(-1, 2, (30, 2))
    for found, expected in zip(
        back.predict(new, return_std=True), model.predict(new, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(back.predict_interval(new), model.predict_interval(new))
    np.testing.assert_array_equal(back.is_outside(new), model.is_outside(new))
    back.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "p.json").read_bytes()
    assert back.fit(X[:9], y[:9]).n_rows_ == 9


def test_member_stays_as_it_is_and_others_have_no_file(tmp_path):
    member = TransferPredictor()
    model = NormalScoresPredictor(member=member).fit(*failing(8))
    assert member.get_params() == TransferPredictor().get_params()
    assert not hasattr(member, "n_rows_")
    with pytest.raises(PersistError, match="the member is a TransferPredictor"):
        model.save(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["scores"].update(values=s["scores"]["values"][::-1]), "'values' must hold"),
        (lambda s: s["scores"].update(scores=[]), r"'scores' must have the shape"),
        (lambda s: s["scores"].update(values=[], scores=[]), "'values' must hold ascending"),
        (lambda s: s["scores"].update(log=True), "'log_target' is False"),
        (lambda s: s["member"].update(kind="forest"), "KeyError: 'forest'"),
        (lambda s: s["member"]["state"]["params"].update(log_target=True), "'log_target' is True"),
        (lambda s: s.pop("member"), "KeyError: 'member'"),
    ],
)
def test_a_damaged_file_is_refused(change, message, tmp_path):
    NormalScoresPredictor().fit(*failing(12)).save(tmp_path / "p.json")
    document = json.loads((tmp_path / "p.json").read_text())
    change(document["state"])
    (tmp_path / "p.json").write_text(json.dumps(document))
    with pytest.raises(PersistError, match=message):
        load(tmp_path / "p.json")


def test_bad_targets_are_named():
    X, y = failing(8)
    with pytest.raises(InputError, match="y spreads too far"):
        NormalScoresPredictor().fit(X, np.where(np.arange(8) == 2, 1.7e308, -1.7e308))
    with pytest.raises(InputError, match="y must be positive; row 2"):
        NormalScoresPredictor(log_target=True).fit(X, np.where(np.arange(8) == 2, -1.0, y))
    with pytest.raises(InputError, match="y must be positive; row 2"):
        select(
            X, np.where(np.arange(8) == 2, 0.0, y), log_target=True, random_state=0,
            normal_scores=True,
        )  # fmt: skip
