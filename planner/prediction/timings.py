"""What each stage and each message of a layout waits for and takes, and what arrives at each queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import combinations
from math import sqrt
from typing import Final, NamedTuple

import numpy as np

from planner.inputs.network import Passage
from planner.moments import ZERO, Moments
from planner.placement.demand import Demand
from planner.placement.layout import FlowLayout, Layout, Leg
from planner.placement.pipeline import Shape
from planner.placement.request_graph import RequestGraph, request_graph
from planner.placement.visits import visits
from planner.prediction.batch_waits import waiting_in_batches
from planner.prediction.batching import BatchQueue
from planner.prediction.distribution import POINTS, Grid, Reals, Transform, from_quantiles, independent_sum, normal
from planner.prediction.drawn import Drawn
from planner.prediction.fan_out_queue import Batches, Brought, FanOutQueue
from planner.prediction.measured import hop_moments, moments
from planner.prediction.meeting import Course, Meeting
from planner.prediction.patient_batches import PatientQueue
from planner.prediction.queueing import NO_WAIT, Wait, likeness, many_servers, single_server, utilisation
from planner.prediction.tandem import Tandem, counted, tandems_of
from specs.errors import InputError, Issue
from specs.retransmission import SEGMENT

_Key = tuple[str, frozenset[str], tuple[tuple[str, int], ...]]
"""A flow and a branch pattern."""
ROUNDS: Final = 3


class Arrival(NamedTuple):
    """A class of what arrives at a queue: how many a second, and its service as moments and equally likely values.

    Of `items` that arrive at once, both are of one.
    """

    rate: float
    service: Moments
    values: Reals
    items: int = 1


@dataclass(frozen=True)
class Queue:
    """First come, first served: what arrives, how many servers there are, and how many requests each takes at once.

    The oldest of a batch waits up to `patience` seconds for others. Where another queue feeds it, `played` says equally
    likely waits.
    """

    name: str
    servers: int
    arrivals: tuple[Arrival, ...]
    batch: int = 1
    patience: float = 0.0
    played: Callable[[], Reals] | None = None

    @cached_property
    def load(self) -> float:
        """Utilisation of each server, of one that takes several requests at once by full batches."""
        return utilisation((a.rate * a.items, a.service) for a in self.arrivals) / (self.servers * self.batch)

    @cached_property
    def wait(self) -> Wait:
        """Raises InputError where the queue has no end."""
        self._refuse_overload()
        if not self.arrivals:
            return NO_WAIT
        if self._played is not None:
            return wait_of(self._played)
        if self.servers == 1 and self.batch == 1:
            return single_server((a.rate, a.service) for a in self.arrivals)
        if self.fan_out is not None:
            return wait_of(self.fan_out.first)
        if self._patient is not None:
            return self._patient.wait
        return self._batches.wait if self.batch > 1 else many_servers(self._only.rate, self._only.service, self.servers)

    @property
    def _only(self) -> Arrival:
        (arrival,) = self.arrivals  # a queue of several servers, or of batches, serves one stage
        return arrival

    @property
    def _batches(self) -> BatchQueue:
        return BatchQueue(self._only.rate, self._only.service, self.servers, self.batch)

    @cached_property
    def _patient(self) -> PatientQueue | None:
        """Where batches wait for more than a server."""
        if self.batch == 1 or self.patience <= 0 or not self.arrivals or self.fan_out is not None:
            return None
        return PatientQueue(self._only.rate, self._only.values, self.servers, self.batch, self.patience)

    @cached_property
    def _played(self) -> Reals | None:
        """Equally likely waits where the queue is fed by another one."""
        return None if self.played is None else self.played()

    def _refuse_overload(self) -> None:
        if self.load >= 1:
            raise InputError(Issue(f"overloaded: {self.name} would be busy {self.load:.0%} of the time", None,
                                   "lower the rate, or give it more"))  # fmt: skip

    @cached_property
    def fan_out(self) -> FanOutQueue | None:
        """Where several items come at once to several servers, or to those of batches; else None. Raises as `wait`."""
        if (self.servers == 1 and self.batch == 1) or all(a.items == 1 for a in self.arrivals):
            return None
        self._refuse_overload()
        brought = tuple(Brought(a.rate, a.items, a.values) for a in self.arrivals)
        return FanOutQueue(self.servers, brought, Batches(self.batch, self.patience))

    def likeness(self, lag: float) -> float:
        """Correlation of a request's waits here where it comes back `lag` seconds later."""
        return likeness(lag, self.load, sum(a.rate * a.service.second for a in self.arrivals))

    def likenesses(self, n: int) -> tuple[Reals, Reals]:
        """`n` lags from 0 up to where nothing is alike any more, and `likeness` of each."""
        work = sum(a.rate * a.service.second for a in self.arrivals)
        last = 50 * work / (1 - self.load) ** 2 if self.load < 1 else 0.0
        lags: Reals = np.linspace(0, 1, n) ** 2 * (last or 1.0)
        return lags, np.array([self.likeness(float(lag)) for lag in lags])

    @cached_property
    def waits(self) -> Reals:
        """Equally likely waits. Raises as `wait` does."""
        if self.wait.mean <= 0:
            return np.zeros(1)
        if self._played is not None:
            return np.quantile(self._played, (np.arange(POINTS) + 0.5) / POINTS)
        if self._patient is not None:
            return self._patient.waits
        longest = max(float(a.values.max()) for a in self.arrivals)
        grid = Grid((self.wait.mean + 14 * sqrt(self.wait.variance) + longest) / POINTS, POINTS)
        below = np.cumsum(grid.masses(self.transform(grid)))
        return np.searchsorted(below, (np.arange(POINTS) + 0.5) / POINTS).astype(np.float64) * grid.step

    def transform(self, grid: Grid) -> Transform:
        """Of the wait. With c servers: the M/G/1 wait for services of 1/c at the same load, kept with Erlang's C."""
        if self._played is not None:
            return grid.transform(self._played)
        if self._patient is not None:
            return grid.transform(self._patient.waits)
        if self.fan_out is not None:
            return grid.transform(self.fan_out.first)
        if self.batch > 1 and self.arrivals:
            return waiting_in_batches(grid, self._batches, self._only.values)
        total = sum(a.rate for a in self.arrivals)
        service = sum(
            (grid.transform(a.values / self.servers) * (a.rate / total) for a in self.arrivals),
            start=np.zeros(grid.size + 1, dtype=np.complex128),
        )
        return grid.waiting(service, self.wait.busy, self.load)


