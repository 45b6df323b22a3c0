"""What the members left out of a slice would ask of the queues and links that they share with the chosen ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from runtime.fan_out import split
from runtime.hosting.consumer import consumer_of
from runtime.hosting.host import Hum, Noise
from runtime.hosting.hosts import Load
from runtime.hosting.shaping import Routes
from runtime.reference.pipeline import Outcome
from runtime.topology import Edge, Flow, Stage, Topology
from runtime.values import Value, size
from specs.application import Application
from specs.infrastructure import Infrastructure

RECORDED: Final = 12
"""How many recorded inputs of a stage travel to its hosts."""

Outcomes = Mapping[str, Sequence[Outcome]]
"""What the reference pipeline did with the run's items, by flow."""


def recorded_inputs(
    stage: Stage, app: Application, outcomes: Sequence[Outcome], limit: int
) -> list[dict[str, Value | None]]:
    """The inputs of `stage`, of an item where it runs per item, in up to `limit` of the requests that ran it."""
    consumer = consumer_of(stage, app)
    found: list[dict[str, Value | None]] = []
    for outcome in outcomes:
        if len(found) >= limit:
            break
        if stage.component in outcome.runs:
            inputs = {need.name: outcome.values.get(need.key) for need in consumer.needs}
            found += split(inputs, consumer.items, stage.component) if consumer.items else [inputs]
    return found[:limit]


def background_loads(
    top: Topology,
    app: Application,
    infra: Infrastructure,
    rates: Mapping[str, float],
    outcomes: Outcomes,
) -> dict[str, Load]:
    """By member: synthetic requests at its stages, and bytes on the capacities that belong to it.

    `rates` gives, by class of sites, the requests a second that the members left out bring to each chosen member. They
    are divided among the flows as their peak rates are, and take each stage and edge as often as the recorded requests.
    A capacity of a member without a host is loaded by the first host.
    """
    weights = _weights(top, infra)
    routes = Routes(top)
    noises: dict[str, list[Noise]] = {}
    hums: dict[str, list[Hum]] = {}
    hosts = {str(member) for member in top.hosts}
    members = {str(s.member): s.member.site for s in top.serving}
    for member, site in sorted(members.items()):
        rate = rates.get(site, 0.0)
        if rate <= 0:
            continue
        for flow in top.flows:
            share = rate * weights[flow.name]
            if member in hosts:
                noises.setdefault(member, []).extend(_noises(top, app, flow, site, share, outcomes[flow.name]))
            at = member if member in hosts else str(top.hosts[0])
            hums.setdefault(at, []).extend(_hums(top, routes, flow, member, share, outcomes[flow.name]))
    return {m: Load(noises=tuple(noises.get(m, ())), hums=tuple(hums.get(m, ()))) for m in {*noises, *hums}}


def _weights(top: Topology, infra: Infrastructure) -> dict[str, float]:
    full = {flow.name: flow.rate * infra.members(flow.site) for flow in top.flows}
    return {name: rate / sum(full.values()) for name, rate in full.items()}


def _noises(
    top: Topology, app: Application, flow: Flow, site: str, rate: float, outcomes: Sequence[Outcome]
) -> Iterator[Noise]:
    for stage in top.stages_at(site):
        brought = [int(o.items.get(stage.component, stage.component in o.runs)) for o in outcomes]
        together = tuple(n for n in brought if n > 0)
        if flow.name in stage.flows and together:
            inputs = recorded_inputs(stage, app, outcomes, RECORDED)
            yield Noise(stage.id, rate * len(together) / len(outcomes), tuple(inputs), together)


def _hums(
    top: Topology, routes: Routes, flow: Flow, member: str, rate: float, outcomes: Sequence[Outcome]
) -> Iterator[Hum]:
    for edge in top.edges:
        if edge.flow != flow.name or not edge.hops:
            continue
        payloads = [_bytes(edge, outcome) for outcome in outcomes if _sent(top, edge, outcome)]
        if not payloads:
            continue
        for hop in edge.hops:
            use = top.link[hop]
            for kind, speed in (("own", use.rate), ("shared", use.shared_rate)):
                capacity = routes.capacity(kind, hop.link, hop.direction, member)
                if capacity is not None:
                    yield Hum(capacity, speed, rate * len(payloads) / len(outcomes), tuple(payloads))


def _sent(top: Topology, edge: Edge, outcome: Outcome) -> bool:
    """Whether a request such as `outcome` sends the edge's message."""
    producer, consumer = top.stage_by_id.get(edge.producer), top.stage_by_id.get(edge.consumer)
    runs = producer is None or producer.component in outcome.runs
    return runs and (edge.always or consumer is None or consumer.component in outcome.runs)


def _bytes(edge: Edge, outcome: Outcome) -> int:
    return sum(size(outcome.values[key]) for key in edge.values)
