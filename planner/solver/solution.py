"""What the solver says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["optimal", "feasible", "infeasible", "unknown"]


@dataclass(frozen=True, slots=True)
class Choice:
    """By flow: the scenario taken, the options taken in each of its steps, and how many members choose so (all).

    `replicas` is by station, 0 where a station is not used.
    """

    scenarios: tuple[int, ...]
    options: tuple[tuple[tuple[int, ...], ...], ...]
    members: tuple[int, ...]
    replicas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Solution:
    """`objectives` and `bounds` are in the Problem's order and units; times in seconds, None where it did not happen.

    `gap` is the largest relative distance of an objective from its bound. `seconds_proof` is when the status was
    certain. `strategy` says how it was found. `interrupted`: Ctrl-C ended the search.
    """

    status: Status
    choice: Choice | None = None
    objectives: tuple[int, ...] = ()
    bounds: tuple[int, ...] = ()
    gap: float | None = None
    seconds: float = 0.0
    seconds_first: float | None = None
    seconds_best: float | None = None
    seconds_proof: float | None = None
    strategy: str = ""
    interrupted: bool = False


def relative_gap(objectives: Sequence[float], bounds: Sequence[float], least: float = 0.0) -> float:
    """Of the first objective that is more than the share `least` from its bound: a later one has no bound before that
    one is proven.
    """
    pairs = zip(objectives, bounds, strict=True)
    gaps = (abs(value - bound) / abs(value) if value else 0.0 for value, bound in pairs)
    return next((gap for gap in gaps if gap > least), 0.0)
