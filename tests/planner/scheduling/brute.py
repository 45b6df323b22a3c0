"""Every placement and every order of a small scheduling Problem, written a second time.

Shares no code with what solves, plays or verifies schedules but the Problem itself.
"""

from __future__ import annotations

from itertools import permutations, product

from planner.problem import Edge, Option, Problem


def moved(edge: Edge, start: int, end: int) -> tuple[int, int] | None:
    """Time and cost of a message; over hops, by trying every neighbour that leads nearer."""
    if start == end:
        return 0, 0
    if not edge.hops:
        return next(((t.mean_us, t.cost) for t in edge.transfers if (t.start, t.end) == (start, end)), None)
    found = _walk(edge, start, end, set())
    return None if found is None else (found[0] + edge.apart_us, found[1])


def _walk(edge: Edge, start: int, end: int, seen: set[int]) -> tuple[int, int] | None:
    if start == end:
        return 0, 0
    for hop in edge.hops:
        if hop.start == start and hop.end not in seen:
            rest = _walk(edge, hop.end, end, seen | {start})
            if rest is not None:
                return rest[0] + hop.mean_us, rest[1] + hop.cost
    return None


def best(problem: Problem) -> tuple[int, ...] | None:
    """The best objectives of any schedule, None where there is none.

    Of all sequences of the steps, each device keeps those that are its own, in this order; steps start as soon as they
    can. Every order on every device comes of some sequence.
    """
    (scenario,) = problem.scenarios
    steps = scenario.steps
    after = [{e.producer.step for e in scenario.edges if e.consumer.step == i} - {-1} for i in range(len(steps))]
    sequences = [
        order
        for order in permutations(range(len(steps)))
        if all(after[i] <= set(order[:n]) for n, i in enumerate(order))
    ]
    found: list[tuple[int, ...]] = []
    for options in product(*(range(len(step.options)) for step in steps)):
        chosen = [step.options[o] for step, o in zip(steps, options, strict=True)]
        sums = _sums(problem, options)
        if sums is None:
            continue
        makespan = None
        for sequence in sequences:
            end = _played(problem, chosen, sequence)
            if end is not None and (makespan is None or end < makespan):
                makespan = end
        if makespan is not None:
            values = {"makespan": makespan, **sums}
            found.append(tuple(values[o.kind] for o in problem.objectives))
    return min(found, default=None)


def _played(problem: Problem, chosen: list[Option], sequence: tuple[int, ...]) -> int | None:
    """The makespan if steps are started in this sequence; None where a message has no route."""
    (scenario,) = problem.scenarios
    free = [0] * len(problem.pools)
    ends: dict[int, int] = {}
    done = 0
    for i in sequence:
        start = 0
        for edge in scenario.edges:
            if edge.consumer.step == i:
                p = edge.producer.step
                way = moved(edge, chosen[p].site if p >= 0 else edge.producer.site, chosen[i].site)
                if way is None:
                    return None
                start = max(start, way[0] + (ends[p] if p >= 0 else 0))
        pool = problem.stations[chosen[i].station].pool
        ends[i] = free[pool] = max(start, free[pool]) + chosen[i].mean_us
        done = max(done, ends[i])
    for edge in scenario.edges:
        if edge.consumer.step < 0:
            p = edge.producer.step
            way = moved(edge, chosen[p].site if p >= 0 else edge.producer.site, edge.consumer.site)
            if way is None:
                return None
            done = max(done, way[0] + (ends[p] if p >= 0 else 0))
    return done


def _sums(problem: Problem, options: tuple[int, ...]) -> dict[str, int] | None:
    """Cost and energy of a placement; None where something bars it, or does not fit."""
    (scenario,) = problem.scenarios
    chosen = [step.options[o] for step, o in zip(scenario.steps, options, strict=True)]
    if scenario.barred or any(option.barred for option in chosen):
        return None
    cost = sum(option.cost for option in chosen)
    energy = sum(option.energy for option in chosen)
    held: dict[int, int] = {}
    for p, pool in enumerate(problem.pools):
        stations = {o.station for o in chosen if problem.stations[o.station].pool == p}
        held[p] = sum(problem.stations[s].memory_kb for s in stations)
        bought = 1 if stations else pool.minimum
        if bought > pool.maximum or held[p] > pool.memory_kb:
            return None
        cost += bought * pool.price
        energy += bought * pool.energy
    for edge in scenario.edges:
        a, b = edge.producer, edge.consumer
        way = moved(edge, a.site if a.step < 0 else chosen[a.step].site, b.site if b.step < 0 else chosen[b.step].site)
        if way is None:
            return None
        cost += way[1]
    for budget in problem.budgets:
        memory = sum(held[p] for p in budget.pools)
        if {"cost": cost, "energy": energy, "memory": memory}[budget.of] > budget.limit:
            return None
    return {"cost": cost, "energy": energy}
