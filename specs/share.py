"""The share of requests that were answered, from counts."""

from __future__ import annotations

from specs.application import ShareConstraint
from specs.run_result import MeasuredShare
from specs.statistics import wilson


def measured_share(name: str, constraint: ShareConstraint, answered: int, n: int) -> MeasuredShare:
    """Of `n` requests, at least one."""
    low, high = wilson(answered, n)
    return MeasuredShare(name=name, n=n, value=answered / n, low=low, high=high, limit=constraint.share)
