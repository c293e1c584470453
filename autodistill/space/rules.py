"""Conditions that an architecture must meet."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A condition on few fields.

    Attributes:
        fields: The fields that ``allows`` takes, in order.
        allows: Whether one combination of their values is valid.
        reason: What the rule asks for, as the start of a sentence.
    """

    fields: tuple[str, ...]
    allows: Callable[..., bool]
    reason: str
