"""A greedy choice: components one after the other, each where it is cheapest or soonest just then. No proof."""

from __future__ import annotations

import time
from itertools import product
from typing import Literal

from planner.problem import Edge, Option, Problem, Scenario
from planner.solver.evaluate import Evaluation, evaluate
from planner.solver.solution import Choice, Solution

Order = Literal["cheapest", "soonest"]
MAX_SCENARIOS = 64


def solve_greedily(problem: Problem, relaxed: frozenset[int] = frozenset()) -> Solution:
    """The best of the greedy choices that keep all constraints but the `relaxed` ones: `feasible`, or `unknown` where
    none does.
    """
    started = time.perf_counter()
    best: tuple[Evaluation, Choice] | None = None
    open_to = [i for i, s in enumerate(problem.scenarios) if relaxed.issuperset(s.barred)]
    by_flow = [[i for i in open_to if problem.scenarios[i].flow == f] for f in range(len(problem.flows))]
    orders: tuple[Order, Order] = ("cheapest", "soonest")
    for order in orders:
        for number, scenarios in enumerate(product(*by_flow)):
            if number >= MAX_SCENARIOS:
                break
            choice = _choose(problem, scenarios, order, relaxed)
            if choice is None:
                continue
            found = evaluate(problem, choice, relaxed)
            if found.holds(relaxed) and (best is None or found.objectives < best[0].objectives):
                best = (found, choice)
    seconds = time.perf_counter() - started
    if best is None:
        return Solution("unknown", seconds=seconds)
    return Solution(
        "feasible", best[1], best[0].objectives, (0,) * len(best[0].objectives), 1.0, seconds, seconds, seconds
    )


def _choose(problem: Problem, scenarios: tuple[int, ...], order: Order, relaxed: frozenset[int]) -> Choice | None:
    used: set[int] = set()
    options: list[tuple[tuple[int, ...], ...]] = []
    for index in scenarios:
        picked = _place(problem, problem.scenarios[index], order, used, relaxed)
        if picked is None:
            return None
        options.append(tuple((o,) for o in picked))
    return Choice(scenarios, tuple(options), problem.members, _replicas(problem, scenarios, tuple(options)))


def _place(
    problem: Problem, scenario: Scenario, order: Order, used: set[int], relaxed: frozenset[int]
) -> list[int] | None:
    """One whole option for each step; `used` collects pools that are paid already."""
    picked: list[int] = []
    for i, step in enumerate(scenario.steps):
        ways: list[tuple[tuple[int, ...], int]] = []
        for o, option in enumerate(step.options):
            if not relaxed.issuperset(option.barred) or (option.first, option.last) != (0, step.tasks - 1):
                continue
            moved = _moved(scenario, i, option, picked)
            if moved is not None:
                cost = option.cost + moved[0] + _device(problem, option, used)
                spent = option.mean_us + moved[1]
                ways.append(((cost, spent, o) if order == "cheapest" else (spent, cost, o), o))
        if not ways:
            return None
        chosen = min(ways)[1]
        picked.append(chosen)
        used.add(problem.stations[step.options[chosen].station].pool)
    return picked


def _device(problem: Problem, option: Option, used: set[int]) -> int:
    pool = problem.stations[option.station].pool
    return 0 if pool in used or problem.pools[pool].minimum else problem.pools[pool].price


def _moved(scenario: Scenario, step: int, option: Option, picked: list[int]) -> tuple[int, int] | None:
    """Cost and time of the messages between this step and what is placed already. None: no route."""

    def site(edge: Edge, producer: bool) -> int | None:
        end = edge.producer if producer else edge.consumer
        if end.step < 0:
            return end.site
        if end.step == step:
            return option.site
        return scenario.steps[end.step].options[picked[end.step]].site if end.step < len(picked) else None

    cost = spent = 0
    for edge in scenario.edges:
        if step not in (edge.producer.step, edge.consumer.step):
            continue
        a, b = site(edge, True), site(edge, False)
        if a is None or b is None or a == b:
            continue
        transfer = next((t for t in edge.transfers if (t.start, t.end) == (a, b)), None)
        if transfer is None:
            return None
        cost += transfer.cost
        spent += transfer.mean_us
    return cost, spent


def _replicas(
    problem: Problem, scenarios: tuple[int, ...], options: tuple[tuple[tuple[int, ...], ...], ...]
) -> tuple[int, ...]:
    """The fewest that carry the load."""
    loads: dict[int, int] = {}
    for s, picked in zip(scenarios, options, strict=True):
        for i, chosen in enumerate(picked):
            for o in chosen:
                option = problem.scenarios[s].steps[i].options[o]
                loads[option.station] = loads.get(option.station, 0) + option.load_ppb

    def fewest(index: int) -> int:
        if index not in loads:
            return 0
        levels = problem.stations[index].levels
        return min((level.replicas for level in levels if level.load_ppb >= loads[index]), default=1)

    return tuple(fewest(k) for k in range(len(problem.stations)))
