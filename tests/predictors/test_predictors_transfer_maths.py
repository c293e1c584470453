"""The mathematics under ``TransferPredictor``, against closed forms and brute force."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm
from sklearn.linear_model import Ridge

from predictors import device_mixture
from predictors.device_bases import ALIKE, MOST_PAIRS, PAIRS_SHARE, device_bases, said
from predictors.device_kernels import KERNELS, PROFILE_RANGE, Described, DeviceKernels
from predictors.device_mixture import Hypotheses
from predictors.device_prior import TYPICAL, DevicePrior, explain, propose
from predictors.scaling import InputScale
from predictors.source_model import (
    FAR,
    NORMAL_MEDIAN,
    PENALTIES,
    Additive,
    SourceModel,
    fit_source,
)

N_KERNELS = len(KERNELS)


def described(n, seed, d=4, s=3):
    rng = np.random.default_rng(seed)
    return Described(rng.normal(size=(n, d)), rng.normal(size=(n, s)))


def kernels(d=4, s=3):
    rng = np.random.default_rng(9)
    return DeviceKernels(
        InputScale(np.zeros(d), np.ones(d)),
        rng.normal(size=(d, s)),
        rng.uniform(-1, 1, size=(d, s)),
        rng.uniform(0.5, 2, size=s),
        described(40, 8, d, s),
    )


def hypotheses(n_bases=2):
    rng = np.random.default_rng(3)
    log_prior = np.log(rng.dirichlet(np.ones(3 * n_bases)).reshape(3, n_bases))
    return Hypotheses(
        rng.uniform(0.1, 1, size=(3, N_KERNELS)), np.array([0.1, 0.3, 1.0]), log_prior
    )


def test_kernels_are_covariances_of_unit_size():
    k, rows = kernels(), described(30, 1)
    for covariance in k(rows, rows):
        np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
        assert np.linalg.eigvalsh(covariance).min() > -1e-9
    np.testing.assert_allclose(
        k.diagonal(rows), np.einsum("cnn->cn", k(rows, rows)), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(k.diagonal(k.reference).mean(axis=1), 1.0)


def test_profile_kernel_by_its_definition():
    k, a, b = kernels(), described(2, 1), described(3, 2)
    expected = np.zeros((2, 3))
    for j, wj in enumerate(k.profiles):
        for i, wi in enumerate(k.profiles):
            sizes = np.linalg.norm(wj) * np.linalg.norm(wi)
            apart = np.linalg.norm(wj / np.linalg.norm(wj) - wi / np.linalg.norm(wi))
            q = sizes * np.exp(-(apart**2) / (2 * PROFILE_RANGE**2))
            expected += q * np.outer(a.x[:, j], b.x[:, i])
    ratio = k(a, b)[KERNELS.index("profile")] / expected
    np.testing.assert_allclose(ratio, ratio[0, 0])


def test_a_source_that_was_never_known_has_no_part():
    """The kernels without source 1 are those of the two other sources' columns."""
    k = kernels()
    kept = np.array([True, False, True])
    fewer, rows = k.only(kept), described(6, 1)
    seen = Described(rows.x, rows.g[:, kept])
    other = DeviceKernels(
        k.input_scale,
        k.profiles[:, kept],
        k.relevance[:, kept],
        k.spreads[kept],
        Described(k.reference.x, k.reference.g[:, kept]),
    )
    np.testing.assert_array_equal(fewer(seen, seen), other(seen, seen))
    assert fewer.variance == pytest.approx(np.mean(k.spreads[kept] ** 2))


