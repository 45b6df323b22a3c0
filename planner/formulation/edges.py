"""Edges: the messages of a pipeline, and what it takes to bring one from each site to each other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

from planner.formulation.names import ConstraintTable
from planner.formulation.numbers import MICRO, sayable
from planner.formulation.servers import ServerTable
from planner.inputs.network import Passage
from planner.moments import ZERO, Moments
from planner.placement.pipeline import Message, Node, Pipeline
from planner.prediction.measured import hop_moments
from planner.pricing.prices import SECONDS_PER_MONTH
from planner.problem import Edge, End, Step, Transfer, Visit
from planner.situation import Situation
from specs.retransmission import Retransmission


@dataclass(frozen=True)
class Edges:
    """Makes the edges of pipelines, adding to the tables what they need."""

    situation: Situation
    constraints: ConstraintTable
    servers: ServerTable

    def edge(self, pipeline: Pipeline, message: Message, steps: tuple[Step, ...]) -> Edge:
        """A message with a transfer for each pair of sites that options of its ends, `steps`, have a route between."""
        names = list(self.situation.infra.value.sites)
        producer, starts = self._end(pipeline, message.producer, steps)
        consumer, ends = self._end(pipeline, message.consumer, steps)
        routes = self.situation.network.routes(pipeline.flow.site)
        transfers: list[Transfer] = []
        for a, b in product(starts, ends):
            route = routes.get((names[a], names[b]))
            if a != b and route is not None:
                transfers.append(self._transfer(pipeline, message, (a, b), route))
        name = f"{message.producer.name}->{message.consumer.name}"
        return Edge(name, producer, consumer, tuple(transfers))

    def _end(self, pipeline: Pipeline, node: Node, steps: tuple[Step, ...]) -> tuple[End, list[int]]:
        """Where a message leaves or arrives, and at which sites that may be."""
        order = pipeline.flow.components
        if node.name in order:
            index = order.index(node.name)
            return End(index, node.task, 0), sorted({o.site for o in steps[index].options})
        home = list(self.situation.infra.value.sites).index(pipeline.flow.end(node.name))
        return End(-1, 0, home), [home]

    def _transfer(
        self, pipeline: Pipeline, message: Message, ends: tuple[int, int], route: tuple[Passage, ...]
    ) -> Transfer:
        situation, flow = self.situation, pipeline.flow
        network = situation.network
        size = pipeline.size(message)
        per_byte = delay = jitter = egress = 0.0
        visits: list[Visit] = []
        for passage in route:
            link = network.link(passage)
            delay += link.delay.mean
            jitter += link.delay.jitter**2
            egress += network.direction(passage).egress
            for server, rate, members in self._servers(passage):
                per_byte += 1 / rate
                arrivals = flow.peak * message.share * flow.members / members
                visits.append(self.servers.visit(server, arrivals, size.scaled(1 / rate)))
        hop = hop_moments(situation, size.mean)
        again = _sent_again(pipeline, message, network.losing(route))
        paid = flow.mean * flow.members * message.share * size.mean * egress * SECONDS_PER_MONTH
        variance = size.variance * per_byte**2 + jitter + hop.variance + again.variance
        what = f"{message.producer.name} -> {message.consumer.name} over {', '.join(p.link for p in route)}"
        place = situation.infra.place("links", route[0].link)
        return Transfer(
            start=ends[0],
            end=ends[1],
            mean_us=sayable((size.mean * per_byte + delay + hop.mean + again.mean) * 1e6, what, place),
            var_us2=sayable(variance * 1e12, what, place),
            visits=tuple(visits),
            cost=round(paid * MICRO),
        )

    def _servers(self, passage: Passage) -> list[tuple[int, float, int]]:
        """The servers of one direction of a link: (index, bytes a second, how many there are)."""
        infra, network = self.situation.infra, self.situation.network
        direction = network.direction(passage)
        link, way = passage.link, passage.way
        path: tuple[str, ...] = ("links", link, way) if infra.value.links[link].rate is None else ("links", link)
        own = self._server(("link", link, way), path, "rate")
        found = [(own, direction.rate, network.instances(link))]
        if direction.shared:
            common = self._server(("link", link, way, "shared"), path, "shared")
            found.append((common, direction.shared.rate, infra.value.members(direction.shared.by)))
        return found

    def _server(self, key: tuple[str, ...], path: tuple[str, ...], word: str) -> int:
        name = ".".join(path)
        constraint = self.constraints.add("rate", f"{name}.{word}", self.situation.infra.place(*path, word))
        return self.servers.add(key, ".".join(key[1:]), constraint)


def _sent_again(pipeline: Pipeline, message: Message, losing: Retransmission | None) -> Moments:
    """Of the time that lost packets cost. A size counts as the next larger quantile known: the time grows with it."""
    if losing is None:
        return ZERO
    payloads = [sorted((float(p), size) for p, size in of.quantiles.items()) for of in pipeline.payloads(message)]
    levels = sorted({p for of in payloads for p, _ in of} | {1.0})
    moments = [0.0, 0.0, 0.0]
    for low, high in pairwise([0.0, *levels]):
        size = sum(next((x for p, x in of if p >= high), of[-1][1] if of else 0.0) for of in payloads)
        for seconds, probability in losing.delays(size):
            moments = [m + (high - low) * probability * seconds**k for k, m in enumerate(moments, 1)]
    return Moments(*moments)
