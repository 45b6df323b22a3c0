"""Branches of one request that meet on an executor: it serves them one after the other, and they wait for each other.

Requests are drawn (`planner.prediction.drawn`). An executor goes on with the request that it has while that request has
a stage ready, the one first that was ready first. So a stage that is ready while its request is served or waits there
begins when those before it end; any other begins a visit, and waits for those of other requests. Which stages make a
visit differs from request to request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.placement.request_graph import SOURCE, RequestGraph
from planner.prediction.distribution import Reals
from planner.prediction.drawn import Drawn

LAGS: Final = 256
"""Times between visits for which it is computed how alike their waits are; others lie between."""


@dataclass(frozen=True)
class Course:
    """Of drawn requests: when nodes end, and by stage of `executors` how long it is ready before it begins, whether
    it begins a visit, and how long the visit that it begins is served (seconds).
    """

    ends: Mapping[int, Reals]
    executors: Mapping[str, tuple[int, ...]]
    waits: Mapping[int, Reals]
    begins: Mapping[int, NDArray[np.bool_]]
    served: Mapping[int, Reals]

    def visits(self, executor: str) -> Reals:
        """Seconds of service of each visit there."""
        return np.concatenate([self.served[s][self.begins[s]] for s in self.executors[executor]])


@dataclass
class Meeting:
    """`executors` are those with several stages of such requests, by name."""

    drawn: Drawn
    executors: Mapping[str, tuple[int, ...]]

    def course(self) -> Course:
        """One stage of each request after the other, the one first that begins first."""
        state = _State(self)
        ends: dict[int, Reals] = {}
        for _ in state.stages:
            ends = self._ends(state)
            state.begin_next(np.array([self.drawn.ready(s, ends) for s in state.stages]))
        ends = self._ends(state)
        waits = {s: state.started[k] - self.drawn.ready(s, ends) for k, s in enumerate(state.stages)}
        begins = {s: state.begins[k] for k, s in enumerate(state.stages)}
        served = {s: state.served[k] for k, s in enumerate(state.stages)}
        return Course(ends, self.executors, waits, begins, served)

    @property
    def graph(self) -> RequestGraph:
        return self.drawn.graph

    def _ends(self, state: _State) -> dict[int, Reals]:
        """When nodes end; infinite where that hangs on a stage that did not begin yet."""
        ends: dict[int, Reals] = {SOURCE: np.zeros(self.drawn.count)}
        for node in self.graph.order:
            if node in state.row:
                ends[node] = state.ended[state.row[node]]
            else:
                ends[node] = self.drawn.ready(node, ends) + self._taken.get(node, 0.0)
        return ends

    @cached_property
    def _taken(self) -> dict[int, Reals]:
        """Waits and services of the other stages."""
        found: dict[int, Reals] = {}
        here = {stage for stages in self.executors.values() for stage in stages}
        for node in (n for n in self.graph.order if n >= 0 and n not in here):
            timing = self.drawn.timings.stage(self.drawn.of, self.drawn.shape, node)
            found[node] = np.zeros(self.drawn.count)
            for values in timing.parts:
                found[node] = found[node] + self.drawn.shuffled(values)
            for name in timing.queues:
                found[node] = found[node] + self.drawn.fresh(name)
        return found


class _State:
    """Arrays by stage (or executor) and request. Stages stand in the order in which those ready at once are queued."""

    def __init__(self, meeting: Meeting) -> None:
        drawn, graph = meeting.drawn, meeting.graph
        sent = {leg.consumer: i for i, leg in reversed(list(enumerate(graph.sent)))}
        named = [(s, name) for name, stages in meeting.executors.items() for s in stages]
        named.sort(key=lambda each: sent[each[0]])
        self.stages = [s for s, _ in named]
        self.row = {s: k for k, s in enumerate(self.stages)}
        names = list(meeting.executors)
        self.executor = np.array([names.index(name) for _, name in named])
        shape = (len(named), drawn.count)
        self.service = np.zeros(shape)
        for k, s in enumerate(self.stages):
            for values in drawn.timings.stage(drawn.of, drawn.shape, s).parts:
                self.service[k] += drawn.shuffled(values)
        self.fresh = np.array([drawn.fresh(name) for _, name in named])
        self.chance = drawn.random.random(shape)
        self.started = np.full(shape, np.inf)
        self.ended = np.full(shape, np.inf)
        self.begins = np.zeros(shape, dtype=np.bool_)
        self.served = np.zeros(shape)
        queues = [drawn.timings.queues[name] for name in names]
        self.likeness = [q.likenesses(LAGS) for q in queues]
        self.every = np.arange(drawn.count)
        self.free = np.full((len(names), drawn.count), -np.inf)
        self.came = np.full_like(self.free, -np.inf)
        self.waited = np.zeros_like(self.free)
        self.head = np.zeros(self.free.shape, dtype=np.int64)

    def begin_next(self, ready: Reals) -> None:
        """Of each request, begin the stage that can begin first; `ready` is infinite where it is not known yet."""
        every = self.every
        ready = np.where(np.isinf(self.ended), ready, np.inf)
        begin = np.full_like(ready, np.inf)
        waits = np.zeros_like(ready)
        goes_on = np.zeros(ready.shape, dtype=np.bool_)
        for e in range(len(self.free)):
            rows = np.flatnonzero(self.executor == e)
            first = rows[np.argmin(ready[rows], axis=0)]
            at = ready[first, every]
            goes_on[first, every] = at <= self.free[e]
            waits[first, every] = self._waits(e, first, at)
            begin[first, every] = np.where(at <= self.free[e], self.free[e], at + waits[first, every])
        stage = np.argmin(begin, axis=0)
        e, on = self.executor[stage], goes_on[stage, every]
        self.head[e, every] = np.where(on, self.head[e, every], stage)
        self.came[e, every] = np.where(on, self.came[e, every], ready[stage, every])
        self.waited[e, every] = np.where(on, self.waited[e, every], waits[stage, every])
        self.started[stage, every] = begin[stage, every]
        self.ended[stage, every] = self.free[e, every] = begin[stage, every] + self.service[stage, every]
        self.begins[stage, every] = ~on
        self.served[self.head[e, every], every] += self.service[stage, every]

    def _waits(self, e: int, first: NDArray[np.int64], at: Reals) -> Reals:
        """Of visits that come at those times: what it was at the visit before, as often as waits are still alike."""
        every = self.every
        lags, alike = self.likeness[e]
        chance = np.interp(at - self.came[e], lags, alike, right=0.0)
        again: Reals = np.where(self.chance[first, every] < chance, self.waited[e], self.fresh[first, every])
        return again
