"""What a Plan means when it runs: stages, queues, edges, routes, links and members, as plain data.

The planner's verifier derives its own from the same Plan, and a test compares the two: there is one discipline.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from runtime.fleet import Member, ancestors, chosen, serving
from specs.application import Application
from specs.artefact import Segment
from specs.errors import InputError, Issue
from specs.graph import Graph
from specs.infrastructure import Infrastructure
from specs.plan import Assignment, Plan
from specs.run_result import Slice
from specs.selector import matching_sites, sink_site
from specs.state import stateful

Direction = Literal["up", "down"]

OPENING: Final = 1_000_000
"""Bytes, at most, that are sent to a peer before its first message."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Requests of one source at each chosen member of one class of sites; `rate` is per member and second."""

    name: str
    source: str
    site: str
    rate: float
    arrivals: Literal["poisson", "constant", "trace"]
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """One assignment of the plan. `name` is the component (with its segment), `id` is unique in the run."""

    id: str
    name: str
    component: str
    segment: Segment
    first: bool
    last: bool
    flows: tuple[str, ...]
    site: str
    pool: str
    hardware: str
    cpu: float
    variant: str
    backend: str
    threads: int
    replicas: int
    batch: int
    batch_wait_ms: float
    artefact: str
    standby: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """First come first served at each member of `site`, drawn from by `servers` threads.

    Where the pool shares `cores`, each stage has its own queue with a server for each replica. Where it shares `time`,
    each of its devices has such a queue and a server, which serves all stages of the pool, and a request's work is all
    on one of them.
    """

    id: str
    site: str
    pool: str
    sharing: Literal["cores", "time"]
    servers: int
    stages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hop:
    link: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class Edge:
    """One message for each request of `flow` that takes it: `values` from `producer` to `consumer` (ids).

    It is sent `always` where the producer is a source or the consumer's gate, even when the consumer does not run.
    Without `hops` both ends are at one member, and the values are handed over in the process.
    """

    flow: str
    name: str
    producer: str
    consumer: str
    values: tuple[str, ...]
    from_site: str
    to_site: str
    always: bool
    hops: tuple[Hop, ...]

    @property
    def way(self) -> str:
        """As plans call the site of a transfer."""
        return f"{self.from_site} -> {self.to_site}"


@dataclass(frozen=True, slots=True)
class LinkUse:
    """One direction of a link: each member of `instances` has its own, first come first served at `rate` bytes/s.

    Where `shared_by` is set, all that pass the same member of that class also share `shared_rate`; `shared_first` says
    on which side of the link that is. `delay` and `jitter` in seconds. Of its packets the share `loss` is sent again,
    which the rates have no room for.
    """

    link: str
    direction: Direction
    instances: str
    rate: float
    shared_by: str
    shared_rate: float
    shared_first: bool
    delay: float
    jitter: float
    loss: float = 0.0


@dataclass(frozen=True, slots=True)
class Route:
    """Of requests that enter at site `origin`."""

    origin: str
    from_site: str
    to_site: str
    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Serving:
    """Requests from `origin` are served at `site` by `member`."""

    origin: Member
    site: str
    member: Member


