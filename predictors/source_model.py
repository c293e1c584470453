"""What one known device tells: its latency as a function of the columns.

A sum over columns is always fitted, as latencies of networks are nearly sums and
its weights say what each column costs. Where held-out rows agree, boosted trees
are added to the sum, a Gaussian process takes its place, or measurements far from
the sum are heeded less [Huber1964].

Axes:  rows = n architectures of one device;  columns = d features.
Notation: u is the target on the modelled scale (log y, or y / standard deviation).

References:
    [Golub1979] Golub, Heath, Wahba. Generalized cross-validation as a method for
    choosing a good ridge parameter. Technometrics 21(2), 1979.
    [Huber1964] Huber. Robust estimation of a location parameter. Annals of
    Mathematical Statistics 35(1), 1964.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from predictors.errors import SubsetWarning
from predictors.gp import GPPredictor
from predictors.protocol import FloatArray
from predictors.scaling import InputScale
from predictors.state import booster, number, numbers

LEAST_ROWS_TO_COMPARE = 10  # below, the Gaussian process is taken unseen
WORTHWHILE = 0.98  # a richer model must lower the held-out error to this share
FAR = 1.5  # standard deviations, estimated by the median, from which a residual counts no more
NORMAL_MEDIAN = 0.6745  # of |z|, for a standard normal z
CLIPS = 8  # rounds of moving far measurements closer
PENALTIES = 10.0 ** np.arange(-3, 7, 0.5)  # of the ridge, columns standardised
TREES = {"max_depth": 4, "eta": 0.1, "tree_method": "hist", "nthread": 1}
N_TREES = 200
PROCESS: dict[str, Any] = {"n_starts": 1, "max_rows": 500, "max_search_rows": 250}


@dataclass(frozen=True)
class Additive:
    """``intercept + rows @ weights``."""

    weights: FloatArray  # (d,)
    intercept: float

    @classmethod
    def fit(cls, rows: FloatArray, u: FloatArray) -> "Additive":  # (n, d), (n,)
        """Ridge on standardised columns, its penalty by generalised cross-validation.

        For each penalty p the score is ``mean(r**2) / (1 - df / n)**2`` with r the
        residuals and ``df = 1 + sum(e / (e + p))`` over the eigenvalues e of the
        columns' products [Golub1979].
        """
        scale = InputScale.of(rows)
        x, n = scale.apply(rows), len(rows)
        centred = u - u.mean()
        eigenvalues, vectors = np.linalg.eigh(x.T @ x)
        eigenvalues = np.maximum(eigenvalues, 0)
        products = vectors.T @ (x.T @ centred)

        def score(penalty: float) -> float:
            solved = products / (eigenvalues + penalty)
            squares = centred @ centred - 2 * solved @ products + eigenvalues @ solved**2
            freedom = 1 - (1 + np.sum(eigenvalues / (eigenvalues + penalty))) / n
            return float(max(squares, 0.0) / n / freedom**2) if freedom > 0.05 else np.inf

        penalty = min(PENALTIES[::-1], key=score)
        weights = (vectors @ (products / (eigenvalues + penalty))) / scale.scale
        return cls(weights, float(u.mean() - scale.centre @ weights))

    @classmethod
    def fit_robustly(cls, rows: FloatArray, u: FloatArray) -> "Additive":  # (n, d), (n,)
        """As ``fit``, by Huber's loss: far residuals count by their size, not its square.

        Measurements farther than ``FAR`` standard deviations are moved to that
        distance and the sum is fitted again [Huber1964].
        """
        found = cls.fit(rows, u)
        for _ in range(CLIPS):
            said = found.predict(rows)
            residuals = u - said
            far = FAR * float(np.median(np.abs(residuals))) / NORMAL_MEDIAN
            found = cls.fit(rows, said + np.clip(residuals, -far, far))
        return found

    def predict(self, rows: FloatArray) -> FloatArray:
        """u of each row, (n,)."""
        return np.asarray(self.intercept + rows @ self.weights)


@dataclass(frozen=True)
class SourceModel:
    """One device as learned: its sum over columns, and what refines it.

    Attributes:
        additive: The sum.
        trees: A booster of what the sum leaves over, or None.
        process: A Gaussian process that predicts in place of the sum, or None.
    """

    additive: Additive
    trees: Any = None
    process: GPPredictor | None = None

    def predict(self, rows: FloatArray) -> FloatArray:
        """u of each row, (n,)."""
        if self.process is not None:
            return self.process.predict(rows)
        predicted = self.additive.predict(rows)
        if self.trees is not None:
            predicted = predicted + self.trees.inplace_predict(rows)
        return predicted

    def to_state(self) -> dict[str, Any]:
        """The parts, as values that JSON can hold."""
        return {
            "weights": self.additive.weights.tolist(),
            "intercept": self.additive.intercept,
            "trees": None if self.trees is None else json.loads(self.trees.save_raw("json")),
            "process": None if self.process is None else self.process.to_state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "SourceModel":
        """Inverse of ``to_state``."""
        weights, trees, process = numbers(state, "weights", (None,)), None, None
        if state["trees"] is not None:
            trees = booster(state["trees"], len(weights), n_threads=1)
        if state["process"] is not None:
            process = GPPredictor.from_state(state["process"])
            if process.n_features_in_ != len(weights):
                raise ValueError(
                    f"a process has {process.n_features_in_} columns; expected {len(weights)}"
                )
        return cls(Additive(weights, number(state, "intercept")), trees, process)


def fit_source(
    rows: FloatArray,  # (n, d)
    u: FloatArray,  # (n,)
    rng: np.random.RandomState,
) -> SourceModel:
    """The model that predicts a held-out fifth of the rows best, fitted on all of them.

    Best by squares, except between the sum and its robust fit: where measurements are
    disturbed, squares say how the disturbed ones are met, and so sizes are compared.
    """
    if len(rows) < LEAST_ROWS_TO_COMPARE:
        return _process(rows, u, rng)
    order = rng.permutation(len(rows))
    held, kept = np.split(order, [max(2, len(rows) // 5)])

    def errors(kind: Callable[..., SourceModel]) -> FloatArray:
        return np.abs(kind(rows[kept], u[kept], rng).predict(rows[held]) - u[held])

    of_sum = errors(_additive)
    best, least = _additive, float(np.mean(of_sum**2))
    for kind in (_boosted, _process):
        error = float(np.mean(errors(kind) ** 2))
        if error < WORTHWHILE**2 * least:
            best, least = kind, error
    if best is _additive and np.mean(errors(_robust)) < WORTHWHILE * np.mean(of_sum):
        best = _robust
    return best(rows, u, rng)


def _additive(rows: FloatArray, u: FloatArray, rng: np.random.RandomState) -> SourceModel:
    return SourceModel(Additive.fit(rows, u))


def _robust(rows: FloatArray, u: FloatArray, rng: np.random.RandomState) -> SourceModel:
    return SourceModel(Additive.fit_robustly(rows, u))


def _boosted(rows: FloatArray, u: FloatArray, rng: np.random.RandomState) -> SourceModel:
    import xgboost

    additive = Additive.fit(rows, u)
    data = xgboost.DMatrix(rows, label=u - additive.predict(rows))
    options = {**TREES, "seed": int(rng.randint(2**31 - 1))}
    return SourceModel(additive, trees=xgboost.train(options, data, num_boost_round=N_TREES))


def _process(rows: FloatArray, u: FloatArray, rng: np.random.RandomState) -> SourceModel:
    process = GPPredictor(random_state=int(rng.randint(2**31 - 1)), **PROCESS)
    with warnings.catch_warnings():
        # A subset is intended here, and an unfinished search is judged by its error.
        warnings.simplefilter("ignore", SubsetWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(rows, u)
    return SourceModel(Additive.fit(rows, u), process=process)
