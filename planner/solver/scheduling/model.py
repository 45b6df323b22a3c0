"""The CP-SAT model of a task graph: optional intervals that must not overlap on each device (docs/scheduling.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from planner.problem import Edge
from planner.solver.model import Interval, Model, Terms
from planner.solver.scheduling.dispatch import Placed, Played
from planner.solver.scheduling.spans import spans_of
from planner.solver.scheduling.task_graph import TaskGraph


@dataclass
class Formulated:
    """`taken` by step and way (None: it takes too long), `start` and `end` by step, `at` by step and site, `used` by
    pool; `sums` by objective.
    """

    model: Model = field(default_factory=Model)
    taken: list[list[int | None]] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    makespan: int = 0
    sums: dict[str, Terms] = field(default_factory=dict)
    at: list[dict[int, int]] = field(default_factory=list)
    used: dict[int, int] = field(default_factory=dict)

    def placed(self, graph: TaskGraph, values: Sequence[int]) -> Placed:
        return {
            i: next(w for w, x in zip(graph.ways[i], taken, strict=True) if x is not None and values[x])
            for i, taken in enumerate(self.taken)
        }

    def hint(self, graph: TaskGraph, placed: Placed, played: Played) -> dict[int, int]:
        """Values of the variables that stand for a schedule which is known."""
        values = {self.makespan: played.makespan}
        for i, taken in enumerate(self.taken):
            values |= {x: int(placed[i] == w) for w, x in zip(graph.ways[i], taken, strict=True) if x is not None}
            values |= {self.start[i]: played.starts[i], self.end[i]: played.ends[i]}
        return values


def formulate(graph: TaskGraph, horizon: int) -> Formulated:
    """The model of all schedules that end by `horizon` (us)."""
    made = Formulated()
    model = made.model
    _ways(made, graph, horizon)
    if model.impossible:
        return made
    for edge in graph.scenario.edges:
        _message(made, graph, edge)
    _devices(made, graph)
    _money(made, graph)
    made.sums["makespan"] = [(made.makespan, 1)]
    return made


def _ways(made: Formulated, graph: TaskGraph, horizon: int) -> None:
    """Each step takes one way; `head <= start`, `end + tail <= makespan`. Ways that take too long are left out."""
    model, spans = made.model, spans_of(graph)
    least = 0
    for ways, heads, tails in zip(graph.ways, spans.heads, spans.tails, strict=True):
        spent = [h + w.time_us + t for w, h, t in zip(ways, heads, tails, strict=True)]
        least = max(least, min(spent, default=horizon + 1))
    for edge in (e for e in graph.scenario.edges if e.producer.step < 0 and e.consumer.step < 0):
        moved = graph.moved(edge, edge.producer.site, edge.consumer.site)
        least = max(least, horizon + 1 if moved is None else moved[0])
    if least > horizon:
        model.impossible = True
        return
    made.makespan = model.integer(least, horizon)
    for ways, heads, tails in zip(graph.ways, spans.heads, spans.tails, strict=True):
        fits = [h + w.time_us + t <= horizon for w, h, t in zip(ways, heads, tails, strict=True)]
        taken = [model.boolean() if fit else None for fit in fits]
        kept = [(x, w, h, t) for x, w, h, t in zip(taken, ways, heads, tails, strict=True) if x is not None]
        model.one_of.append(tuple(x for x, *_ in kept))
        start = model.integer(min(h for _, _, h, _ in kept), horizon)
        end = model.integer(min(h + w.time_us for _, w, h, _ in kept), horizon)
        model.add([(end, 1), (start, -1), *((x, -w.time_us) for x, w, _, _ in kept)], 0, 0)
        model.add([(start, 1), *((x, -h) for x, _, h, _ in kept)], 0, None)
        model.add([(made.makespan, 1), (end, -1), *((x, -t) for x, _, _, t in kept)], 0, None)
        made.taken.append(taken)
        made.start.append(start)
        made.end.append(end)
        sites: dict[int, list[int]] = {}
        for x, w, _, _ in kept:
            sites.setdefault(w.site, []).append(x)
        made.at.append({site: model.any_of(of) for site, of in sites.items()})


def _message(made: Formulated, graph: TaskGraph, edge: Edge) -> None:
    """`start of the consumer >= end of the producer + sum_q time(p, q) at(consumer, q)` if the producer is at `p`, and
    the same from the consumer's side. Messages of sources and to sinks are in heads and tails.
    """
    model, (a, b) = made.model, (edge.producer.step, edge.consumer.step)
    if a < 0 or b < 0:
        return
    between: Terms = [(made.start[b], 1), (made.end[a], -1)]
    model.add(between, 0, None)
    moved = {(p, q): graph.moved(edge, p, q) for p in made.at[a] for q in made.at[b]}
    for p, q in (pair for pair, way in moved.items() if way is None):
        model.add([(made.at[a][p], 1), (made.at[b][q], 1)], None, 1)
    for p, x in made.at[a].items():
        times = [(y, -way[0]) for q, y in made.at[b].items() if (way := moved[p, q]) and way[0]]
        if times:
            model.add([*between, *times], 0, None, when=x)
    for q, y in made.at[b].items():
        times = [(x, -way[0]) for p, x in made.at[a].items() if (way := moved[p, q]) and way[0]]
        if times:
            model.add([*between, *times], 0, None, when=y)


def _devices(made: Formulated, graph: TaskGraph) -> None:
    """No two steps overlap on a device. What follows for integers: the device's work, between the least head and the
    least tail of what may run there, ends by the makespan.
    """
    model, spans = made.model, spans_of(graph)
    for pool in range(len(graph.problem.pools)):
        here = [
            (made.start[i], x, w.time_us, spans.heads[i][n], spans.tails[i][n])
            for i, ways in enumerate(graph.ways)
            for n, (w, x) in enumerate(zip(ways, made.taken[i], strict=True))
            if w.pool == pool and x is not None
        ]
        if not here:
            continue
        used = made.used[pool] = model.boolean()
        model.add([(used, -1), *((x, 1) for _, x, *_ in here)], 0, None)
        for _, x, *_ in here:
            model.add([(used, 1), (x, -1)], 0, None)
        if len(here) > 1:
            model.apart.append(tuple(Interval(start, size, x) for start, x, size, *_ in here))
            outside = min(h for *_, h, _ in here) + min(t for *_, t in here)
            work: Terms = [(x, -size) for _, x, size, *_ in here]
            model.add([(made.makespan, 1), (used, -outside), *work], 0, None)


def _money(made: Formulated, graph: TaskGraph) -> None:
    """Cost and energy, where they are asked for, and what budgets and the devices' memory allow."""
    model, problem = made.model, graph.problem
    stations = _stations(made, graph)
    memory: dict[int, Terms] = {}
    for station, literal in stations.items():
        each = problem.stations[station]
        memory.setdefault(each.pool, []).append((literal, each.memory_kb))
    for pool, terms in memory.items():
        model.add(terms, None, problem.pools[pool].memory_kb)
    asked = {o.kind for o in problem.objectives} | {b.of for b in problem.budgets}
    if "cost" in asked:
        made.sums["cost"] = _sum(made, graph, [p.price for p in problem.pools], "cost")
        for edge in graph.scenario.edges:
            made.sums["cost"] += _paid(made, graph, edge)
    if "energy" in asked:
        made.sums["energy"] = _sum(made, graph, [p.energy for p in problem.pools], "energy")
    for budget in problem.budgets:
        held: Terms = [term for pool in budget.pools for term in memory.get(pool, [])]
        model.add(held if budget.of == "memory" else made.sums[budget.of], None, budget.limit)


