"""A plan as the verifier reads it: flows, messages, routes, queues and rates, derived from the specs once more.

Nothing here is shared with what made the plan, so that a mistake there is not repeated here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import networkx

from planner.situation import Situation
from specs.application import Application
from specs.behaviour import Behaviour
from specs.codec import CODECS
from specs.infrastructure import Infrastructure
from specs.plan import Plan
from specs.plan_check import chain_of
from specs.profile import Distribution, Record
from specs.selector import matching_sites

_ENCODED: Final = tuple(f"~{codec}" for codec in CODECS)
"""How names of encoded tensors end."""


@dataclass(frozen=True, slots=True)
class Flow:
    name: str
    source: str
    site: str
    members: int
    mean: float
    peak: float
    behaviour: Behaviour
    chains: Mapping[str, tuple[int, ...]]
    """Indices of assignments by component, in the order of its segments."""


@dataclass(frozen=True)
class Pattern:
    """The components that a request runs, and how many items those have that run per item."""

    runs: frozenset[str]
    items: Mapping[str, int]

    def often(self, component: str) -> int:
        return self.items.get(component, 1 if component in self.runs else 0)

    def __hash__(self) -> int:
        return hash((self.runs, frozenset(self.items.items())))


@dataclass(frozen=True, slots=True)
class Message:
    """`share` of requests send it, those that run the components `needs`; `producer` and `consumer` are assignment
    indices, or names of a source or sink."""

    producer: int | str
    consumer: int | str
    from_component: str
    to_component: str
    values: tuple[str, ...]
    needs: tuple[str, ...]
    share: float
    origin: str
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class Batching:
    """Each of `replicas` takes up to `batch` requests, of which the oldest waits at most `batch_wait_ms` for others."""

    batch: int
    batch_wait_ms: float
    replicas: int


@dataclass(frozen=True)
class Reading:
    situation: Situation
    plan: Plan
    _messages: dict[str, list[Message]] = field(default_factory=dict)
    _visits: dict[tuple[str, Pattern], list[list[int]]] = field(default_factory=dict)

    @property
    def app(self) -> Application:
        return self.situation.app.value

    @property
    def infra(self) -> Infrastructure:
        return self.situation.infra.value

    @cached_property
    def records(self) -> dict[str, Record]:
        return {r.digest: r for r in self.situation.records}

    # Members and routes

    def members(self, site: str) -> int:
        count = self.infra.sites[site].count
        return count.count * (self.members(count.per) if count.per else 1)

    def parents(self, site: str) -> list[str]:
        per = self.infra.sites[site].count.per
        return [site, *(self.parents(per) if per else [])]

    def one_member(self, origin: str, site: str) -> bool:
        """Whether each member of `origin` has one member of `site` that is its own."""
        for above in self.parents(site):
            if above in self.parents(origin):
                return True
            if self.infra.sites[above].count.count != 1:
                return False
        return True

    def least_delay(self, origin: str, start: str, end: str) -> float:
        """By networkx, over the sites that requests of `origin` can use."""
        graph: Any = networkx.Graph()
        graph.add_nodes_from((start, end))
        for link in self.infra.links.values():
            one, other = link.between
            if self.one_member(origin, one) and self.one_member(origin, other):
                known = graph.get_edge_data(one, other, {"delay": math.inf})["delay"]
                graph.add_edge(one, other, delay=min(known, link.delay.mean))
        try:
            return float(networkx.dijkstra_path_length(graph, start, end, weight="delay"))
        except networkx.NetworkXNoPath:
            return math.inf

    def hops(self, origin: str, start: str, end: str) -> list[tuple[str, str]]:
        for route in self.plan.routes:
            if (route.from_, route.to) == (start, end) and origin in route.origins:
                return [(hop.link, hop.direction) for hop in route.hops]
        return []

    def passed(self, m: Message) -> list[tuple[str, str]]:
        """The links of a message's route, none within a site."""
        return self.hops(m.origin, m.start, m.end) if m.start != m.end else []

    # Flows and messages

    def components(self, source: str) -> list[str]:
        return [c for c in self.situation.graph.order if c in self.situation.graph.descendants([source])]

    @cached_property
    def flows(self) -> list[Flow]:
        found: list[Flow] = []
        for source, spec in self.app.sources.items():
            for site in matching_sites(spec.at, self.infra):
                name = f"{source}@{site}"
                chains: dict[str, tuple[int, ...]] = {}
                for component in self.components(source):
                    chain = chain_of(self.plan, name, component)
                    assert chain is not None  # `specs.plan_check` found every component covered
                    chains[component] = chain
                variants = {c: self.plan.assignments[chain[0]].variant for c, chain in chains.items()}
                encoded = {c: self._encoded(chain) for c, chain in chains.items()}
                behaviour = next(
                    b
                    for b in self.situation.choices
                    if all(b.variants[c] == v and (b.encoded or {}).get(c) == encoded[c] for c, v in variants.items())
                )
                rate = spec.rate
                found.append(Flow(name, source, site, self.members(site), rate.mean, rate.peak, behaviour, chains))
        return found

    def _encoded(self, chain: tuple[int, ...]) -> tuple[str, ...] | None:
        """The encoded tensors that a chain's parts hand on; None where they hand on what the model makes."""
        parts = [self.plan.assignments[i].segment.end for i in chain[:-1]]
        return next((end for end in parts if any(name.endswith(_ENCODED) for name in end)), None)

    def patterns(self, flow: Flow) -> dict[Pattern, float]:
        ours = [p for p in flow.behaviour.patterns if p.source == flow.source]
        total = sum(p.probability for p in ours)
        found: dict[Pattern, float] = {}
        for pattern in ours:
            runs = frozenset(c for c in pattern.runs if c in flow.chains)
            way = Pattern(runs, {c: n for c, n in (pattern.items or {}).items() if c in runs})
            found[way] = found.get(way, 0.0) + pattern.probability / total
        return found

    def stacks(self, flow: Flow, m: Message, value: str, way: Pattern) -> tuple[float, float]:
        """Of requests that send `m`: the shares of those whose stack `value` has fewer items than those of `way`, and
        of those with no more."""
        name, cut, _ = value.partition("@")
        name = name.split(".")[0]
        ours = [name] if name in self.app.components and self.app.components[name].per else []
        if not ours and not cut:
            ours = [c for c in flow.chains if self._origin(c) == value]
        sending = [(w, p) for w, p in self.patterns(flow).items() if w.runs.issuperset(m.needs)]
        counted = [(next((w.items[c] for c in ours if c in w.items), None), p) for w, p in sending]
        known = [(n, p) for n, p in counted if n is not None]
        mine = next((way.items[c] for c in ours if c in way.items), None)
        total = sum(p for _, p in known)
        if mine is None or total <= 0:
            return 0.0, 1.0
        return sum(p for n, p in known if n < mine) / total, sum(p for n, p in known if n <= mine) / total

    def _origin(self, component: str) -> str | None:
        """The value whose items a component runs for, found from maker to maker."""
        value = self.app.components[component].per
        while value is not None and (maker := self.app.components.get(value.split(".")[0])) and maker.per:
            value = maker.per
        return value

    def runs(self, flow: Flow, component: str) -> float:
        """How often a request runs a component on average, each item counted."""
        return sum(p * way.often(component) for way, p in self.patterns(flow).items())

    def share(self, flow: Flow, *components: str) -> float:
        return sum(p for way, p in self.patterns(flow).items() if set(components) <= way.runs)

    def messages(self, flow: Flow) -> list[Message]:
        if flow.name not in self._messages:
            self._messages[flow.name] = self._find_messages(flow)
        return self._messages[flow.name]

    def _find_messages(self, flow: Flow) -> list[Message]:
        a = self.plan.assignments
        found: list[Message] = []
        for component, chain in flow.chains.items():
            for i, j in pairwise(chain):
                values = tuple(f"{component}@{t}" for t in a[i].segment.end)
                share, ends = self.share(flow, component), (flow.site, a[i].site, a[j].site)
                found.append(Message(i, j, component, component, values, (component,), share, *ends))
        for edge in self.situation.graph.edges:
            if edge.consumer not in flow.chains and edge.producer not in flow.chains:
                continue
            sink = edge.consumer not in flow.chains
            producer: int | str = edge.producer if edge.producer == flow.source else flow.chains[edge.producer][-1]
            consumer: int | str = edge.consumer if sink else flow.chains[edge.consumer][0]
            gate = None if sink else self.app.components[edge.consumer].when
            if isinstance(producer, str):
                needs: tuple[str, ...] = ()
            elif sink or (gate is not None and gate.ref.producer == edge.producer):
                needs = (edge.producer,)
            else:
                needs = edge.producer, edge.consumer
            start = flow.site if isinstance(producer, str) else a[producer].site
            end = self.sink_site(flow, consumer) if isinstance(consumer, str) else a[consumer].site
            values = tuple(f"{edge.producer}.{o}" for o in edge.outputs)
            ends = flow.site, start, end
            share = self.share(flow, *needs)
            found.append(Message(producer, consumer, edge.producer, edge.consumer, values, needs, share, *ends))
        return found

    def sink_site(self, flow: Flow, sink: str) -> str:
        at = self.app.sinks[sink].at
        if at == "origin":
            return flow.site
        sites = matching_sites(at, self.infra)
        above = [site for site in self.parents(flow.site) if site in sites]
        if above:
            return above[0]
        (site,) = (site for site in sites if self.one_member(flow.site, site))
        return site

    def answered(self, flow: Flow) -> set[str]:
        """Where the flow's answers go."""
        return {self.sink_site(flow, sink) for sink in self.sinks(flow)}

    def sinks(self, flow: Flow) -> list[str]:
        """Those that take something of the flow."""
        takers = {e.consumer for e in self.situation.graph.edges if {e.producer} & {flow.source, *flow.chains}}
        return [sink for sink in self.app.sinks if sink in takers]

    def mean_bytes(self, flow: Flow, m: Message) -> float:
        return sum(flow.behaviour.payloads[v].mean for v in m.values)

    def reaches(self, flow: Flow, runs: frozenset[str], to: str) -> bool:
        if to in self.app.components:
            return to in runs
        refs = self.app.sinks[to].inputs.values()
        return all(r.producer == flow.source or r.producer in runs or r.if_skipped is not None for r in refs)

    def tainted(self, value: str) -> set[str]:
        """Who takes the value or what comes of it, found by repeated passes over all inputs."""
        nodes: dict[str, list[str]] = {}
        for name, component in self.app.components.items():
            refs = [r.from_ for r in component.inputs.values()] + ([component.when.ref.from_] if component.when else [])
            nodes[name] = refs
        for name, sink in self.app.sinks.items():
            nodes[name] = [r.from_ for r in sink.inputs.values()]
        tainted: set[str] = set()
        while True:
            carriers = {n for n in tainted if n in self.app.components and not self.app.components[n].release}
            new = {n for n, refs in nodes.items() if any(r == value or r.split(".")[0] in carriers for r in refs)}
            if new <= tainted:
                return tainted
            tainted |= new

    def called(self, node: int | str) -> str:
        if isinstance(node, str):
            return node
        a = self.plan.assignments[node]
        return a.component if a.segment.is_whole else f"{a.component}[{a.segment}]"

    # Queues and what they carry

    def stage_rate(self, index: int, mean: bool = False, rates: Mapping[str, float] | None = None) -> float:
        """Requests a second at one member's replicas of an assignment: at the peak, the mean, or `rates` by source."""
        a = self.plan.assignments[index]
        total = 0.0
        for flow in self.flows:
            if flow.name in a.flows:
                rate = rates[flow.source] if rates else flow.mean if mean else flow.peak
                total += rate * flow.members / self.members(a.site) * self.runs(flow, a.component)
        return total

    def service(self, index: int) -> Distribution:
        return self.records[self.plan.assignments[index].record].service

    def queue_of(self, index: int) -> str:
        a = self.plan.assignments[index]
        shares = self.infra.hardware[a.hardware].sharing
        return f"pool {a.site}.{a.pool}" if shares == "time" else f"stage {index} {a.component} at {a.site}"

    def servers(self, queue: str) -> int:
        for i, a in enumerate(self.plan.assignments):
            if self.queue_of(i) == queue and queue.startswith("stage"):
                return a.replicas
        return 1

    def devices(self, queue: str) -> int:
        """How many devices of a pool at one member have such a queue each."""
        found = (a.replicas for i, a in enumerate(self.plan.assignments) if self.queue_of(i) == queue)
        return next(found) if queue.startswith("pool") else 1

    def batch(self, queue: str) -> Batching:
        """How a queue of stages or a link hands out what waits there."""
        for i, a in enumerate(self.plan.assignments):
            if a.batch > 1 and self.queue_of(i) == queue:
                return Batching(a.batch, a.batch_wait_ms, a.replicas)
        return Batching(1, 0.0, self.servers(queue))

    def visits(self, flow: Flow, way: Pattern) -> list[list[int]]:
        """Stages that a request runs, grouped: on a device that shares its time the executor goes on with a request
        whose next stage takes nothing from elsewhere, so that it waits before the first stage of each group only.
        """
        key = (flow.name, way)
        if key not in self._visits:
            self._visits[key] = self._find_visits(flow, way)
        return self._visits[key]

    def _find_visits(self, flow: Flow, way: Pattern) -> list[list[int]]:
        runs = way.runs
        groups: list[list[int]] = []
        passed: dict[int | str, set[int] | None] = {}  # by stage without items, who makes it ready; None: not at once
        for component in [c for c in self.situation.graph.order if c in flow.chains and c in runs]:
            for i in flow.chains[component]:
                into = [
                    m
                    for m in self.messages(flow)
                    if m.consumer == i and (m.from_component in runs or m.from_component not in flow.chains)
                ]
                before: set[int] = set()
                near = all(m.start == m.end for m in into)
                for maker in (m.producer for m in into if not isinstance(m.producer, str)):
                    known = passed.get(maker, {maker})
                    near = near and known is not None
                    before |= known or set()
                if way.often(component) == 0:
                    passed[i] = before if near else None
                    continue
                near = near and self.queue_of(i).startswith("pool")
                same = [g for g in groups if before and before <= set(g) and self.queue_of(g[0]) == self.queue_of(i)]
                if near and same:
                    same[0].append(i)
                else:
                    groups.append([i])
        return groups

    def crossed(self, m: Message) -> list[tuple[str, float, str]]:
        """The queues of the links that a message passes: (name, bytes a second, site with one for each member)."""
        found: list[tuple[str, float, str]] = []
        for link, way in self.passed(m):
            spec = self.infra.links[link]
            side = spec.up if way == "up" else spec.down
            rate = spec.rate if side is None else side.rate
            assert rate is not None
            left = 1 - spec.loss  # beside what is sent again
            found.append((f"{link} {way}", rate * left, max(spec.between, key=self.members)))
            if side is not None and side.shared is not None:
                found.append((f"{link} shared {way}", side.shared.rate * left, side.shared.by))
        return found

    def loads(self, rates: Mapping[str, float] | None = None) -> dict[str, float]:
        """Utilisation of each queue, from exact means: at the peak, or at these `rates` of a member by source."""
        found: dict[str, float] = {}
        for i, a in enumerate(self.plan.assignments):
            queue = self.queue_of(i)
            servers = a.replicas * a.batch  # of full batches
            found[queue] = found.get(queue, 0.0) + self.stage_rate(i, rates=rates) * self.service(i).mean / servers
        for flow in self.flows:
            for m in self.messages(flow):
                for queue, rate, site in self.crossed(m):
                    asked = rates[flow.source] if rates else flow.peak
                    requests = asked * flow.members / self.members(site) * m.share
                    found[queue] = found.get(queue, 0.0) + requests * self.mean_bytes(flow, m) / rate
        return found
