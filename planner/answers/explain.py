"""Why here and not there: the price of each rejected choice, what a step of each limit is worth, the critical path."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from planner.answers.again import Again
from planner.answers.candidates import Candidate, candidates
from planner.answers.critical import PathPart, critical_path
from planner.answers.worth import Worth, worths
from planner.situation import Situation
from planner.units import units_of
from planner.verification.inputs import check_inputs
from specs.errors import InputError, Issue
from specs.nearest import near
from specs.plan import Plan


@dataclass(frozen=True, slots=True)
class Explanation:
    """`complete` says whether time sufficed for all. `units` is by objective."""

    units: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    worths: tuple[Worth, ...]
    critical: tuple[PathPart, ...]
    complete: bool


def explain(
    situation: Situation, plan: Plan, *, components: Sequence[str] = (), time_limit: float = 60.0, seed: int = 0
) -> Explanation:
    """Explain `plan`, which `situation` led to; of `components` only, if any are named.

    Raises InputError where the plan is older than its inputs, places nothing, or has no such component.
    """
    check_inputs(situation, plan)
    if plan.status not in ("optimal", "feasible"):
        raise InputError(Issue(f"the plan is {plan.status}: it places nothing that could be explained"))
    known = situation.app.value.components
    for name in components:
        if name not in known:
            raise InputError(Issue(f"no component {name!r}", situation.app.place("components"), near(name, known)))
    again = Again(situation, time.perf_counter() + time_limit, seed, dominated=True, corrected=plan.corrected)
    worth, complete = worths(again, plan)
    choices = candidates(again, plan, list(components or known))
    unknown = any(c.status == "unknown" for c in choices)
    return Explanation(
        units_of(situation.app.value, situation.infra.value.currency),
        choices,
        worth,
        critical_path(situation, plan),
        complete and not unknown,
    )