def test_mixture_by_brute_force():
    """Each hypothesis and base by the textbook formulas; the mean and variance of them all."""
    k, seen, new = kernels(), described(7, 1), described(5, 2)
    h, level = hypotheses(), 4.0
    rng = np.random.default_rng(0)
    differences, bases = rng.normal(size=(7, 2)), rng.normal(size=(5, 2))
    mixture, _ = device_mixture.condition(h, k(seen, seen), differences, level)
    mean, std = device_mixture.predict(mixture, k(new, seen), k.diagonal(new), bases)

    weights, means, variances = [], [], []
    for i in range(3):
        for b in range(2):
            inside = np.tensordot(h.variances[i], k(seen, seen), axes=1) + level
            inside += h.noise[i] * np.diag(mixture.factors)
            cross = np.tensordot(h.variances[i], k(new, seen), axes=1) + level
            own = np.tensordot(h.variances[i], k(new, new), axes=1) + level
            r = differences[:, b] - differences[:, b].mean()
            likely = multivariate_normal(np.zeros(7), inside).logpdf(r)
            weights.append(np.exp(likely + h.log_prior[i, b]))
            means.append(
                bases[:, b] + differences[:, b].mean() + cross @ np.linalg.solve(inside, r)
            )
            left = own - cross @ np.linalg.solve(inside, cross.T)
            variances.append(np.diag(left) + h.noise[i])
    weights = np.array(weights) / np.sum(weights)
    expected = weights @ np.array(means)
    spread = weights @ (np.array(variances) + (np.array(means) - expected) ** 2)
    np.testing.assert_allclose(mean, expected, rtol=1e-9)
    np.testing.assert_allclose(std, np.sqrt(spread), rtol=1e-9)
    np.testing.assert_allclose(
        device_mixture.predict_mean(mixture, k(new, seen), bases), expected, rtol=1e-9
    )


def test_a_level_that_is_nearly_free_costs_no_digits():
    """Its limit is ordinary kriging, where the level is a constant estimated by least squares.

    A level of variance 1e8 is within 1e-8 of the limit, and K a million times worse conditioned.
    """
    k, seen, new = kernels(), described(7, 1), described(5, 2)
    one = Hypotheses(np.full((1, N_KERNELS), 0.3), np.array([0.01]), np.zeros((1, 1)))
    u = np.random.default_rng(0).normal(size=(7, 1))
    mixture = device_mixture.restore(one, np.ones((1, 1)), k(seen, seen), u, 1e8, np.ones(7))
    cross, own = k(new, seen), k.diagonal(new)
    mean, std = device_mixture.predict(mixture, cross, own, np.zeros((5, 1)))

    inside = 0.3 * k(seen, seen).sum(axis=0) + 0.01 * np.eye(7)
    near, ones = 0.3 * cross.sum(axis=0), np.ones(7)
    weight = ones @ np.linalg.solve(inside, ones)
    constant = ones @ np.linalg.solve(inside, u[:, 0]) / weight
    expected = constant + near @ np.linalg.solve(inside, u[:, 0] - constant)
    left = 0.3 * own.sum(axis=0) - np.einsum("mn,nm->m", near, np.linalg.solve(inside, near.T))
    left += (1 - near @ np.linalg.solve(inside, ones)) ** 2 / weight
    np.testing.assert_allclose(mean, expected, rtol=1e-7)
    np.testing.assert_allclose(
        device_mixture.predict_mean(mixture, cross, np.zeros((5, 1))), expected, rtol=1e-7
    )
    np.testing.assert_allclose(std, np.sqrt(left + 0.01), rtol=1e-7)


def test_leave_one_out_by_leaving_one_out():
    """One hypothesis, so its weight is one; the level is as good as free."""
    k, seen = kernels(), described(6, 1)
    one = Hypotheses(np.full((1, N_KERNELS), 0.3), np.array([0.2]), np.zeros((1, 1)))
    u = 0.1 * np.random.default_rng(0).normal(size=(6, 1))  # too small to be doubted
    mixture, _ = device_mixture.condition(one, k(seen, seen), u, 1e4)
    found = device_mixture.leave_one_out(mixture)
    for left in range(6):
        kept = np.arange(6) != left
        rows = Described(seen.x[kept], seen.g[kept])
        last = Described(seen.x[[left]], seen.g[[left]])
        mixture, _ = device_mixture.condition(one, k(rows, rows), u[kept], 1e4)
        mean = device_mixture.predict_mean(mixture, k(last, rows), np.zeros((1, 1)))
        # 1e-3: a level of variance 1e4 is not quite free
        assert found[left] == pytest.approx(u[left, 0] - mean[0], abs=1e-3)


