"""The search: which students to distil next."""

from autodistill.search.designer import BayesianSearch

__all__ = ["BayesianSearch"]
