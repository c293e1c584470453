"""A phase: some steps of training under one loss."""

from collections.abc import Callable
from dataclasses import dataclass

from autodistill.distill.train_step import Loss


@dataclass(frozen=True)
class Phase:
    """Some steps under one loss.

    Attributes:
        name: For people and records.
        steps: At least one.
        learning_rate: Peak of the phase's own schedule.
        loss: Of parameters, constants and a batch.
        trains: Whether the parameter of this name is trained; others stay.
    """

    name: str
    steps: int
    learning_rate: float
    loss: Loss
    trains: Callable[[str], bool] = lambda _: True
