"""What scheduling answers: a Solution, and the order of steps on each device."""

from __future__ import annotations

from dataclasses import dataclass

from planner.solver.solution import Solution


@dataclass(frozen=True, slots=True)
class Schedule(Solution):
    """`orders`: by pool, the steps that its device runs, first to last; `starts` and `ends`: by step, in us after the
    request. All are empty where nothing was found.

    A step's place in the order is its priority: a device runs its steps in this order, each as soon as its messages
    are there.
    """

    orders: tuple[tuple[int, ...], ...] = ()
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
