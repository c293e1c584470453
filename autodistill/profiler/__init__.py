"""Latency of encoders: targets, measuring, and the tables that keep the figures."""

from autodistill.profiler.build import TableBuilder
from autodistill.profiler.target import Measurement, Target, Workload
from autodistill.profiler.targets import TARGETS, get_target

__all__ = ["TARGETS", "Measurement", "TableBuilder", "Target", "Workload", "get_target"]
