"""When a stage or sink has what it needs of a request: joins, gates and skipped inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from runtime.message import Message, Trace
from runtime.reference.pipeline import truth
from runtime.topology import Edge, Stage, Topology
from runtime.values import Value
from specs.application import Application, Gate
from specs.fan_out import item_inputs

Verdict = Literal["waiting", "ready", "skipped"]


@dataclass(frozen=True, slots=True)
class Need:
    """An input `name`, which is the value `key` made by `producer` (a component or source)."""

    name: str
    key: str
    producer: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Consumer:
    """A stage (with its component) or a sink (whose `component` is "")."""

    id: str
    component: str
    needs: tuple[Need, ...]
    gate: Gate | None
    items: frozenset[str] = frozenset()
    """Names of the inputs that are taken item by item."""

    def verdict(self, partial: Partial) -> Verdict:
        """What `partial` means. Raises InputError where the gate's value is not a bool."""
        skipped = partial.skipped
        if self.component and self.component in skipped:
            return "skipped"
        if self.gate is not None:
            key = self.gate.ref.from_
            if key not in partial.values:
                return "skipped" if self.gate.ref.producer in skipped else "waiting"
            if not self.gate.opens(truth(partial.values[key], str(self.gate))):
                return "skipped"
        missing = [n for n in self.needs if n.key not in partial.values]
        if any(not n.optional and n.producer in skipped for n in missing):
            return "skipped"
        return "ready" if all(n.optional and n.producer in skipped for n in missing) else "waiting"

    def inputs(self, partial: Partial) -> dict[str, Value | None]:
        """By name; None for what was skipped."""
        return {need.name: partial.values.get(need.key) for need in self.needs}

    def waits_for(self, partial: Partial) -> list[str]:
        """References that have not arrived."""
        keys = [n.key for n in self.needs if n.producer not in partial.skipped]
        return [k for k in (*keys, *([self.gate.ref.from_] if self.gate else [])) if k not in partial.values]


@dataclass(slots=True)
class Partial:
    """What has arrived of one request for one consumer."""

    first: Message
    values: dict[str, Value] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    trace: Trace = field(default_factory=Trace)

    def add(self, message: Message) -> None:
        self.values.update(message.values)
        self.skipped.update(message.skipped)
        self.trace = self.trace.merged(message.trace)


def consumer_of(stage: Stage, app: Application) -> Consumer:
    component = app.components[stage.component]
    if not stage.first:
        keys = [(tensor, f"{stage.component}@{tensor}") for tensor in stage.segment.begin]
        needs = tuple(Need(tensor, key, stage.component, False) for tensor, key in keys)
        items = frozenset(stage.segment.begin) if component.per is not None else frozenset[str]()
        return Consumer(stage.id, stage.component, needs, None, items)
    refs = component.inputs.items()
    needs = tuple(Need(n, r.from_, r.producer, r.if_skipped is not None) for n, r in refs)
    return Consumer(stage.id, stage.component, needs, component.when, item_inputs(app, stage.component))


def consumers_at(site: str, top: Topology, app: Application) -> Iterator[Consumer]:
    """The stages of a site, and the sinks of the flows that enter there."""
    for stage in top.stages_at(site):
        yield consumer_of(stage, app)
    fed = {edge.consumer for edge in top.edges if edge.to_site == site}
    for name, sink in app.sinks.items():
        if name in fed:
            refs = sink.inputs.items()
            needs = tuple(Need(n, r.from_, r.producer, r.if_skipped is not None) for n, r in refs)
            yield Consumer(name, "", needs, None)


def told_of(new: frozenset[str], flow: str, stage: Stage, top: Topology, app: Application) -> dict[str, str]:
    """Consumers of `flow` (id -> site) beyond the neighbours of `stage` that must hear that `new` are skipped.

    Those that are themselves skipped drop what they hold; those that take a value of a skipped one stop waiting for it.
    """
    if not new:
        return {}
    mine = [e for e in top.edges if e.flow == flow]
    direct = {e.consumer for e in mine if e.producer == stage.id}
    told: dict[str, str] = {}
    for edge in mine:
        if edge.consumer in direct or edge.producer == stage.id:
            continue
        target = top.stage_by_id.get(edge.consumer)
        if target is not None and not target.first:
            continue
        producer = top.stage_by_id.get(edge.producer)
        # A skipped consumer fed by skipped producers alone holds nothing; any other must hear of it.
        skipped = target is not None and target.component in new
        starved = producer is not None and producer.component in new
        if skipped != starved:
            told[edge.consumer] = edge.to_site
    return told


def edges_from(top: Topology) -> Mapping[tuple[str, str], tuple[Edge, ...]]:
    """Edges by (flow, producer)."""
    found: dict[tuple[str, str], list[Edge]] = {}
    for edge in top.edges:
        found.setdefault((edge.flow, edge.producer), []).append(edge)
    return {key: tuple(edges) for key, edges in found.items()}
