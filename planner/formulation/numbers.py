"""Numbers of a Problem: integers, none larger than it can say."""

from __future__ import annotations

from math import ceil
from typing import Final

from planner.problem import LIMIT
from specs.errors import InputError, Issue, Place

MICRO: Final = 1_000_000


def sayable(value: float, what: str, place: Place) -> int:
    """`value` rounded up. Raises InputError where it is more than a Problem can say, naming `what` takes so long."""
    if not value <= LIMIT:
        message = f"{what} takes, or varies by, more than can be planned with (a deviation of 31 s is the most)"
        raise InputError(Issue(message, place, "raise the rate, lower the load, or leave it out"))
    return ceil(value)