def test_negligible_hypotheses_are_dropped():
    k, seen = kernels(), described(5, 1)
    h = hypotheses()
    h = Hypotheses(h.variances, h.noise, h.log_prior + np.array([[0.0], [-40.0], [0.0]]))
    mixture, _ = device_mixture.condition(h, k(seen, seen), np.ones((5, 2)), 1.0)
    assert len(mixture.weights) == 2 and mixture.weights.sum() == pytest.approx(1)


def test_negligible_bases_are_dropped_and_those_that_stay_are_told():
    k, seen = kernels(), described(5, 1)
    h = hypotheses(n_bases=3)
    h = Hypotheses(h.variances, h.noise, h.log_prior + np.array([0.0, -40.0, 0.0]))
    differences = np.random.default_rng(0).normal(size=(5, 3))
    mixture, kept = device_mixture.condition(h, k(seen, seen), differences, 1.0)
    assert kept.tolist() == [0, 2]
    assert mixture.weights.shape[1] == 2 and mixture.weights.sum() == pytest.approx(1)
    np.testing.assert_array_equal(mixture.levels, differences[:, kept].mean(axis=0))


def test_weights_of_another_shape_are_refused():
    k, seen = kernels(), described(5, 1)
    with pytest.raises(ValueError, match="3 hypotheses and 2 bases do not fit weights"):
        device_mixture.restore(
            hypotheses(), np.ones((1, 2)), k(seen, seen), np.ones((5, 2)), 1.0, np.ones(5)
        )
    with pytest.raises(ValueError, match="5 rows do not fit factors"):
        device_mixture.restore(
            hypotheses(), np.ones((3, 2)), k(seen, seen), np.ones((5, 2)), 1.0, np.ones(4)
        )


def test_a_disturbed_measurement_is_doubted():
    """The factors solve their own equation, with the noise's moments from the joint normal.

    To a tenth: after eight rounds the factors hardly move.
    """
    k, seen = kernels(), described(8, 1)
    one = Hypotheses(np.full((1, N_KERNELS), 0.3), np.array([0.2]), np.zeros((1, 1)))
    rng = np.random.default_rng(0)
    u = np.linalg.cholesky(0.3 * k(seen, seen).sum(axis=0) + 1e-9 * np.eye(8)) @ rng.normal(size=8)
    u[3] += 5.0
    mixture, _ = device_mixture.condition(one, k(seen, seen), u[:, None], 4.0)
    factors = mixture.factors
    assert factors.argmax() == 3 and factors[3] > 3 and np.delete(factors, 3).max() < 2

    noise = 0.2 * np.diag(factors)
    total = 0.3 * k(seen, seen).sum(axis=0) + 4.0 + noise
    mean = noise @ np.linalg.solve(total, u - u.mean())
    variance = np.diag(noise - noise @ np.linalg.solve(total, noise))
    degrees = device_mixture.DEGREES
    expected = (degrees + (mean**2 + variance) / 0.2) / (degrees + 1)
    np.testing.assert_allclose(factors, np.maximum(expected, 1), rtol=0.1)


def test_few_measurements_are_all_trusted():
    k, seen = kernels(), described(4, 1)
    u = np.array([[0.0, 0.0], [0.1, 0.1], [9.0, 9.0], [0.2, 0.2]])
    mixture, _ = device_mixture.condition(hypotheses(), k(seen, seen), u, 4.0)
    np.testing.assert_array_equal(mixture.factors, np.ones(4))


