"""Plays a schedule: each device runs its steps in order, each as soon as its messages are there and it is free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.problem import Edge
from planner.solver.scheduling.task_graph import TaskGraph, Way

Placed = Mapping[int, Way]
"""By step, the way that it runs."""
Orders = tuple[tuple[int, ...], ...]
"""By pool, the steps that its device runs, first to last."""


@dataclass(frozen=True, slots=True)
class Played:
    """When each step starts and ends, and when the last of them, or of the messages to sinks, is done (us)."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    makespan: int


def play(graph: TaskGraph, placed: Placed, orders: Orders) -> Played | None:
    """What happens if each step runs in its way of `placed`, and each device keeps to its order of `orders`.

    None where that cannot be: a message has no route, or the orders wait for each other in a circle.
    """
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    free = [0] * len(orders)
    turn = [0] * len(orders)
    moved = True
    while moved:
        moved = False
        for pool, order in enumerate(orders):
            while turn[pool] < len(order):
                step = order[turn[pool]]
                if any(e.producer.step >= 0 and e.producer.step not in ends for e in graph.into[step]):
                    break
                ready = ready_at(graph, step, placed[step].site, placed, ends)
                if ready is None:
                    return None
                starts[step] = max(ready, free[pool])
                ends[step] = free[pool] = starts[step] + placed[step].time_us
                turn[pool] += 1
                moved = True
    if len(ends) < len(graph.ways):
        return None
    makespan = max(ends.values(), default=0)
    for edge in graph.scenario.edges:
        if edge.consumer.step < 0:
            came = arrival(graph, edge, placed, ends, edge.consumer.site)
            if came is None:
                return None
            makespan = max(makespan, came)
    every = range(len(graph.ways))
    return Played(tuple(starts[i] for i in every), tuple(ends[i] for i in every), makespan)


def arrival(graph: TaskGraph, edge: Edge, placed: Placed, ends: Mapping[int, int], site: int) -> int | None:
    """When the message of `edge` is at `site`, once its producer has ended; None where it has no route."""
    p = edge.producer
    moved = graph.moved(edge, p.site if p.step < 0 else placed[p.step].site, site)
    return None if moved is None else moved[0] + (0 if p.step < 0 else ends[p.step])


def ready_at(graph: TaskGraph, step: int, site: int, placed: Placed, ends: Mapping[int, int]) -> int | None:
    """When all messages of `step` are at `site`; None where one has no route."""
    came = [arrival(graph, edge, placed, ends, site) for edge in graph.into[step]]
    return None if None in came else max((c for c in came if c is not None), default=0)


def orders_of(graph: TaskGraph, placed: Placed, starts: Mapping[int, int]) -> Orders:
    """By pool, the steps placed there by start; of those that start together, those that take no time come first."""
    place = {step: n for n, step in enumerate(graph.order)}
    ranked = sorted(placed, key=lambda i: (starts[i], starts[i] + placed[i].time_us, place[i]))
    return tuple(tuple(i for i in ranked if placed[i].pool == p) for p in range(len(graph.problem.pools)))
