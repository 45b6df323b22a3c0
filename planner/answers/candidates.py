"""Every way that a component could take, and what each rejected one costs or what forbids it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from planner.answers.again import Again, TimeIsUp
from planner.answers.difference import beyond
from planner.answers.forced import as_variant, at_place, in_parts, on_backend
from planner.plan import Restrict
from planner.proof.conflict import flows_without_a_way, minimal_conflict
from planner.solver.solve import is_feasible
from specs.plan import Plan

Kind = Literal["site", "variant", "backend", "split"]


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


def candidates(again: Again, plan: Plan, components: Sequence[str]) -> tuple[Candidate, ...]:
    """Of each of `components`, in order. `again` solves what led to `plan`, with dominated options too."""
    search = _Search(again, plan)
    return tuple(search.candidate(*choice) for name in components for choice in search.choices(name))


@dataclass(frozen=True)
class _Search:
    again: Again
    plan: Plan

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
        # The limits (seconds) that the plan itself was solved with: the same tables for all that is compared.
        start = {name: ms / 1e3 for name, ms in self.plan.tightened.items()}
        try:
            found = self.again.plan(restrict=restrict, start=start)
            if found is None:
                forbidding = self._forbidding(restrict)
                cut_off = () if forbidding else flows_without_a_way(restrict(self.again.given).problem)
                return Candidate(component, kind, choice, "infeasible", (), forbidding, cut_off)
        except TimeIsUp:
            return Candidate(component, kind, choice, "unknown")
        prices = tuple(beyond(old, new) for new, old in zip(found.objective, self.plan.objective, strict=True))
        return Candidate(component, kind, choice, "possible", prices)

    def _forbidding(self, restrict: Restrict) -> tuple[str, ...]:
        """The constraints that cannot hold with a choice; path limits where only predictions miss them."""
        problem = restrict(self.again.bounded).problem
        answer = is_feasible(problem, frozenset(), self.again.left, seed=self.again.seed)
        if answer == "unknown":
            raise TimeIsUp
        if answer == "yes":
            return tuple(c.name for c in problem.constraints if c.kind in ("path", "share"))
        found = minimal_conflict(problem, self.again.left, self.again.seed)
        return tuple(problem.constraints[i].name for i in found or ())
