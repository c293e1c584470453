"""Which model serves: by columns, by kind, known ones and earlier studies."""

import numpy as np
import pytest

from autodistill.errors import SearchError
from autodistill.search.described import Describer
from autodistill.search.designer import views_of
from autodistill.search.models import KnownObjective
from autodistill.search.surrogates import Surrogate, correct_known, fit_objective, fit_surrogate
from autodistill.space import SearchSpace
from predictors import GPPredictor

SPACE = SearchSpace({name: list(range(5)) for name in "abcdef"})


def values(architectures):
    return np.array([[a[name] for name in "abcdef"] for a in architectures], float)


def total(architectures):
    return values(architectures).sum(1, keepdims=True)


def described(n=30, seed=0, features=None):
    describe = Describer(SPACE, features or (lambda a: np.empty((len(a), 0))))
    return describe(SPACE.sample_distinct(n, np.random.default_rng(seed)))


def fit(told, y, **arguments):
    return fit_objective(told, y, np.zeros(len(y)), seed=0, views=views_of(told), **arguments)


def predict(model, told, y, new):
    given = model.imagine(y, told.take([]), np.zeros((1, len(y))))
    return given.predict(new)


def test_few_rows_are_left_to_the_process():
    x, y = np.arange(5.0)[:, None], np.arange(5.0)
    surrogate = fit_surrogate(x, y, seed=0)
    assert isinstance(surrogate, Surrogate)
    assert isinstance(surrogate.predictor, GPPredictor)
    assert (surrogate.name, dict(surrogate.scores)) == ("gp", {})


def test_the_better_surrogate_serves():
    rng = np.random.default_rng(0)
    x = rng.random((30, 2))
    smooth = fit_surrogate(x, np.sin(3 * x[:, 0]) + x[:, 1], seed=0)
    assert smooth.name == "gp"
    rugged = fit_surrogate(x, np.floor(7 * x[:, 0]) % 2 + 0.01 * x[:, 1], seed=0)
    for surrogate in (smooth, rugged):
        assert set(surrogate.scores) == {"gp", "xgb"}
        best = min(surrogate.scores, key=lambda name: surrogate.scores[name].rmse)
        assert surrogate.name == best


def test_the_columns_that_tell_are_chosen():
    """A bowl over the sum, and one over a single choice that the features do not hold."""
    told = described(features=total)
    of_sum = (total(told.architectures)[:, 0] - 14) ** 2
    assert fit(told, of_sum).name == "gp on features"
    of_one = 9.0 * (values(told.architectures)[:, 2] - 2) ** 2
    assert fit(told, of_one).name == "gp on everything"


def test_steps_are_left_to_trees():
    told = described(n=60)
    x = values(told.architectures)
    steps = 3.0 * ((x[:, 0] > 2) ^ (x[:, 1] > 2)) + (x[:, 2] > 2)
    model = fit(told, steps)
    new = described(n=200, seed=1)
    mean, std = predict(model, told, steps, new)
    if model.name == "xgb":  # pending values are drawn one by one
        draws = np.random.default_rng(0).standard_normal((4000, 62))
        imagined = model.imagine(steps, new.take([0, 1]), draws).values
        np.testing.assert_array_equal(imagined[:, :60], np.tile(steps, (4000, 1)))
        np.testing.assert_allclose(imagined[:, 60:].mean(0), mean[0, :2], atol=0.1)
        np.testing.assert_allclose(imagined[:, 60:].std(0), std[:2], rtol=0.1)
    truth = values(new.architectures)
    truth = 3.0 * ((truth[:, 0] > 2) ^ (truth[:, 1] > 2)) + (truth[:, 2] > 2)
    assert np.mean((mean[0] - truth) ** 2) < 0.6 * truth.var()


def test_an_earlier_study_serves_where_it_explains_more():
    told = described(n=8)
    truth = values(told.architectures) @ [3.0, -2.0, 1.0, 0.5, -1.0, 2.0]

    def related(new):
        return 10 + 0.5 * values(new.architectures) @ [3.0, -2.0, 1.0, 0.5, -1.0, 2.0]

    def unrelated(new):
        return np.cos(values(new.architectures) @ [5.0, 7.0, 11.0, 13.0, 3.0, 2.0])

    new = described(n=100, seed=1)
    wanted = values(new.architectures) @ [3.0, -2.0, 1.0, 0.5, -1.0, 2.0]

    def error(priors):
        model = fit(told, truth, priors=priors)
        mean, _ = predict(model, told, truth, new)
        return np.sqrt(np.mean((mean[0] - wanted) ** 2)), model.name

    alone, name = error([])
    assert "earlier" not in name
    helped, name = error([unrelated, related])
    assert helped < 0.3 * alone and name.endswith("beside an earlier study")
    assert error([unrelated])[0] < 1.3 * alone


def test_a_constant_study_is_no_prior():
    told = described(n=8)
    y = values(told.architectures).sum(1)
    assert fit(told, y, priors=[lambda new: np.full(len(new), 7.0)]).name == "gp on choices"


def test_a_known_objective_is_corrected_only_where_it_errs_in_a_pattern():
    told, new = described(n=25), described(n=100, seed=1)
    truth = values(told.architectures).sum(1)
    rng = np.random.default_rng(0)
    noise = {a: 0.1 * rng.standard_normal() for a in told.architectures}

    def right(architectures):
        mean = values(architectures).sum(1) + [noise.get(a, 0.0) for a in architectures]
        return mean, np.full(len(architectures), 0.1)

    def too_low(architectures):
        mean = values(architectures).sum(1) * 0.8 - 1
        return mean, np.full(len(architectures), 0.1)

    def model(known):
        return correct_known(
            KnownObjective(known, 1), told, truth, np.zeros(25), seed=0, views=views_of(told)
        )

    assert model(right).name == "known"
    assert model(too_low).name == "known, corrected"
    mean, _ = predict(model(too_low), told, truth, new)
    np.testing.assert_allclose(mean[0], values(new.architectures).sum(1), atol=0.5)


def test_a_known_objective_that_is_exact_needs_no_correction():
    told = described(n=10)
    truth = values(told.architectures).sum(1)
    known = KnownObjective(lambda a: (values(a).sum(1), np.zeros(len(a))), 0)
    model = correct_known(known, told, truth, np.zeros(10), seed=0, views=views_of(told))
    assert model is known


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (lambda a: (np.zeros(len(a)), np.zeros(3)), "two arrays of shape"),
        (lambda a: np.zeros(len(a)), "a mean and a standard deviation; got ndarray"),
        (lambda a: (np.full(len(a), np.nan), np.zeros(len(a))), "finite"),
        (lambda a: (np.zeros(len(a)), np.full(len(a), -1.0)), "at least 0"),
    ],
)
def test_a_known_objective_of_a_wrong_form(known, message):
    with pytest.raises(SearchError, match=message):
        KnownObjective(known, 1)(described(n=5).architectures)
