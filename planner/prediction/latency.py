"""Predicted percentiles of a placement: sums, mixtures and joins of whole distributions, not of their moments.

Waits of different queues, services and transfers are taken as independent. At a join, what all ways have in common is
shared; where some have more in common than others, requests are drawn instead (`planner.prediction.drawn`). Where a
request comes back to a device, its waits there are alike to the extent that the time between them says. Messages that
leave a stage over one link at once wait for it together and pass it one behind the other. What comes to a queue
straight from one other does not do so by chance (`planner.prediction.tandem`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Final, Literal

import numpy as np

from planner.path_limits import path_limits
from planner.placement.demand import Demand
from planner.placement.layout import FlowLayout, Layout, Leg
from planner.placement.pipeline import Shape, paths_asked
from planner.placement.request_graph import SINK, SOURCE, Bundle, RequestGraph, Step, request_graph
from planner.prediction.distribution import Grid, Reals, Transform
from planner.prediction.drawn import Drawn
from planner.prediction.timings import Timing, Timings
from specs.application import PathConstraint
from specs.plan import PathPrediction, Percentiles, StagePrediction

QUANTILES: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class _Waited:
    """Of the runs of a stage: the share `alone` waits as its queue says. `met` has (share, waits) of those in requests
    whose branches meet on its executor. The others wait not at all.
    """

    alone: float = 1.0
    met: tuple[tuple[float, Reals], ...] = ()

    @property
    def none(self) -> float:
        return max(0.0, 1 - self.alone - sum(share for share, _ in self.met))


@dataclass
class Latency:
    """All predictions of a layout under a demand."""

    layout: Layout
    demand: Demand

    @cached_property
    def timings(self) -> Timings:
        return Timings(self.layout, self.demand)

    # Sums

    def _sum(self, grid: Grid, timing: Timing, kind: Literal["all", "wait", "service"] = "all") -> Transform:
        total = np.ones(grid.size + 1, dtype=np.complex128)
        if kind != "service":
            for name in timing.queues:
                total = total * self.timings.waiting(grid, name)
        if kind != "wait":
            for values in timing.parts:
                total = total * grid.transform(values)
        return total

    def _horizon(self, timings: Sequence[Timing]) -> float:
        """Seconds that hardly any sum of all these times exceeds."""
        mean = variance = furthest = 0.0
        for timing in timings:
            for name in timing.queues:
                wait = self.timings.queues[name].wait
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

        Requests are drawn where branches meet on an executor (`planner.prediction.meeting`) and where ways that meet
        have stages in common (`planner.prediction.drawn`), else transforms are exact. Where requests come back to an
        executor, the distribution is one between that of independent waits and that of a wait that is the same each
        time.
        """
        graph = request_graph(of, shape, to, self._end(of, to))
        if self.timings.meets(of, shape):
            return grid.transform(self.timings.met(of, shape, graph))
        if graph.meets_itself:
            return grid.transform(Drawn(self.timings, of, shape, graph).times())
        independent, means = self._finish(of, shape, graph, grid, {})
        back = self._returns(of, shape, means)
        if not back:
            return independent
        alike = sum(share for share, _ in back) / len(back)
        waits = {first: len(later) + 1 for _, (first, *later) in back} | {
            s: 0 for _, (_, *later) in back for s in later
        }
        together, _ = self._finish(of, shape, graph, grid, waits)
        return alike * together + (1 - alike) * independent

    def _returns(self, of: FlowLayout, shape: Shape, means: dict[int, float]) -> list[tuple[float, list[int]]]:
        """The stages that begin visits to one executor, one after another, and how alike their waits are.

        `means` are mean times from a request's start to the end of a stage, for those on the way.
        """
        found: dict[str, list[int]] = {}
        for visit in self.timings.visits(of, shape):
            if visit[0] in means and self.timings.queues[self.timings.executor(visit[0])].wait.mean > 0:
                found.setdefault(self.timings.executor(visit[0]), []).append(visit[0])
        back: list[tuple[float, list[int]]] = []
        for name, stages in found.items():
            if len(stages) > 1:
                ready = sorted((means[s] - float(self.timings.stage(of, shape, s).parts[0].mean()), s) for s in stages)
                lag = (ready[-1][0] - ready[0][0]) / (len(ready) - 1)
                back.append((self.timings.queues[name].likeness(lag), [s for _, s in ready]))
        return back

    def _finish(
        self, of: FlowLayout, shape: Shape, graph: RequestGraph, grid: Grid, waits: Mapping[int, int]
    ) -> tuple[Transform, dict[int, float]]:
        """As `finish`, where a stage in `waits` waits so many times what its queue says; and mean ends of stages."""
        since: dict[Step, Transform] = {}
        tandem = {stage: times for each in self.timings.in_tandem(of, shape, graph) for stage, times in each.items()}

        def between(top: Step, step: Step) -> Transform:
            total = np.ones(grid.size + 1, dtype=np.complex128)
            while step != top:
                total = total * since[step]
                step = graph.passed[step]
            return total

        def transfer(leg: Leg) -> Transform:
            timing = self.timings.leg(of, leg, shape)
            behind = self.timings.behind(of, leg, graph.sent, shape) if leg.route else []
            by = graph.sent_by(leg)
            queues = timing.queues if isinstance(by, int) else timing.queues[len(self._first(by)) :]
            return self._sum(grid, Timing(queues, (*timing.parts, *behind)))

        for step in graph.steps:
            if not isinstance(step, int):
                since[step] = self._sum(grid, Timing(self._first(step), ()))
                continue
            ways = [between(graph.passed[step], graph.sent_by(leg)) * transfer(leg) for leg in graph.arriving[step]]
            since[step] = grid.slowest(ways)
            if step in tandem:
                since[step] = since[step] * grid.transform(tandem[step])
            elif step >= 0:
                timing = self.timings.stage(of, shape, step)
                if step in waits:
                    waited = grid.times(self._sum(grid, timing, "wait"), waits[step])
                    since[step] = since[step] * waited * self._sum(grid, timing, "service")
                else:
                    since[step] = since[step] * self._sum(grid, timing)
        means = {n: grid.mean(between(SOURCE, n)) for n in graph.order if n >= 0 and graph.on_the_way(n)}
        return between(SOURCE, graph.end), means

    def _first(self, bundle: Bundle) -> tuple[str, ...]:
        """The queues at which messages that leave at once wait together."""
        return tuple(name for name, _, _ in self.timings.link_servers(bundle[1]))

    def _end(self, of: FlowLayout, to: str) -> int:
        if to not in of.flow.components:
            return SINK
        return [s for s in of.stages if self.layout.stages[s].assignment.component == to][-1]

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
        if not of.pipeline.requests(constraint):
            return None
        grid, mixed = self._times(of, constraint)
        over = constraint.about
        return PathPrediction(
            flow=of.flow.name,
            **{"from": constraint.from_},
            to=constraint.to,
            over=over,
            predicted=_percentiles(grid, mixed),
            limit_ms={f"p{q * 100:.0f}": limit * 1e3 for q, limit in constraint.limits.items()},
        )

    def _times(self, of: FlowLayout, constraint: PathConstraint) -> tuple[Grid, Transform]:
        """Of the requests that take that path."""
        key = (of.flow.name, constraint.to, constraint.about)
        if key not in self._known:
            grid = self._grid(of)
            mixed = sum(
                (self.finish(of, s, constraint.to, grid) * s.probability for s in of.pipeline.requests(constraint)),
                start=np.zeros(grid.size + 1, dtype=np.complex128),
            )
            self._known[key] = grid, mixed
        return self._known[key]

    @cached_property
    def _known(self) -> dict[tuple[str, str, str], tuple[Grid, Transform]]:
        return {}

    def slowest(self, constraint: PathConstraint, level: float) -> float:
        """Seconds: that quantile of the time of a path, of the flow where it is largest; 0 where none takes it."""
        asked = [of for of in self._from(constraint) if of.pipeline.requests(constraint)]
        times = (self._times(of, constraint) for of in asked)
        return max((grid.quantiles(mixed, [level])[0] for grid, mixed in times), default=0.0)

    def within(self, constraint: PathConstraint, seconds: float) -> float:
        """The share of requests on a path that are done by then, of the flow where it is least."""
        asked = [of for of in self._from(constraint) if of.pipeline.requests(constraint)]
        times = (self._times(of, constraint) for of in asked)
        return min((grid.below(mixed, seconds) for grid, mixed in times), default=1.0)

    def _from(self, constraint: PathConstraint) -> list[FlowLayout]:
        return [of for of in self.layout.flows if of.flow.source == constraint.from_]

    def _grid(self, of: FlowLayout) -> Grid:
        timings = [self.timings.stages[s] for s in of.stages] + [self.timings.leg(of, leg) for leg in of.legs]
        for stage in of.stages:
            component = self.layout.stages[stage].assignment.component
            most = max(of.pipeline.shapes, key=lambda shape: shape.times(component))
            if most.times(component) > 1:
                timings.append(self.timings.stage(of, most, stage))
        return Grid(self._horizon(timings) / 8192)

    def stages(self) -> tuple[StagePrediction, ...]:
        """Every stage, and every message that crosses sites (once for flows that name it alike)."""
        found: list[StagePrediction] = []
        for index, stage in enumerate(self.layout.stages):
            site = stage.assignment.site
            every = sum(self.demand.at(of.flow, site) for of in self.layout.flows if index in of.stages)
            share = self.timings.rate(index) / every if every > 0 else 0.0
            found.append(self._parts(stage.name, "stage", site, self.timings.stages[index], share, self._waited(index)))
        named: dict[str, StagePrediction] = {}
        for of in self.layout.flows:
            for leg in of.legs:
                if leg.route:
                    where = f"{leg.start} -> {leg.end}"
                    timing = self.timings.leg(of, leg)
                    named.setdefault(
                        f"{leg.name} {where}", self._parts(leg.name, "transfer", where, timing, leg.message.share)
                    )
        return (*found, *named.values())

    def _fine(self, timings: Sequence[Timing]) -> Grid:
        """Steps that are small beside the mean, also where a packet that is lost again and again takes seconds."""
        mean = sum(float(values.mean()) for timing in timings for values in timing.parts)
        horizon = self._horizon(timings)
        size = 2048
        while size < 32_768 and horizon / size > mean / 100:
            size *= 2
        return Grid(horizon / size, size)

    def _waited(self, index: int) -> _Waited:
        """Of all runs of a stage."""
        site = self.layout.stages[index].assignment.site
        begun = every = 0.0
        met: list[tuple[float, Reals]] = []
        for of in self.layout.flows:
            for shape in of.pipeline.shapes:
                rate = self.demand.at(of.flow, site) * shape.probability
                course = self.timings.course(of, shape)
                if course and index in course.waits:
                    every += rate
                    met.append((rate, course.waits[index]))
                    continue
                for visit in self.timings.visits(of, shape):
                    every += rate * (index in visit)
                    begun += rate * (index == visit[0])
        if every <= 0:
            return _Waited()
        return _Waited(begun / every, tuple((rate / every, waits) for rate, waits in met))

    def _parts(
        self,
        name: str,
        kind: Literal["stage", "transfer"],
        site: str,
        timing: Timing,
        share: float,
        waited: _Waited | None = None,
    ) -> StagePrediction:
        waited = waited or _Waited()
        longest = max((float(values.max()) for _, values in waited.met), default=0.0)
        waits = Grid(max(longest, self._horizon([Timing(timing.queues, ())])) / 2048, 2048)
        services = self._fine([Timing((), timing.parts)])
        mixed = waited.alone * self._sum(waits, timing, "wait") + waited.none
        wait = _percentiles(waits, mixed + sum(share * waits.transform(values) for share, values in waited.met))
        service = _percentiles(services, self._sum(services, timing, "service"))
        return StagePrediction(name=name, kind=kind, site=site, wait=wait, service=service, share=share)


def _percentiles(grid: Grid, transform: Transform) -> Percentiles:
    p50, p95, p99 = grid.quantiles(transform, QUANTILES)
    return Percentiles(p50_ms=p50 * 1e3, p95_ms=p95 * 1e3, p99_ms=p99 * 1e3, mean_ms=grid.mean(transform) * 1e3)


def exceeded(latency: Latency, limits: tuple[PathPrediction, ...], corrected: Mapping[str, float]) -> dict[str, float]:
    """Limits that the predictions miss: name -> predicted seconds over the limit's. `corrected` ones replace those."""
    found: dict[str, float] = {}
    for limit in path_limits(latency.layout.situation.app.value):
        most = corrected.get(limit.name, limit.seconds)
        if limit.is_share:
            values = [latency.slowest(limit.path, limit.quantile)]
        else:
            about = (limit.path.from_, limit.path.to, limit.path.about)
            word = f"p{limit.quantile * 100:.0f}_ms"
            values = [getattr(p.predicted, word) / 1e3 for p in limits if (p.from_, p.to, p.over) == about]
        if values and max(values) > most:
            found[limit.name] = max(values) / most
    return found
