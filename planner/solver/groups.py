"""Scenarios of a flow that differ in steps only share what is alike: one set of variables for both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from planner.problem import Edge, Limit, MeanShape, Problem, Scenario, Step


@dataclass(frozen=True)
class Slot:
    """A step as it is in some of a group's scenarios."""

    scenarios: tuple[int, ...]
    step: Step


@dataclass(frozen=True)
class Group:
    """Scenarios of `flow` with equal edges, limits and means. `slots` is by step: its different forms."""

    flow: int
    scenarios: tuple[int, ...]
    slots: tuple[tuple[Slot, ...], ...]
    edges: tuple[Edge, ...]
    limits: tuple[Limit, ...]
    means: tuple[tuple[MeanShape, ...], ...]


def allowed(barred: Iterable[int], relaxed: frozenset[int]) -> bool:
    return all(c in relaxed for c in barred)


def is_live(scenario: Scenario, relaxed: frozenset[int]) -> bool:
    """Whether the scenario is allowed, and each of its tasks has an option that is."""

    def covered(step: Step) -> bool:
        if step.tasks == 1:
            return any(not o.barred or allowed(o.barred, relaxed) for o in step.options)
        tasks = {t for o in step.options if allowed(o.barred, relaxed) for t in range(o.first, o.last + 1)}
        return len(tasks) == step.tasks

    return allowed(scenario.barred, relaxed) and all(covered(step) for step in scenario.steps)


def groups_of(problem: Problem, relaxed: frozenset[int]) -> list[Group]:
    """All scenarios that can be taken, in groups."""
    found: list[list[int]] = []
    for s, scenario in enumerate(problem.scenarios):
        if not is_live(scenario, relaxed):
            continue
        for group in found:
            if _alike(problem.scenarios[group[0]], scenario):
                group.append(s)
                break
        else:
            found.append([s])
    return [_group(problem, tuple(scenarios)) for scenarios in found]


def _alike(a: Scenario, b: Scenario) -> bool:
    return (
        a.flow == b.flow
        and len(a.steps) == len(b.steps)
        and all(x.tasks == y.tasks for x, y in zip(a.steps, b.steps, strict=True))
        and a.limits == b.limits
        and a.means == b.means
        and a.edges == b.edges
    )


def _group(problem: Problem, scenarios: tuple[int, ...]) -> Group:
    first = problem.scenarios[scenarios[0]]
    slots: list[tuple[Slot, ...]] = []
    for i in range(len(first.steps)):
        forms: list[tuple[Step, list[int]]] = []
        for s in scenarios:
            step = problem.scenarios[s].steps[i]
            for form, at in forms:
                if form == step:
                    at.append(s)
                    break
            else:
                forms.append((step, [s]))
        slots.append(tuple(Slot(tuple(at), form) for form, at in forms))
    return Group(first.flow, scenarios, tuple(slots), first.edges, first.limits, first.means)
