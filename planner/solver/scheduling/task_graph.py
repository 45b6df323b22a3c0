"""A Problem as heterogeneous DAG scheduling sees it: steps, their ways to run, and messages between them.

A way is an option, on the one device of its pool, for a fixed time. Messages between sites take a fixed time, do not
wait for each other and keep no device busy, as in Topcuoglu, Hariri and Wu 2002 (IEEE TPDS 13(3), 260-274).
"""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from planner.problem import Edge, Option, Problem, Scenario
from planner.solver.scheduling.refusals import refuse
from planner.solver.ways import Ways
from specs.errors import InputError, Issue


@dataclass(frozen=True, slots=True)
class Way:
    """A step's option, by its index, on the device of `pool` at `site` for `time_us`."""

    option: int
    pool: int
    site: int
    time_us: int


@dataclass(frozen=True)
class TaskGraph:
    """`ways` by step, none that something bars; `order` is a topological order of the steps.

    `sources` are the messages that wait for no step, `into` and `out_of` those that each step takes and gives.
    """

    problem: Problem
    scenario: Scenario
    ways: tuple[tuple[Way, ...], ...]
    order: tuple[int, ...]
    into: tuple[tuple[Edge, ...], ...]
    out_of: tuple[tuple[Edge, ...], ...]
    routes: Ways

    def moved(self, edge: Edge, start: int, end: int) -> tuple[int, int] | None:
        """Time (us) and cost (ucur) of a message from site to site; None where it has no route."""
        if start == end:
            return 0, 0
        transfer = self.routes.between(edge, start, end)
        return None if transfer is None else (transfer.mean_us, transfer.cost)

    def option(self, step: int, way: Way) -> Option:
        return self.scenario.steps[step].options[way.option]


def task_graph_of(problem: Problem) -> TaskGraph:
    """`problem` as a task graph. Raises InputError as `refuse` does."""
    refuse(problem)
    (scenario,) = problem.scenarios
    steps = range(len(scenario.steps))
    barred = bool(scenario.barred)
    ways = tuple(
        tuple(
            Way(o, problem.stations[option.station].pool, option.site, option.mean_us)
            for o, option in enumerate(step.options)
            if not barred and not option.barred and problem.pools[problem.stations[option.station].pool].maximum
        )
        for step in scenario.steps
    )
    return TaskGraph(
        problem,
        scenario,
        ways,
        _topological(scenario),
        tuple(tuple(e for e in scenario.edges if e.consumer.step == i) for i in steps),
        tuple(tuple(e for e in scenario.edges if e.producer.step == i) for i in steps),
        Ways(),
    )


def _topological(scenario: Scenario) -> tuple[int, ...]:
    before: dict[int, set[int]] = {i: set() for i in range(len(scenario.steps))}
    for edge in scenario.edges:
        if edge.producer.step >= 0 and edge.consumer.step >= 0:
            before[edge.consumer.step].add(edge.producer.step)
    try:
        return tuple(TopologicalSorter(before).static_order())
    except CycleError as error:
        circle = " -> ".join(scenario.steps[i].name for i in error.args[1])
        raise InputError(Issue(f"scenarios[0].edges: steps wait for each other in a circle: {circle}")) from error
