from .architecture import Architecture, Value
from .rules import Rule
from .space import SearchSpace

__all__ = ["Architecture", "Rule", "SearchSpace", "Value"]