@dataclass(frozen=True)
class Topology:
    """All that hosts must know. `hosts` are the members that run something or send requests."""

    flows: tuple[Flow, ...]
    stages: tuple[Stage, ...]
    queues: tuple[Queue, ...]
    edges: tuple[Edge, ...]
    routes: tuple[Route, ...]
    links: tuple[LinkUse, ...]
    serving: tuple[Serving, ...]
    hosts: tuple[Member, ...]

    @cached_property
    def stage_by_id(self) -> Mapping[str, Stage]:
        return {stage.id: stage for stage in self.stages}

    @cached_property
    def flow_by_name(self) -> Mapping[str, Flow]:
        return {flow.name: flow for flow in self.flows}

    @cached_property
    def ways(self) -> Mapping[tuple[str, str], str]:
        """(flow, edge by name) -> the way of its message."""
        return {(edge.flow, edge.name): edge.way for edge in self.edges}

    @cached_property
    def hops(self) -> Mapping[tuple[str, str, str], tuple[Hop, ...]]:
        """(site where the request entered, from, to) -> the links between two sites."""
        return {(r.origin, r.from_site, r.to_site): r.hops for r in self.routes}

    @cached_property
    def link(self) -> Mapping[Hop, LinkUse]:
        return {Hop(use.link, use.direction): use for use in self.links}

    @cached_property
    def member(self) -> Mapping[tuple[str, str], Member]:
        """(origin by name, site) -> the member that serves it."""
        return {(str(s.origin), s.site): s.member for s in self.serving}

    @cached_property
    def origin_site(self) -> Mapping[str, str]:
        """Of each origin by name."""
        return {str(s.origin): s.origin.site for s in self.serving}

    def sends_to(self, member: Member) -> Mapping[str, int]:
        """The other members that get values of `member`, and the bytes that open TCP's window on the way there."""
        found: dict[str, int] = {}
        for flow in self.flows:
            for origin in flow.members:
                for edge in self.edges:
                    if edge.flow == flow.name and edge.hops and self.member[str(origin), edge.from_site] == member:
                        target = str(self.member[str(origin), edge.to_site])
                        found[target] = max(found.get(target, 0), self._opening(edge))
        found.pop(str(member), None)
        return dict(sorted(found.items()))

    def _opening(self, edge: Edge) -> int:
        """Twice what is on its way over the edge's links in a round trip: a window beyond that is of no use, and on a
        narrow link what is sent for it would be in the way of the first requests.
        """
        links = [self.link[hop] for hop in edge.hops]
        rate = min(min(use.rate, use.shared_rate or use.rate) for use in links)
        return min(OPENING, int(4 * rate * sum(use.delay for use in links)))

    def stages_at(self, site: str) -> tuple[Stage, ...]:
        return tuple(stage for stage in self.stages if stage.site == site)


def flow_name(source: str, site: str) -> str:
    return f"{source}@{site}"


def edge_name(producer: str, consumer: str) -> str:
    """How predictions and measurements call a transfer; both by stage name, or the name of a source or sink."""
    return f"{producer} -> {consumer}"


def topology(plan: Plan, app: Application, infra: Infrastructure, part: Slice) -> Topology:
    """What `plan` means for the slice `part`.

    Raises InputError where the plan does not cover the application, names what the infrastructure lacks, or uses what
    the runtime cannot do yet.
    """
    if plan.status not in ("optimal", "feasible"):
        raise InputError(Issue(f"the plan is {plan.status}: there is nothing to run"))
    flows = tuple(_flows(app, infra, part))
    stages = _stages(plan, infra)
    _check_states(stages, app)
    listed = _listed(plan, infra)
    edges = tuple(edge for flow in flows for edge in _edges(app, infra, flow, stages, listed))
    servings = tuple(_servings(infra, flows, edges))
    return Topology(
        flows=flows,
        stages=stages,
        queues=tuple(_queues(stages, infra)),
        edges=edges,
        routes=tuple(dict.fromkeys(route for flow in flows for route in _routes(flow, edges, listed))),
        links=tuple(_links(infra)),
        serving=servings,
        hosts=tuple(sorted(_hosts(flows, edges, servings))),
    )


def _flows(app: Application, infra: Infrastructure, part: Slice) -> Iterator[Flow]:
    for source_name, source in app.sources.items():
        how = source.arrivals if isinstance(source.arrivals, str) else "trace"
        for site_name in matching_sites(source.at, infra):
            members = chosen(infra, part.members, site_name)
            if members:
                rate = source.rate.peak * part.multiplier
                yield Flow(flow_name(source_name, site_name), source_name, site_name, rate, how, members)


def _stages(plan: Plan, infra: Infrastructure) -> tuple[Stage, ...]:
    bases = [f"{a.stage_name}@{a.site}" for a in plan.assignments]
    stages = []
    for assignment, base in zip(plan.assignments, bases, strict=True):
        unique = bases.count(base) == 1
        detail = f"{assignment.pool}/{assignment.variant}/{assignment.backend}x{assignment.threads}"
        stages.append(_stage(assignment, base if unique else f"{base}/{detail}", infra))
    doubled = sorted({s.id for s in stages if sum(o.id == s.id for o in stages) > 1})
    if doubled:
        raise InputError(Issue(f"the plan assigns {doubled[0]} twice"))
    return tuple(stages)


