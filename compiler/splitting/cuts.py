"""The cuts of a model that are worth trying, in order from its inputs: nested, few, and none beaten by another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from compiler.splitting.hull import Point, hull, point_of
from compiler.splitting.operators import Closed, Operators
from specs.tensors import TensorType

MOST: Final = 8
"""Each more is a task more for the solver, and as many segments more as there are cuts."""
WIDTH: Final = 3
"""Tensors that cross, of cuts that are on no minimum: more make the message, not the parts, the story."""
ALIKE: Final = 0.05
"""A cut that is no minimum is left out where one with fewer bytes has this share of the work or less between them."""


@dataclass(frozen=True, slots=True)
class Cut:
    """`tensors` cross; `before` is the share of the model's work that lies before them."""

    tensors: Mapping[str, TensorType]
    bytes: int
    before: float


def find_cuts(
    operators: Operators, seconds: Sequence[float], most: int = MOST, *, width: int | None = None
) -> tuple[Cut, ...]:
    """At most `most` cuts, by rising work before them; `seconds` is by operator.

    First those that are best at some speed of the network (`hull`), of any width, the ones best over the widest range
    of speeds before the others; then, where there is room, cuts of up to `WIDTH` tensors that are nested with them and
    not beaten: for constraints that a sum of times and bytes does not say, such as a device's memory. With `width`, at
    each at most so many tensors cross.
    """
    work = [max(1, round(s * 1e9)) for s in seconds]
    narrow = list(_narrow(operators, work, min(width or WIDTH, WIDTH)))
    corners = hull(operators, work) if width is None else _lower(operators, work, narrow)
    if not corners:
        return ()
    widest = max(corners[0].bytes, corners[-1].bytes)
    rest = sorted(
        (p for p in narrow if p.bytes <= widest), key=lambda p: (len(operators.crossing(p.closed)), p.bytes, p.work)
    )
    chosen = _by_range(corners)[:most]
    chosen = _with_others(chosen, rest, ALIKE * sum(work), most)
    total = sum(work)
    found: list[Cut] = []
    for point in sorted(chosen, key=lambda p: p.work):
        crossing = {t.name: t.type for t in operators.crossing(point.closed) if t.type is not None}
        found.append(Cut(crossing, point.bytes, point.work / total))
    return tuple(found)


def _with_others(chosen: Sequence[Point], others: Iterable[Point], near: float, most: int) -> list[Point]:
    """`chosen`, and of `others` in turn those that are nested with all before and not alike, up to `most`."""
    found = list(chosen)
    for point in others:
        if len(found) >= most:
            break
        nested = all(_nested(point.closed, other.closed) for other in found)
        beaten = any(o.bytes <= point.bytes and abs(o.work - point.work) < near for o in found)
        if nested and not beaten:
            found.append(point)
    return found


def _nested(a: Closed, b: Closed) -> bool:
    return a & b in (a, b)


def _by_range(corners: Sequence[Point]) -> list[Point]:
    """The inner vertices, those first that are best over the widest range of bytes a second (as a ratio)."""

    def slope(a: Point, b: Point) -> float:
        return (a.bytes - b.bytes) / (b.work - a.work)

    def decades(k: int) -> float:
        before, after = slope(corners[k - 1], corners[k]), slope(corners[k], corners[k + 1])
        return math.inf if before * after <= 0 else abs(math.log(abs(before)) - math.log(abs(after)))

    inner = range(1, len(corners) - 1)
    return [corners[k] for k in sorted(inner, key=lambda k: (-decades(k), corners[k].bytes))]


def _lower(operators: Operators, work: Sequence[int], points: Iterable[Point]) -> tuple[Point, ...]:
    """The lower convex hull of `points` and of the whole model on either side."""
    ends = (point_of(operators, work, 0), point_of(operators, work, operators.all))
    if ends[0] is None or ends[1] is None:
        return ()
    found: list[Point] = []
    for p in (ends[0], *sorted(points, key=lambda p: (p.work, p.bytes)), ends[1]):
        while len(found) > 1 and _above(found[-2], found[-1], p):
            found.pop()
        if not found or found[-1].work < p.work:
            found.append(p)
    return tuple(found)


def _above(a: Point, b: Point, c: Point) -> bool:
    """Whether `b` is on or above the line from `a` to `c`."""
    return (b.bytes - a.bytes) * (c.work - a.work) >= (c.bytes - a.bytes) * (b.work - a.work)


def _narrow(operators: Operators, work: Sequence[int], width: int) -> Iterator[Point]:
    """Closed sets from which at most `width` tensors cross: what each operator needs, and the prefixes of the order.

    They hold every cut at a single tensor on which all else rests.
    """
    prefixes = [(1 << i) - 1 for i in range(1, len(work))]
    for closed in dict.fromkeys((*operators.needs, *prefixes)):
        if closed != operators.all and len(operators.crossing(closed)) <= width:
            point = point_of(operators, work, closed)
            if point is not None:
                yield point
