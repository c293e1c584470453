"""The search: which students to distil next, and which of them to distil on."""

from autodistill.search.designer import BayesianSearch
from autodistill.search.fidelity import FidelitySearch, Run

__all__ = ["BayesianSearch", "FidelitySearch", "Run"]
