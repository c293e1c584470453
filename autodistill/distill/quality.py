"""How well a student does on held-out text, with standard errors over documents.

For an embedding teacher, *fidelity*: the share of the variance of the
teacher's passage embeddings that the student's explain, as served, after the
best single rescaling. That is the squared correlation of the two sets of
centred vectors, so a student that returns unit vectors and a regression that
returns short ones are judged alike. Beside it, the share of passages whose
nearest neighbour is the same under both.

For a masked-LM teacher, *masked-token accuracy*: the share of masked tokens
that the student ranks first.

Passages of one document are not independent: standard errors come from the
jackknife that leaves out one document at a time [Efron1981].

Axes: n = passages, e = embedding width, g = documents.

References:
    [Efron1981] Efron and Stein. The jackknife estimate of variance. Annals of
    Statistics 9(3).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error."""

    value: float
    standard_error: float


def jackknife_error(leave_one_out: np.ndarray) -> float:
    """Standard error from the estimates that leave out one group each, (g,).

    NaN with fewer than two groups: one group tells nothing of the spread.
    """
    g = len(leave_one_out)
    if g < 2:
        return float("nan")
    deviations = leave_one_out - leave_one_out.mean()
    return float(np.sqrt((g - 1) / g * (deviations**2).sum()))


def fidelity(
    teacher: np.ndarray,  # (n, e)
    student: np.ndarray,  # (n, e)
    documents: np.ndarray,  # (n,) integers
) -> Estimate:
    """Share of the teacher's variance that the student explains, in [0, 1].

    ``(sum t.s)**2 / (sum t.t * sum s.s)`` over centred vectors; 0 for a student
    that returns one vector for everything or is anticorrelated; NaN for one that
    returns NaN.

    Raises:
        ValueError: Shapes differ, or fewer than two passages.
    """
    n = len(documents)
    if teacher.ndim != 2 or teacher.shape != student.shape or len(teacher) != n or n < 2:
        raise ValueError(
            "teacher and student must be (n, e) alike, with n >= 2 documents; "
            f"got {teacher.shape}, {student.shape}, {documents.shape}"
        )
    t, s = _centred(teacher), _centred(student)
    _, group = np.unique(documents, return_inverse=True)
    counts = np.bincount(group).astype(np.float64)

    def by_group(values: np.ndarray) -> np.ndarray:
        totals = np.zeros((len(counts), *values.shape[1:]))
        np.add.at(totals, group, values)
        return totals

    parts = (counts, by_group(t), by_group(s))
    moments = tuple(by_group((a * b).sum(1)) for a, b in ((t, s), (t, t), (s, s)))
    totals = [part.sum(0) for part in (*parts, *moments)]

    def share(
        n: np.ndarray,
        sum_t: np.ndarray,
        sum_s: np.ndarray,
        ts: np.ndarray,
        tt: np.ndarray,
        ss: np.ndarray,
    ) -> np.ndarray:
        covariance = ts - (sum_t * sum_s).sum(-1) / n
        variance_t = tt - (sum_t**2).sum(-1) / n
        variance_s = ss - (sum_s**2).sum(-1) / n
        product = variance_t * variance_s
        none = product <= 1e-12 * np.maximum(tt * ss, 1e-300)
        return np.where(none, 0.0, np.clip(covariance, 0, None) ** 2 / np.where(none, 1.0, product))

    value = float(share(*totals))
    several = len(counts) >= 2
    left_out = (
        share(*(total - part for total, part in zip(totals, (*parts, *moments), strict=True)))
        if several
        else np.empty(0)
    )
    return Estimate(value, jackknife_error(left_out))


def _centred(vectors: np.ndarray) -> np.ndarray:
    """Vectors about their mean, float64; exactly 0 where all are one vector."""
    values = vectors.astype(np.float64)
    about = values - values.mean(0)
    return np.where(np.abs(about) > 1e-12 * np.abs(values).max(), about, 0.0 * about)


def neighbour_agreement(teacher: np.ndarray, student: np.ndarray) -> float:
    """Share of passages with the same nearest other passage, by cosine."""
    return float((_nearest(teacher) == _nearest(student)).mean())


def _nearest(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms > 0, norms, 1.0)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return similarity.argmax(axis=1)


def accuracy(
    correct: np.ndarray,  # (n,) masked tokens guessed, per passage
    total: np.ndarray,  # (n,) masked tokens, per passage
    documents: np.ndarray,  # (n,)
) -> Estimate:
    """Share of masked tokens guessed; passages weigh by their masked tokens.

    Raises:
        ValueError: No token was masked.
    """
    if total.sum() <= 0:
        raise ValueError("no token was masked; accuracy needs at least one")
    _, group = np.unique(documents, return_inverse=True)
    right = np.bincount(group, correct)
    all_ = np.bincount(group, total)
    value = float(right.sum() / all_.sum())
    rest = all_.sum() - all_
    left_out = (right.sum() - right)[rest > 0] / rest[rest > 0]
    return Estimate(value, jackknife_error(left_out))
