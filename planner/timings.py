"""What each stage and each message of a layout waits for and takes, and what arrives at each queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import sqrt
from typing import NamedTuple

import numpy as np

from planner.batch_waits import waiting_in_batches
from planner.batching import BatchQueue
from planner.demand import Demand
from planner.distribution import POINTS, Grid, Reals, Transform, from_quantiles, independent_sum, normal
from planner.layout import FlowLayout, Layout, Leg
from planner.measured import hop_moments, moments
from planner.network import Passage
from planner.pipeline import Shape
from planner.queueing import NO_WAIT, ZERO, Moments, Wait, likeness, many_servers, single_server, utilisation
from planner.visits import visits
from specs.errors import InputError, Issue
from specs.retransmission import SEGMENT


class Arrival(NamedTuple):
    """A class of what arrives at a queue: how many a second, and its service as moments and equally likely values."""

    rate: float
    service: Moments
    values: Reals


@dataclass(frozen=True)
class Queue:
    """First come, first served: what arrives, how many servers there are, and how many requests each takes at once."""

    name: str
    servers: int
    arrivals: tuple[Arrival, ...]
    batch: int = 1

    @cached_property
    def load(self) -> float:
        """Utilisation of each server, of one that takes several requests at once by full batches."""
        return utilisation((rate, service) for rate, service, _ in self.arrivals) / (self.servers * self.batch)

    @cached_property
    def wait(self) -> Wait:
        """Raises InputError where the queue has no end."""
        if self.load >= 1:
            raise InputError(Issue(f"overloaded: {self.name} would be busy {self.load:.0%} of the time", None,
                                   "lower the rate, or give it more"))  # fmt: skip
        if not self.arrivals:
            return NO_WAIT
        if self.servers == 1 and self.batch == 1:
            return single_server((rate, service) for rate, service, _ in self.arrivals)
        return self._batches.wait if self.batch > 1 else many_servers(self._only.rate, self._only.service, self.servers)

    @property
    def _only(self) -> Arrival:
        (arrival,) = self.arrivals  # a queue of several servers, or of batches, serves one stage
        return arrival

    @property
    def _batches(self) -> BatchQueue:
        return BatchQueue(self._only.rate, self._only.service, self.servers, self.batch)

    def likeness(self, lag: float) -> float:
        """Correlation of a request's waits here where it comes back `lag` seconds later."""
        return likeness(lag, self.load, sum(rate * service.second for rate, service, _ in self.arrivals))

    def transform(self, grid: Grid) -> Transform:
        """Of the wait. With c servers: the M/G/1 wait for services of 1/c at the same load, kept with Erlang's C."""
        if self.batch > 1 and self.arrivals:
            return waiting_in_batches(grid, self._batches, self._only.values)
        total = sum(rate for rate, _, _ in self.arrivals)
        service = sum(
            (grid.transform(values / self.servers) * (rate / total) for rate, _, values in self.arrivals),
            start=np.zeros(grid.size + 1, dtype=np.complex128),
        )
        return grid.waiting(service, self.wait.busy, self.load)


@dataclass(frozen=True)
class Timing:
    """Waits at queues, and sums of equally likely values: a stage's visit or a message's transfer."""

    queues: tuple[str, ...]
    parts: tuple[Reals, ...]