def _check_states(stages: tuple[Stage, ...], app: Application) -> None:
    for name in stateful(app):
        mine = [stage for stage in stages if stage.component == name]
        if len(mine) > 1 or any(stage.replicas != 1 for stage in mine):
            message = f"the plan runs {name} more than once, which keeps state"
            raise InputError(Issue(message, None, "the plan was changed: solve again"))


def _stage(a: Assignment, stage_id: str, infra: Infrastructure) -> Stage:
    if a.site not in infra.sites or a.pool not in infra.sites[a.site].pools:
        raise InputError(Issue(f"the plan puts {a.component} in pool {a.pool} at {a.site}, which is not there"))
    hardware = infra.hardware[infra.sites[a.site].pools[a.pool].hardware]
    if a.batch > 1 and hardware.sharing == "time":
        raise InputError(
            Issue(f"not supported yet: a batch of {a.batch} for {a.component}, whose device shares its time")
        )
    return Stage(
        id=stage_id,
        name=a.stage_name,
        component=a.component,
        segment=a.segment,
        first=not a.segment.begin,
        last=not a.segment.end,
        flows=a.flows,
        site=a.site,
        pool=a.pool,
        hardware=a.hardware,
        cpu=hardware.emulate.cpu if hardware.emulate else 1.0,
        variant=a.variant,
        backend=a.backend,
        threads=a.threads,
        replicas=a.replicas,
        batch=a.batch,
        batch_wait_ms=a.batch_wait_ms,
        artefact=a.artefact,
        standby=a.standby,
    )


def _queues(stages: tuple[Stage, ...], infra: Infrastructure) -> Iterator[Queue]:
    timed: dict[tuple[str, str], list[str]] = {}
    for stage in stages:
        pool = infra.sites[stage.site].pools[stage.pool]
        if infra.hardware[pool.hardware].sharing == "time":
            timed.setdefault((stage.site, stage.pool), []).append(stage.id)
        else:
            yield Queue(stage.id, stage.site, stage.pool, "cores", stage.replicas, (stage.id,))
    for (site, name), ids in timed.items():
        devices = {stage.replicas for stage in stages if stage.id in ids}
        if len(devices) > 1:
            message = f"the plan runs some stages of pool {name} at {site} on more of its devices than others"
            raise InputError(Issue(message, None, "the plan was changed: solve again"))
        yield Queue(f"{name}@{site}", site, name, "time", devices.pop(), tuple(ids))


def _edges(
    app: Application, infra: Infrastructure, flow: Flow, stages: tuple[Stage, ...], listed: _Listed
) -> Iterator[Edge]:
    graph = Graph(app)
    reach = graph.descendants([flow.source])
    chains = {c: _chain(c, flow.name, stages) for c in graph.order if c in reach}

    def edge(
        producer: tuple[str, str, str], consumer: tuple[str, str, str], values: tuple[str, ...], always: bool
    ) -> Edge:
        (p_id, p_name, p_site), (c_id, c_name, c_site) = producer, consumer
        name = edge_name(p_name, c_name)
        hops = _between(listed, flow.site, p_site, c_site)
        return Edge(flow.name, name, p_id, c_id, values, p_site, c_site, always, hops)

    def node(stage: Stage) -> tuple[str, str, str]:
        return stage.id, stage.name, stage.site

    for arc in graph.edges:
        if arc.consumer not in reach:
            continue
        if arc.producer != flow.source and arc.producer not in chains:
            raise InputError(
                Issue(f"not supported yet: {arc.consumer} takes values of two sources, {flow.source} and another")
            )
        source = arc.producer == flow.source
        producer = (flow.source, flow.source, flow.site) if source else node(chains[arc.producer][-1])
        sink = arc.consumer in app.sinks
        if sink:
            consumer = (arc.consumer, arc.consumer, sink_site(app.sinks[arc.consumer], infra, flow.site))
        else:
            consumer = node(chains[arc.consumer][0])
        gate = None if sink else app.components[arc.consumer].when
        always = source or (gate is not None and gate.ref.producer == arc.producer)
        yield edge(producer, consumer, tuple(f"{arc.producer}.{o}" for o in arc.outputs), always)
    for component, chain in chains.items():
        for before, after in itertools.pairwise(chain):
            values = tuple(f"{component}@{tensor}" for tensor in after.segment.begin)
            yield edge(node(before), node(after), values, False)