def test_prior_density_is_that_of_a_mixture():
    prior = DevicePrior(np.array([[0.0], [3.0]]), np.array([[0.7**2]]))
    t = np.array([[-1.0], [0.5], [2.0]])
    oracle = 0.5 * norm(0, 0.7).pdf(t[:, 0]) + 0.5 * norm(3, 0.7).pdf(t[:, 0])
    np.testing.assert_allclose(np.exp(prior.log_density(t)), oracle)
    drawn = prior.draw(4000, np.random.RandomState(0))
    # a mean of 1.5, known to 1.7 / sqrt(4000) = 0.03
    assert drawn.mean() == pytest.approx(1.5, abs=0.12)


def test_prior_of_a_device_allows_for_other_sizes_and_other_noise():
    """The normal density by SciPy; all kernels' variances move together, and noise by itself."""
    prior = DevicePrior.around(np.array([np.zeros(3), np.ones(3)]))
    t = np.random.default_rng(0).normal(size=(6, 3))
    both = [multivariate_normal(np.full(3, c), prior.covariance).pdf(t) for c in (0, 1)]
    np.testing.assert_allclose(np.exp(prior.log_density(t)), np.mean(both, axis=0))
    np.testing.assert_allclose(
        prior.covariance,
        [[0.7**2 + 1, 1, 0], [1, 0.7**2 + 1, 0], [0, 0, 0.7**2 + 1.9**2]],
    )
    drawn = DevicePrior(prior.examples[:1], prior.covariance).draw(20000, np.random.RandomState(0))
    # 4: the variance of a variance of v from 20,000 draws is (0.01 v)**2
    np.testing.assert_allclose(np.cov(drawn.T), prior.covariance, atol=4 * 0.01 * 4)


def sources(g):
    """Kernels of sources that say g of their reference rows."""
    g = np.asarray(g, dtype=float)
    n, s = g.shape
    reference = Described(np.zeros((n, 2)), g - g.mean(axis=0))
    nothing = np.zeros((2, s))
    return DeviceKernels(InputScale(np.zeros(2), np.ones(2)), nothing, nothing, g.std(0), reference)


def test_a_new_device_is_like_one_source_half_of_each_of_two_or_like_none():
    g = np.random.default_rng(0).normal(size=(50, 3))
    for log, pairs in ((False, [(0, 1), (0, 2), (1, 2)]), (True, [])):
        bases = device_bases(sources(g), log=log)
        has = [tuple(np.flatnonzero(blend)) for blend in bases.blends]
        assert sorted(has) == sorted([(0,), (1,), (2,), *pairs, ()])
        assert has[-1] == ()
        assert np.exp(bases.log_prior).sum() == pytest.approx(1)
        rows = described(4, 1)
        np.testing.assert_allclose(said(rows, bases.blends)[:, -1], 0)
        np.testing.assert_array_equal(said(rows, bases.blends[1:2])[:, 0], rows.g[:, 1])


def test_blends_of_latencies_vary_as_much_as_their_sources():
    """Each half at unit spread, and the blend at the mean spread of the two."""
    rng = np.random.default_rng(0)
    k = sources(rng.normal(size=(50, 2)) * [1.0, 3.0])
    bases = device_bases(k, log=False)
    ((a, b),) = bases.blends[(bases.blends > 0).all(axis=1)]
    assert a * k.spreads[0] == pytest.approx(b * k.spreads[1])
    blend = said(k.reference, bases.blends[(bases.blends > 0).all(axis=1)])
    assert blend.std() == pytest.approx(k.spreads.mean())


def test_sources_that_are_alike_or_constant_are_not_blended():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200))
    near = a + 0.1 * b
    assert np.corrcoef(a, near)[0, 1] > ALIKE
    blends = device_bases(sources(np.column_stack([a, near, b, 0 * a])), log=False).blends
    pairs = sorted(tuple(np.flatnonzero(row)) for row in blends if (row > 0).sum() == 2)
    assert pairs == [(0, 2), (1, 2)]
    (only,) = np.exp(device_bases(sources(a[:, None]), log=True).log_prior[:1])
    assert only == pytest.approx(0.5)  # as likely as none


