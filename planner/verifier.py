"""Recomputes a plan from the specs and the facts, sharing no code with what made it.

Latency is sampled: services from the profiles' quantiles, waits by the Pollaczek-Khinchine sum of residual services,
and requests pass the application's graph one by one, so that joins are exact. Everything else is recomputed by plain
sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import networkx
import numpy as np
from numpy.typing import NDArray

from planner.situation import Situation
from specs.application import (
    AccuracyConstraint,
    CostConstraint,
    Cuts,
    LatencyObjective,
    PathConstraint,
    ResidencyConstraint,
)
from specs.behaviour import Behaviour
from specs.digest import digest_value
from specs.errors import InputError, Issue
from specs.plan import Assignment, Plan
from specs.profile import Record
from specs.selector import matching_sites

Sample = NDArray[np.float64]

SAMPLES: Final = 200_000
SEED: Final = 20_231
HOURS: Final = 730.0
HIGHEST_LOAD: Final = 0.9
CLOSE: Final = 0.02
"""Relative difference allowed where both sides are computed exactly but rounded on the way."""
LATENCY: Final = 0.03
"""Relative difference allowed of a percentile, beyond the sampling error."""
JOINED: Final = 0.10
"""At joins a claim may lie this far above: branches are claimed as independent, which is on the safe side."""


@dataclass(frozen=True, slots=True)
class Check:
    """One claim: what the plan says and what was found. Yes-no claims are 1 and 0."""

    name: str
    claimed: float
    recomputed: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Report:
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def wrong(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.ok)


def verify(situation: Situation, plan: Plan, samples: int = SAMPLES) -> Report:
    """Check every claim of `plan`; latency with `samples` requests a flow.

    Raises InputError where the plan is older than its inputs, naming what changed, or places nothing.
    """
    _inputs(situation, plan)
    if plan.status not in ("optimal", "feasible"):
        raise InputError(Issue(f"the plan is {plan.status}: it places nothing that could be verified"))
    checking = _Checking(situation, plan, samples)
    checking.placement()
    if all(c.ok for c in checking.checks):
        checking.rest()
    return Report(tuple(checking.checks))


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a plan means to the verifier, by the names that predictions use; the runtime must mean the same.

    `queues`: (site, pool, servers, stages that draw from it). `transfers`: (flow, name, values, from, to, route as
    (link, direction)). `links`: (link, direction, site each member of which has one, bytes a second), shared rates with
    the direction ``shared up`` or ``shared down``. `batches`: (stage, site, batch, wait in ms).
    """

    queues: frozenset[tuple[str, str, int, tuple[str, ...]]]
    transfers: frozenset[tuple[str, str, tuple[str, ...], str, str, tuple[tuple[str, str], ...]]]
    links: frozenset[tuple[str, str, str, float]]
    batches: frozenset[tuple[str, str, int, float]]


def meaning(situation: Situation, plan: Plan) -> Meaning:
    """Of a plan that places something; its claims are not checked here."""
    return _Checking(situation, plan, 0).meaning()


def _inputs(situation: Situation, plan: Plan) -> None:
    claimed = plan.inputs
    changed: list[str] = []
    if claimed.app != situation.app.digest:
        changed.append(situation.app.file)
    if claimed.infra != situation.infra.digest:
        changed.append(situation.infra.file)
    keys = sorted({*claimed.sources, *situation.digests})
    changed += [k for k in keys if claimed.sources.get(k) != situation.digests.get(k)]
    known = {r.digest for r in situation.records}
    changed += [f"profile record {d[:12]}" for d in claimed.records if d not in known]
    behaviours = {digest_value(b.dump()) for b in situation.behaviours}
    changed += [f"behaviour {d[:12]}" for d in claimed.behaviour if d not in behaviours]
    if changed:
        message = f"the plan is older than its inputs: {', '.join(changed)} changed since"
        raise InputError(Issue(message, situation.app.place(), "solve again"))


@dataclass(frozen=True, slots=True)
class _Flow:
    name: str
    source: str
    site: str
    members: int
    mean: float
    peak: float
    behaviour: Behaviour
    chains: Mapping[str, tuple[int, ...]]
    """Indices of assignments by component, in the order of its segments."""


@dataclass(frozen=True, slots=True)
class _Message:
    """`share` of requests send it; `producer` and `consumer` are assignment indices, or names of a source or sink."""

    producer: int | str
    consumer: int | str
    from_component: str
    to_component: str
    values: tuple[str, ...]
    share: float
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class _Arrival:
    """At a queue: requests a second, and equally likely times that each takes."""

    rate: float
    times: Sample


