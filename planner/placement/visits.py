"""Visits: what an executor that serves all stages of its device does for a request in one go.

Such an executor (a pool whose hardware shares its `time`) goes on with the request it has while that request has a
stage ready there, and only then takes the request that waits longest. So neighbours on one device are one server whose
service is the sum; a request waits once for each visit, and the wait is that of an M/G/1 queue of visits.
"""

from __future__ import annotations

from planner.placement.layout import FlowLayout, Layout, Leg
from planner.placement.pipeline import Shape


def visits(layout: Layout, of: FlowLayout, shape: Shape) -> tuple[tuple[int, ...], ...]:
    """The stages that a request of `shape` runs, those of one visit together, in the order in which they run.

    A stage that runs per item runs for each in turn; one without items is passed by.
    A stage continues a visit if all that it takes comes from stages of that visit or from the source, without passing
    a link: then it is ready when they end. Any other stage, and each on reserved threads, is a visit of its own.
    """
    live = set(of.pipeline.live(shape))
    into: dict[int, list[Leg]] = {}
    for leg in of.legs:
        if of.pipeline.messages.index(leg.message) in live and leg.consumer >= 0:
            into.setdefault(leg.consumer, []).append(leg)
    groups: list[list[int]] = []
    group_of: dict[int, int] = {}
    absent = frozenset(s for s in of.stages if shape.times(layout.stages[s].assignment.component) == 0)
    for stage in (s for s in in_order(of, into) if s not in absent):
        before = _makers(stage, into, absent)
        continued = {group_of[p] for p in before or ()}
        if before and len(continued) == 1 and all(_neighbours(layout, p, stage) for p in before):
            group_of[stage] = continued.pop()
            groups[group_of[stage]].append(stage)
        else:
            group_of[stage] = len(groups)
            groups.append([stage])
    return tuple(tuple(group) for group in groups)


def _makers(stage: int, into: dict[int, list[Leg]], absent: frozenset[int]) -> set[int] | None:
    """The stages whose end makes `stage` ready, seen through those without items; None: something passes a link."""
    found: set[int] = set()
    for leg in into[stage]:
        before = _makers(leg.producer, into, absent) if leg.producer in absent else {leg.producer} - {-1}
        if leg.route or before is None:
            return None
        found |= before
    return found


def in_order(of: FlowLayout, into: dict[int, list[Leg]]) -> list[int]:
    """The stages of `of` that stand in `into`, each after what it takes from."""
    waiting = [s for s in of.stages if s in into]
    done: list[int] = []
    while waiting:
        ready = next(s for s in waiting if all(leg.producer in (-1, *done) for leg in into[s]))
        waiting.remove(ready)
        done.append(ready)
    return done


def _neighbours(layout: Layout, one: int, other: int) -> bool:
    """Whether one executor serves both."""
    a, b = layout.stages[one].assignment, layout.stages[other].assignment
    shares_time = layout.situation.infra.value.hardware[a.hardware].sharing == "time"
    return shares_time and (a.site, a.pool) == (b.site, b.pool)