def test_blends_never_magnify_what_their_sources_say():
    """Opposites would cancel, and a source that hardly varies is all its model's error."""
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 200))
    for other in (-a, 0.2 * b - a, 1e-5 * b):
        bases = device_bases(sources(np.column_stack([a, other])), log=False)
        assert len(bases.blends) == 3
    blends = device_bases(sources(np.column_stack([a, b, c, b - a])), log=False).blends
    assert blends.max() <= 1.5


def test_a_blend_is_no_likelier_than_a_source_and_many_are_not_all():
    rng = np.random.default_rng(0)
    for n_sources, pairs in ((2, 1), (4, 6), (12, 66)):
        prior = np.exp(
            device_bases(sources(rng.normal(size=(300, n_sources))), log=False).log_prior
        )
        of_pairs = prior[n_sources:-1]
        assert len(of_pairs) == pairs
        assert of_pairs.max() <= prior[0] + 1e-12
        assert of_pairs.sum() == pytest.approx(min(PAIRS_SHARE, pairs / (pairs + n_sources + 1)))


def test_of_many_sources_those_that_differ_most_are_blended():
    rng = np.random.default_rng(0)
    g = rng.normal(size=(60, 40)) + 2 * rng.normal(size=(60, 1))
    blends = device_bases(sources(g), log=False).blends
    pairs = {tuple(np.flatnonzero(row)) for row in blends if (row > 0).sum() == 2}
    assert len(pairs) == MOST_PAIRS
    alike = np.corrcoef(g.T)
    left = {(i, j) for i in range(40) for j in range(i + 1, 40)} - pairs
    assert max(alike[i, j] for i, j in pairs) <= min(alike[i, j] for i, j in left)


def test_better_draws_estimate_the_same_evidence():
    """The evidence from draws that were adapted, and from many more of the prior.

    30 rows that all but determine some variances, so the prior's 400 draws are too
    few to be left alone; the two logarithms agree within a tenth or two.
    """
    k, seen = kernels(), described(30, 1)
    covariance = k(seen, seen)
    rng = np.random.default_rng(5)
    true = np.tensordot(np.exp(TYPICAL[:-1]), covariance, axes=1) + np.exp(-6.0) * np.eye(30)
    u = np.linalg.cholesky(true) @ rng.normal(size=30)
    residuals = np.column_stack([u - u.mean(), u - u.mean()])
    prior = DevicePrior(TYPICAL[None], 1.5**2 * np.eye(len(TYPICAL)))
    log_base = np.log([0.5, 0.5])

    def evidence(h):
        score = (
            device_mixture.log_evidence(h, covariance, residuals, 25.0, np.ones(30)) + h.log_prior
        )
        return np.logaddexp.reduce(score, axis=None)

    draws = np.random.RandomState(0)
    adapted = propose(
        prior, False, log_base, 1.0, covariance, residuals, 25.0, np.ones(len(residuals)), draws
    )
    t = prior.draw(5000, np.random.RandomState(1))
    share = np.log(0.95 / 2 / len(t))
    plain = Hypotheses(np.exp(t[:, :-1]), np.exp(t[:, -1]), np.full((len(t), 2), share))
    assert evidence(adapted) == pytest.approx(evidence(plain), abs=0.5)


def test_explaining_a_source_finds_what_it_is_made_of():
    """Rows drawn from the prior with one large and otherwise small variances."""
    k, rows = kernels(), described(200, 1)
    t = np.full(N_KERNELS + 1, -7.0)
    t[KERNELS.index("smooth")], t[-1] = 0.0, -3.0
    covariance = k.variance * np.tensordot(np.exp(t[:-1]), k(rows, rows), axes=1)
    covariance += k.variance * np.exp(-3.0) * np.eye(200)
    u = rows.g[:, 0] + np.linalg.cholesky(covariance) @ np.random.default_rng(0).normal(size=200)
    found = explain(k, rows, u, device_bases(k, log=True))
    assert KERNELS[found[:-1].argmax()] == "smooth"
    # 200 rows tell a variance to about 1 / sqrt(100), and the kernel's parts overlap
    assert found[KERNELS.index("smooth")] == pytest.approx(0.0, abs=0.7)
    assert found[-1] == pytest.approx(-3.0, abs=0.5)


