"""Requests of a plan played with the laws behind its profiles, as independently of what predicts as can be.

What a request does is read from the plan by the verifier's reading, which shares nothing with the solver, the
prediction or the simulator. Queues are played whole, one after the other in the order in which requests meet them:
first come, first served, by the recursion of Kiefer and Wolfowitz (Lindley's for one server). Where requests come back
to a queue, those in between are played again and again until nothing changes: what is sooner never hangs on what is
later, so that there is one answer. No formula for waits, no grid, no profile quantiles: services and sizes are drawn
from their laws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import networkx
import numpy as np
from numba import njit
from numpy.typing import NDArray

from planner.verification.reading import Flow, Message, Reading
from specs.plan import Plan
from tests.planner.dags import Dag
from tests.planner.laws import Reals

WARM_UP: Final = 0.05
"""Share of the requests that is not counted: the first find empty queues."""
MOST_SWEEPS: Final = 500
Flags = NDArray[np.bool_]


@njit(cache=True)
def _begins(ready: Reals, service: Reals, instance: NDArray[np.int64], free: Reals, begins: Reals) -> None:
    """When services begin that become ready in this order; `free[i, j]` is when server j of instance i is free."""
    for k in range(len(ready)):
        i = instance[k]
        j = 0
        for other in range(1, free.shape[1]):
            if free[i, other] < free[i, j]:
                j = other
        begins[k] = max(ready[k], free[i, j])
        free[i, j] = begins[k] + service[k]


def served(ready: Reals, service: Reals, instance: NDArray[np.int64], instances: int, servers: int) -> Reals:
    """When services begin that become ready at these times, in rising order; each instance has so many servers."""
    begins = np.empty(len(ready))
    _begins(ready, service, instance, np.full((instances, servers), -np.inf), begins)
    return begins


@dataclass(frozen=True)
class Use:
    """What requests ask of a queue: an assignment's run (`index`), or the passage of one link by a message."""

    queue: str
    site: str
    """Each member of it has such a queue."""
    what: int | Message
    hop: int = 0


