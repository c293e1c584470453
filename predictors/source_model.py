"""What one known device tells: its latency as a function of the columns.

A sum over columns is always fitted, as latencies of networks are nearly sums and
its weights say what each column costs. Where held-out rows agree, boosted trees
are added to the sum, or a Gaussian process takes its place.

Axes:  rows = n architectures of one device;  columns = d features.
Notation: u is the target on the modelled scale (log y, or y / standard deviation).

References:
    [Golub1979] Golub, Heath, Wahba. Generalized cross-validation as a method for
    choosing a good ridge parameter. Technometrics 21(2), 1979.
"""

import json
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from predictors.errors import SubsetWarning
from predictors.gp import GPPredictor
from predictors.protocol import FloatArray
from predictors.scaling import InputScale

LEAST_ROWS_TO_COMPARE = 10  # below, the Gaussian process is taken unseen
WORTHWHILE = 0.98  # a richer model must lower the held-out error to this share
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
        additive = Additive(np.array(state["weights"], float), float(state["intercept"]))
        trees = None
        if state["trees"] is not None:
            import xgboost

            trees = xgboost.Booster({"nthread": 1})
            trees.load_model(bytearray(json.dumps(state["trees"]).encode()))
        process = None if state["process"] is None else GPPredictor.from_state(state["process"])
        return cls(additive, trees, process)


def fit_source(
    rows: FloatArray,  # (n, d)
    u: FloatArray,  # (n,)
    rng: np.random.RandomState,
) -> SourceModel:
    """The model that predicts a held-out fifth of the rows best, fitted on all of them."""
    if len(rows) < LEAST_ROWS_TO_COMPARE:
        return _process(rows, u, rng)
    order = rng.permutation(len(rows))
    held, kept = np.split(order, [max(2, len(rows) // 5)])
    best, least = _additive, np.inf
    for kind in (_additive, _boosted, _process):
        predicted = kind(rows[kept], u[kept], rng).predict(rows[held])
        error = float(np.mean((predicted - u[held]) ** 2))
        if error < WORTHWHILE**2 * least:
            best, least = kind, error
    return best(rows, u, rng)


def _additive(rows: FloatArray, u: FloatArray, rng: np.random.RandomState) -> SourceModel:
    return SourceModel(Additive.fit(rows, u))


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
