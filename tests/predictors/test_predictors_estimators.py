"""One battery over every predictor: what holds for all of them."""

import re
import warnings

import numpy as np
import pandas
import pytest
from scipy.stats import lognorm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from predictors import BlendPredictor, GPPredictor, InputError, XGBPredictor, load
from predictors.rows import LARGEST

MEMBERS = {"gp": GPPredictor(), "xgb": XGBPredictor(n_trees=30, learning_rate=0.3)}
ALL = [
    GPPredictor(),
    XGBPredictor(n_trees=60),
    BlendPredictor(members=MEMBERS, n_splits=3),
]
every = pytest.mark.parametrize("predictor", ALL, ids=lambda predictor: predictor.kind)


@parametrize_with_checks([GPPredictor(), XGBPredictor()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def smooth(n, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 1, (n, 3))
    return X, np.exp(X[:, 0] + 0.5 * np.sin(4 * X[:, 1]) + noise * rng.normal(size=n))


@every
@pytest.mark.parametrize("log_target", [False, True])
def test_learns_and_knows_how_well(predictor, log_target):
    """Against the spread of y, and by how often 90% intervals hold.

    300 new rows, so one standard error of the share is 1.7 points; the band also
    leaves room for a spread that is one fifth too wide or too narrow.
    """
    X, y = smooth(120)
    new, truth = smooth(300, seed=1)
    model = clone(predictor).set_params(log_target=log_target).fit(X, y)
    median, std = model.predict(new, return_std=True)
    assert np.sqrt(np.mean((median - truth) ** 2)) < 0.35 * truth.std()
    lower, upper = model.predict_interval(new)
    assert 0.8 < np.mean((lower <= truth) & (truth <= upper)) < 0.98
    assert (std > 0).all() and (lower < median).all() and (median < upper).all()
    modelled = np.log if log_target else np.asarray
    error = np.sqrt(np.mean((modelled(median) - modelled(truth)) ** 2))
    # 120 rows: the held-out error is known to 1 / sqrt(240), some 7%, and change of data.
    assert model.training_error_ == pytest.approx(error, rel=0.35)


@every
def test_log_target_gives_median_and_spread_of_a_log_normal(predictor):
    X, y = smooth(40)
    logged = clone(predictor).set_params(log_target=True).fit(X, y)
    plain = clone(predictor).set_params(log_target=False).fit(X, np.log(y))
    m, s = plain.predict(X, return_std=True)
    median, std = logged.predict(X, return_std=True)
    oracle = lognorm(s, scale=np.exp(m))
    np.testing.assert_allclose(median, oracle.median(), rtol=1e-10)
    np.testing.assert_allclose(std, oracle.std(), rtol=1e-8)
    for found, bound in zip(
        logged.predict_interval(X, 0.5), plain.predict_interval(X, 0.5), strict=True
    ):
        np.testing.assert_allclose(found, np.exp(bound), rtol=1e-8)


@every
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_few_rows(predictor, n):
    X = np.arange(n, dtype=float)[:, None]
    y = 10 + 2 * X[:, 0]
    median, std = clone(predictor).fit(X, y).predict([[0.5], [100.0]], return_std=True)
    assert np.isfinite(median).all() and np.isfinite(std).all() and (std > 0).all()
    assert y.min() - 1 < median[0] < y.max() + 1


@every
@pytest.mark.parametrize("value", [0.0, 5.0, -1e6, 1e-9])
def test_constant_target(predictor, value):
    X, _ = smooth(12)
    median, std = clone(predictor).fit(X, np.full(12, value)).predict(X, return_std=True)
    np.testing.assert_allclose(median, value, rtol=1e-3, atol=1e-12)
    assert np.isfinite(std).all() and (std >= 0).all()


@every
def test_constant_target_on_the_log_scale(predictor):
    X, _ = smooth(12)
    model = clone(predictor).set_params(log_target=True).fit(X, np.full(12, 3.0))
    np.testing.assert_allclose(model.predict(X), 3.0, rtol=1e-3)


@every
def test_constant_columns_change_nothing(predictor):
    X, y = smooth(40)
    padded = np.column_stack([X, np.full(len(X), 128.0), np.zeros(len(X))])
    median, std = clone(predictor).fit(padded, y).predict(padded, return_std=True)
    assert np.corrcoef(median, y)[0, 1] > 0.9
    assert np.isfinite(std).all()


@every
def test_repeated_rows_with_different_targets(predictor):
    """Ten rows measured four times: the answer is near their means."""
    X = np.repeat(np.arange(10.0)[:, None], 4, axis=0)
    y = X[:, 0] + np.tile([-0.5, -0.1, 0.1, 0.5], 10)
    median, std = clone(predictor).fit(X, y).predict(X[::4], return_std=True)
    # The mean of four errors of size .36 is off by .18; trees also see only parts of the rows.
    np.testing.assert_allclose(median, np.arange(10.0), atol=0.6)
    assert (std > 0.1).all()


@every
def test_units_do_not_matter(predictor):
    X, y = smooth(30)
    median, std = clone(predictor).fit(X, y).predict(X, return_std=True)
    scaled = clone(predictor).fit(X * [1e6, 1e-6, 1.0], y * 1e-3)
    small_median, small_std = scaled.predict(X * [1e6, 1e-6, 1.0], return_std=True)
    # The search stops within a relative 1e-7 of its objective, not at the last digit.
    np.testing.assert_allclose(small_median, median * 1e-3, rtol=1e-2)
    np.testing.assert_allclose(small_std, std * 1e-3, rtol=5e-2)


@every
def test_same_seed_same_numbers(predictor):
    X, y = smooth(30)
    first, second = (clone(predictor).fit(X, y) for _ in range(2))
    for a, b in zip(
        first.predict(X, return_std=True), second.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@every
def test_predict_alone_is_the_median_of_the_pair(predictor):
    X, y = smooth(30)
    model = clone(predictor).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), model.predict(X, return_std=True)[0])


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_cell_is_named(predictor, bad):
    X, y = smooth(10)
    X[4, 2] = bad
    name = "NaN" if np.isnan(bad) else str(bad)
    with pytest.raises(InputError, match=f"row 4, column 2 is {name}"):
        clone(predictor).fit(X, y)
    model = clone(predictor).fit(*smooth(10))
    with pytest.raises(InputError, match=f"row 4, column 2 is {name}"):
        model.predict(X)


@every
@pytest.mark.parametrize("huge", [2e30, -1e308])
def test_a_cell_too_large_to_compute_with_is_named(predictor, huge):
    X, y = smooth(10)
    X[4, 2] = huge
    named = re.escape(f"at most 1e+30 in size; row 4, column 2 is {huge:g}. Divide")
    with pytest.raises(InputError, match=named):
        clone(predictor).fit(X, y)
    with pytest.raises(InputError, match=named):
        clone(predictor).fit(*smooth(10)).predict(X)


@every
def test_the_largest_cells_give_numbers(predictor):
    """Or infinity, where a deviation is too vague for 64 bits; never NaN, and no warning."""
    X, y = smooth(20)
    far = X[:4].copy()
    far[[0, 1], [0, 2]] = LARGEST, -LARGEST
    for log_target in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = clone(predictor).set_params(log_target=log_target).fit(X, np.exp(y / 9))
            found = [*model.predict(far, return_std=True), *model.predict_interval(far)]
        assert not np.isnan(found).any()


@every
def test_text_is_named_by_its_cell(predictor):
    frame = pandas.DataFrame({"layers": [1.0, 2, 3, 4], "act": [0, 1, "gelu", "1"]})
    told = r"X must hold numbers; row 2, column 1 \(act\) is 'gelu'\. .*predictors\.encode"
    with pytest.raises(InputError, match=told):
        clone(predictor).fit(frame, [1.0, 2, 3, 4])
    model = clone(predictor).fit(frame.assign(act=0), [1.0, 2, 3, 4])
    with pytest.raises(InputError, match=told):
        model.predict(frame)
    with pytest.raises(ValueError, match="unseen at fit time"):  # scikit-learn's own words
        model.predict(frame.assign(name="s1"))
    rows = [[1.0, 2.0], [2.0, "x"], [3.0, 4.0]]
    with pytest.raises(InputError, match="X must hold numbers; row 1, column 1 is 'x'"):
        clone(predictor).fit(rows, [1.0, 2, 3])
    with pytest.raises(InputError, match="y must hold numbers; row 1 is 'slow'"):
        clone(predictor).fit([[1.0], [2.0], [3.0]], [1.0, "slow", 3.0])


@every
def test_bad_cell_of_a_named_column_is_named(predictor, tmp_path):
    X, y = smooth(10)
    clone(predictor).fit(X, y).save(tmp_path / "p.json", columns=["layers", "width", "heads"])
    X[4, 2] = np.nan
    with pytest.raises(InputError, match=r"row 4, column 2 \(heads\) is NaN"):
        load(tmp_path / "p.json").predict(X)


@every
def test_one_row_is_too_few(predictor):
    with pytest.raises(ValueError, match="1 sample.*minimum of 2 is required"):
        clone(predictor).fit([[1.0, 2.0, 3.0]], [1.0])


@every
def test_bad_target_is_named(predictor):
    X, y = smooth(10)
    y[7] = np.nan
    with pytest.raises(InputError, match="y must be finite; row 7 is NaN"):
        clone(predictor).fit(X, y)
    with pytest.raises(InputError, match="requires y"):
        clone(predictor).fit(X, None)


@every
@pytest.mark.parametrize("bad", [0.0, -2.5])
def test_log_target_refuses_what_has_no_logarithm(predictor, bad):
    X, y = smooth(10)
    y[3] = bad
    with pytest.raises(InputError, match=f"row 3 is {bad}"):
        clone(predictor).set_params(log_target=True).fit(X, y)
    clone(predictor).fit(X, y)


@every
def test_columns_of_the_fit_are_required(predictor):
    model = clone(predictor).fit(*smooth(10))
    with pytest.raises(ValueError, match="2 features.*expecting 3"):
        model.predict(np.zeros((1, 2)))


@every
def test_unfitted_predictor_says_so(predictor):
    with pytest.raises(NotFittedError):
        clone(predictor).predict_interval([[1.0, 2.0, 3.0]])


@every
@pytest.mark.parametrize("coverage", [0.0, 1.0, 90])
def test_coverage_is_a_share(predictor, coverage):
    model = clone(predictor).fit(*smooth(10))
    with pytest.raises(InputError, match="between 0 and 1"):
        model.predict_interval(smooth(2)[0], coverage)


@pytest.mark.parametrize(
    ("predictor", "name"),
    [
        (GPPredictor(n_starts=0), "n_starts must be at least 1; got 0"),
        (GPPredictor(max_rows=1), "max_rows must be at least 2; got 1"),
        (GPPredictor(max_search_rows=0), "max_search_rows must be at least 2; got 0"),
        (XGBPredictor(n_trees=0), "n_trees must be at least 1; got 0"),
        (XGBPredictor(max_depth=0), "max_depth must be at least 1; got 0"),
        (XGBPredictor(n_repeats=1), "n_repeats must be at least 2; got 1"),
        (XGBPredictor(learning_rate=0.0), "learning_rate must be positive; got 0.0"),
    ],
)
def test_options_are_checked(predictor, name):
    with pytest.raises(InputError, match=name):
        predictor.fit(*smooth(10))


@every
def test_nothing_is_warned_about_on_ordinary_data(predictor):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in (3, 10, 60):
            clone(predictor).fit(*smooth(n)).predict(smooth(5)[0], return_std=True)


def test_gp_warns_if_its_search_is_cut_short(monkeypatch):
    monkeypatch.setattr("predictors.hyperparameters.MAX_ITERATIONS", 1)
    monkeypatch.setattr("predictors.hyperparameters.SHORT_SEARCH", 1)
    X, y = smooth(40)
    with pytest.warns(ConvergenceWarning, match="stopped after 1 iterations"):
        model = GPPredictor().fit(X, y)
    assert np.isfinite(model.predict(X)).all()
