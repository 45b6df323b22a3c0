"""Takes options or money away from a Problem, so that solving again says what a choice would cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import floor

from planner.formulation import Formulation, StationKey
from planner.plan import Restrict
from planner.problem import MILLION, Budget, Constraint, Option
from specs.plan import Plan

Test = Callable[[StationKey, Option, int, str], bool]
"""Whether an option stays: what it is, the option, the tasks of its component, and the flow's name."""


def as_it_is(given: Formulation) -> Formulation:
    """Nothing taken away."""
    return given


def forced(component: str, test: Test) -> Restrict:
    """Only options of `component` that pass `test`, in every flow that has such an option."""

    def restrict(given: Formulation) -> Formulation:
        problem = given.problem
        able: set[int] = set()
        kept: list[dict[int, tuple[Option, ...]]] = []
        for scenario in problem.scenarios:
            flow = problem.flows[scenario.flow]
            of: dict[int, tuple[Option, ...]] = {}
            for i, step in enumerate(scenario.steps):
                if step.name == component:
                    of[i] = tuple(o for o in step.options if test(given.stations[o.station], o, step.tasks, flow))
                    if of[i]:
                        able.add(scenario.flow)
            kept.append(of)
        scenarios = tuple(
            scenario
            if scenario.flow not in able
            else replace(
                scenario,
                steps=tuple(replace(s, options=of[i]) if i in of else s for i, s in enumerate(scenario.steps)),
            )
            for scenario, of in zip(problem.scenarios, kept, strict=True)
        )
        return replace(given, problem=replace(problem, scenarios=scenarios))

    return restrict


def at_place(component: str, site: str, pool: str) -> Restrict:
    """All of `component` in one pool."""
    return forced(
        component, lambda k, o, tasks, _: (k.site, k.pool) == (site, pool) and (o.first, o.last) == (0, tasks - 1)
    )


def as_variant(component: str, variant: str) -> Restrict:
    return forced(component, lambda k, _o, _t, _f: k.variant == variant)


def on_backend(component: str, backend: str) -> Restrict:
    return forced(component, lambda k, _o, _t, _f: k.record.backend == backend)


def in_parts(component: str) -> Restrict:
    """The model of `component` cut."""
    return forced(component, lambda _k, o, tasks, _: (o.first, o.last) != (0, tasks - 1))


def as_planned(plan: Plan) -> Restrict:
    """What runs where and how as in `plan`; replicas and devices follow the load."""
    wanted = {
        (f, a.component, a.variant, str(a.segment), a.site, a.pool, a.backend, a.threads)
        for a in plan.assignments
        for f in a.flows
    }

    def same(k: StationKey, _o: Option, _t: int, flow: str) -> bool:
        r = k.record
        return (flow, k.component, k.variant, str(k.segment), k.site, k.pool, r.backend, r.threads) in wanted

    def restrict(given: Formulation) -> Formulation:
        for component in dict.fromkeys(a.component for a in plan.assignments):
            given = forced(component, same)(given)
        return given

    return restrict


def for_at_most(per_month: float) -> Restrict:
    """Only what costs at most so much a month, in the currency: a ceiling of the search where cost is the objective."""

    def restrict(given: Formulation) -> Formulation:
        problem = given.problem
        ceiling = Constraint("budget", "ceiling", "", 0)
        budget = Budget(len(problem.constraints), floor(per_month * MILLION + 0.5))
        constraints, budgets = (*problem.constraints, ceiling), (*problem.budgets, budget)
        return replace(given, problem=replace(problem, constraints=constraints, budgets=budgets))

    return restrict