@dataclass(frozen=True)
class Timings:
    """Of a layout under a demand. `queues` go by name, `stages` by index."""

    layout: Layout
    demand: Demand
    queues: dict[str, Queue] = field(init=False, default_factory=dict)
    stages: dict[int, Timing] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._stage_queues()
        self._link_queues()

    # Queues

    def rate(self, index: int) -> float:
        """Peak arrivals a second at one member's replicas of a stage."""
        return sum(self._flow_rate(of, index) for of in self.layout.flows if index in of.stages)

    def _flow_rate(self, of: FlowLayout, index: int) -> float:
        a = self.layout.stages[index].assignment
        return self.demand.at(of.flow, a.site) * of.pipeline.share(a.component)

    def _stage_queues(self) -> None:
        infra = self.layout.situation.infra.value
        for index, stage in enumerate(self.layout.stages):
            a = stage.assignment
            latency = stage.record.service
            values = from_quantiles(latency.points(), latency.mean)
            name = self.executor(index)
            if infra.hardware[a.hardware].sharing != "time":
                arrival = Arrival(self.rate(index), moments(stage.record), values)
                self.queues[name] = Queue(f"stage {stage.name} at {a.site}", a.replicas, (arrival,), a.batch)
            self.stages[index] = Timing((name,), (values,))
        for name, arrivals in self._visiting().items():
            stages = [s.name for i, s in enumerate(self.layout.stages) if self.executor(i) == name]
            self.queues[name] = Queue(f"{name} (stages {', '.join(stages)})", 1, tuple(arrivals))

    def executor(self, index: int) -> str:
        """The queue that a stage draws from."""
        stage = self.layout.stages[index]
        a = stage.assignment
        if self.layout.situation.infra.value.hardware[a.hardware].sharing == "time":
            return f"pool {a.pool} at {a.site}"
        return f"stage {stage.name} at {a.site}.{a.pool} ({index})"

    def _visiting(self) -> dict[str, list[Arrival]]:
        """What arrives at executors that serve several stages: visits, whose service is the sum of their stages'."""
        infra = self.layout.situation.infra.value
        found: dict[str, list[Arrival]] = {}
        for of in self.layout.flows:
            for shape in of.pipeline.shapes:
                for visit in self.visits(of, shape):
                    a = self.layout.stages[visit[0]].assignment
                    if infra.hardware[a.hardware].sharing == "time":
                        service = ZERO
                        for index in visit:
                            service = service.plus(moments(self.layout.stages[index].record))
                        values = independent_sum([self.stages[index].parts[0] for index in visit])
                        rate = self.demand.at(of.flow, a.site) * shape.probability
                        found.setdefault(self.executor(visit[0]), []).append(Arrival(rate, service, values))
        return found

    def waiting(self, grid: Grid, name: str) -> Transform:
        """Of the wait at a queue."""
        key = (grid.step, name)
        if key not in self._waiting_known:
            self._waiting_known[key] = self.queues[name].transform(grid)
        return self._waiting_known[key]

    @cached_property
    def _waiting_known(self) -> dict[tuple[float, str], Transform]:
        return {}

    def visits(self, of: FlowLayout, shape: Shape) -> tuple[tuple[int, ...], ...]:
        """As `planner.visits` says."""
        key = (of.flow.name, shape.runs)
        if key not in self._visits_known:
            self._visits_known[key] = visits(self.layout, of, shape)
        return self._visits_known[key]

    @cached_property
    def _visits_known(self) -> dict[tuple[str, frozenset[str]], tuple[tuple[int, ...], ...]]:
        return {}

    def stage(self, of: FlowLayout, shape: Shape, index: int) -> Timing:
        """Of a stage in requests of `shape`: it waits where it begins a visit."""
        timing = self.stages[index]
        return timing if any(v[0] == index for v in self.visits(of, shape)) else Timing((), timing.parts)

    def _link_queues(self) -> None:
        """Messages that leave a stage over one link at once arrive there as one, whose service is the sum."""
        arrivals: dict[str, list[Arrival]] = {}
        for of in self.layout.flows:
            for shape in of.pipeline.shapes:
                for passage, legs in _leaving([leg for leg, _ in of.sent(shape)]):
                    size = ZERO
                    for leg in legs:
                        size = size.plus(of.pipeline.size(leg.message))
                    values = independent_sum([self.bytes_of(of, leg) for leg in legs])
                    for name, rate, site in self.link_servers(passage):
                        requests = self.demand.at(of.flow, site) * shape.probability
                        arrivals.setdefault(name, []).append(Arrival(requests, size.scaled(1 / rate), values / rate))
        for name, arriving in arrivals.items():
            self.queues[name] = Queue(name, 1, tuple(arriving))

    def link_servers(self, passage: Passage) -> list[tuple[str, float, str]]:
        """(queue, bytes a second, the site each member of which has one) of one direction of a link."""
        network = self.layout.situation.network
        direction = network.direction(passage)
        name = f"link {passage.link} {passage.way}"
        found = [(name, direction.rate, network.finer_end(passage.link))]
        if direction.shared:
            found.append((f"{name} shared", direction.shared.rate, direction.shared.by))
        return found

    def bytes_of(self, of: FlowLayout, leg: Leg) -> Reals:
        """Equally likely sizes of a message."""
        sizes = of.pipeline.payloads(leg.message)
        return independent_sum(
            [from_quantiles([(float(p), b) for p, b in size.quantiles.items()], size.mean) for size in sizes]
        )

    def leg(self, of: FlowLayout, leg: Leg) -> Timing:
        """Waits and times of a message that crosses sites; nothing within one."""
        if not leg.route:
            return Timing((), ())
        network = self.layout.situation.network
        per_byte = 0.0
        parts: list[Reals] = []
        queues: list[str] = []
        for passage in leg.route:
            delay = network.link(passage).delay
            parts.append(normal(delay.mean, delay.jitter))
            for name, rate, _ in self.link_servers(passage):
                per_byte += 1 / rate
                queues.append(name)
        hop = hop_moments(self.layout.situation, of.pipeline.size(leg.message).mean)
        parts.append(self.bytes_of(of, leg) * per_byte)
        parts.append(normal(hop.mean, sqrt(hop.variance)))
        again = self.sent_again(of, leg)
        if again is not None:
            parts.append(again)
        return Timing(tuple(queues), tuple(parts))

    def sent_again(self, of: FlowLayout, leg: Leg) -> Reals | None:
        """Equally likely times that lost packets cost a message, taken as independent of the rest; None: nothing."""
        losing = self.layout.situation.network.losing(leg.route)
        if losing is None:
            return None
        if (of.flow.name, leg.name) not in self._again_known:
            packets, counts = np.unique(np.ceil(self.bytes_of(of, leg) / SEGMENT), return_counts=True)
            shares = counts / counts.sum()
            found = [
                (s, p * share)
                for n, share in zip(packets.tolist(), shares.tolist(), strict=True)
                for s, p in losing.delays(n * SEGMENT)
            ]
            self._again_known[of.flow.name, leg.name] = _equally_likely(found)
        return self._again_known[of.flow.name, leg.name]

    @cached_property
    def _again_known(self) -> dict[tuple[str, str], Reals]:
        return {}

    def behind(self, of: FlowLayout, leg: Leg, sent: Sequence[Leg]) -> list[Reals]:
        """Seconds that those messages take which leave with `leg`, before it, over the first links of its route.

        The slowest of the links that they have in common counts: further on they are apart.
        """
        found: list[Reals] = []
        for other in sent[: sent.index(leg)]:
            common = [
                a for a, b in zip(leg.route, other.route, strict=False) if a == b and leg.route[0] == other.route[0]
            ]
            if other.producer == leg.producer and common:
                slowest = min(rate for passage in common for _, rate, _ in self.link_servers(passage))
                found.append(self.bytes_of(of, other) / slowest)
        return found


def _equally_likely(outcomes: Sequence[tuple[float, float]]) -> Reals:
    """Values for (value, probability) pairs: by their quantiles, the largest so that the mean is kept."""
    ordered = sorted(outcomes)
    values, weights = (np.array(column) for column in zip(*ordered, strict=True))
    reached = np.cumsum(weights) / weights.sum()
    at = np.searchsorted(reached, (np.arange(POINTS) + 0.5) / POINTS)
    found: Reals = values[np.minimum(at, len(values) - 1)].astype(np.float64)
    lacking = float(values @ weights / weights.sum() - found.mean()) * POINTS
    found[-1] = max(0.0, found[-1] + lacking)
    return found


def _leaving(sent: Sequence[Leg]) -> list[tuple[Passage, list[Leg]]]:
    """Each passage with the legs that come to it at once: those of one stage over their first link."""
    first: dict[tuple[int, Passage], list[Leg]] = {}
    later: list[tuple[Passage, list[Leg]]] = []
    for leg in sent:
        if leg.route:
            first.setdefault((leg.producer, leg.route[0]), []).append(leg)
            later += [(passage, [leg]) for passage in leg.route[1:]]
    return [(passage, legs) for (_, passage), legs in first.items()] + later
