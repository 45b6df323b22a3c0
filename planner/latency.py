"""Predicted percentiles of a placement: sums, mixtures and joins of whole distributions, not of their moments.

Waits of different queues, services and transfers are taken as independent. At a join, what two branches have in
common up to their last common stage is shared; from there on branches are taken as independent. Where a request comes
back to a device, its waits there are alike to the extent that the time between them says. Messages that leave a stage
over one link at once pass it one behind the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import sqrt
from typing import Final, Literal, NamedTuple

import numpy as np

from planner.demand import Demand
from planner.distribution import Grid, Reals, Transform, from_quantiles, independent_sum, normal
from planner.formulation import limit_name
from planner.layout import FlowLayout, Layout, Leg
from planner.measured import hop_moments, moments
from planner.network import Passage
from planner.pipeline import Shape, paths_asked
from planner.queueing import NO_WAIT, ZERO, Moments, Wait, likeness, many_servers, single_server, utilisation
from planner.visits import in_order, visits
from specs.application import PathConstraint
from specs.errors import InputError, Issue
from specs.plan import PathPrediction, Percentiles, StagePrediction

QUANTILES: Final = (0.5, 0.95, 0.99)


class Arrival(NamedTuple):
    """A class of what arrives at a queue: how many a second, and its service as moments and equally likely values."""

    rate: float
    service: Moments
    values: Reals


@dataclass(frozen=True)
class Queue:
    """First come, first served: what arrives, and how many servers there are."""

    name: str
    servers: int
    arrivals: tuple[Arrival, ...]

    @cached_property
    def load(self) -> float:
        """Utilisation of each server."""
        return utilisation((rate, service) for rate, service, _ in self.arrivals) / self.servers

    @cached_property
    def wait(self) -> Wait:
        """Raises InputError where the queue has no end."""
        if self.load >= 1:
            raise InputError(Issue(f"overloaded: {self.name} would be busy {self.load:.0%} of the time", None,
                                   "lower the rate, or give it more"))  # fmt: skip
        if not self.arrivals:
            return NO_WAIT
        if self.servers == 1:
            return single_server((rate, service) for rate, service, _ in self.arrivals)
        rate = sum(r for r, _, _ in self.arrivals)
        (_, service, _), *others = self.arrivals
        assert not others, "a queue of several servers serves one stage"
        return many_servers(rate, service, self.servers)

    def transform(self, grid: Grid) -> Transform:
        """Of the wait. With c servers: the M/G/1 wait for services of 1/c at the same load, kept with Erlang's C."""
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


