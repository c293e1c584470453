"""Quality on held-out passages, and its standard errors, against brute force."""

import numpy as np
import pytest

from autodistill.distill.quality import (
    accuracy,
    fidelity,
    jackknife_error,
    neighbour_agreement,
)

# float64 sums of some hundred terms in another order
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def pair(rng):
    """Vectors of a teacher, of a fair student, and the documents they are from."""
    teacher = rng.normal(size=(40, 6)) + 2.0
    student = 0.7 * teacher + 0.5 * rng.normal(size=(40, 6)) - 5.0
    return teacher, student, rng.integers(0, 9, 40)


def squared_correlation(teacher, student):
    t, s = (x - x.mean(0) for x in (teacher, student))
    r = np.corrcoef(t.ravel(), s.ravel())[0, 1]
    return max(r, 0.0) ** 2


def leave_one_document_out(estimate, documents):
    """The jackknife as a loop: estimate again without each document."""
    names = np.unique(documents)
    values = np.array([estimate(documents != name) for name in names])
    g = len(names)
    return np.sqrt((g - 1) / g * ((values - values.mean()) ** 2).sum())


# -- fidelity ----------------------------------------------------------------


def test_fidelity_is_the_squared_correlation(pair):
    teacher, student, documents = pair
    found = fidelity(teacher, student, documents)
    assert 0.4 < found.value < 0.9
    np.testing.assert_allclose(found.value, squared_correlation(teacher, student), **CLOSE)


def test_its_error_is_that_of_leaving_out_documents(pair):
    teacher, student, documents = pair
    expected = leave_one_document_out(
        lambda kept: squared_correlation(teacher[kept], student[kept]), documents
    )
    found = fidelity(teacher, student, documents).standard_error
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_its_error_is_the_spread_over_corpora():
    """A hundred corpora of twenty documents: the mean error is their standard deviation.

    Passages of a document share most of their noise, so an error that took them for
    independent would be less than half of it.
    """
    rng = np.random.default_rng(1)
    documents = np.repeat(np.arange(20), 8)
    values, errors = [], []
    for _ in range(100):
        teacher = rng.normal(size=(160, 3))
        skill = rng.uniform(0, 1, 20)[documents][:, None]  # of the student, by document
        student = skill * teacher + (1 - skill) * rng.normal(size=(160, 3))
        found = fidelity(teacher, student, documents)
        values.append(found.value)
        errors.append(found.standard_error)
    # The spread of a hundred values is itself known to 7%; the jackknife errs upwards.
    assert 0.8 < np.mean(errors) / np.std(values) < 1.35


def test_a_perfect_student_explains_everything(pair):
    teacher, _, documents = pair
    found = fidelity(teacher, teacher, documents)
    assert found.value == pytest.approx(1.0, abs=1e-12)
    assert found.standard_error == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 0.0), (50.0, 3.0), (1.0, 1e6)])
def test_scale_and_shift_do_not_matter(pair, scale, shift):
    teacher, student, documents = pair
    plain, moved = (
        fidelity(teacher, vectors, documents) for vectors in (student, scale * student + shift)
    )
    # A shift of 1e6 costs six of float64's sixteen digits.
    assert moved.value == pytest.approx(plain.value, rel=1e-8)
    assert moved.standard_error == pytest.approx(plain.standard_error, rel=1e-6)


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, 1 / 3, 1e8])
def test_a_constant_student_explains_nothing(pair, constant):
    teacher, _, documents = pair
    student = np.full_like(teacher, constant)
    assert fidelity(teacher, student, documents).value == 0.0
    assert fidelity(student, teacher, documents).value == 0.0
    assert fidelity(teacher, student.astype(np.float32), documents).standard_error == 0.0


def test_an_anticorrelated_student_explains_nothing(pair):
    teacher, _, documents = pair
    assert fidelity(teacher, -teacher, documents).value == 0.0


def test_an_unrelated_student_explains_next_to_nothing(rng):
    teacher, student = rng.normal(size=(2, 500, 20))
    # The squared correlation of 10,000 independent pairs has mean 1e-4.
    assert fidelity(teacher, student, np.arange(500)).value < 1e-3


