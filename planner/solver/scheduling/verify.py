"""Checks a schedule against its Problem by the rules alone: no code of what solves or plays schedules."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from planner.problem import Edge, Problem
from planner.problem.tree import tree_of
from planner.solver.scheduling.schedule import Schedule


def wrong_in(problem: Problem, schedule: Schedule) -> list[str]:
    """What is wrong with `schedule`, in a line each; nothing where it can be carried out and takes what it says."""
    if schedule.choice is None:
        return []
    (options,) = schedule.choice.options
    (scenario,) = problem.scenarios
    if len(options) != len(scenario.steps) or not len(options) == len(schedule.starts) == len(schedule.ends):
        return ["not every step has one option, one start and one end"]
    return [*_wrong_times(problem, schedule), *_wrong_orders(problem, schedule), *_wrong_sums(problem, schedule)]


def _sites(problem: Problem, schedule: Schedule, edge: Edge) -> tuple[int, int]:
    assert schedule.choice is not None
    (options,), steps = schedule.choice.options, problem.scenarios[0].steps
    ends = (edge.producer, edge.consumer)
    start, end = (e.site if e.step < 0 else steps[e.step].options[options[e.step][0]].site for e in ends)
    return start, end


def _moved(edge: Edge, start: int, end: int) -> tuple[int, int] | None:
    """Time and cost between two sites, summed over the hops of the way where there are hops."""
    if start == end:
        return 0, 0
    table = {(t.start, t.end): t for t in edge.hops or edge.transfers}
    way = tree_of(table).way(start, end) if edge.hops else [(start, end)]
    if way is None or any(pair not in table for pair in way):
        return None
    apart = edge.apart_us if edge.hops else 0
    return apart + sum(table[pair].mean_us for pair in way), sum(table[pair].cost for pair in way)


def _wrong_times(problem: Problem, schedule: Schedule) -> Iterator[str]:
    assert schedule.choice is not None
    (options,), (scenario,) = schedule.choice.options, problem.scenarios
    done = max(schedule.ends, default=0)
    for i, step in enumerate(scenario.steps):
        option = step.options[options[i][0]]
        if option.barred or scenario.barred:
            yield f"{step.name} runs where a constraint bars it"
        if schedule.starts[i] < 0 or schedule.ends[i] - schedule.starts[i] != option.mean_us:
            yield f"{step.name} does not take its {option.mean_us} us"
    for edge in scenario.edges:
        moved = _moved(edge, *_sites(problem, schedule, edge))
        if moved is None:
            yield f"{edge.name} has no route"
            continue
        came = moved[0] + (schedule.ends[edge.producer.step] if edge.producer.step >= 0 else 0)
        if edge.consumer.step < 0:
            done = max(done, came)
        elif schedule.starts[edge.consumer.step] < came:
            yield f"{scenario.steps[edge.consumer.step].name} starts before {edge.name} has come"
    for objective, value in zip(problem.objectives, schedule.objectives, strict=True):
        if objective.kind == "makespan" and value != done:
            yield f"it ends at {done} us, not at {value}"


def _wrong_orders(problem: Problem, schedule: Schedule) -> Iterator[str]:
    assert schedule.choice is not None
    (options,), steps = schedule.choice.options, problem.scenarios[0].steps
    pool_of = [problem.stations[steps[i].options[o].station].pool for i, (o,) in enumerate(options)]
    if len(schedule.orders) != len(problem.pools):
        yield "not every pool has an order"
    for pool, order in enumerate(schedule.orders):
        if sorted(order) != [i for i, at in enumerate(pool_of) if at == pool]:
            yield f"the order of {problem.pools[pool].name} does not hold each of its steps once"
        for a, b in pairwise(order):
            if schedule.starts[b] < schedule.ends[a]:
                yield f"{steps[a].name} and {steps[b].name} overlap on {problem.pools[pool].name}"


def _wrong_sums(problem: Problem, schedule: Schedule) -> Iterator[str]:
    """Memory of each device, budgets, and the objectives that are sums."""
    assert schedule.choice is not None
    (options,), (scenario,) = schedule.choice.options, problem.scenarios
    chosen = [step.options[o] for step, (o,) in zip(scenario.steps, options, strict=True)]
    stations = {option.station for option in chosen}
    memory = [0] * len(problem.pools)
    for s in stations:
        memory[problem.stations[s].pool] += problem.stations[s].memory_kb
    bought = [p.minimum for p in problem.pools]
    for s in stations:
        bought[problem.stations[s].pool] = 1
    for pool, held, n in zip(problem.pools, memory, bought, strict=True):
        if n > pool.maximum or held > pool.memory_kb:
            yield f"{pool.name} has too few devices or too little memory"
    cost = sum(p.price * n for p, n in zip(problem.pools, bought, strict=True)) + sum(o.cost for o in chosen)
    energy = sum(p.energy * n for p, n in zip(problem.pools, bought, strict=True)) + sum(o.energy for o in chosen)
    for edge in scenario.edges:
        moved = _moved(edge, *_sites(problem, schedule, edge))
        cost += moved[1] if moved else 0
    sums = {"cost": cost, "energy": energy}
    for budget in problem.budgets:
        value = sum(memory[p] for p in budget.pools) if budget.of == "memory" else sums[budget.of]
        if value > budget.limit:
            yield f"the {budget.of} {value} is over the budget of {budget.limit}"
    for objective, value in zip(problem.objectives, schedule.objectives, strict=True):
        if objective.kind in sums and value != sums[objective.kind]:
            yield f"the {objective.kind} is {sums[objective.kind]}, not {value}"
