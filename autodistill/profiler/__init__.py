"""Latency of encoders: targets, measuring, and the tables that keep the figures."""

from autodistill.profiler.build import TableBuilder
from autodistill.profiler.supervised import SupervisedTarget
from autodistill.profiler.target import Measurement, Target, Workload, measure_all
from autodistill.profiler.targets import TARGETS, get_target

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
