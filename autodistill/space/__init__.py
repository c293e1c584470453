"""Architectures and the spaces they are searched in."""

from autodistill.space.architecture import Architecture, Value
from autodistill.space.rules import Rule
from autodistill.space.space import SearchSpace

__all__ = ["Architecture", "Rule", "SearchSpace", "Value"]