@dataclass
class _Checking:
    situation: Situation
    plan: Plan
    samples: int
    checks: list[Check] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app, self.infra = self.situation.app.value, self.situation.infra.value
        self.records = {r.digest: r for r in self.situation.records}
        self.random = np.random.default_rng(SEED)
        self._messages: dict[str, list[_Message]] = {}
        self._visits: dict[tuple[str, frozenset[str]], list[list[int]]] = {}
        self._services: dict[int, Sample] = {}

    # Saying

    def holds(self, name: str, true: bool) -> bool:
        self.checks.append(Check(name, 1.0, 1.0 if true else 0.0, bool(true)))
        return bool(true)

    def equal(self, name: str, claimed: float, found: float, close: float = CLOSE, least: float = 1e-9) -> None:
        self.checks.append(Check(name, claimed, found, abs(claimed - found) <= close * abs(found) + least))

    def at_most(self, name: str, value: float, limit: float) -> None:
        """`limit` stands as what is claimed."""
        self.checks.append(Check(name, limit, value, value <= limit * (1 + 1e-6) + 1e-9))

    # Members and routes, derived here again

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

    # Placement

    def placement(self) -> None:
        """Everything that the rest relies on: known names, whole coverage, records that say what is assigned."""
        flows = {
            f"{s}@{site}" for s, source in self.app.sources.items() for site in matching_sites(source.at, self.infra)
        }
        for i, a in enumerate(self.plan.assignments):
            self._assignment(f"assignment {i} {a.component} at {a.site}", a, flows)
        if not all(c.ok for c in self.checks):
            return
        self.holds("every flow is served", flows == {f for a in self.plan.assignments for f in a.flows})
        for name in sorted(flows):
            for component in self._components(name.split("@")[0]):
                chain = self._chain(name, component)
                self.holds(f"{component} is covered once for {name}", chain is not None)
                variants = {a.variant for a in self.plan.assignments if a.component == component and name in a.flows}
                self.holds(f"{component} has one variant for {name}", len(variants) == 1)

    def _assignment(self, name: str, a: Assignment, flows: set[str]) -> None:
        site = self.infra.sites.get(a.site)
        pool = site.pools.get(a.pool) if site else None
        component = self.app.components.get(a.component)
        known = site is not None and pool is not None and component is not None and a.variant in component.realisations
        if not self.holds(f"{name}: component, variant, site and pool are known", known):
            return
        assert pool is not None
        assert component is not None
        self.holds(
            f"{name}: flows are known", bool(a.flows) and set(a.flows) <= flows and len(set(a.flows)) == len(a.flows)
        )
        hardware = self.infra.hardware[pool.hardware]
        record = self.records.get(a.record)
        says = record is not None and self._says(record, a)
        self.holds(f"{name}: the profile record is of this model, segment, hardware, backend and threads", says)
        self.holds(f"{name}: hardware is the pool's", a.hardware == pool.hardware)
        self.holds(f"{name}: the record is among the inputs", a.record in self.plan.inputs.records)
        self.holds(f"{name}: backend is allowed", component.backends is None or a.backend in component.backends)
        self.holds(f"{name}: batch is 1", a.batch == 1 and a.batch_wait_ms == 0)
        self.holds(f"{name}: replicas", a.replicas >= 1 and (hardware.sharing == "cores" or a.replicas == 1))
        if set(a.flows) <= flows:
            total = sum(self.members(f.split("@")[1]) for f in a.flows)
            self.equal(f"{name}: members", a.members, total, 0.0)
            own = all(self.one_member(f.split("@")[1], a.site) for f in a.flows)
            self.holds(f"{name}: each member of its flows has one member of {a.site}", own)

    def _says(self, record: Record, a: Assignment) -> bool:
        own = (record.source, record.segment, record.hardware, record.backend, record.threads, record.batch)
        source = self.situation.digests.get(f"{a.component}/{a.variant}")
        wanted = (source, str(a.segment), a.hardware, a.backend, a.threads, a.batch)
        return own == wanted and record.provenance == a.provenance and record.artefact == a.artefact

    def _components(self, source: str) -> list[str]:
        return [c for c in self.situation.graph.order if c in self.situation.graph.descendants([source])]

    def _chain(self, flow: str, component: str) -> tuple[int, ...] | None:
        mine = [(i, a) for i, a in enumerate(self.plan.assignments) if a.component == component and flow in a.flows]
        chain: list[int] = []
        after: tuple[str, ...] = ()
        for _ in mine:
            following = [i for i, a in mine if a.segment.begin == after and i not in chain]
            if len(following) != 1:
                return None
            chain.append(following[0])
            after = self.plan.assignments[following[0]].segment.end
            if not after:
                break
        return tuple(chain) if chain and not after and len(chain) == len(mine) else None

    # Flows and messages

    @cached_property
    def flows(self) -> list[_Flow]:
        found: list[_Flow] = []
        for source, spec in self.app.sources.items():
            for site in matching_sites(spec.at, self.infra):
                name = f"{source}@{site}"
                chains: dict[str, tuple[int, ...]] = {}
                for component in self._components(source):
                    chain = self._chain(name, component)
                    assert chain is not None
                    chains[component] = chain
                variants = {c: self.plan.assignments[chain[0]].variant for c, chain in chains.items()}
                behaviour = next(
                    b for b in self.situation.behaviours if all(b.variants[c] == v for c, v in variants.items())
                )
                rate = spec.rate
                found.append(_Flow(name, source, site, self.members(site), rate.mean, rate.peak, behaviour, chains))
        return found

    def patterns(self, flow: _Flow) -> dict[frozenset[str], float]:
        total = sum(p.probability for p in flow.behaviour.patterns)
        found: dict[frozenset[str], float] = {}
        for pattern in flow.behaviour.patterns:
            runs = frozenset(c for c in pattern.runs if c in flow.chains)
            found[runs] = found.get(runs, 0.0) + pattern.probability / total
        return found

    def share(self, flow: _Flow, *components: str) -> float:
        return sum(p for runs, p in self.patterns(flow).items() if set(components) <= runs)

    def messages(self, flow: _Flow) -> list[_Message]:
        if flow.name not in self._messages:
            self._messages[flow.name] = self._find_messages(flow)
        return self._messages[flow.name]

    def _find_messages(self, flow: _Flow) -> list[_Message]:
        a = self.plan.assignments
        found: list[_Message] = []
        for component, chain in flow.chains.items():
            for i, j in pairwise(chain):
                values = tuple(f"{component}@{t}" for t in a[i].segment.end)
                share = self.share(flow, component)
                found.append(_Message(i, j, component, component, values, share, a[i].site, a[j].site))
        for edge in self.situation.graph.edges:
            if edge.consumer not in flow.chains and edge.producer not in flow.chains:
                continue
            sink = edge.consumer not in flow.chains
            producer: int | str = edge.producer if edge.producer == flow.source else flow.chains[edge.producer][-1]
            consumer: int | str = edge.consumer if sink else flow.chains[edge.consumer][0]
            gate = None if sink else self.app.components[edge.consumer].when
            if isinstance(producer, str):
                share = 1.0
            elif sink or (gate is not None and gate.ref.producer == edge.producer):
                share = self.share(flow, edge.producer)
            else:
                share = self.share(flow, edge.producer, edge.consumer)
            start = flow.site if isinstance(producer, str) else a[producer].site
            end = flow.site if isinstance(consumer, str) else a[consumer].site
            values = tuple(f"{edge.producer}.{o}" for o in edge.outputs)
            found.append(_Message(producer, consumer, edge.producer, edge.consumer, values, share, start, end))
        return found

    def meaning(self) -> Meaning:
        drawing: dict[str, list[int]] = {}
        for i in range(len(self.plan.assignments)):
            drawing.setdefault(self.queue_of(i), []).append(i)
        a = self.plan.assignments
        passing = [(f, m) for f in self.flows for m in self.messages(f)]
        crossed = {entry for _, m in passing for entry in self.crossed(m)}
        return Meaning(
            frozenset(
                (a[i[0]].site, a[i[0]].pool, self.servers(queue), tuple(sorted(map(self._called, i))))
                for queue, i in drawing.items()
            ),
            frozenset(
                (
                    f.name,
                    f"{self._called(m.producer)} -> {self._called(m.consumer)}",
                    tuple(sorted(m.values)),
                    m.start,
                    m.end,
                    tuple(self.hops(m.start, m.end)),
                )
                for f, m in passing
            ),
            frozenset((*name.split(" ", 1), site, rate) for name, rate, site in crossed),  # type: ignore[misc]
            frozenset((self._called(i), one.site, one.batch, one.batch_wait_ms) for i, one in enumerate(a)),
        )

    # The rest

    def rest(self) -> None:
        self.behaviour()
        self.routes()
        if not all(c.ok for c in self.checks):
            return
        self.pins_and_residency()
        self.devices()
        self.links()
        self.cuts()
        self.cost()
        if all(queue_load < 1 for queue_load in self.loads().values()):
            self.latency()
        self.constraints()
        self.proof()

    def behaviour(self) -> None:
        claimed = {str(sorted(b.variants.items())): b for b in self.plan.behaviour}
        for flow in self.flows:
            b = claimed.get(str(sorted(flow.behaviour.variants.items())))
            if not self.holds(f"behaviour of {flow.name} is stated", b is not None):
                continue
            assert b is not None
            for pattern in flow.behaviour.patterns:
                name = "+".join(pattern.runs)
                self.equal(f"probability of {name}", b.patterns.get(name, -1.0), pattern.probability, 1e-5)
            for accuracy in flow.behaviour.accuracy:
                self.equal(f"accuracy on {accuracy.data}", b.accuracy.get(accuracy.data, -1.0), accuracy.value, 1e-5)

    def hops(self, start: str, end: str) -> list[tuple[str, str]]:
        for route in self.plan.routes:
            if (route.from_, route.to) == (start, end):
                return [(hop.link, hop.direction) for hop in route.hops]
        return []

    def routes(self) -> None:
        needed = {(f.site, m.start, m.end) for f in self.flows for m in self.messages(f) if m.start != m.end}
        for origin, start, end in sorted(needed):
            at, delay = start, 0.0
            for link, way in self.hops(start, end):
                spec = self.infra.links.get(link)
                first, second = spec.between if spec else ("", "")
                if spec is None or at != (first if way == "up" else second):
                    at = ""
                    break
                at = second if way == "up" else first
                delay += spec.delay.mean
            arrives = self.holds(f"route {start} -> {end} arrives", at == end)
            if arrives:
                self.equal(f"delay of route {start} -> {end}", delay, self.least_delay(origin, start, end), 1e-6)

    def pins_and_residency(self) -> None:
        for a in self.plan.assignments:
            pin = self.app.components[a.component].at
            if pin is not None:
                self.holds(f"{a.component} is where `at` says", a.site in matching_sites(pin, self.infra))
        for name, c in self.app.constraints.items():
            if isinstance(c, ResidencyConstraint):
                allowed = matching_sites(c.only_at, self.infra)
                tainted = self._tainted(c.value)
                sites = [a.site for a in self.plan.assignments if a.component in tainted]
                sites += [f.site for f in self.flows if any(s in tainted for s in self.app.sinks)]
                self.holds(f"{name} holds", all(site in allowed for site in sites))

    def _tainted(self, value: str) -> set[str]:
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

    def stage_rate(self, index: int, mean: bool = False) -> float:
        """Requests a second at one member's replicas of an assignment."""
        a = self.plan.assignments[index]
        total = 0.0
        for flow in self.flows:
            if flow.name in a.flows:
                rate = flow.mean if mean else flow.peak
                total += rate * flow.members / self.members(a.site) * self.share(flow, a.component)
        return total

    def devices(self) -> None:
        bought = {(d.site, d.pool): d for d in self.plan.devices}
        self.holds("each pool is listed once", len(bought) == len(self.plan.devices))
        for site, spec in self.infra.sites.items():
            for pool, devices in spec.pools.items():
                here = [i for i, a in enumerate(self.plan.assignments) if (a.site, a.pool) == (site, pool)]
                claim = bought.get((site, pool))
                count = claim.bought if claim else 0
                name = f"devices {site}.{pool}"
                low, high = devices.devices
                self.holds(f"{name}: number allowed", low <= count <= high)
                hardware = self.infra.hardware[devices.hardware]
                memory = math.inf if hardware.memory is None else hardware.memory
                items = [
                    (self.plan.assignments[i].threads, self.records[self.plan.assignments[i].record].memory)
                    for i in here
                    for _ in range(self.plan.assignments[i].replicas)
                ]
                if hardware.sharing == "time":
                    fits = sum(m for _, m in items) <= memory and (count >= 1 or not items)
                    busy = sum(self.stage_rate(i) * self._service(i).mean for i in here)
                else:
                    fits = _pack(sorted(items, reverse=True), [(hardware.cores, memory)] * count)
                    busy = (
                        sum(self.stage_rate(i) * self._service(i).mean * self.plan.assignments[i].threads for i in here)
                        / hardware.cores
                    )
                self.holds(f"{name}: replicas fit", fits)
                if claim:
                    self.holds(f"{name}: hardware and sharing",
                               (claim.hardware, claim.sharing) == (devices.hardware, hardware.sharing))  # fmt: skip
                    self.equal(f"{name}: load", claim.load, busy / max(1, count))
        for queue, load in self.loads().items():
            self.at_most(f"{queue}: utilisation", load, HIGHEST_LOAD)

    def _service(self, index: int) -> Any:
        return self.records[self.plan.assignments[index].record].latency

    def queue_of(self, index: int) -> str:
        a = self.plan.assignments[index]
        shares = self.infra.hardware[a.hardware].sharing
        return f"pool {a.site}.{a.pool}" if shares == "time" else f"stage {index} {a.component} at {a.site}"

    @cached_property
    def arrivals(self) -> dict[str, list[_Arrival]]:
        """What comes to each queue of stages and links."""
        found: dict[str, list[_Arrival]] = {}
        for i in range(len(self.plan.assignments)):
            if not self.queue_of(i).startswith("pool"):
                found.setdefault(self.queue_of(i), []).append(_Arrival(self.stage_rate(i), self.service_times(i)))
        for flow in self.flows:
            for runs, p in self.patterns(flow).items():
                for visit in self.visits(flow, runs):
                    if self.queue_of(visit[0]).startswith("pool"):
                        times = sum((self.random.permutation(self.service_times(i)) for i in visit), np.zeros(4000))
                        rate = flow.peak * flow.members / self.members(self.plan.assignments[visit[0]].site) * p
                        found.setdefault(self.queue_of(visit[0]), []).append(_Arrival(rate, times))
            for m in self.messages(flow):
                for queue, rate, site in self.crossed(m):
                    requests = flow.peak * flow.members / self.members(site) * m.share
                    found.setdefault(queue, []).append(_Arrival(requests, self.bytes_of(flow, m, 4000) / rate))
        return found

    def service_times(self, index: int) -> Sample:
        if index not in self._services:
            self._services[index] = _values(self._service(index).points(), self._service(index).mean)
        return self._services[index]

    def visits(self, flow: _Flow, runs: frozenset[str]) -> list[list[int]]:
        """Stages that a request runs, grouped: on a device that shares its time the executor goes on with a request
        whose next stage takes nothing from elsewhere, so that it waits before the first stage of each group only.
        """
        key = (flow.name, runs)
        if key not in self._visits:
            self._visits[key] = self._find_visits(flow, runs)
        return self._visits[key]

    def _find_visits(self, flow: _Flow, runs: frozenset[str]) -> list[list[int]]:
        groups: list[list[int]] = []
        for component in [c for c in self.situation.graph.order if c in flow.chains and c in runs]:
            for i in flow.chains[component]:
                into = [
                    m
                    for m in self.messages(flow)
                    if m.consumer == i and (m.from_component in runs or m.from_component not in flow.chains)
                ]
                before = {m.producer for m in into if not isinstance(m.producer, str)}
                near = all(m.start == m.end for m in into) and self.queue_of(i).startswith("pool")
                same = [g for g in groups if before and before <= set(g) and self.queue_of(g[0]) == self.queue_of(i)]
                if near and same:
                    same[0].append(i)
                else:
                    groups.append([i])
        return groups

    def crossed(self, m: _Message) -> list[tuple[str, float, str]]:
        """The queues of the links that a message passes: (name, bytes a second, site with one for each member)."""
        found: list[tuple[str, float, str]] = []
        for link, way in self.hops(m.start, m.end) if m.start != m.end else []:
            spec = self.infra.links[link]
            side = spec.up if way == "up" else spec.down
            rate = spec.rate if side is None else side.rate
            assert rate is not None
            found.append((f"{link} {way}", rate, max(spec.between, key=self.members)))
            if side is not None and side.shared is not None:
                found.append((f"{link} shared {way}", side.shared.rate, side.shared.by))
        return found

    def bytes_of(self, flow: _Flow, m: _Message, n: int) -> Sample:
        total = np.zeros(n)
        for value in m.values:
            payload = flow.behaviour.payloads[value]
            points = [(float(p), x) for p, x in payload.quantiles.items()]
            total += self.random.choice(_values(points, payload.mean), n)
        return total

    def mean_bytes(self, flow: _Flow, m: _Message) -> float:
        return sum(flow.behaviour.payloads[v].mean for v in m.values)

    def servers(self, queue: str) -> int:
        for i, a in enumerate(self.plan.assignments):
            if self.queue_of(i) == queue and queue.startswith("stage"):
                return a.replicas
        return 1

    def loads(self) -> dict[str, float]:
        """Utilisation of each queue, from exact means."""
        found: dict[str, float] = {}
        for i, a in enumerate(self.plan.assignments):
            queue = self.queue_of(i)
            servers = a.replicas if queue.startswith("stage") else 1
            found[queue] = found.get(queue, 0.0) + self.stage_rate(i) * self._service(i).mean / servers
        for flow in self.flows:
            for m in self.messages(flow):
                for queue, rate, site in self.crossed(m):
                    requests = flow.peak * flow.members / self.members(site) * m.share
                    found[queue] = found.get(queue, 0.0) + requests * self.mean_bytes(flow, m) / rate
        return found

    def links(self) -> None:
        claimed = {f"{link.name} {link.direction}": link for link in self.plan.links}
        used = {q: (rate, load) for q, load in self.loads().items() for rate in self._rate_of(q)}
        self.holds("links in use are listed", set(claimed) == set(used))
        for queue, (rate, load) in used.items():
            if queue in claimed:
                self.equal(f"link {queue}: load", claimed[queue].load, load)
                self.equal(f"link {queue}: bytes/s", claimed[queue].bytes_per_s, load * rate)

    def _rate_of(self, queue: str) -> list[float]:
        rates = {q: rate for flow in self.flows for m in self.messages(flow) for q, rate, _ in self.crossed(m)}
        return [rates[queue]] if queue in rates else []

    def cuts(self) -> None:
        claimed = {(c.component, c.tensors): c for c in self.plan.cuts}
        found: dict[tuple[str, tuple[str, ...]], float] = {}
        for flow in self.flows:
            for m in self.messages(flow):
                if m.from_component == m.to_component and m.start != m.end:
                    found[m.from_component, tuple(v.split("@")[1] for v in m.values)] = self.mean_bytes(flow, m)
        self.holds("cuts between sites are listed", set(claimed) == set(found))
        for key, size in found.items():
            if key in claimed:
                self.equal(f"cut of {key[0]}: bytes", claimed[key].bytes, size)
                split = self.app.components[key[0]].split
                named = split.at if isinstance(split, Cuts) else []
                declared = {n for cut in named for n in ([cut] if isinstance(cut, str) else cut.values())}
                self.holds(f"cut of {key[0]} is declared", set(key[1]) <= declared)

    def cost(self) -> None:
        claimed = self.plan.cost
        if not self.holds("cost is stated", claimed is not None):
            return
        assert claimed is not None
        self.found_cost = month = self._cost_a_month()
        self.holds("currency", claimed.currency == self.infra.currency)
        self.equal("cost per month", claimed.per_month, month, 1e-4, 1e-6)
        self.equal("cost per hour", claimed.per_hour, month / HOURS, 1e-4, 1e-9)
        self.equal("sum of cost items", sum(i.per_month for i in claimed.items), month, 1e-4, 1e-6)
        self.holds("no cost item is negative", all(i.per_month >= 0 for i in claimed.items))
        requests = sum(f.mean * f.members for f in self.flows) * HOURS * 3600
        self.equal("cost per 1000 requests", claimed.per_1000, month / requests * 1000 if requests else 0.0, 1e-4, 1e-9)

    def _cost_a_month(self) -> float:
        total = 0.0
        for d in self.plan.devices:
            spec = self.infra.sites[d.site]
            pool = spec.pools[d.pool]
            hardware = self.infra.hardware[pool.hardware]
            if not pool.owned:
                total += (
                    (hardware.price if pool.price is None else pool.price) * HOURS * d.bought * self.members(d.site)
                )
            idle, busy = pool.power or hardware.power or (0.0, 0.0)
            used = 0.0
            for i, a in enumerate(self.plan.assignments):
                if (a.site, a.pool) == (d.site, d.pool):
                    per_device = hardware.cores if hardware.sharing == "cores" else a.threads
                    used += self.stage_rate(i, mean=True) * self._service(i).mean * a.threads / per_device
            watts = (idle * d.bought + (busy - idle) * used) * self.members(d.site)
            total += watts / 1000 * HOURS * spec.electricity
        for flow in self.flows:
            for m in self.messages(flow):
                sent = flow.mean * flow.members * m.share * self.mean_bytes(flow, m) * HOURS * 3600
                for link, way in self.hops(m.start, m.end) if m.start != m.end else []:
                    spec_ = self.infra.links[link]
                    side = spec_.up if way == "up" else spec_.down
                    total += sent * (spec_.egress if side is None else side.egress)
        return total

    # Latency

    def latency(self) -> None:
        for flow in self.flows:
            self._paths_of(flow)
        self._stages()

    def _paths_of(self, flow: _Flow) -> None:
        wanted = [c for c in self.app.constraints.values() if isinstance(c, PathConstraint) and c.from_ == flow.source]
        for c in wanted:
            over = "all" if c.over == "all" else c.over.when
            shapes = {
                runs: p
                for runs, p in self.patterns(flow).items()
                if self._reaches(flow, runs, c.to) and (over == "all" or over in runs)
            }
            claims = [p for p in self.plan.paths if (p.flow, p.from_, p.to, p.over) == (flow.name, c.from_, c.to, over)]
            name = f"{flow.name} to {c.to} over {over}"
            if not shapes:
                self.holds(f"{name}: no request goes there", not claims)
                continue
            if not self.holds(f"{name}: predicted", bool(claims)):
                continue
            times, joined = self._times(flow, shapes, c.to)
            for claim in claims:
                self._percentiles(name, claim.predicted, times, joined)
            limits = {f"p{q * 100:.0f}": limit * 1e3 for q, limit in c.limits.items()}
            stated = [p.limit_ms for p in claims]
            same = any(
                set(s) == set(limits) and all(math.isclose(s[k], limits[k], rel_tol=1e-5) for k in s) for s in stated
            )
            self.holds(f"{name}: limits are the user's", same)

    def _reaches(self, flow: _Flow, runs: frozenset[str], to: str) -> bool:
        if to in self.app.components:
            return to in runs
        refs = self.app.sinks[to].inputs.values()
        return all(r.producer == flow.source or r.producer in runs or r.if_skipped is not None for r in refs)

    def _percentiles(self, name: str, claimed: Any, times: Sample, joined: bool) -> None:
        n = len(times)
        ordered = np.sort(times) * 1e3
        for q, value in ((0.5, claimed.p50_ms), (0.95, claimed.p95_ms), (0.99, claimed.p99_ms)):
            error = 4 * math.sqrt(q * (1 - q) / n)
            low, high = (float(ordered[min(n - 1, max(0, int(n * (q + e))))]) for e in (-error, error))
            room = JOINED if joined else LATENCY
            ok = low * (1 - LATENCY) - 0.2 <= value <= high * (1 + room) + 0.2
            self.checks.append(Check(f"{name}: p{q * 100:.0f} ms", value, float(ordered[int(n * q)]), ok))
        mean = float(ordered.mean())
        room = JOINED if joined else LATENCY
        error = 4 * float(ordered.std()) / math.sqrt(n)
        ok = mean * (1 - LATENCY) - error - 0.2 <= claimed.mean_ms <= mean * (1 + room) + error + 0.2
        self.checks.append(Check(f"{name}: mean ms", claimed.mean_ms, mean, ok))

    def _times(self, flow: _Flow, shapes: Mapping[frozenset[str], float], to: str) -> tuple[Sample, bool]:
        """Sampled times of requests, as many of each branch pattern as its share; whether any request waits for two."""
        whole = sum(shapes.values())
        parts: list[Sample] = []
        joined = False
        for runs, p in shapes.items():
            n = max(1, round(self.samples * p / whole))
            times, meets = self._walk(flow, runs, to, n)
            parts.append(times)
            joined = joined or meets
        return np.concatenate(parts), joined

    def _walk(self, flow: _Flow, runs: frozenset[str], to: str, n: int) -> tuple[Sample, bool]:
        def live(component: str) -> bool:
            return component in runs or component not in flow.chains

        done: dict[int | str, Sample] = {flow.source: np.zeros(n)}
        messages = [m for m in self.messages(flow) if live(m.from_component) and live(m.to_component)]
        joined = False

        def arrive(node: int | str) -> Sample:
            nonlocal joined
            into = [m for m in messages if m.consumer == node]
            joined = joined or len(into) > 1
            arriving = [done[m.producer] + self._transfer(flow, m, n) for m in into]
            latest: Sample = np.max(arriving, axis=0)
            return latest

        waiting = {visit[0] for visit in self.visits(flow, runs)}
        for component in [c for c in self.situation.graph.order if c in flow.chains and c in runs]:
            for i in flow.chains[component]:
                done[i] = arrive(i) + self.random.choice(self.service_times(i), n)
                if i in waiting:
                    done[i] += self._wait(self.queue_of(i), n)
        if to in flow.chains:
            return done[flow.chains[to][-1]], joined
        return arrive(to), joined

    def _transfer(self, flow: _Flow, m: _Message, n: int) -> Sample:
        if m.start == m.end:
            return np.zeros(n)
        sizes = self.bytes_of(flow, m, n)
        total = self._hop(self.mean_bytes(flow, m), n)
        for queue, rate, _ in self.crossed(m):
            total = total + sizes / rate + self._wait(queue, n)
        for link, _ in self.hops(m.start, m.end):
            delay = self.infra.links[link].delay
            total = total + np.maximum(0.0, self.random.normal(delay.mean, delay.jitter, n))
        return total

    def _hop(self, size: float, n: int) -> Sample:
        """Overhead of a message: normal, its moments between those of the measured sizes around it."""
        known = sorted(self.situation.hops, key=lambda h: h.bytes)
        sizes = [h.bytes for h in known]
        mean = float(np.interp(size, sizes, [h.latency.mean for h in known]))
        second = float(np.interp(size, sizes, [h.latency.second for h in known]))
        return np.maximum(0.0, self.random.normal(mean, math.sqrt(max(0.0, second - mean**2)), n))

    def _wait(self, queue: str, n: int) -> Sample:
        """Waits: how many residual services stand before a request is geometric (Pollaczek and Khinchine)."""
        arrivals = self.arrivals[queue]
        servers = self.servers(queue)
        rates = np.array([a.rate for a in arrivals])
        times = np.concatenate([a.times for a in arrivals]) / servers
        weights = np.concatenate(
            [np.full(len(a.times), r / len(a.times)) for a, r in zip(arrivals, rates, strict=True)]
        )
        load = float((weights * times).sum())
        total = np.zeros(n)
        if load <= 0:
            return total
        chance = load if servers == 1 else _queued(servers, load * servers)
        waiting = np.nonzero(self.random.random(n) < chance)[0]
        cumulative = np.cumsum(weights * times)
        while len(waiting):
            picked = np.searchsorted(cumulative, self.random.random(len(waiting)) * cumulative[-1])
            total[waiting] += times[np.minimum(picked, len(times) - 1)] * self.random.random(len(waiting))
            waiting = waiting[self.random.random(len(waiting)) < load]
        return total

    def _stages(self) -> None:
        """Means and percentiles of each stage and transfer."""
        n = max(20_000, self.samples // 4)
        claimed = [s for s in self.plan.stages if s.kind == "stage"]
        self.holds("every stage is predicted", len(claimed) == len(self.plan.assignments))
        for i, (a, claim) in enumerate(zip(self.plan.assignments, claimed, strict=False)):
            name = a.component if a.segment.is_whole else f"{a.component}[{a.segment}]"
            if not self.holds(f"stage {name} at {a.site} is named", (claim.name, claim.site) == (name, a.site)):
                continue
            self._percentiles(f"stage {name} service", claim.service, np.repeat(self.service_times(i), 25), False)
            waited = self._wait(self.queue_of(i), n) * (self.random.random(n) < self.waiting_share(i))
            self._percentiles(f"stage {name} wait", claim.wait, waited, False)
            every = sum(f.peak * f.members for f in self.flows if f.name in a.flows)
            runs = sum(f.peak * f.members * self.share(f, a.component) for f in self.flows if f.name in a.flows)
            self.equal(f"stage {name} share", claim.share, runs / every if every else 0.0, 1e-4)
        transfers = {(s.name, s.site): s for s in self.plan.stages if s.kind == "transfer"}
        seen: set[tuple[str, str]] = set()
        for flow in self.flows:
            for m in self.messages(flow):
                if m.start == m.end:
                    continue
                key = (f"{self._called(m.producer)} -> {self._called(m.consumer)}", f"{m.start} -> {m.end}")
                claim_ = transfers.get(key)
                if key in seen or not self.holds(f"transfer {key[0]} is predicted", claim_ is not None):
                    continue
                assert claim_ is not None
                seen.add(key)
                waits = [self._wait(queue, n) for queue, _, _ in self.crossed(m)]
                wait = np.sum(waits, axis=0)
                self._percentiles(f"transfer {key[0]} wait", claim_.wait, wait, False)
                self._percentiles(f"transfer {key[0]} time", claim_.service, self._unloaded(flow, m, n), False)
                self.equal(f"transfer {key[0]} share", claim_.share, m.share, 1e-4)

    def waiting_share(self, index: int) -> float:
        """Of the runs of a stage, those that begin a visit."""
        begun = every = 0.0
        for flow in self.flows:
            for runs, p in self.patterns(flow).items():
                for visit in self.visits(flow, runs):
                    weight = flow.peak * flow.members * p
                    begun += weight * (visit[0] == index)
                    every += weight * (index in visit)
        return begun / every if every else 1.0

    def _called(self, node: int | str) -> str:
        if isinstance(node, str):
            return node
        a = self.plan.assignments[node]
        return a.component if a.segment.is_whole else f"{a.component}[{a.segment}]"

    def _unloaded(self, flow: _Flow, m: _Message, n: int) -> Sample:
        total = self._hop(self.mean_bytes(flow, m), n) + self.bytes_of(flow, m, n) * sum(
            1 / rate for _, rate, _ in self.crossed(m)
        )
        for link, _ in self.hops(m.start, m.end):
            delay = self.infra.links[link].delay
            total = total + np.maximum(0.0, self.random.normal(delay.mean, delay.jitter, n))
        return total

    # Constraints

    def constraints(self) -> None:
        claimed = {c.name: c for c in self.plan.constraints}
        month = getattr(self, "found_cost", math.inf)
        for name, c in self.app.constraints.items():
            if isinstance(c, PathConstraint):
                for q, limit in c.limits.items():
                    p = f"p{q * 100:.0f}"
                    over = "all" if c.over == "all" else c.over.when
                    paths = [x for x in self.plan.paths if (x.from_, x.to, x.over) == (c.from_, c.to, over)]
                    value = max((getattr(x.predicted, f"{p}_ms") for x in paths), default=0.0)
                    self._constraint(claimed, f"{name}.{p}", value, limit * 1e3, 1e-4)
            elif isinstance(c, CostConstraint):
                self._constraint(claimed, name, month, c.cost * HOURS, 1e-4)
            elif isinstance(c, AccuracyConstraint):
                found = [a.value for f in self.flows for a in f.behaviour.accuracy if a.data == c.on]
                self._constraint(claimed, name, -min(found, default=0.0), -c.accuracy, 1e-5)
            elif isinstance(c, ResidencyConstraint):
                self.holds(f"constraint {name} is listed", name in claimed)

    def _constraint(self, claimed: Mapping[str, Any], name: str, value: float, limit: float, close: float) -> None:
        """`value` <= `limit`; a floor comes with both signs turned."""
        self.at_most(f"constraint {name} holds", value, limit)
        if not self.holds(f"constraint {name} is listed", name in claimed):
            return
        claim = claimed[name]
        self.equal(f"constraint {name}: value", claim.value, abs(value), close, 1e-6)
        self.equal(f"constraint {name}: limit", claim.limit, abs(limit), 1e-5, 1e-9)
        self.equal(f"constraint {name}: slack", claim.slack, limit - value, 1e-3, 1e-3 * abs(limit) * 0.1 + 1e-6)
        place = self.situation.app.place("constraints", *name.rsplit(".", 1))
        # The file's digest was compared: how its path is written says nothing.
        self.holds(
            f"constraint {name}: place", (Path(claim.file).name, claim.line) == (Path(place.file).name, place.line)
        )

    def proof(self) -> None:
        plan = self.plan
        if not self.holds(
            "objective and bound have all terms", len(plan.objective) == len(self.app.objective) == len(plan.bound)
        ):
            return
        below = all(b <= o * (1 + 1e-5) + 1e-9 for o, b in zip(plan.objective, plan.bound, strict=True))
        self.holds("no bound is above its objective", below)
        gaps = [abs(o - b) / abs(o) if o else 0.0 for o, b in zip(plan.objective, plan.bound, strict=True)]
        self.equal("gap", plan.gap if plan.gap is not None else -1.0, max(gaps), 1e-3, 1e-5)
        self.holds("optimal only without a gap", plan.status != "optimal" or max(gaps) < 1e-5)
        for term, value in zip(self.app.objective, plan.objective, strict=True):
            if isinstance(term, LatencyObjective):
                self._mean_objective(term.latency, value)
            elif hasattr(self, "found_cost"):
                self.equal("objective cost", value, self.found_cost, 1e-3, 1e-3)

    def _mean_objective(self, name: str, value: float) -> None:
        """The claim rests on tables that round waits up, and on the slowest branch's mean: it is not exact."""
        c = self.app.constraints[name]
        assert isinstance(c, PathConstraint)
        over = "all" if c.over == "all" else c.over.when
        paths = {p.flow: p for p in self.plan.paths if (p.from_, p.to, p.over) == (c.from_, c.to, over)}
        flows = [f for f in self.flows if f.source == c.from_]
        weight = sum(f.mean * f.members for f in flows)
        mean = sum(paths[f.name].predicted.mean_ms * f.mean * f.members for f in flows if f.name in paths) / max(
            weight, 1e-12
        )
        self.checks.append(Check(f"objective latency {name}", value, mean, 0.85 * mean - 1 <= value <= 1.35 * mean + 2))


def _values(points: Iterable[tuple[float, float]], mean: float, n: int = 4000) -> Sample:
    """Equally likely values between quantiles; beyond the last one as far as the mean asks for."""
    known = sorted(points)
    if not known:
        return np.full(n, mean)
    p, x = (list(column) for column in zip(*known, strict=True))
    if p[0] > 0:
        step = (x[1] - x[0]) / (p[1] - p[0]) * p[0] if len(p) > 1 else 0.0
        p, x = [0.0, *p], [max(0.0, x[0] - step), *x]
    if p[-1] < 1:
        so_far = float(np.trapezoid(x, p)) + (1 - p[-1]) * x[-1]
        p, x = [*p, 1.0], [*x, x[-1] + max(0.0, 2 * (mean - so_far) / (1 - p[-1]))]
    values: Sample = np.interp((np.arange(n) + 0.5) / n, p, x)
    off = mean / values.mean() if values.mean() > 0 else 1.0
    scaled: Sample = values * (off if abs(off - 1) <= 0.05 else 1.0)
    return scaled


def _queued(servers: int, load: float) -> float:
    """Erlang's C by its sum."""
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(terms) + last)


def _pack(items: list[tuple[int, float]], free: list[tuple[int, float]]) -> bool:
    """Whether every (threads, memory) fits on one of the devices with that much left."""
    if not items:
        return True
    threads, memory = items[0]
    for i, (cores, left) in enumerate(free):
        if threads <= cores and memory <= left and free.index((cores, left)) == i:
            rest = [*free[:i], (cores - threads, left - memory), *free[i + 1 :]]
            if _pack(items[1:], rest):
                return True
    return False