def _chain(component: str, flow: str, stages: tuple[Stage, ...]) -> list[Stage]:
    """The stages of `component` for `flow`, from the model's inputs to its outputs."""
    mine = [s for s in stages if s.component == component and flow in s.flows]
    chain = [s for s in mine if s.first]
    while len(chain) == 1 or (chain and len(chain) < len(mine)):
        if chain[-1].last:
            break
        following = [s for s in mine if s.segment.begin == chain[-1].segment.end]
        if len(following) != 1:
            break
        chain += following
    if len(chain) != len(mine) or not chain or not chain[-1].last:
        raise InputError(
            Issue(
                f"the plan does not cover {component} exactly once for flow {flow}: it has "
                f"{', '.join(str(s.segment) for s in mine) or 'no assignment'}"
            )
        )
    return chain


_Listed = Mapping[tuple[str, str, str], tuple[Hop, ...]]
"""The plan's routes: (site where requests enter, from, to) -> links."""


def _listed(plan: Plan, infra: Infrastructure) -> _Listed:
    for route in plan.routes:
        for hop in route.hops:
            if hop.link not in infra.links:
                raise InputError(Issue(f"the plan routes over {hop.link}, which the infrastructure has not"))
    return {
        (origin, route.from_, route.to): tuple(Hop(h.link, h.direction) for h in route.hops)
        for route in plan.routes
        for origin in route.origins
    }


def _between(listed: _Listed, origin: str, start: str, end: str) -> tuple[Hop, ...]:
    if start == end:
        return ()
    if (origin, start, end) not in listed:
        message = f"the plan has no route between sites {start} and {end} for requests of {origin}"
        raise InputError(Issue(message, None, "the plan was changed: solve again"))
    return listed[origin, start, end]


def _routes(flow: Flow, edges: tuple[Edge, ...], listed: _Listed) -> Iterator[Route]:
    """Between all sites that the flow uses: values take those of its edges, notices may take any."""
    sites = sorted(_used(flow, edges))
    for start, end in itertools.permutations(sites, 2):
        yield Route(flow.site, start, end, _between(listed, flow.site, start, end))


def _links(infra: Infrastructure) -> Iterator[LinkUse]:
    for name, link in infra.links.items():
        first, second = link.between
        fine = second if infra.members(second) > infra.members(first) else first
        ways: tuple[Direction, Direction] = ("up", "down")
        for way in ways:
            spec = link.carrying(way)
            shared = spec.shared
            start = first if way == "up" else second
            yield LinkUse(
                link=name,
                direction=way,
                instances=fine,
                rate=spec.rate,
                shared_by=shared.by if shared else "",
                shared_rate=shared.rate if shared else 0.0,
                shared_first=bool(shared) and start != fine,
                delay=link.delay.mean,
                jitter=link.delay.jitter,
                loss=link.loss,
            )


def _servings(infra: Infrastructure, flows: tuple[Flow, ...], edges: tuple[Edge, ...]) -> Iterator[Serving]:
    by_name = {(use.link, use.direction): use for use in _links(infra)}
    for flow in flows:
        sites = _used(flow, edges)
        for edge in edges:
            if edge.flow == flow.name:
                for hop in edge.hops:
                    use = by_name[hop.link, hop.direction]
                    sites |= {use.instances} | ({use.shared_by} if use.shared_by else set())
        for member in flow.members:
            parents = {m.site for m in ancestors(infra, member)}
            for site in sorted(sites | parents):
                yield Serving(member, site, serving(infra, member, site))


def _used(flow: Flow, edges: tuple[Edge, ...]) -> set[str]:
    """The sites at which something of the flow is: its source, its stages and its sinks."""
    return {flow.site} | {site for edge in edges if edge.flow == flow.name for site in (edge.from_site, edge.to_site)}


def _hosts(flows: tuple[Flow, ...], edges: tuple[Edge, ...], servings: tuple[Serving, ...]) -> set[Member]:
    hosts = {member for flow in flows for member in flow.members}
    at = {(flow.site, site) for flow in flows for site in _used(flow, edges)}
    return hosts | {s.member for s in servings if (s.origin.site, s.site) in at}
