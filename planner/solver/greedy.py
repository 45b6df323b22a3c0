"""A greedy choice: components one after the other, each where it is cheapest or soonest just then. No proof."""

from __future__ import annotations

import time
from itertools import product
from typing import Literal

from planner.problem import Edge, Option, Problem, Scenario
from planner.solver.evaluate import Evaluation, evaluate
from planner.solver.solution import Choice, Solution
from planner.solver.ways import Ways

Order = Literal["cheapest", "soonest"]
MAX_SCENARIOS = 64


def solve_greedily(problem: Problem) -> Solution:
    """The best of the greedy choices that keep all constraints: `feasible`, or `unknown` where none does."""
    started = time.perf_counter()
    ways = Ways()
    best: tuple[Evaluation, Choice] | None = None
    by_flow = [
        [i for i, s in enumerate(problem.scenarios) if s.flow == f and not s.barred] for f in range(len(problem.flows))
    ]
    orders: tuple[Order, Order] = ("cheapest", "soonest")
    for order in orders:
        for number, scenarios in enumerate(product(*by_flow)):
            if number >= MAX_SCENARIOS:
                break
            choice = _choose(problem, scenarios, order, ways)
            if choice is None:
                continue
            found = evaluate(problem, choice, ways=ways)
            if found.holds() and (best is None or found.objectives < best[0].objectives):
                best = (found, choice)
    seconds = time.perf_counter() - started
    if best is None:
        return Solution("unknown", seconds=seconds)
    return Solution(
        "feasible", best[1], best[0].objectives, (0,) * len(best[0].objectives), 1.0, seconds, seconds, seconds
    )


def _choose(problem: Problem, scenarios: tuple[int, ...], order: Order, ways: Ways) -> Choice | None:
    used: set[int] = set()
    options: list[tuple[tuple[int, ...], ...]] = []
    for index in scenarios:
        picked = _place(problem, problem.scenarios[index], order, used, ways)
        if picked is None:
            return None
        options.append(tuple((o,) for o in picked))
    return Choice(scenarios, tuple(options), problem.members, _replicas(problem, scenarios, tuple(options)))


def _place(problem: Problem, scenario: Scenario, order: Order, used: set[int], ways: Ways) -> list[int] | None:
    """One whole option for each step; `used` collects pools that are paid already."""
    picked: list[int] = []
    beside: dict[int, list[Edge]] = {}
    for edge in scenario.edges:
        for end in {edge.producer.step, edge.consumer.step}:
            beside.setdefault(end, []).append(edge)
    for i, step in enumerate(scenario.steps):
        moves: dict[int, tuple[int, int] | None] = {}
        found: list[tuple[tuple[int, ...], int]] = []
        for o, option in enumerate(step.options):
            if option.barred or (option.first, option.last) != (0, step.tasks - 1):
                continue
            if option.site not in moves:
                moves[option.site] = _moved(scenario, i, option, picked, beside.get(i, []), ways)
            moved = moves[option.site]
            if moved is not None:
                cost = option.cost + moved[0] + _device(problem, option, used)
                spent = option.mean_us + moved[1]
                found.append(((cost, spent, o) if order == "cheapest" else (spent, cost, o), o))
        if not found:
            return None
        chosen = min(found)[1]
        picked.append(chosen)
        used.add(problem.stations[step.options[chosen].station].pool)
    return picked


def _device(problem: Problem, option: Option, used: set[int]) -> int:
    pool = problem.stations[option.station].pool
    return 0 if pool in used or problem.pools[pool].minimum else problem.pools[pool].price


def _moved(
    scenario: Scenario, step: int, option: Option, picked: list[int], edges: list[Edge], ways: Ways
) -> tuple[int, int] | None:
    """Cost and time of the messages between this step and what is placed already. None: no route."""

    def site(edge: Edge, producer: bool) -> int | None:
        end = edge.producer if producer else edge.consumer
        if end.step < 0:
            return end.site
        if end.step == step:
            return option.site
        return scenario.steps[end.step].options[picked[end.step]].site if end.step < len(picked) else None

    cost = spent = 0
    for edge in edges:
        a, b = site(edge, True), site(edge, False)
        if a is None or b is None or a == b:
            continue
        transfer = ways.between(edge, a, b)
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