def _stations(made: Formulated, graph: TaskGraph) -> dict[int, int]:
    """By station that may be used, a literal that is true if it is."""
    users: dict[int, list[int]] = {}
    for i, ways in enumerate(graph.ways):
        for way, x in zip(ways, made.taken[i], strict=True):
            if x is not None:
                users.setdefault(graph.option(i, way).station, []).append(x)
    found: dict[int, int] = {}
    for station, of in users.items():
        found[station] = of[0] if len(of) == 1 else made.model.boolean()
        for x in of if len(of) > 1 else ():
            made.model.add([(found[station], 1), (x, -1)], 0, None)
    return found


def _sum(made: Formulated, graph: TaskGraph, of_pools: list[int], kind: Literal["cost", "energy"]) -> Terms:
    """What devices and options cost. A device that is bought in any case is paid once."""
    fixed = sum(each * pool.minimum for each, pool in zip(of_pools, graph.problem.pools, strict=True))
    terms: Terms = [(made.model.integer(1, 1), fixed)]
    terms += [(used, of_pools[p]) for p, used in made.used.items() if not graph.problem.pools[p].minimum]
    for i, ways in enumerate(graph.ways):
        for way, x in zip(ways, made.taken[i], strict=True):
            if x is not None:
                terms.append((x, getattr(graph.option(i, way), kind)))
    return terms


def _paid(made: Formulated, graph: TaskGraph, edge: Edge) -> Terms:
    """What a message costs: at least that of the way from where it is to where it goes, which both ends know."""
    ends = [
        made.at[e.step] if e.step >= 0 else {e.site: made.model.integer(1, 1)} for e in (edge.producer, edge.consumer)
    ]
    costs = {(p, q): way[1] for p in ends[0] for q in ends[1] if (way := graph.moved(edge, p, q)) and way[1]}
    if not costs:
        return []
    paid = made.model.integer(0, max(costs.values()))
    for p, x in ends[0].items():
        made.model.add([(paid, 1), *((y, -costs.get((p, q), 0)) for q, y in ends[1].items())], 0, None, when=x)
    return [(paid, 1)]