@dataclass
class Latency:
    """All predictions of a layout under a demand."""

    layout: Layout
    demand: Demand
    queues: dict[str, Queue] = field(default_factory=dict)
    stage_timing: dict[int, Timing] = field(default_factory=dict)

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
            latency = stage.record.latency
            values = from_quantiles(latency.points(), latency.mean)
            name = self.executor(index)
            if infra.hardware[a.hardware].sharing != "time":
                arrival = Arrival(self.rate(index), moments(stage.record), values)
                self.queues[name] = Queue(f"stage {stage.name} at {a.site}", a.replicas, (arrival,))
            self.stage_timing[index] = Timing((name,), (values,))
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
                for visit in self._visits(of, shape):
                    a = self.layout.stages[visit[0]].assignment
                    if infra.hardware[a.hardware].sharing == "time":
                        service = ZERO
                        for index in visit:
                            service = service.plus(moments(self.layout.stages[index].record))
                        values = independent_sum([self.stage_timing[index].parts[0] for index in visit])
                        rate = self.demand.at(of.flow, a.site) * shape.probability
                        found.setdefault(self.executor(visit[0]), []).append(Arrival(rate, service, values))
        return found

    def _visits(self, of: FlowLayout, shape: Shape) -> tuple[tuple[int, ...], ...]:
        key = (of.flow.name, shape.runs)
        if key not in self._visits_known:
            self._visits_known[key] = visits(self.layout, of, shape)
        return self._visits_known[key]

    @cached_property
    def _visits_known(self) -> dict[tuple[str, frozenset[str]], tuple[tuple[int, ...], ...]]:
        return {}

    def _timing(self, of: FlowLayout, shape: Shape, index: int) -> Timing:
        """Of a stage in requests of `shape`: it waits where it begins a visit."""
        timing = self.stage_timing[index]
        return timing if any(v[0] == index for v in self._visits(of, shape)) else Timing((), timing.parts)

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

    def leg_timing(self, of: FlowLayout, leg: Leg) -> Timing:
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
        return Timing(tuple(queues), tuple(parts))

    # Sums

    def _sum(self, grid: Grid, timing: Timing, kind: Literal["all", "wait", "service"] = "all") -> Transform:
        total = np.ones(grid.size + 1, dtype=np.complex128)
        if kind != "service":
            for name in timing.queues:
                total = total * self._waiting(grid, name)
        if kind != "wait":
            for values in timing.parts:
                total = total * grid.transform(values)
        return total

    def _waiting(self, grid: Grid, name: str) -> Transform:
        key = (grid.step, name)
        if key not in self._known:
            self._known[key] = self.queues[name].transform(grid)
        return self._known[key]

    @cached_property
    def _known(self) -> dict[tuple[float, str], Transform]:
        return {}

    def _horizon(self, timings: Sequence[Timing]) -> float:
        """Seconds that hardly any sum of all these times exceeds."""
        mean = variance = furthest = 0.0
        for timing in timings:
            for name in timing.queues:
                wait = self.queues[name].wait
                mean += wait.mean
                variance += wait.variance
            for values in timing.parts:
                mean += float(values.mean())
                variance += float(values.var())
                furthest = max(furthest, float(values.max()))
        return max(1e-6, mean + 14 * sqrt(variance), 1.5 * furthest)

    # Paths

    def finish(self, of: FlowLayout, shape: Shape, to: str, grid: Grid) -> Transform:
        """Of the time from a request's start to its end at `to`, in one branch pattern.

        Where requests come back to an executor, the distribution is one between that of independent waits and that of
        a wait that is the same each time.
        """
        independent, means = self._finish(of, shape, to, grid, {})
        back = self._returns(of, shape, means)
        if not back:
            return independent
        alike = sum(share for share, _ in back) / len(back)
        waits = {first: len(later) + 1 for _, (first, *later) in back} | {
            s: 0 for _, (_, *later) in back for s in later
        }
        together, _ = self._finish(of, shape, to, grid, waits)
        return alike * together + (1 - alike) * independent

    def _returns(self, of: FlowLayout, shape: Shape, means: dict[int, float]) -> list[tuple[float, list[int]]]:
        """The stages that begin visits to one executor, one after another, and how alike their waits are.

        `means` are mean times from a request's start to the end of a stage, for those on the way.
        """
        found: dict[str, list[int]] = {}
        for visit in self._visits(of, shape):
            if visit[0] in means and self.queues[self.executor(visit[0])].wait.mean > 0:
                found.setdefault(self.executor(visit[0]), []).append(visit[0])
        back: list[tuple[float, list[int]]] = []
        for name, stages in found.items():
            if len(stages) > 1:
                ready = sorted((means[s] - float(self.stage_timing[s].parts[0].mean()), s) for s in stages)
                lag = (ready[-1][0] - ready[0][0]) / (len(ready) - 1)
                queue = self.queues[name]
                work = sum(rate * service.second for rate, service, _ in queue.arrivals)
                back.append((likeness(lag, queue.load, work), [s for _, s in ready]))
        return back

    def _behind(self, of: FlowLayout, leg: Leg, sent: Sequence[Leg]) -> list[Reals]:
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

    def _finish(
        self, of: FlowLayout, shape: Shape, to: str, grid: Grid, waits: Mapping[int, int]
    ) -> tuple[Transform, dict[int, float]]:
        """As `finish`, where a stage in `waits` waits so many times what its queue says; and mean ends of stages."""
        sent = [leg for leg, _ in of.sent(shape)]
        end = self._end(of, to)
        into: dict[int, list[Leg]] = {}
        for leg, awaited in of.sent(shape):
            if awaited and (leg.consumer != -2 or leg.message.consumer.name == to):
                into.setdefault(leg.consumer, []).append(leg)
        order = [-1, *in_order(of, into), *([-2] if end == -2 else [])]
        above = self._ancestors(order, into)
        parent: dict[int, int] = {}
        since: dict[int, Transform] = {}

        def chain(node: int) -> list[int]:
            found = [node]
            while found[-1] != -1:
                found.append(parent[found[-1]])
            return found

        def between(top: int, node: int) -> Transform:
            total = np.ones(grid.size + 1, dtype=np.complex128)
            while node != top:
                total = total * since[node]
                node = parent[node]
            return total

        def transfer(leg: Leg) -> Transform:
            timing = self.leg_timing(of, leg)
            behind = self._behind(of, leg, sent) if leg.route else []
            return self._sum(grid, Timing(timing.queues, (*timing.parts, *behind)))

        for node in order[1:]:
            arriving = [
                leg for leg in into[node] if leg.route or not any(leg.producer in above[o.producer] for o in into[node])
            ]
            common = set.intersection(*(set(chain(leg.producer)) for leg in into[node]))
            parent[node] = next(n for n in chain(into[node][0].producer) if n in common)
            ways = [between(parent[node], leg.producer) * transfer(leg) for leg in arriving]
            since[node] = grid.slowest(ways)
            if node >= 0:
                timing = self._timing(of, shape, node)
                if node in waits:
                    waited = grid.times(self._sum(grid, timing, "wait"), waits[node])
                    since[node] = since[node] * waited * self._sum(grid, timing, "service")
                else:
                    since[node] = since[node] * self._sum(grid, timing)
        way = above[end] | {end}
        means = {node: grid.mean(between(-1, node)) for node in order[1:] if node >= 0 and node in way}
        return between(-1, end), means

    def _end(self, of: FlowLayout, to: str) -> int:
        if to not in of.flow.components:
            return -2
        return [s for s in of.stages if self.layout.stages[s].assignment.component == to][-1]

    @staticmethod
    def _ancestors(order: list[int], into: dict[int, list[Leg]]) -> dict[int, set[int]]:
        above: dict[int, set[int]] = {-1: set()}
        for node in order[1:]:
            above[node] = set().union(*({leg.producer} | above[leg.producer] for leg in into[node]))
        return above

    def paths(self) -> tuple[PathPrediction, ...]:
        """Of each flow, each path that constraints speak of, then one for each sink that none speaks of."""
        found: list[PathPrediction] = []
        for of in self.layout.flows:
            for constraint in paths_asked(self.layout.situation, of.flow):
                prediction = self._predict(of, constraint)
                if prediction:
                    found.append(prediction)
        return tuple(found)

    def _predict(self, of: FlowLayout, constraint: PathConstraint) -> PathPrediction | None:
        """None where no request takes that path."""
        shapes = of.pipeline.requests(constraint)
        if not shapes:
            return None
        grid = self._grid(of)
        mixed = sum(
            (self.finish(of, s, constraint.to, grid) * s.probability for s in shapes),
            start=np.zeros(grid.size + 1, dtype=np.complex128),
        )
        over = constraint.about
        return PathPrediction(
            flow=of.flow.name,
            **{"from": constraint.from_},
            to=constraint.to,
            over=over,
            predicted=_percentiles(grid, mixed),
            limit_ms={f"p{q * 100:.0f}": limit * 1e3 for q, limit in constraint.limits.items()},
        )

    def _grid(self, of: FlowLayout) -> Grid:
        timings = [self.stage_timing[s] for s in of.stages] + [self.leg_timing(of, leg) for leg in of.legs]
        return Grid(self._horizon(timings) / 8192)

    def stages(self) -> tuple[StagePrediction, ...]:
        """Every stage, and every message that crosses sites (once for flows that name it alike)."""
        found: list[StagePrediction] = []
        for index, stage in enumerate(self.layout.stages):
            site = stage.assignment.site
            every = sum(self.demand.at(of.flow, site) for of in self.layout.flows if index in of.stages)
            share = self.rate(index) / every if every > 0 else 0.0
            found.append(
                self._parts(stage.name, "stage", site, self.stage_timing[index], share, self._beginning(index))
            )
        named: dict[str, StagePrediction] = {}
        for of in self.layout.flows:
            for leg in of.legs:
                if leg.route:
                    where = f"{leg.start} -> {leg.end}"
                    timing = self.leg_timing(of, leg)
                    named.setdefault(
                        f"{leg.name} {where}", self._parts(leg.name, "transfer", where, timing, leg.message.share)
                    )
        return (*found, *named.values())

    def _beginning(self, index: int) -> float:
        """The share of a stage's runs that begin a visit, and so wait."""
        site = self.layout.stages[index].assignment.site
        begun = every = 0.0
        for of in self.layout.flows:
            for shape in of.pipeline.shapes:
                for visit in self._visits(of, shape):
                    rate = self.demand.at(of.flow, site) * shape.probability
                    every += rate * (index in visit)
                    begun += rate * (index == visit[0])
        return begun / every if every > 0 else 1.0

    def _parts(
        self,
        name: str,
        kind: Literal["stage", "transfer"],
        site: str,
        timing: Timing,
        share: float,
        waits_in: float = 1.0,
    ) -> StagePrediction:
        waits = Grid(self._horizon([Timing(timing.queues, ())]) / 2048, 2048)
        services = Grid(self._horizon([Timing((), timing.parts)]) / 2048, 2048)
        wait = _percentiles(waits, waits_in * self._sum(waits, timing, "wait") + (1 - waits_in))
        service = _percentiles(services, self._sum(services, timing, "service"))
        return StagePrediction(name=name, kind=kind, site=site, wait=wait, service=service, share=share)


