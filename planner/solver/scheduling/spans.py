"""Bounds of when each way can start, and how long it takes from there to the end, if no device is ever busy."""

from __future__ import annotations

from dataclasses import dataclass

from planner.problem import Edge
from planner.solver.scheduling.task_graph import TaskGraph, Way

NEVER = 2**62
"""There is no such time."""


@dataclass(frozen=True, slots=True)
class Spans:
    """By step and way: `heads` is the least time before its start, `tails` that after its end (us, or NEVER)."""

    heads: tuple[tuple[int, ...], ...]
    tails: tuple[tuple[int, ...], ...]


def spans_of(graph: TaskGraph) -> Spans:
    heads: dict[int, tuple[int, ...]] = {}
    for step in graph.order:
        heads[step] = tuple(
            max((_came(graph, edge, way, heads) for edge in graph.into[step]), default=0) for way in graph.ways[step]
        )
    tails: dict[int, tuple[int, ...]] = {}
    for step in reversed(graph.order):
        tails[step] = tuple(
            max((_left(graph, edge, way, tails) for edge in graph.out_of[step]), default=0) for way in graph.ways[step]
        )
    every = range(len(graph.ways))
    return Spans(tuple(heads[i] for i in every), tuple(tails[i] for i in every))


def _came(graph: TaskGraph, edge: Edge, way: Way, heads: dict[int, tuple[int, ...]]) -> int:
    """The least time until the message is at the site of `way`."""
    p = edge.producer
    if p.step < 0:
        moved = graph.moved(edge, p.site, way.site)
        return NEVER if moved is None else moved[0]
    found = [
        head + other.time_us + moved[0]
        for other, head in zip(graph.ways[p.step], heads[p.step], strict=True)
        if (moved := graph.moved(edge, other.site, way.site)) is not None
    ]
    return min((NEVER, *found))


def _left(graph: TaskGraph, edge: Edge, way: Way, tails: dict[int, tuple[int, ...]]) -> int:
    """The least time from the end of `way` until what the message goes to is done."""
    c = edge.consumer
    if c.step < 0:
        moved = graph.moved(edge, way.site, c.site)
        return NEVER if moved is None else moved[0]
    found = [
        moved[0] + other.time_us + tail
        for other, tail in zip(graph.ways[c.step], tails[c.step], strict=True)
        if (moved := graph.moved(edge, way.site, other.site)) is not None
    ]
    return min((NEVER, *found))
