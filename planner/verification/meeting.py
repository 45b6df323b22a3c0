"""Requests whose branches meet on an executor, served by it again and again until nothing changes.

What is sooner never hangs on what is later, so that there is one answer. Within a request an executor takes what is
ready first; it waits for other requests only where it has nothing of its own to go on with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx
import numpy as np
from numpy.typing import NDArray

from planner.verification.reading import Flow, Message, Pattern, Reading

Sample = NDArray[np.float64]
Flags = NDArray[np.bool_]


def shared_queues(reading: Reading, flow: Flow, way: Pattern) -> dict[str, list[int]]:
    """Executors with several stages of such a request, in the order in which what they take is sent; none unless on
    one of them are two of which neither comes after the other.
    """
    graph: Any = networkx.DiGraph()
    first: dict[int, int] = {}
    for position, m in enumerate(awaited(reading, flow, way)):
        graph.add_edge(m.producer, m.consumer)
        if isinstance(m.consumer, int):
            first.setdefault(m.consumer, position)
    found: dict[str, list[int]] = {}
    for component, chain in flow.chains.items():
        for i in chain if way.often(component) else ():
            if reading.queue_of(i).startswith("pool"):
                found.setdefault(reading.queue_of(i), []).append(i)
    several = {queue: sorted(stages, key=lambda i: first[i]) for queue, stages in found.items() if len(stages) > 1}
    for stages in several.values():
        for i in stages:
            after = networkx.descendants(graph, i) | networkx.ancestors(graph, i) | {i}
            if not after.issuperset(stages):
                return several
    return {}


def awaited(reading: Reading, flow: Flow, way: Pattern) -> list[Message]:
    """The messages for which somebody waits."""

    def live(component: str) -> bool:
        return component in way.runs or component not in flow.chains

    return [m for m in reading.messages(flow) if live(m.from_component) and live(m.to_component)]


@dataclass
class Replay:
    """By stage of one executor, rows of requests: services, waits of a visit that it begins, a chance between 0 and 1
    that says whether the request waits as it did before, and how likely that is after how long.
    """

    stages: Sequence[int]
    service: Sample
    fresh: Sample
    chance: Sample
    alike: Callable[[Sample], Sample]
    started: Sample = field(init=False)
    begins: Flags = field(init=False)
    visit: Sample = field(init=False)
    """The service of the visit that a stage begins; 0 where it begins none."""

    def serve(self, ready: Sample) -> Sample:
        """When each stage ends, where they are `ready` at these times (infinite: not known yet)."""
        columns = np.arange(ready.shape[1])
        order = np.argsort(ready, axis=0, kind="stable")
        ends = np.full_like(ready, np.inf)
        self.started = np.full_like(ready, np.inf)
        self.begins = np.zeros(ready.shape, dtype=np.bool_)
        self.visit = np.zeros_like(ready)
        free = np.full(ready.shape[1], -1.0)
        came = np.full(ready.shape[1], -np.inf)
        waited = np.zeros(ready.shape[1])
        head = order[0]
        for stage in order:
            at = ready[stage, columns]
            new = at > free
            known = np.isfinite(at)
            lag = np.where(known, at, 0.0) - came
            wait = np.where(self.chance[stage, columns] < self.alike(lag), waited, self.fresh[stage, columns])
            start = np.where(new, at + wait, free)
            head = np.where(new, stage, head)
            came, waited = np.where(new, at, came), np.where(new, wait, waited)
            free = np.where(known, start + self.service[stage, columns], np.inf)
            ends[stage, columns] = free
            self.started[stage, columns] = start
            self.begins[stage, columns] = new
            self.visit[head, columns] += self.service[stage, columns]
        return ends


@dataclass(frozen=True)
class Replayed:
    """`ends` by node; by executor the services of its visits; `waits` by stage, from when it is ready."""

    ends: Mapping[int | str, Sample]
    visits: Mapping[str, Sample]
    waits: Mapping[int, Sample]


def replayed(
    order: Sequence[int | str],
    into: Mapping[int | str, Sequence[tuple[int | str, Sample]]],
    taken: Mapping[int | str, Sample],
    executors: Mapping[str, Replay],
    start: tuple[str, Sample],
) -> Replayed:
    """`into` has for each node of `order` its (producer, transfer), `taken` what nodes without a shared executor take,
    and `start` is the source.
    """
    shared = {i: (queue, row) for queue, replay in executors.items() for row, i in enumerate(replay.stages)}
    done = {i: np.full_like(start[1], np.inf) for i in shared}
    while True:
        ends: dict[int | str, Sample] = {start[0]: start[1]}
        ready: dict[int | str, Sample] = {}
        for node in order:
            ready[node] = np.max([ends[producer] + transfer for producer, transfer in into[node]], axis=0)
            here = isinstance(node, int) and node in shared
            ends[node] = done[node] if isinstance(node, int) and here else ready[node] + taken.get(node, 0.0)
        served = {queue: each.serve(np.array([ready[i] for i in each.stages])) for queue, each in executors.items()}
        now = {i: served[queue][row] for i, (queue, row) in shared.items()}
        if all(np.array_equal(now[i], done[i]) for i in shared):
            break
        done = now
    visits = {queue: each.visit[each.begins] for queue, each in executors.items()}
    waits = {i: executors[queue].started[row] - ready[i] for i, (queue, row) in shared.items()}
    return Replayed(ends, visits, waits)
