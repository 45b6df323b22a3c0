"""HEFT with insertion: heterogeneous earliest finish time (Topcuoglu, Hariri and Wu 2002, IEEE TPDS 13(3), 260-274).

Steps are ranked by their upward rank, the longest mean time from them to the end; each in turn goes where it finishes
soonest, into a gap between those already there if one is wide enough.
"""

from __future__ import annotations

from itertools import pairwise

from planner.solver.scheduling.dispatch import Orders, Placed, orders_of, ready_at
from planner.solver.scheduling.task_graph import TaskGraph, Way


def heft(graph: TaskGraph) -> tuple[Placed, Orders] | None:
    """Where each step runs, and in which order; None where a step has no way left.

    HEFT looks at no price and no memory.
    """
    rank = upward_ranks(graph)
    place = {step: n for n, step in enumerate(graph.order)}
    placed: dict[int, Way] = {}
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for step in sorted(rank, key=lambda i: (-rank[i], place[i])):
        found: list[tuple[int, int, int, Way]] = []
        for n, way in enumerate(graph.ways[step]):
            ready = ready_at(graph, step, way.site, placed, ends)
            if ready is not None:
                there = sorted((starts[i], ends[i]) for i in placed if placed[i].pool == way.pool)
                start = _earliest(there, ready, way.time_us)
                found.append((start + way.time_us, n, start, way))
        if not found:
            return None
        ends[step], _, starts[step], placed[step] = min(found, key=lambda f: f[:2])
    return placed, orders_of(graph, placed, starts)


def upward_ranks(graph: TaskGraph) -> dict[int, float]:
    """By step, the longest time from its start to the end, each step and message taking the mean of its ways."""
    rank: dict[int, float] = {}
    for step in reversed(graph.order):
        after = [
            _mean_moved(graph, step, edge.consumer.step) + rank[edge.consumer.step]
            for edge in graph.out_of[step]
            if edge.consumer.step >= 0
        ]
        rank[step] = _mean([way.time_us for way in graph.ways[step]]) + max(after, default=0.0)
    return rank


def _mean_moved(graph: TaskGraph, step: int, after: int) -> float:
    """Of a message between two steps, over all devices that they may be on."""
    times = [
        moved[0]
        for edge in graph.out_of[step]
        if edge.consumer.step == after
        for a in graph.ways[step]
        for b in graph.ways[after]
        if (moved := graph.moved(edge, a.site, b.site)) is not None
    ]
    return _mean(times)


def _earliest(there: list[tuple[int, int]], ready: int, time_us: int) -> int:
    """The first time from `ready` on when a device that is busy `there` is free for so long."""
    if not there or ready + time_us <= there[0][0]:
        return ready
    for (_, left), (right, _) in pairwise(there):
        start = max(ready, left)
        if start + time_us <= right:
            return start
    return max(ready, there[-1][1])


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0
