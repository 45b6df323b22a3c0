"""Discrete-event simulation of a placement: the discipline that is predicted and run, played request by request.

Every queue is first come, first served. A pool that shares its time has one executor, which goes on with the request it
has (`planner.visits`); on reserved threads each replica is a server of its stage's queue. A link holds a message for
its bytes over the rate, then the message travels on. Nothing is averaged: waits that follow from one another do so
here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property, partial
from heapq import heappop, heappush
from itertools import count
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.demand import Demand
from planner.distribution import Reals
from planner.formulate import hop_moments
from planner.latency import Latency
from planner.layout import FlowLayout, Layout, Leg
from planner.pipeline import Shape
from specs.run_result import Slice

WARM_UP: Final = 0.05
"""Share of the requests that come first and are not counted: they find empty queues."""

Member = tuple[str, int]
"""A class of sites, and which of its members."""


@dataclass(frozen=True)
class Simulated:
    """What happened to the counted requests of one flow; times in seconds.

    `ends` is, by sink or component, the time since the request's start, beside the number of its branch pattern.
    `waits` and `services` are by stage (an index of the layout) or leg (its name).
    """

    ends: dict[str, tuple[Reals, NDArray[np.int64]]]
    waits: dict[int | str, Reals]
    services: dict[int | str, Reals]

    def times(self, to: str, patterns: Collection[int]) -> Reals:
        """From the start to the end at `to` of the requests of these branch patterns."""
        seconds, of = self.ends[to]
        return seconds[np.isin(of, list(patterns))]


@dataclass(eq=False, slots=True)
class _Request:
    of: FlowLayout
    pattern: int
    member: int
    started: float
    counted: bool
    missing: dict[int | str, int] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        return self.of.pipeline.shapes[self.pattern]


@dataclass(slots=True)
class _Executor:
    """A queue and its idle servers."""

    idle: int
    waiting: deque[tuple[float, int, _Request | None]] = field(default_factory=deque)


@dataclass
class _Log:
    """Lists that become a Simulated."""

    ends: dict[str, tuple[list[float], list[int]]] = field(default_factory=dict)
    times: dict[int | str, tuple[list[float], list[float]]] = field(default_factory=dict)

    def end(self, node: str, seconds: float, pattern: int) -> None:
        found = self.ends.setdefault(node, ([], []))
        found[0].append(seconds)
        found[1].append(pattern)

    def took(self, what: int | str, wait: float, service: float) -> None:
        found = self.times.setdefault(what, ([], []))
        found[0].append(wait)
        found[1].append(service)

    def frozen(self) -> Simulated:
        return Simulated(
            {node: (np.asarray(t), np.asarray(p, np.int64)) for node, (t, p) in self.ends.items()},
            {what: np.asarray(wait) for what, (wait, _) in self.times.items()},
            {what: np.asarray(service) for what, (_, service) in self.times.items()},
        )


class Simulation:
    """Plays a placement under a demand; requests, and what a slice says of background, arrive by Poisson processes."""

    def __init__(self, layout: Layout, demand: Demand, seed: int) -> None:
        """Raises InputError where a queue has no end."""
        self._layout, self._demand = layout, demand
        self._latency = Latency(layout, demand)
        for queue in self._latency.queues.values():
            queue.wait  # noqa: B018 - raises
        self._random = np.random.default_rng(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._executors: dict[tuple[str, Member], _Executor] = {}
        self._free_at: dict[tuple[str, Member], float] = {}
        self._services = [
            _Draw(self._latency.stage_timing[i].parts[0], self._random) for i in range(len(layout.stages))
        ]
        self._draws: dict[tuple[str, str], _Draw] = {}
        infra = layout.situation.infra.value
        self._members = {site: infra.members(site) for site in infra.sites}
        self._logs = {of.flow.name: _Log() for of in layout.flows}

    def run(self, requests: int) -> dict[str, Simulated]:
        """Play `requests` requests in all. What happened, by flow."""
        flows = self._layout.flows
        rates = [self._demand.total(of.flow) for of in flows]
        seconds = requests / sum(rates)
        for of, rate in zip(flows, rates, strict=True):
            self._arrivals(of, rate, max(1, round(seconds * rate)))
            if self._demand.part is not None:
                self._background(of, self._demand.part, seconds)
        while self._events:
            now, _, happen = heappop(self._events)
            happen(now)
        return {name: log.frozen() for name, log in self._logs.items()}

    def _at(self, time: float, happen: Callable[[float], None]) -> None:
        heappush(self._events, (time, next(self._order), happen))

    def _arrivals(self, of: FlowLayout, rate: float, n: int) -> None:
        shapes = of.pipeline.shapes
        times = np.cumsum(self._random.exponential(1 / rate, n)).tolist()
        patterns = self._random.choice(len(shapes), n, p=[s.probability for s in shapes]).tolist()
        members = self._random.integers(self._demand.asking(of.flow), size=n).tolist()
        for number, (time, pattern, member) in enumerate(zip(times, patterns, members, strict=True)):
            request = _Request(of, pattern, member, time, number >= WARM_UP * n)
            self._at(time, partial(self._enter, request))

    # What members left out of a slice ask of what they share with the others

    def _background(self, of: FlowLayout, part: Slice, seconds: float) -> None:
        for site in part.background:
            if not self._layout.situation.network.settled(of.flow.site, site):
                continue
            rate = self._demand.at(of.flow, site) - self._demand.chosen_rate(of.flow, site)
            for member in range(part.members.get(site, 1)):
                for stage in of.stages:
                    a = self._layout.stages[stage].assignment
                    if a.site == site:
                        self._noise((site, member), stage, rate * of.pipeline.share(a.component), seconds)
                for leg in of.legs:
                    self._hum((site, member), of, leg, rate * leg.message.share, seconds)

    def _poisson(self, rate: float, seconds: float) -> list[float]:
        n = self._random.poisson(max(0.0, rate) * seconds)
        times: list[float] = np.sort(self._random.uniform(0, seconds, n)).tolist()
        return times

    def _noise(self, member: Member, stage: int, rate: float, seconds: float) -> None:
        """Single visits to one stage, of no request."""
        executor = self._executor(member, stage)
        for time in self._poisson(rate, seconds):
            self._at(time, partial(self._queue, executor, stage, None))

    def _hum(self, member: Member, of: FlowLayout, leg: Leg, rate: float, seconds: float) -> None:
        """Bytes over the links that belong to a member."""
        for passage in leg.route:
            for name, speed, site in self._latency.link_servers(passage):
                if site == member[0]:
                    for time in self._poisson(rate, seconds):
                        self._at(time, partial(self._load, of, leg, (name, member), speed))

    def _load(self, of: FlowLayout, leg: Leg, server: tuple[str, Member], speed: float, now: float) -> None:
        took = self._draw((of.flow.name, leg.name), lambda: self._latency.bytes_of(of, leg)) / speed
        self._free_at[server] = max(now, self._free_at.get(server, 0.0)) + took

    # A request's way

    def _live(self, request: _Request) -> dict[int | str, list[Leg]]:
        """The messages that pass, by the node that sends them."""
        key = (request.of.flow.name, request.shape.runs)
        if key not in self._ways:
            alive = set(request.of.pipeline.live(request.shape))
            found: dict[int | str, list[Leg]] = {}
            for leg in request.of.legs:
                if request.of.pipeline.messages.index(leg.message) in alive:
                    found.setdefault(leg.producer, []).append(leg)
            self._ways[key] = found
        return self._ways[key]

    @cached_property
    def _ways(self) -> dict[tuple[str, frozenset[str]], dict[int | str, list[Leg]]]:
        return {}

    def _enter(self, request: _Request, now: float) -> None:
        for legs in self._live(request).values():
            for leg in legs:
                node = _receiver(leg)
                request.missing[node] = request.missing.get(node, 0) + 1
        self._leave(request, -1, now)

    def _leave(self, request: _Request, node: int, now: float) -> None:
        for leg in self._live(request).get(node, ()):
            self._travel(request, leg, now)

    def _travel(self, request: _Request, leg: Leg, now: float) -> None:
        """Carry a message over the servers of its route one after another."""
        if not leg.route:
            self._arrive(request, _receiver(leg), now)
            return
        size = self._draw((request.of.flow.name, leg.name), lambda: self._latency.bytes_of(request.of, leg))
        steps = self._steps(request, leg, size)

        def forward(at: float, step: int, waited: float) -> None:
            if step == len(steps):
                if request.counted:
                    self._log(request).took(leg.name, waited, at - now - waited)
                self._arrive(request, _receiver(leg), at)
                return
            server, took = steps[step]
            begin = at
            if server is not None:
                begin = max(at, self._free_at.get(server, 0.0))
                self._free_at[server] = begin + took
            self._at(begin + took, lambda then: forward(then, step + 1, waited + begin - at))

        forward(now, 0, 0.0)

    def _steps(self, request: _Request, leg: Leg, size: float) -> list[tuple[tuple[str, Member] | None, float]]:
        """(server or None, seconds that it is held) along a route; what holds nothing is a delay."""
        network = self._layout.situation.network
        steps: list[tuple[tuple[str, Member] | None, float]] = []
        for passage in leg.route:
            for name, rate, site in self._latency.link_servers(passage):
                steps.append(((name, self._member(request, site)), size / rate))
            delay = network.link(passage).delay
            steps.append((None, self._normal(delay.mean, delay.jitter)))
        hop = hop_moments(self._layout.situation, request.of.pipeline.size(leg.message).mean)
        steps.append((None, self._normal(hop.mean, sqrt(hop.variance))))
        return steps

    def _normal(self, mean: float, deviation: float) -> float:
        return max(0.0, float(self._random.normal(mean, deviation)))

    def _arrive(self, request: _Request, node: int | str, now: float) -> None:
        request.missing[node] -= 1
        if request.missing[node]:
            return
        if isinstance(node, str):
            if request.counted:
                self._log(request).end(node, now - request.started, request.pattern)
            return
        member = self._member(request, self._layout.stages[node].assignment.site)
        self._queue(self._executor(member, node), node, request, now)

    def _queue(self, executor: _Executor, stage: int, request: _Request | None, now: float) -> None:
        executor.waiting.append((now, stage, request))
        if executor.idle:
            executor.idle -= 1
            self._serve(executor, None, now)

    def _serve(self, executor: _Executor, last: _Request | None, now: float) -> None:
        """One server takes what comes next: more of its `last` request, else the oldest."""
        place = next((i for i, (_, _, r) in enumerate(executor.waiting) if last is not None and r is last), 0)
        ready, stage, request = executor.waiting[place]
        del executor.waiting[place]
        service = self._services[stage]()
        if request is not None and request.counted:
            self._log(request).took(stage, now - ready, service)

        def end(then: float) -> None:
            if request is not None:
                self._end_stage(request, stage, then)
            if executor.waiting:
                self._serve(executor, request, then)
            else:
                executor.idle += 1

        self._at(now + service, end)

    def _end_stage(self, request: _Request, stage: int, now: float) -> None:
        a = self._layout.stages[stage].assignment
        if request.counted and not a.segment.end:
            self._log(request).end(a.component, now - request.started, request.pattern)
        self._leave(request, stage, now)

    def _log(self, request: _Request) -> _Log:
        return self._logs[request.of.flow.name]

    # Where things are

    def _member(self, request: _Request, site: str) -> Member:
        """The member of a class of sites that serves a request's origin."""
        flow = request.of.flow
        return site, request.member * self._members[site] // flow.members

    def _executor(self, member: Member, stage: int) -> _Executor:
        name = self._latency.executor(stage)
        if (name, member) not in self._executors:
            self._executors[name, member] = _Executor(self._latency.queues[name].servers)
        return self._executors[name, member]

    def _draw(self, key: tuple[str, str], values: Callable[[], Reals]) -> float:
        if key not in self._draws:
            self._draws[key] = _Draw(values(), self._random)
        return self._draws[key]()


class _Draw:
    """Draws from equally likely values, many at once."""

    def __init__(self, values: Reals, random: np.random.Generator) -> None:
        self._values, self._random = values, random
        self._drawn: list[float] = []

    def __call__(self) -> float:
        if not self._drawn:
            self._drawn = self._random.choice(self._values, 4096).tolist()
        return self._drawn.pop()


def _receiver(leg: Leg) -> int | str:
    return leg.message.consumer.name if leg.consumer == -2 else leg.consumer