@dataclass
class Player:
    """Plays `requests` requests of the plan's only flow; all that is drawn follows from `seed`."""

    world: Dag
    plan: Plan
    requests: int
    seed: int
    _done: dict[tuple[int | Message, int], Reals] = field(default_factory=dict)
    _drawn: dict[tuple[str, int | Message, int], Reals] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reading = Reading(self.world.situation, self.plan)
        (self.flow,) = self.reading.flows
        self.random = np.random.default_rng(self.seed)
        gaps = self.random.exponential(1 / (self.flow.peak * self.flow.members), self.requests)
        self.start: Reals = np.cumsum(gaps)
        self.member = self.random.integers(self.flow.members, size=self.requests)
        patterns = self.reading.patterns(self.flow)
        self.kinds = [way.runs for way in patterns]
        self.kind = self.random.choice(len(patterns), size=self.requests, p=list(patterns.values()))

    def times(self, to: str) -> Reals:
        """Seconds from the start to the end of the counted requests that reach the sink `to`, in order of arrival."""
        self._play()
        reached = self._where(lambda runs: self.reading.reaches(self.flow, runs, to))
        ends = self._last(m for m in self._messages if m.consumer == to)
        counted = reached & (np.arange(self.requests) >= WARM_UP * self.requests)
        return (ends - self.start)[counted]

    # Who sends what

    @cached_property
    def _messages(self) -> list[Message]:
        return self.reading.messages(self.flow)

    def _where(self, test: Callable[[frozenset[str]], bool]) -> Flags:
        """The requests whose branch pattern passes the test."""
        return np.array([test(runs) for runs in self.kinds])[self.kind]

    def _awaited(self, m: Message) -> Flags:
        """Both ends run; a sink always does."""
        flow = self.flow
        return self._where(lambda runs: _runs(flow, runs, m.from_component) and _runs(flow, runs, m.to_component))

    def _sent(self, m: Message) -> Flags:
        """Also where nobody waits: what a source or a gate's maker sends."""
        component = self.reading.app.components.get(m.to_component)
        gate = component.when if component is not None else None
        if m.from_component == self.flow.source or (gate is not None and gate.ref.producer == m.from_component):
            return self._where(lambda runs: _runs(self.flow, runs, m.from_component))
        return self._awaited(m)

    # When

    def _ready(self, use: Use) -> Reals:
        if isinstance(use.what, int):
            return self._last(m for m in self._messages if m.consumer == use.what)
        if use.hop:
            return self._passed(use.what, use.hop - 1)
        return self._made(use.what)

    def _made(self, m: Message) -> Reals:
        return self.start if isinstance(m.producer, str) else self._done[m.producer, 0]

    def _passed(self, m: Message, hop: int) -> Reals:
        """When the message is behind that link."""
        link, _ = self.reading.passed(m)[hop]
        delay = self.reading.infra.links[link].delay
        return self._done[m, hop] + self._once("delay", m, hop, lambda: self._normal(delay.mean, delay.jitter))

    def _normal(self, mean: float, deviation: float) -> Reals:
        """Cut off at 0."""
        return np.maximum(0.0, self.random.normal(mean, deviation, self.requests))

    def _once(self, kind: str, what: int | Message, hop: int, draw: Callable[[], Reals]) -> Reals:
        """The same whenever it is asked for."""
        key = (kind, what, hop)
        if key not in self._drawn:
            self._drawn[key] = draw()
        return self._drawn[key]

    def _last(self, into: Iterable[Message]) -> Reals:
        """When all awaited messages are there."""
        latest = np.full(self.requests, -np.inf)
        for m in into:
            there = self._made(m)
            if hops := self.reading.passed(m):
                there = self._passed(m, len(hops) - 1) + self._overhead(m)
            latest = np.maximum(latest, np.where(self._awaited(m), there, -np.inf))
        return latest

    def _overhead(self, m: Message) -> Reals:
        """Of a hop: normal, between those of the measured sizes around the message's."""
        known = sorted(self.world.situation.hops, key=lambda h: h.bytes)
        size = sum(self.world.sizes[v].mean for v in m.values)
        sizes = [h.bytes for h in known]
        mean = float(np.interp(size, sizes, [h.latency.mean for h in known]))
        second = float(np.interp(size, sizes, [h.latency.second for h in known]))
        return self._once("overhead", m, 0, lambda: self._normal(mean, (second - mean**2) ** 0.5))

    # Queues

    def _play(self) -> None:
        uses: dict[str, list[Use]] = {}
        for use in self._uses():
            uses.setdefault(use.queue, []).append(use)
        for queues in self._in_order(uses):
            if len(queues) == 1:
                self._serve(queues[0], uses[queues[0]])
            else:
                self._serve_in_turn({queue: uses[queue] for queue in queues})

    def _serve_in_turn(self, uses: dict[str, list[Use]]) -> None:
        """From no time at all to what does not change any more."""
        keys = [(use.what, use.hop) for found in uses.values() for use in found]
        self._done |= dict.fromkeys(keys, self.start)
        for _ in range(MOST_SWEEPS):
            before = [self._done[key] for key in keys]
            for queue, found in uses.items():
                self._serve(queue, found)
            if all(np.array_equal(self._done[key], old) for key, old in zip(keys, before, strict=True)):
                return
        raise AssertionError(f"no end after {MOST_SWEEPS} sweeps")

    def _uses(self) -> Iterable[Use]:
        for i, a in enumerate(self.plan.assignments):
            yield Use(self.reading.queue_of(i), a.site, i)
        for m in self._messages:
            for hop, (link, way) in enumerate(self.reading.passed(m)):
                ends = self.reading.infra.links[link].between
                yield Use(f"{link} {way}", max(ends, key=self.reading.members), m, hop)

    def _in_order(self, uses: dict[str, list[Use]]) -> list[list[str]]:
        """Queues, each after those that its requests come from; together where each comes after the other."""
        graph: Any = networkx.DiGraph()
        graph.add_nodes_from(uses)
        queue_of = {(use.what, use.hop): queue for queue, found in uses.items() for use in found}
        for queue, found in uses.items():
            for use in found:
                for before in self._before(use):
                    if before in queue_of:
                        graph.add_edge(queue_of[before], queue)
        groups: Any = networkx.condensation(graph)
        return [sorted(groups.nodes[g]["members"]) for g in networkx.topological_sort(groups)]

    def _before(self, use: Use) -> list[tuple[int | Message, int]]:
        """What must be done for it to be ready: runs, and the last passages of messages."""
        if isinstance(use.what, int):
            into = [m for m in self._messages if m.consumer == use.what]
            last = [(m, len(hops) - 1) for m in into if (hops := self.reading.passed(m))]
            return [*last, *((m.producer, 0) for m in into if isinstance(m.producer, int))]
        if use.hop:
            return [(use.what, use.hop - 1)]
        return [(use.what.producer, 0)] if isinstance(use.what.producer, int) else []

    def _serve(self, queue: str, uses: list[Use]) -> None:
        """All that comes to a queue's instances, in the order in which it comes; what comes at once, as sent."""
        which = [np.nonzero(self._asked(use))[0] for use in uses]
        ready = np.concatenate([self._ready(use)[rows] for use, rows in zip(uses, which, strict=True)])
        service = np.concatenate([self._service(use, len(rows)) for use, rows in zip(uses, which, strict=True)])
        instances = self.reading.members(uses[0].site)
        instance = self.member[np.concatenate(which)] * instances // self.flow.members
        order = np.argsort(ready, kind="stable")
        begins = served(ready[order], service[order], instance[order], instances, self.reading.servers(queue))
        ends = np.empty(len(ready))
        ends[order] = begins + service[order]
        first = 0
        for use, rows in zip(uses, which, strict=True):
            done = np.full(self.requests, -np.inf)
            done[rows] = ends[first : first + len(rows)]
            self._done[use.what, use.hop] = done
            first += len(rows)

    def _asked(self, use: Use) -> Flags:
        if isinstance(use.what, Message):
            return self._sent(use.what)
        component = self.plan.assignments[use.what].component
        return self._where(lambda runs: component in runs)

    def _service(self, use: Use, n: int) -> Reals:
        return self._once("service", use.what, use.hop, lambda: self._asking(use, n))

    def _asking(self, use: Use, n: int) -> Reals:
        """Seconds of service, drawn."""
        if isinstance(use.what, int):
            return self.world.services[self.plan.assignments[use.what].record].drawn(self.random, n)
        link, way = self.reading.passed(use.what)[use.hop]
        spec = self.reading.infra.links[link]
        side = spec.up if way == "up" else spec.down
        rate = spec.rate if side is None else side.rate
        assert rate is not None
        size: Reals = np.sum([self.world.sizes[v].drawn(self.random, n) for v in use.what.values], axis=0)
        return size / rate


def _runs(flow: Flow, runs: frozenset[str], name: str) -> bool:
    return name in runs or name not in flow.chains
