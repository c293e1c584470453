from .designer import BayesianSearch
from .fidelity import FidelitySearch, Run

__all__ = ["BayesianSearch", "FidelitySearch", "Run"]
