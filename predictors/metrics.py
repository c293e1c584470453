"""How far predictions lie from measurements. Pure functions of (rows,) arrays."""

import numpy as np
from scipy.stats import kendalltau, spearmanr

from predictors.protocol import FloatArray


def rmse(truth: FloatArray, predicted: FloatArray) -> float:
    """Root of the mean squared error, in the unit of the target."""
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def mape(truth: FloatArray, predicted: FloatArray) -> float | None:
    """Mean of ``|predicted - truth| / truth`` (0.1 is 10%); None unless all truth > 0."""
    if not (truth > 0).all():
        return None
    return float(np.mean(np.abs(predicted - truth) / truth))


def spearman(truth: FloatArray, predicted: FloatArray) -> float:
    """Rank correlation; NaN where either side is constant or has one row."""
    return float("nan") if _no_order(truth, predicted) else float(spearmanr(truth, predicted)[0])


def kendall(truth: FloatArray, predicted: FloatArray) -> float:
    """Kendall's tau-b; NaN where either side is constant or has one row."""
    return float("nan") if _no_order(truth, predicted) else float(kendalltau(truth, predicted)[0])


def covered(truth: FloatArray, lower: FloatArray, upper: FloatArray) -> float:
    """Share of rows whose truth lies within its interval, bounds included."""
    return float(np.mean((lower <= truth) & (truth <= upper)))


def _no_order(truth: FloatArray, predicted: FloatArray) -> bool:
    return bool(np.ptp(truth) == 0 or np.ptp(predicted) == 0)