def _leaving(sent: Sequence[Leg]) -> list[tuple[Passage, list[Leg]]]:
    """Each passage with the legs that come to it at once: those of one stage over their first link."""
    first: dict[tuple[int, Passage], list[Leg]] = {}
    later: list[tuple[Passage, list[Leg]]] = []
    for leg in sent:
        if leg.route:
            first.setdefault((leg.producer, leg.route[0]), []).append(leg)
            later += [(passage, [leg]) for passage in leg.route[1:]]
    return [(passage, legs) for (_, passage), legs in first.items()] + later


def _percentiles(grid: Grid, transform: Transform) -> Percentiles:
    p50, p95, p99 = grid.quantiles(transform, QUANTILES)
    return Percentiles(p50_ms=p50 * 1e3, p95_ms=p95 * 1e3, p99_ms=p99 * 1e3, mean_ms=grid.mean(transform) * 1e3)


def exceeded(latency: Latency, limits: tuple[PathPrediction, ...], corrected: Mapping[str, float]) -> dict[str, float]:
    """Limits that the predictions miss: name -> predicted seconds over the limit's. `corrected` ones replace those."""
    found: dict[str, float] = {}
    constraints = latency.layout.situation.app.value.constraints
    for name, constraint in constraints.items():
        if isinstance(constraint, PathConstraint):
            over = constraint.about
            for path in limits:
                if (path.from_, path.to, path.over) == (constraint.from_, constraint.to, over):
                    for q, limit in constraint.limits.items():
                        value = getattr(path.predicted, f"p{q * 100:.0f}_ms") / 1e3
                        full = limit_name(name, q)
                        most = corrected.get(full, limit)
                        if value > most:
                            found[full] = max(found.get(full, 0.0), value / most)
    return found
