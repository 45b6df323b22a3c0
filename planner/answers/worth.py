"""What a step of each limit is worth, found by solving again with the limit changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from planner.answers.again import Again, TimeIsUp
from planner.answers.dial import Dial, dial_of, nice
from planner.answers.difference import beyond
from planner.answers.relaxations import fewest_steps
from planner.problem import ConstraintKind
from specs.plan import Plan

WITH_FIGURES: Final[frozenset[ConstraintKind]] = frozenset(
    ("path", "budget", "energy", "memory", "accuracy", "share", "throughput")
)
"""Kinds of constraints whose limit is a figure that is not of sites or devices."""
FARTHEST: Final = 64
"""Steps up to which a limit is loosened to find the next gain."""
SAME: Final = 1e-6
"""Objectives that differ by less, relative to the plan's, are the same."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What changing a limit by `step` does to the first objective: `looser` <= 0 and `tighter` >= 0 are differences.

    `tighter` is None where no plan is left; `next_gain` is (how much looser, difference) where one step gains nothing
    but more does.
    """

    name: str
    unit: str
    limit: float
    step: float
    binding: bool
    looser: float
    tighter: float | None
    next_gain: tuple[float, float] | None = None


def worths(again: Again, plan: Plan) -> tuple[tuple[Worth, ...], bool]:
    """Of each limit with a figure that is not of sites or devices, and whether time sufficed for all."""
    found: list[Worth] = []
    binding = {c.name: c.binding for c in plan.constraints}
    try:
        for constraint in again.given.problem.constraints:
            if constraint.name in binding and constraint.kind in WITH_FIGURES:
                dial = dial_of(again.situation, constraint)
                assert isinstance(dial, Dial)
                found.append(_worth(again, plan, constraint.name, dial, binding[constraint.name]))
    except TimeIsUp:
        return tuple(found), False
    return tuple(found), True


def _worth(again: Again, plan: Plan, name: str, dial: Dial, binding: bool) -> Worth:
    step = 0.01 if dial.unit == "share" else nice(max(dial.limit, 1.0) / 50)
    sign = 1 if dial.far >= dial.limit else -1
    best = plan.objective[0]
    first_alone = _first_alone(again)

    def difference(steps: int) -> float | None:
        value = dial.limit + sign * steps * step
        if value <= 0 or (dial.unit == "share" and value > 1):
            return None
        found = again.plan([dial.text(value), *first_alone])
        return None if found is None else beyond(best, found.objective[0])

    if not binding:
        return Worth(name, dial.unit, dial.limit, step, False, 0.0, difference(-1))
    gains: dict[int, float] = {}

    def gain(steps: int) -> bool:
        gains[steps] = difference(steps) or 0.0
        return gains[steps] < -SAME * max(1.0, abs(best))

    further = None
    looser = gains[1] if gain(1) else 0.0
    if not looser:
        steps = fewest_steps(gain, FARTHEST, 2)
        further = None if steps is None else (steps * step, gains[steps])
    return Worth(name, dial.unit, dial.limit, step, True, looser, difference(-1), further)


def _first_alone(again: Again) -> list[str]:
    """The change that leaves only the first objective, which is all that is compared; none where that saves nothing."""
    first, *others = again.situation.app.value.objective
    return [f"objective=[{first}]"] if others and first in ("cost", "energy") else []