def test_a_student_that_broke_is_not_a_number(pair):
    teacher, student, documents = pair
    student[3, 2] = np.nan
    found = fidelity(teacher, student, documents)
    assert np.isnan(found.value)
    assert np.isnan(found.standard_error)


def test_half_precision_vectors_are_summed_in_double(rng):
    teacher = rng.normal(size=(2000, 4)).astype(np.float16)
    documents = np.arange(2000)
    assert fidelity(teacher, teacher, documents).value == pytest.approx(1.0, abs=1e-12)


def test_one_document_has_no_error(pair):
    teacher, student, _ = pair
    found = fidelity(teacher, student, np.zeros(40, int))
    np.testing.assert_allclose(found.value, squared_correlation(teacher, student), **CLOSE)
    assert np.isnan(found.standard_error)


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 2), (4, 3), (4,)),
        ((4, 2), (5, 2), (4,)),
        ((4, 2), (4, 2), (3,)),
        ((1, 2), (1, 2), (1,)),
        ((4,), (4,), (4,)),
        ((0, 2), (0, 2), (0,)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ValueError, match=r"must be \(n, e\) alike, with n >= 2 documents; got"):
        fidelity(*(np.zeros(shape) for shape in shapes))


# -- nearest neighbours ------------------------------------------------------


def test_agreement_is_that_of_brute_force(pair):
    teacher, student, _ = pair

    def nearest(vectors, i):
        cosines = [
            (vectors[i] @ other) / np.linalg.norm(vectors[i]) / np.linalg.norm(other)
            for other in vectors
        ]
        return max((j for j in range(len(vectors)) if j != i), key=cosines.__getitem__)

    expected = np.mean([nearest(teacher, i) == nearest(student, i) for i in range(40)])
    assert 0 < expected < 1
    assert neighbour_agreement(teacher, student) == pytest.approx(expected)


def test_agreement_with_oneself_at_any_length(pair, rng):
    teacher, _, _ = pair
    assert neighbour_agreement(teacher, teacher * rng.uniform(0.1, 9, (40, 1))) == 1.0


def test_agreement_of_vectors_that_are_zero_is_defined(pair):
    teacher, _, _ = pair
    assert 0 <= neighbour_agreement(teacher, np.zeros_like(teacher)) <= 1 / 20


# -- accuracy ----------------------------------------------------------------


def test_accuracy_weighs_passages_by_their_masked_tokens(rng):
    total = rng.integers(0, 9, 30)
    correct = rng.binomial(total, 0.4)
    documents = rng.integers(0, 7, 30)
    found = accuracy(correct, total, documents)
    assert found.value == pytest.approx(correct.sum() / total.sum())
    expected = leave_one_document_out(
        lambda kept: correct[kept].sum() / total[kept].sum(), documents
    )
    np.testing.assert_allclose(found.standard_error, expected, **CLOSE)


def test_the_error_of_equal_documents_is_the_textbook_one(rng):
    """One token a document: the standard error of a mean, with n - 1."""
    correct = rng.integers(0, 2, 50)
    found = accuracy(correct, np.ones(50), np.arange(50))
    assert found.standard_error == pytest.approx(correct.std(ddof=1) / np.sqrt(50))


def test_accuracy_of_one_document_has_no_error():
    found = accuracy(np.array([1, 2]), np.array([2, 2]), np.array([5, 5]))
    assert found.value == 0.75
    assert np.isnan(found.standard_error)


def test_accuracy_without_a_masked_token_is_refused():
    with pytest.raises(ValueError, match="no token was masked"):
        accuracy(np.zeros(3), np.zeros(3), np.arange(3))


def test_the_jackknife_of_a_mean_is_its_standard_error(rng):
    values = rng.normal(size=20)
    left_out = (values.sum() - values) / 19
    assert jackknife_error(left_out) == pytest.approx(values.std(ddof=1) / np.sqrt(20))
    assert np.isnan(jackknife_error(left_out[:1]))
    assert np.isnan(jackknife_error(left_out[:0]))
