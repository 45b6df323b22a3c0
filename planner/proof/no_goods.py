"""No-goods: sets of uses of which no plan may have one each, as in logic-based Benders decomposition (Hooker, 2003)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from planner.formulation import Formulation
from planner.problem import Option, Scenario, Server, Step, Visit, WaitLevel

Use = tuple[int, int, int]
"""(scenario, step, option)."""


@dataclass(frozen=True, slots=True)
class NoGood:
    """No choice may have a use out of every one of `slots`, because of the constraint of this index."""

    constraint: int
    slots: tuple[frozenset[Use], ...]


def without_limits(given: Formulation) -> Formulation:
    """`given` without path limits."""
    scenarios = tuple(replace(scenario, limits=()) for scenario in given.problem.scenarios)
    return replace(given, problem=replace(given.problem, scenarios=scenarios))


def with_no_goods(given: Formulation, no_goods: Sequence[NoGood]) -> Formulation:
    """`given` with these no-goods. Each is a server without waits, of whose n visits n - 1 may come together."""
    problem = given.problem
    first = len(problem.servers)
    visits: dict[Use, list[Visit]] = {}
    for k, no_good in enumerate(no_goods):
        for slot in no_good.slots:
            for use in slot:
                visits.setdefault(use, []).append(Visit(first + k, 0, 1))
    servers = tuple(
        Server("no-good", no_good.constraint, len(no_good.slots) - 1, (WaitLevel(0, 0),)) for no_good in no_goods
    )
    scenarios = tuple(_visiting(s, scenario, visits) for s, scenario in enumerate(problem.scenarios))
    return replace(given, problem=replace(problem, servers=(*problem.servers, *servers), scenarios=scenarios))


def _visiting(s: int, scenario: Scenario, visits: Mapping[Use, list[Visit]]) -> Scenario:
    def option(i: int, o: int, of: Option) -> Option:
        more = visits.get((s, i, o))
        return replace(of, visits=(*of.visits, *more)) if more else of

    def step(i: int, of: Step) -> Step:
        if not any((s, i, o) in visits for o in range(len(of.options))):
            return of
        return replace(of, options=tuple(option(i, o, each) for o, each in enumerate(of.options)))

    return replace(scenario, steps=tuple(step(i, each) for i, each in enumerate(scenario.steps)))