def test_additive_is_the_ridge_of_least_generalised_error():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 6)) * [1, 2, 3, 1, 1, 1] + 5
    u = X @ [1, 0.5, 0, 0, 0, 0.2] + 0.5 * rng.normal(size=40)
    x = (X - X.mean(axis=0)) / X.std(axis=0)

    def score(penalty):
        hat = x @ np.linalg.solve(x.T @ x + penalty * np.eye(6), x.T) + 1 / 40
        return np.mean((u - hat @ u) ** 2) / (1 - np.trace(hat) / 40) ** 2

    oracle = Ridge(alpha=min(PENALTIES, key=score)).fit(x, u)
    np.testing.assert_allclose(Additive.fit(X, u).predict(X), oracle.predict(x), rtol=1e-8)


def test_the_robust_sum_has_the_least_huber_loss():
    """Far more rows than the penalty weighs, so the ridge has no say: 1e-3 of the effects."""
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(4000, 3)), rng.standard_t(2, size=4000)
    u = X @ [1.0, 2.0, 3.0] + noise
    found = Additive.fit_robustly(X, u)
    residuals = u - found.predict(X)
    far = FAR * np.median(np.abs(residuals)) / NORMAL_MEDIAN

    def loss(parameters):
        r = np.abs(u - X @ parameters[:3] - parameters[3])
        return np.where(r < far, r**2 / 2, far * (r - far / 2)).sum()

    best = minimize(loss, [1.0, 2.0, 3.0, 0.0]).x
    np.testing.assert_allclose(found.weights, best[:3], atol=2e-3)
    assert found.intercept == pytest.approx(best[3], abs=2e-3)
    exact = Additive.fit_robustly(X, X @ [1.0, 2.0, 3.0])
    np.testing.assert_allclose(exact.weights, [1.0, 2.0, 3.0], rtol=1e-5)


def test_disturbed_measurements_of_a_source_are_heeded_less():
    """A tenth of the rows is too slow by far; the truth is a sum."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 8))
    truth = X @ np.arange(1.0, 9.0)
    u = truth + 0.5 * rng.normal(size=200) + 80 * (rng.uniform(size=200) < 0.1)
    model = fit_source(X, u, np.random.RandomState(0))
    error, plain = (m.predict(X) - truth for m in (model, Additive.fit(X, u)))
    assert np.std(error) < 0.5 * np.std(plain)


@pytest.mark.parametrize("kind", ["additive", "trees", "process"])
def test_each_kind_of_source_gets_its_kind_of_model(kind):
    """Sums, products of steps, and waves; the model survives JSON."""
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(400, 4))
    u = {
        "additive": X @ [1.0, 2.0, 3.0, 4.0],
        "trees": (X[:, 0] > 0.5) * (X[:, 1] > 0.3) + (X[:, 2] > 0.2) * (X[:, 3] > 0.6) + 0.0,
        "process": np.sin(3 * X[:, 0]) * np.cos(3 * X[:, 1]),
    }[kind] + 0.01 * rng.normal(size=400)
    model = fit_source(X, u, np.random.RandomState(0))
    assert (model.trees is not None) == (kind == "trees")
    assert (model.process is not None) == (kind == "process")
    assert np.std(model.predict(X) - u) < 0.1 * np.std(u)
    back = SourceModel.from_state(json.loads(json.dumps(model.to_state())))
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_sources_of_few_rows(n):
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(n, 3))
    model = fit_source(X, X @ [1.0, 2.0, 3.0], np.random.RandomState(0))
    assert np.isfinite(model.predict(X)).all() and np.isfinite(model.additive.weights).all()
