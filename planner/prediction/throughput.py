"""The most that a placement carries, from means alone: a queue carries what keeps it at most 90 % busy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.prediction.latency import Latency
from planner.prediction.queueing import MAX_UTILISATION
from specs.application import Application, ThroughputConstraint
from specs.plan import Carried


@dataclass(frozen=True)
class Throughput:
    """`loads` is by queue and source: utilisation at the source's peak."""

    app: Application
    loads: Mapping[str, Mapping[str, float]]

    @property
    def carried(self) -> Carried:
        """How many times all peaks at once can come, and which queue then stops more."""
        queue, load = max(((q, sum(of.values())) for q, of in self.loads.items()), key=lambda found: found[1])
        return Carried(multiple=MAX_UTILISATION / load, queue=queue)

    def highest(self, source: str) -> float:
        """Requests a second of one member of `source`, while the others ask what is to be carried of them."""
        times = [
            (MAX_UTILISATION - sum(x * self._asked(s) for s, x in of.items() if s != source)) / of[source]
            for of in self.loads.values()
            if of.get(source, 0.0) > 0
        ]
        return self.app.sources[source].rate.peak * max(0.0, min(times))

    def _asked(self, source: str) -> float:
        """Times its peak, at least 1."""
        peak = self.app.sources[source].rate.peak
        limits = (c for c in self.app.constraints.values() if isinstance(c, ThroughputConstraint))
        return max([1.0, *(c.throughput / peak for c in limits if self.app.source_of(c) == source)])


def throughput_of(latency: Latency) -> Throughput:
    """What the queues of a layout under its demand are busy with."""
    layout, timings, demand = latency.layout, latency.timings, latency.demand
    loads: dict[str, dict[str, float]] = {}

    def add(queue: str, source: str, load: float) -> None:
        of = loads.setdefault(queue, {})
        of[source] = of.get(source, 0.0) + load

    for of in layout.flows:
        for index in of.stages:
            stage = layout.stages[index]
            a = stage.assignment
            rate = demand.at(of.flow, a.site) * of.pipeline.runs(a.component)
            at = timings.queues[timings.executor(index)]
            carries = at.servers * at.batch * timings.devices(index)  # of full batches
            add(timings.executor(index), of.flow.source, rate * stage.record.service.mean / carries)
        for leg in of.legs:
            size = of.pipeline.size(leg.message).mean * leg.message.share
            for passage in leg.route:
                for queue, rate, site in timings.link_servers(passage):
                    add(queue, of.flow.source, demand.at(of.flow, site) * size / rate)
    return Throughput(layout.situation.app.value, loads)
