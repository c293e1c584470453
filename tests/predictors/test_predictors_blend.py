"""Weights against brute force, and the blend against what it is made of."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from predictors import (
    BlendPredictor,
    GPPredictor,
    InputError,
    PersistError,
    XGBPredictor,
    load,
    select,
)
from predictors.blend import least_error_weights, mix
from predictors.held_out import held_out_folds, modelled, predict_held_out

SMALL = {"gp": GPPredictor(), "xgb": XGBPredictor(n_trees=8)}
TINY = {"gp": GPPredictor(), "xgb": XGBPredictor(n_trees=2)}


@parametrize_with_checks([BlendPredictor(members=TINY, n_splits=2)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def half_smooth(n=50, seed=0):
    """A smooth column and one of steps: each member is better at one of them."""
    X = np.random.default_rng(seed).uniform(0, 1, (n, 2))
    return X, 3 + np.sin(4 * X[:, 0]) + ((X[:, 1] * 5).astype(int) % 2)


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_the_best_of_a_fine_grid(seed):
    errors = np.random.default_rng(seed).normal(size=(3, 40)) * [[1.0], [0.7], [2.0]]
    errors[1] += 0.5 * errors[0]
    moments = errors @ errors.T / 40
    moments += 3 / 40 * np.trace(moments) / 3 * np.eye(3)
    grid = [
        np.array([a, b, 1 - a - b])
        for a in np.linspace(0, 1, 101)
        for b in np.linspace(0, 1 - a, 101)
    ]
    best = min(grid, key=lambda w: w @ moments @ w)
    found = least_error_weights(errors)
    assert found.sum() == pytest.approx(1) and (found >= 0).all()
    assert found @ moments @ found <= best @ moments @ best + 1e-12
    np.testing.assert_allclose(found, best, atol=0.02)


def test_perfect_members_share_alike():
    np.testing.assert_allclose(least_error_weights(np.zeros((2, 9))), 0.5)


def test_mixture_has_the_moments_of_its_draws():
    rng = np.random.default_rng(0)
    weights, means, stds = np.array([0.3, 0.7]), np.array([[1.0], [4.0]]), np.array([[0.5], [2.0]])
    which = (rng.uniform(size=400_000) < 0.7).astype(int)
    draws = means[which, 0] + stds[which, 0] * rng.normal(size=len(which))
    mean, std = mix(weights, means, stds)
    # 400,000 draws give both to about half a percent.
    assert mean[0] == pytest.approx(draws.mean(), rel=0.01)
    assert std[0] == pytest.approx(draws.std(), rel=0.01)


@pytest.mark.parametrize("log_target", [False, True])
def test_modelled_scale_is_that_of_the_normal_behind(log_target):
    X, y = half_smooth()
    member = GPPredictor(log_target=log_target).fit(X, y)
    mean, std = modelled(member, X)
    lower, _ = member.predict_interval(X, 0.5)
    plain = GPPredictor().fit(X, np.log(y) if log_target else y)
    for found, expected in zip((mean, std), plain.predict(X, return_std=True), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (lower < (np.exp(mean) if log_target else mean)).all()


class Vague:
    """Says what a prediction far outside the data says: out of the range of numbers."""

    log_target = True

    def predict(self, rows, return_std):
        return np.array([np.inf, 0.0, 1.0, 1e-280]), np.array([np.inf, 0.0, np.inf, 1e280])


def test_modelled_scale_is_finite_where_predictions_are_not():
    mean, std = modelled(Vague(), np.zeros((4, 1)))
    assert np.isfinite(mean).all() and np.isfinite(std).all()


def test_prediction_is_the_weighted_mean_on_the_modelled_scale():
    X, y = half_smooth()
    model = BlendPredictor(log_target=True, members=SMALL).fit(X, y)
    new, _ = half_smooth(9, seed=1)
    parts = {name: np.log(member.predict(new)) for name, member in model.members_.items()}
    expected = sum(model.weights_[name] * part for name, part in parts.items())
    np.testing.assert_allclose(model.predict(new), np.exp(expected), rtol=1e-12)
    median, _ = model.predict(new, return_std=True)
    np.testing.assert_allclose(median, model.predict(new), rtol=1e-9)


def test_blend_of_unlike_members_beats_both():
    X, y = half_smooth(120)
    new, truth = half_smooth(400, seed=1)
    members = {"gp": GPPredictor(), "xgb": XGBPredictor(n_trees=50, learning_rate=0.3)}
    model = BlendPredictor(members=members).fit(X, y)
    errors = {n: np.std(m.predict(new) - truth) for n, m in model.members_.items()}
    assert np.std(model.predict(new) - truth) < min(errors.values())
    assert all(weight > 0.1 for weight in model.weights_.values())
    lower, upper = model.predict_interval(new)
    # 400 rows: 1.5 points of standard error, and an ensemble fitted on all rows errs a
    # little less than one fitted on four fifths.
    assert 0.84 < np.mean((lower <= truth) & (truth <= upper)) < 0.99


def test_few_rows_weigh_alike():
    X, y = half_smooth(5)
    model = BlendPredictor(members=SMALL).fit(X, y)
    assert model.weights_ == {"gp": 0.5, "xgb": 0.5}
    median, std = model.predict(X, return_std=True)
    lower, upper = model.predict_interval(X)
    np.testing.assert_allclose((lower + upper) / 2, median)
    np.testing.assert_allclose((upper - lower) / 2, norm.ppf(0.95) * std)


def test_members_stay_as_they_are():
    members = {"gp": GPPredictor(random_state=9)}
    BlendPredictor(log_target=True, members=members).fit(*half_smooth(12))
    assert members["gp"].get_params() == GPPredictor(random_state=9).get_params()
    assert not hasattr(members["gp"], "posterior_")


@pytest.mark.parametrize("log_target", [False, True])
def test_file_holds_every_member(log_target, tmp_path):
    X, y = half_smooth()
    model = BlendPredictor(log_target=log_target, members=SMALL, random_state=4).fit(X, y)
    model.save(tmp_path / "p.json", columns=["a", "b"], target="tpu-v4i")
    back = load(tmp_path / "p.json")
    new = np.random.default_rng(1).uniform(-1, 2, (30, 2))
    for found, expected in zip(
        back.predict(new, return_std=True), model.predict(new, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(back.predict_interval(new), model.predict_interval(new))
    assert back.weights_ == model.weights_ and back.training_error_ == model.training_error_
    assert back.column_names_ == ("a", "b") and back.target_name_ == "tpu-v4i"
    back.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "p.json").read_bytes()
    assert back.fit(X[:9], y[:9]).n_rows_ == 9


def test_members_of_other_kinds_have_no_file(tmp_path):
    inner = BlendPredictor(members={"gp": GPPredictor()}, n_splits=2)
    model = BlendPredictor(members={"blend": inner}, n_splits=2).fit(*half_smooth(8))
    with pytest.raises(PersistError, match="member 'blend' is a BlendPredictor"):
        model.save(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": {}}, "at least one member"),
        ({"n_splits": 1}, "n_splits must be at least 2; got 1"),
    ],
)
def test_options_are_checked(change, message):
    with pytest.raises(InputError, match=message):
        BlendPredictor(**change).fit(*half_smooth(8))


def test_selection_of_the_blend_is_the_blend_fitted_alone():
    X, y = half_smooth(100)
    members = {"gp": GPPredictor(), "xgb": XGBPredictor(n_trees=40, learning_rate=0.3)}
    found = select(X, y, log_target=True, random_state=3, candidates=members, blend=True)
    assert found.name == "blend"
    alone = BlendPredictor(log_target=True, random_state=3, members=members).fit(X, y)
    np.testing.assert_array_equal(found.predictor.predict(X), alone.predict(X))
    np.testing.assert_array_equal(found.predictor.predict_interval(X), alone.predict_interval(X))
    assert found.predictor.training_error_ == alone.training_error_


def test_blend_is_judged_by_weights_of_the_other_folds():
    """By hand from the held-out predictions of the members."""
    X, y = half_smooth(30)
    found = select(X, y, log_target=False, random_state=0, candidates=SMALL, blend=True)
    folds = held_out_folds(np.arange(30), n_splits=5, random_state=0)
    means = np.array([predict_held_out(clone(m), X, y, folds).mean for m in SMALL.values()])
    errors = []
    for fold in folds:
        rest = np.setdiff1d(np.arange(30), fold)
        weights = least_error_weights(y[rest] - means[:, rest])
        errors += list(weights @ means[:, fold] - y[fold])
    assert found.scores["blend"].rmse == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_margins_say_by_how_much():
    X, y = half_smooth(60)
    found = select(X, y, log_target=False, random_state=0, candidates=SMALL, blend=True)
    best = found.scores[found.name].rmse
    assert set(found.margins) == set(found.scores) - {found.name}
    for name, margin in found.margins.items():
        assert margin == pytest.approx(1 - best / found.scores[name].rmse)
        assert margin >= 0


def test_blend_competes_only_where_asked():
    X, y = half_smooth(12)
    alone = select(X, y, log_target=False, random_state=0, candidates=SMALL)
    assert set(alone.scores) == set(SMALL)
    few = select(X[:5], y[:5], log_target=False, random_state=0, candidates=SMALL, blend=True)
    assert set(few.scores) == set(SMALL)  # five rows tell no weights
    with pytest.raises(InputError, match="a candidate is called 'blend'"):
        select(
            X, y, log_target=False, random_state=0, candidates={"blend": GPPredictor()}, blend=True
        )
