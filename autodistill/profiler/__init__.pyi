from .build import TableBuilder
from .supervised import SupervisedTarget
from .target import Measurement, Target, Workload, measure_all
from .targets import TARGETS, get_target

__all__ = [
    "TARGETS",
    "Measurement",
    "SupervisedTarget",
    "TableBuilder",
    "Target",
    "Workload",
    "get_target",
    "measure_all",
]