def wait_of(waits: Reals) -> Wait:
    """Of equally likely waits."""
    return Wait(float((waits > 0).mean()), float(waits.mean()), float((waits**2).mean()))


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
        self._link_queues()
        self._stage_queues()
        self._executors()
        if all(queue.load < 1 for queue in self.queues.values()):
            self._tandems()

    # Queues

    def rate(self, index: int) -> float:
        """Peak arrivals a second at one member's replicas of a stage."""
        return sum(self._flow_rate(of, index) for of in self.layout.flows if index in of.stages)

    def _flow_rate(self, of: FlowLayout, index: int) -> float:
        a = self.layout.stages[index].assignment
        return self.demand.at(of.flow, a.site) * of.pipeline.runs(a.component)

    def _stage_queues(self) -> None:
        for index, stage in enumerate(self.layout.stages):
            a = stage.assignment
            latency = stage.record.service
            values = from_quantiles(latency.points(), latency.mean)
            name = self.executor(index)
            self.stages[index] = Timing((name,), (values,))
            if not self.shares_time(index):
                called, patience = f"stage {stage.name} at {a.site}", a.batch_wait_ms / 1e3
                self.queues[name] = Queue(called, a.replicas, self._arriving(index), a.batch, patience)

    def _executors(self) -> None:
        """Their queues. Where branches meet, who waits how long says which stages are one visit, and the other way
        round: from visits as if they did not meet, `ROUNDS` times. Where a queue has no end, nobody's wait is known.
        """
        self._queue_visits()
        meeting = [(of, shape) for of in self.layout.flows for shape in of.pipeline.shapes if self.meets(of, shape)]
        if any(queue.load >= 1 for queue in self.queues.values()):
            return
        for _ in range(ROUNDS if meeting else 0):
            self._courses.update({_key(of, shape): self._drawn_course(of, shape) for of, shape in meeting})
            self._queue_visits()

    def _queue_visits(self) -> None:
        for name, arrivals in self._visiting().items():
            stages = [s.name for i, s in enumerate(self.layout.stages) if self.executor(i) == name]
            self.queues[name] = Queue(f"{name} (stages {', '.join(stages)})", 1, tuple(arrivals))

    def _tandems(self) -> None:
        """Of queues to which all comes straight from one other, the waits are played."""
        for tandem in tandems_of(self):
            for name, feeder in tandem.feeders.items():
                self._tandem_of[name] = tandem
                if feeder is not None:
                    self.queues[name] = replace(self.queues[name], played=partial(tandem.waits, name))

    @cached_property
    def _tandem_of(self) -> dict[str, Tandem]:
        return {}

    def in_tandem(self, of: FlowLayout, shape: Shape, graph: RequestGraph) -> list[dict[int, Reals]]:
        """What requests of `shape` take in each tandem on their way to the end of `graph`, waits included, by the stage
        where it counts; those of one request at one index (a single value: of all).
        """
        if not self._tandem_of:
            return []
        names = {self.executor(visit[0]) for visit in self.visits(of, shape)}
        mine = {id(tandem): tandem for name, tandem in self._tandem_of.items() if name in names}
        return [counted(graph, tandem.times(self._numbers[_key(of, shape)])) for tandem in mine.values()]

    @cached_property
    def _numbers(self) -> dict[_Key, int]:
        """Of branch patterns among those of all flows."""
        keys = [_key(of, shape) for of in self.layout.flows for shape in of.pipeline.shapes]
        return {key: number for number, key in enumerate(keys)}

    def _arriving(self, index: int) -> tuple[Arrival, ...]:
        """What comes to a stage's own queue: requests by how many items each brings."""
        stage = self.layout.stages[index]
        a = stage.assignment
        rates: dict[int, float] = {}
        for of in (of for of in self.layout.flows if index in of.stages):
            for shape in of.pipeline.shapes:
                rate = self.demand.at(of.flow, a.site) * shape.probability
                items = shape.times(a.component)
                rates[items] = rates.get(items, 0.0) + rate
        service, (values,) = moments(stage.record), self.stages[index].parts
        if a.replicas > 1 or a.batch > 1:
            return tuple(Arrival(rate, service, values, n) for n, rate in sorted(rates.items()) if n)
        return tuple(Arrival(rate, service.times(n), self.together((index, n))) for n, rate in rates.items() if n)

    def together(self, *stages: tuple[int, int]) -> Reals:
        """Equally likely times of all of these (stage, how often), one after another."""
        if stages not in self._together_known:
            parts = [self.stages[index].parts[0] for index, n in stages for _ in range(n)]
            self._together_known[stages] = independent_sum(parts)
        return self._together_known[stages]

    @cached_property
    def _together_known(self) -> dict[tuple[tuple[int, int], ...], Reals]:
        return {}

    def executor(self, index: int) -> str:
        """The queue that a stage draws from."""
        stage = self.layout.stages[index]
        a = stage.assignment
        if self.shares_time(index):
            return f"pool {a.pool} at {a.site}"
        return f"stage {stage.name} at {a.site}.{a.pool} ({index})"

    def shares_time(self, index: int) -> bool:
        """Whether an executor serves the stage that serves others too."""
        hardware = self.layout.stages[index].assignment.hardware
        return self.layout.situation.infra.value.hardware[hardware].sharing == "time"

    def _visiting(self) -> dict[str, list[Arrival]]:
        """What arrives at executors that serve several stages: visits, whose service is the sum of their stages'."""
        found: dict[str, list[Arrival]] = {self.executor(i): [] for i in self.stages if self.shares_time(i)}
        for of in self.layout.flows:
            for shape in of.pipeline.shapes:
                course = self.course(of, shape)
                if course:
                    for name in course.executors:
                        found[name].append(self._met(of, shape, course.visits(name), name))
                for visit in self.visits(of, shape):
                    name = self.executor(visit[0])
                    if self.shares_time(visit[0]) and not (course and name in course.executors):
                        service = ZERO
                        for index, n in self._often(shape, visit):
                            service = service.plus(moments(self.layout.stages[index].record).times(n))
                        rate = self.requests(of, shape, visit[0])
                        found[name].append(Arrival(rate, service, self.served(shape, visit)))
        return found

    def served(self, shape: Shape, visit: Sequence[int]) -> Reals:
        """Equally likely times of all that a request of `shape` has done in one visit."""
        return self.together(*self._often(shape, visit))

    def _often(self, shape: Shape, visit: Sequence[int]) -> list[tuple[int, int]]:
        return [(i, shape.times(self.layout.stages[i].assignment.component)) for i in visit]

    def devices(self, index: int) -> int:
        """How many at one member have an executor each that serves the stage, among which requests are spread."""
        return self.layout.stages[index].assignment.replicas if self.shares_time(index) else 1

    def requests(self, of: FlowLayout, shape: Shape, index: int) -> float:
        """How many of `shape` come to one member's executor a second: requests that come by chance do so to each."""
        a = self.layout.stages[index].assignment
        return self.demand.at(of.flow, a.site) * shape.probability / self.devices(index)

    def _met(self, of: FlowLayout, shape: Shape, served: Reals, name: str) -> Arrival:
        """Visits of requests whose branches meet, which were served so long: of some requests there are several."""
        index = next(i for i in of.stages if self.executor(i) == name)
        rate = self.requests(of, shape, index) * len(served) / POINTS
        powers = (float((served**k).mean()) for k in (1, 2, 3))
        return Arrival(rate, Moments(*powers), served)

    # Branches that meet on an executor

    def meets(self, of: FlowLayout, shape: Shape) -> bool:
        """Whether one executor serves two stages of such a request of which neither waits for the other."""
        key = _key(of, shape)
        if key not in self._meets_known:
            several = self._several(of, shape)
            above = self.stages_graph(of, shape).above if several else {}
            pairs = (pair for stages in several.values() for pair in combinations(stages, 2))
            self._meets_known[key] = any(a not in above[b] and b not in above[a] for a, b in pairs)
        return self._meets_known[key]

    @cached_property
    def _meets_known(self) -> dict[_Key, bool]:
        return {}

    def course(self, of: FlowLayout, shape: Shape) -> Course | None:
        """Of requests whose branches meet on an executor; else None."""
        return self._courses.get(_key(of, shape))

    @cached_property
    def _courses(self) -> dict[_Key, Course]:
        return {}

    def met(self, of: FlowLayout, shape: Shape, graph: RequestGraph) -> Reals:
        """Equally likely times to the end of `graph` of requests whose branches meet on an executor."""
        return Meeting(Drawn(self, of, shape, graph), self._several(of, shape)).course().ends[graph.end]

    def _drawn_course(self, of: FlowLayout, shape: Shape) -> Course:
        drawn = Drawn(self, of, shape, self.stages_graph(of, shape), POINTS)
        return Meeting(drawn, self._several(of, shape)).course()

    def stages_graph(self, of: FlowLayout, shape: Shape) -> RequestGraph:
        return request_graph(of, shape, "", of.stages[-1])

    def _several(self, of: FlowLayout, shape: Shape) -> dict[str, tuple[int, ...]]:
        """Executors that serve several stages of such a request, without those that have no items."""
        found: dict[str, tuple[int, ...]] = {}
        for i in of.stages:
            if self.shares_time(i) and shape.times(self.layout.stages[i].assignment.component):
                found[self.executor(i)] = (*found.get(self.executor(i), ()), i)
        return {name: stages for name, stages in found.items() if len(stages) > 1}

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
        """As `planner.placement.visits` says."""
        key = _key(of, shape)
        if key not in self._visits_known:
            self._visits_known[key] = visits(self.layout, of, shape)
        return self._visits_known[key]

    @cached_property
    def _visits_known(self) -> dict[_Key, tuple[tuple[int, ...], ...]]:
        return {}

    def stage(self, of: FlowLayout, shape: Shape, index: int) -> Timing:
        """Of a stage in requests of `shape`: it waits where it begins a visit, and ends with the last of its items."""
        timing = self.stages[index]
        n = shape.times(self.layout.stages[index].assignment.component)
        if n == 0:
            return Timing((), ())
        fan_out = self.queues[self.executor(index)].fan_out
        if fan_out is not None:
            return Timing((), (self._last(index, n, fan_out),))
        waits = any(v[0] == index for v in self.visits(of, shape))
        return Timing(timing.queues if waits else (), (self.together((index, n)),))

    def _last(self, index: int, n: int, fan_out: FanOutQueue) -> Reals:
        if (index, n) not in self._last_known:
            self._last_known[index, n] = fan_out.last(n, self.stages[index].parts[0])
        return self._last_known[index, n]

    @cached_property
    def _last_known(self) -> dict[tuple[int, int], Reals]:
        return {}

    def _link_queues(self) -> None:
        """Messages that leave a stage over one link at once arrive there as one, whose service is the sum."""
        arrivals: dict[str, list[Arrival]] = {}
        for of in self.layout.flows:
            for shape in of.pipeline.shapes:
                for passage, legs in _leaving([leg for leg, _ in of.sent(shape)]):
                    size = ZERO
                    for leg in legs:
                        size = size.plus(self._size(of, leg, shape))
                    values = independent_sum([self.bytes_of(of, leg, shape) for leg in legs])
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

    def _size(self, of: FlowLayout, leg: Leg, shape: Shape) -> Moments:
        """Bytes of a message of requests of `shape`."""
        if not self.stacked(of, leg, shape):
            return of.pipeline.size(leg.message)
        values = self.bytes_of(of, leg, shape)
        return Moments(*(float((values**k).mean()) for k in (1, 2, 3)))

    def stacked(self, of: FlowLayout, leg: Leg, shape: Shape | None) -> Shape | None:
        """`shape`, where its requests' number of items says something of the size of a message."""
        known = shape is not None and any(
            of.pipeline.ranks(leg.message, v, shape) != (0.0, 1.0) for v in leg.message.values
        )
        return shape if known else None

    def bytes_of(self, of: FlowLayout, leg: Leg, shape: Shape | None = None) -> Reals:
        """Equally likely sizes of a message, of requests of `shape` or of all: of a stack those between the ranks of
        its number of items.
        """
        parts: list[Reals] = []
        stacked = self.stacked(of, leg, shape)
        for value, size in zip(leg.message.values, of.pipeline.payloads(leg.message), strict=True):
            sizes = from_quantiles([(float(p), b) for p, b in size.quantiles.items()], size.mean)
            if stacked is not None:
                first, last = of.pipeline.ranks(leg.message, value, stacked)
                ranks = first + (last - first) * (np.arange(POINTS) + 0.5) / POINTS
                sizes = np.sort(sizes)[(ranks * len(sizes)).astype(np.int64)]
            parts.append(sizes)
        return independent_sum(parts)

    def leg(self, of: FlowLayout, leg: Leg, shape: Shape | None = None) -> Timing:
        """Waits and times of a message that crosses sites, of requests of `shape` or of all; nothing within one."""
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
        parts.append(self.bytes_of(of, leg, shape) * per_byte)
        parts.append(normal(hop.mean, sqrt(hop.variance)))
        again = self.sent_again(of, leg, shape)
        if again is not None:
            parts.append(again)
        return Timing(tuple(queues), tuple(parts))

    def sent_again(self, of: FlowLayout, leg: Leg, shape: Shape | None = None) -> Reals | None:
        """Equally likely times that lost packets cost a message, taken as independent of the rest; None: nothing."""
        losing = self.layout.situation.network.losing(leg.route)
        if losing is None:
            return None
        stacked = self.stacked(of, leg, shape)
        key = (of.flow.name, leg.name, stacked.items if stacked else ())
        if key not in self._again_known:
            packets, counts = np.unique(np.ceil(self.bytes_of(of, leg, stacked) / SEGMENT), return_counts=True)
            shares = counts / counts.sum()
            found = [
                (s, p * share)
                for n, share in zip(packets.tolist(), shares.tolist(), strict=True)
                for s, p in losing.delays(n * SEGMENT)
            ]
            self._again_known[key] = _equally_likely(found)
        return self._again_known[key]

    @cached_property
    def _again_known(self) -> dict[tuple[str, str, tuple[tuple[str, int], ...]], Reals]:
        return {}

    def behind(self, of: FlowLayout, leg: Leg, sent: Sequence[Leg], shape: Shape) -> list[Reals]:
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
                found.append(self.bytes_of(of, other, shape) / slowest)
        return found


def _key(of: FlowLayout, shape: Shape) -> _Key:
    return of.flow.name, shape.runs, shape.items


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
