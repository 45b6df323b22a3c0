"""Why here and not there: the price of each rejected choice, what a step of each limit is worth, the critical path."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Final, Literal

from planner.answers.again import Again, TimeIsUp
from planner.answers.critical import PathPart, critical_path
from planner.answers.dial import Dial, dial_of, nice
from planner.answers.forced import as_variant, at_place, in_parts, on_backend
from planner.answers.relaxations import fewest_steps
from planner.conflict import flows_without_a_way, minimal_conflict
from planner.plan import Restrict
from planner.situation import Situation
from planner.solver.solve import is_feasible
from planner.verification.inputs import check_inputs
from specs.errors import InputError, Issue
from specs.nearest import near
from specs.plan import Plan

Kind = Literal["site", "variant", "backend", "split"]
FARTHEST: Final = 64
"""Steps up to which a limit is loosened to find the next gain."""
ROUNDED: Final = 5e-6
"""How far, relative to it, a figure of a plan's file may be from what was found (`specs.quantities.Rounded`)."""
SAME: Final = 1e-6
"""Objectives that differ by less, relative to the plan's, are the same."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way for a component. `prices` is what choosing it adds to each objective, none where it has no plan.

    `forbidden_by` names constraints that cannot hold with it; none where it has no option at all, and then `no_way_for`
    the flows whose messages find no route to it.
    """

    component: str
    kind: Kind
    choice: str
    status: Literal["chosen", "possible", "infeasible", "unknown"]
    prices: tuple[float, ...] = ()
    forbidden_by: tuple[str, ...] = ()
    no_way_for: tuple[str, ...] = ()


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
    search = _Search(Again(situation, time.perf_counter() + time_limit, seed, dominated=True), plan)
    worths, complete = search.worths()
    candidates = tuple(search.candidate(*c) for n in components or known for c in search.choices(n))
    unknown = any(c.status == "unknown" for c in candidates)
    return Explanation(
        units_of(situation), candidates, worths, critical_path(situation, plan), complete and not unknown
    )


def units_of(situation: Situation) -> tuple[str, ...]:
    """Of each objective, in order."""
    money = f"{situation.infra.value.currency}/month"
    return tuple(money if term == "cost" else "ms" for term in situation.app.value.objective)


@dataclass(frozen=True)
class _Search:
    again: Again
    plan: Plan

    @property
    def start(self) -> dict[str, float]:
        """The limits (seconds) that the plan itself was solved with: the same tables for all that is compared."""
        return {name: ms / 1e3 for name, ms in self.plan.tightened.items()}

    def choices(self, component: str) -> Iterator[tuple[str, Kind, str, bool, Restrict]]:
        """Every way for `component` that profiles and pools offer, and whether the plan takes it."""
        mine = [a for a in self.plan.assignments if a.component == component]
        keys = [k for k in self.again.given.stations if k.component == component]
        used = {(a.site, a.pool) for a in mine}
        for site, pool in dict.fromkeys((k.site, k.pool) for k in keys):
            chosen = used == {(site, pool)}
            yield component, "site", f"{site}.{pool}", chosen, at_place(component, site, pool)
        if any(not k.segment.is_whole for k in keys):
            cut = any(not a.segment.is_whole for a in mine)
            yield component, "split", "cut", cut, in_parts(component)
        variants = dict.fromkeys(k.variant for k in keys)
        for v in variants if len(variants) > 1 else ():
            yield component, "variant", v, {a.variant for a in mine} == {v}, as_variant(component, v)
        backends = dict.fromkeys(k.record.backend for k in keys)
        for b in backends if len(backends) > 1 else ():
            yield component, "backend", b, {a.backend for a in mine} == {b}, on_backend(component, b)

    def candidate(self, component: str, kind: Kind, choice: str, chosen: bool, restrict: Restrict) -> Candidate:
        if chosen:
            return Candidate(component, kind, choice, "chosen", tuple(0.0 for _ in self.plan.objective))
        try:
            found = self.again.plan(restrict=restrict, start=self.start)
            if found is None:
                forbidding = self._forbidding(restrict)
                cut_off = () if forbidding else flows_without_a_way(restrict(self.again.given).problem)
                return Candidate(component, kind, choice, "infeasible", (), forbidding, cut_off)
        except TimeIsUp:
            return Candidate(component, kind, choice, "unknown")
        prices = tuple(_beyond(old, new) for new, old in zip(found.objective, self.plan.objective, strict=True))
        return Candidate(component, kind, choice, "possible", prices)

    def _forbidding(self, restrict: Restrict) -> tuple[str, ...]:
        """The constraints that cannot hold with a choice; path limits where only predictions miss them."""
        problem = restrict(self.again.given).problem
        if is_feasible(problem, frozenset(), self.again.left, seed=self.again.seed) != "no":
            return tuple(c.name for c in problem.constraints if c.kind == "path")
        found = minimal_conflict(problem, self.again.left, self.again.seed)
        return tuple(problem.constraints[i].name for i in found or ())

    def worths(self) -> tuple[tuple[Worth, ...], bool]:
        """What a step of each limit is worth, and whether time sufficed."""
        found: list[Worth] = []
        binding = {c.name: c.binding for c in self.plan.constraints}
        try:
            for constraint in self.again.given.problem.constraints:
                if constraint.name in binding and constraint.kind in ("path", "budget", "accuracy"):
                    dial = dial_of(self.again.situation, constraint)
                    assert isinstance(dial, Dial)
                    found.append(self._worth(constraint.name, dial, binding[constraint.name]))
        except TimeIsUp:
            return tuple(found), False
        return tuple(found), True

    def _worth(self, name: str, dial: Dial, binding: bool) -> Worth:
        step = 0.01 if dial.unit == "share" else nice(max(dial.limit, 1.0) / 50)
        sign = 1 if dial.far >= dial.limit else -1
        best = self.plan.objective[0]

        def difference(steps: int) -> float | None:
            value = dial.limit + sign * steps * step
            if value <= 0 or (dial.unit == "share" and value > 1):
                return None
            plan = self.again.plan([dial.text(value)])
            return None if plan is None else _beyond(best, plan.objective[0])

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


def _beyond(old: float, new: float) -> float:
    """`new` less `old`, which is of a file and has six significant digits: less than those can say is no difference."""
    return 0.0 if isclose(old, new, rel_tol=ROUNDED) else new - old
