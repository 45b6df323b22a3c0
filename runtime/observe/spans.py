"""A request's times as spans: one for each stage, with its wait and service, and one for each hop between members.

The times came home with the answer, so the member where the request entered knows them all, and nobody else exports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from runtime.hosting.request import Entry
from runtime.message import StageTime, TransferTime
from runtime.observe.requests import Ended
from runtime.topology import Topology

STAGE: Final = "tierplan.stage"
EDGE: Final = "tierplan.edge"
MEMBER: Final = "tierplan.member"
WAIT: Final = "tierplan.wait.duration"
SERVICE: Final = "tierplan.service.duration"
"""Both in seconds. OpenTelemetry has no names for these (semantic conventions 1.41)."""


@dataclass(frozen=True, slots=True)
class Span:
    """Under the request's own span. `begin` and `end` in seconds of CLOCK_MONOTONIC."""

    name: str
    begin: float
    end: float
    attributes: Mapping[str, str | float]


Producers = Mapping[tuple[str, str], str]
"""By (flow, edge): the stage or source that hands over, as it is called in times."""


def producers_of(top: Topology) -> dict[tuple[str, str], str]:
    """Of all edges."""
    return {(e.flow, e.name): e.name.rpartition(f" -> {_consumer(top, e.consumer)}")[0] for e in top.edges}


def _consumer(top: Topology, consumer: str) -> str:
    stage = top.stage_by_id.get(consumer)
    return stage.name if stage is not None else consumer


def spans_of(request: Ended, producers: Producers) -> Iterator[Span]:
    """In no order. A hop from the source has none where the request was sent again: it is not known when that was."""
    entry = request.entry
    stages = list(_by_clock_of(entry, request.ended))
    handed_over = {t.stage: t.ended for t in stages}
    if not entry.attempts:
        handed_over[entry.flow.partition("@")[0]] = entry.started
    for time_ in stages:
        yield _stage(time_)
    for hop in entry.trace.transfers:
        producer = producers.get((entry.flow, hop.edge), "")
        begin = handed_over.get(producer)
        if begin is not None:
            yield _hop(hop, begin)


def _by_clock_of(entry: Entry, ended: float) -> Iterator[StageTime]:
    """The times of its stages by the clock of the request's host. What another machine's clock says is moved so that it
    lies in the middle of the request, as a whole: where exactly is not known.
    """
    middle: dict[str, float] = {entry.clock: 0.0}
    for clock in {t.clock for t in entry.trace.stages} - {entry.clock}:
        mine = [t for t in entry.trace.stages if t.clock == clock]
        first, last = min(t.ended - t.service - t.wait for t in mine), max(t.ended for t in mine)
        middle[clock] = (entry.started + ended - first - last) / 2
    for time_ in entry.trace.stages:
        yield replace(time_, ended=time_.ended + middle[time_.clock])


def _stage(time_: StageTime) -> Span:
    begin = time_.ended - time_.service - time_.wait
    named: dict[str, str | float] = {STAGE: time_.stage, MEMBER: time_.member}
    return Span(time_.stage, begin, time_.ended, named | {WAIT: time_.wait, SERVICE: time_.service})


def _hop(hop: TransferTime, begin: float) -> Span:
    return Span(hop.edge, begin, begin + hop.seconds, {EDGE: hop.edge, MEMBER: hop.member, WAIT: hop.wait})
