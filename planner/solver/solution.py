"""What the solver says."""

from __future__ import annotations

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


def relative_gap(objectives: tuple[int, ...], bounds: tuple[int, ...]) -> float:
    """Of the first objective that its bound is not equal to: a later one has no bound before that one is proven."""
    pairs = zip(objectives, bounds, strict=True)
    return next((abs(value - bound) / max(1, abs(value)) for value, bound in pairs if value != bound), 0.0)
