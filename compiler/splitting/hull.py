"""The best closed sets of any width: parametric minimum cuts (Gallo, Grigoriadis, Tarjan, SIAM J. Comput. 1989).

A closed set S of operators that run first costs work(S) at a price and the bytes that cross at another. Whatever the
two prices are, the least is at a vertex of the lower convex hull of the points (work, bytes) over all closed sets, and
one minimum cut finds the vertex for a pair of prices (the construction of DADS, Hu et al., INFOCOM 2019, for one).
Cuts for different prices are nested (the cost is submodular), so that the vertices are one chain: a model's best cuts
in order.

That is exact where one site runs all operators faster or slower than another by the same factor. Where factors differ
by operator, another set may be better; the segments that are chosen are measured all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compiler.splitting.operators import Closed, Operators, bits, size_of


@dataclass(frozen=True, slots=True)
class Point:
    """A closed set: the work of its operators (ns, at least 1 each) and the bytes that cross to the rest."""

    closed: Closed
    work: int
    bytes: int


def point_of(operators: Operators, work: Sequence[int], closed: Closed) -> Point | None:
    """None where something crosses that no message can carry."""
    size = size_of(operators.crossing(closed))
    return None if size is None else Point(closed, sum(work[i] for i in bits(closed)), size)


def hull(operators: Operators, work: Sequence[int]) -> tuple[Point, ...]:
    """The vertices by rising work, from nothing (the inputs cross) to all (the outputs do); none where these cannot be
    carried. `work` is positive, by operator.
    """
    first, last = point_of(operators, work, 0), point_of(operators, work, operators.all)
    if first is None or last is None or first.work == last.work:
        return ()
    return (first, *_between(operators, work, first, last), last)


def _between(operators: Operators, work: Sequence[int], a: Point, b: Point) -> tuple[Point, ...]:
    """The vertices strictly between two points of the hull."""
    price, per_byte = a.bytes - b.bytes, b.work - a.work
    found = _least(operators, work, price, per_byte)
    if price * found.work + per_byte * found.bytes >= price * a.work + per_byte * a.bytes:
        return ()
    left, right = _between(operators, work, a, found), _between(operators, work, found, b)
    straight = bool(left or right) and _collinear(left[-1] if left else a, found, right[0] if right else b)
    return (*left, *(() if straight else (found,)), *right)


def _collinear(a: Point, b: Point, c: Point) -> bool:
    return (b.bytes - a.bytes) * (c.work - b.work) == (c.bytes - b.bytes) * (b.work - a.work)


def _least(operators: Operators, work: Sequence[int], price: int, per_byte: int) -> Point:
    """The closed set with the least price * work + per_byte * bytes."""
    import networkx as nx

    graph: Any = nx.DiGraph()
    end = len(work)  # the model's outputs, which always run last
    graph.add_nodes_from([-1, end])
    for i, nanoseconds in enumerate(work):
        if price > 0:
            graph.add_edge(i, end, capacity=price * nanoseconds)
        elif price < 0:
            graph.add_edge(-1, i, capacity=-price * nanoseconds)
        graph.add_edges_from((i, j) for j in bits(operators.takes[i]))  # without capacity: never cut
    for number, tensor in enumerate(operators.tensors):
        if not tensor.readers:
            continue
        sent = end + 1 + number
        size = size_of((tensor,))
        graph.add_edge(tensor.producer, sent, **({} if size is None else {"capacity": per_byte * size}))
        graph.add_edges_from((sent, reader) for reader in bits(tensor.readers))
    _, (side, _) = nx.minimum_cut(graph, -1, end)
    closed = sum(1 << i for i in side if 0 <= i < end)
    found = point_of(operators, work, closed)
    assert found is not None  # a cut of finite capacity
    return found
