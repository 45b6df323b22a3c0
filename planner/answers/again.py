"""Solving a situation again with something changed: what all answers are made of."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from planner.formulation import Formulation, budgets_of, formulation
from planner.limits import with_limits
from planner.plan import PROOF, Restrict, limits_asked, solve
from planner.problem import Objective
from planner.situation import Situation
from specs.application import (
    AccuracyConstraint,
    Application,
    CostConstraint,
    EnergyConstraint,
    MemoryConstraint,
    PathConstraint,
)
from specs.changes import parse_changes
from specs.errors import AnswerIsNo, InputError, NotKnown
from specs.load import with_changes
from specs.plan import Plan


class TimeIsUp(NotKnown):
    """The time for all answers is spent. What was found so far counts."""


def vary(situation: Situation, changes: Sequence[str]) -> Situation:
    """`situation` with what-ifs, each as for ``planner solve --set``. Raises InputError as `parse_changes` does."""
    if not changes:
        return situation
    parsed = parse_changes(changes)
    app, infra = with_changes(situation.app, parsed.app), with_changes(situation.infra, parsed.infra)
    return replace(situation, app=app, infra=infra)


@dataclass(frozen=True)
class Again:
    """Solves `situation` again and again, until `ends` (of `time.perf_counter`).

    With `dominated`, also options that no best plan needs are there: what `restrict` leaves may be just these.
    `corrected` are limits in seconds by name, as a refined plan's: predictions must keep them instead of the user's,
    and of a limit that is changed its own, changed in the same proportion.
    """

    situation: Situation
    ends: float
    seed: int = 0
    dominated: bool = False
    corrected: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def given(self) -> Formulation:
        return formulation(self.situation, dominated=self.dominated)

    @cached_property
    def bounded(self) -> Formulation:
        """`given` with the limits that are `corrected`."""
        return with_limits(self.situation, self.given, self.corrected)

    @property
    def left(self) -> float:
        """Seconds. Raises TimeIsUp where there are none."""
        left = self.ends - time.perf_counter()
        if left <= 0:
            raise TimeIsUp("time ran out; allow more --time-limit")
        return left

    def plan(
        self,
        changes: Sequence[str] = (),
        restrict: Restrict = lambda given: given,
        start: Mapping[str, float] | None = None,
        *,
        anew: bool = False,
        quick: bool = False,
    ) -> Plan | None:
        """The plan under `changes` and `restrict`; None where there is none. `quick`: the tables' word is enough, but
        for one look at what they forbid.

        Only if formulated `anew` it is exactly what the changed files would give: else waits keep the levels of the
        limits before, which may differ by a step, and fewer placements that the tables forbid are looked at. Raises
        TimeIsUp where that was not found out in time.
        """
        situation = vary(self.situation, changes)
        try:
            given = self.given
            if situation is not self.situation:
                reused = None if anew else _reused(self.given, self.situation, situation)
                given = reused or formulation(situation, dominated=self.dominated)
            found = solve(
                situation, time_limit=self.left, seed=self.seed, restrict=restrict, given=given, start=start or {},
                corrected=_corrected(self.corrected, self.situation, situation), proofs=False,
                looks=PROOF if anew else int(quick), loosened=not quick,
            )  # fmt: skip
        except (AnswerIsNo, InputError):
            return None  # nothing can run, or no message arrives
        except NotKnown:
            if time.perf_counter() >= self.ends:
                raise TimeIsUp("time ran out; allow more --time-limit") from None
            return None  # limits stay missed whatever is tightened
        if found.status == "unknown":
            raise TimeIsUp("time ran out; allow more --time-limit")
        return found if found.status in ("optimal", "feasible") else None


def _corrected(corrected: Mapping[str, float], old: Situation, new: Situation) -> dict[str, float]:
    """The limits of `new`, each `corrected` as that of `old` was: what predictions are off by is a ratio."""
    before = limits_asked(old)
    return {n: limit * corrected[n] / before[n] for n, limit in limits_asked(new).items() if n in corrected}


def _reused(given: Formulation, old: Situation, new: Situation) -> Formulation | None:
    """`given`, which `old` was formulated as, made to fit `new`; None where more than limits of constraints differ.

    Waits are rounded up to levels that the limits of `old` gave: as valid, hardly coarser.
    """
    one, other = old.app.value, new.app.value
    if new.infra is not old.infra or _shape(one) != _shape(other):
        return None
    found = with_limits(new, given, limits_asked(new))
    problem = found.problem
    index = {c.name: i for i, c in enumerate(problem.constraints)}
    budgets = budgets_of(new, index)
    floors = {index[n]: c for n, c in other.constraints.items() if isinstance(c, AccuracyConstraint)}
    scenarios = []
    for scenario, pipeline in zip(problem.scenarios, found.scenarios, strict=True):
        known = {a.data: a.value for a in pipeline.behaviour.accuracy}
        kept = tuple(i for i in scenario.barred if i not in floors)
        barred = (*kept, *(i for i, c in floors.items() if known[c.on] < c.accuracy))
        scenarios.append(replace(scenario, barred=barred))
    problem = replace(problem, budgets=budgets, scenarios=tuple(scenarios))
    if other.objective == ("cost",) or (other.objective == ("energy",) and one.asks_energy):
        kind: Literal["cost", "energy"] = "cost" if other.objective == ("cost",) else "energy"
        alone = tuple(replace(s, means=()) for s in problem.scenarios)
        problem = replace(problem, scenarios=alone, objectives=(Objective(kind, kind),))
    elif other.objective != one.objective:
        return None
    return replace(found, problem=problem)


def _shape(app: Application) -> object:
    """All of an application but how tight its constraints are, and its objective."""
    constraints = {
        name: (type(c), sorted(c.limits), c.from_, c.to, c.over)
        if isinstance(c, PathConstraint)
        else (type(c), c.on)
        if isinstance(c, AccuracyConstraint)
        else type(c)
        if isinstance(c, CostConstraint | EnergyConstraint)
        else (type(c), c.at)
        if isinstance(c, MemoryConstraint)
        else c
        for name, c in app.constraints.items()
    }
    return constraints, app.model_copy(update={"constraints": {}, "objective": ()})
