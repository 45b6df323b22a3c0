"""The application's graph: who feeds whom, in which order, and what is skipped when a gate stays shut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush

from specs.application import Application


@dataclass(frozen=True, slots=True)
class Edge:
    """The values `outputs` of `producer` that `consumer` takes. Sources and sinks are nodes too."""

    producer: str
    consumer: str
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """Nodes are sources, components and sinks by name. A gate's input is an input like any other."""

    app: Application

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """One for each pair of neighbours, in topological order of the consumer."""
        taken: dict[tuple[str, str], dict[str, None]] = {}
        for consumer in (*self.order, *self.app.sinks):
            for producer, output in self.takes(consumer):
                taken.setdefault((producer, consumer), {})[output] = None
        return tuple(Edge(p, c, tuple(outputs)) for (p, c), outputs in taken.items())

    def takes(self, consumer: str) -> list[tuple[str, str]]:
        """(producer, output) of every input of a component or sink, its gate first."""
        component = self.app.components.get(consumer)
        refs = list((component or self.app.sinks[consumer]).inputs.values())
        if component is not None and component.when is not None:
            refs.insert(0, component.when.ref)
        return [(ref.producer, ref.output) for ref in refs]

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Components in topological order; among equals, as declared. Those on a cycle are left out.

        Kahn's algorithm, with those that are ready in a heap by their place in the file.
        """
        names = list(self.app.components)
        place = {name: i for i, name in enumerate(names)}
        needs = [{place[p] for p, _ in self._component_inputs(name) if p in place} for name in names]
        feeds: list[list[int]] = [[] for _ in names]
        for i, before in enumerate(needs):
            for p in before:
                feeds[p].append(i)
        missing = [len(before) for before in needs]
        ready = [i for i, count in enumerate(missing) if not count]
        done: list[str] = []
        while ready:
            i = heappop(ready)
            done.append(names[i])
            for j in feeds[i]:
                missing[j] -= 1
                if not missing[j]:
                    heappush(ready, j)
        return tuple(done)

    def _component_inputs(self, name: str) -> list[tuple[str, str]]:
        component = self.app.components[name]
        refs = [*component.inputs.values(), *([component.when.ref] if component.when else [])]
        return [(ref.producer, ref.output) for ref in refs]

    @cached_property
    def on_cycle(self) -> tuple[str, ...]:
        """Components that no order can hold, because they feed themselves."""
        sound = set(self.order)
        return tuple(name for name in self.app.components if name not in sound)

    def consumers(self, producer: str) -> tuple[Edge, ...]:
        return tuple(self._from.get(producer, ()))

    def producers(self, consumer: str) -> tuple[Edge, ...]:
        return tuple(self._into.get(consumer, ()))

    @cached_property
    def _from(self) -> dict[str, list[Edge]]:
        found: dict[str, list[Edge]] = {}
        for edge in self.edges:
            found.setdefault(edge.producer, []).append(edge)
        return found

    @cached_property
    def _into(self) -> dict[str, list[Edge]]:
        found: dict[str, list[Edge]] = {}
        for edge in self.edges:
            found.setdefault(edge.consumer, []).append(edge)
        return found

    def skipped(self, gates: Mapping[str, bool]) -> frozenset[str]:
        """Components that do not run, given the value of the output behind each gated component's ``when``.

        `gates` maps a gated component to that boolean; one that is missing is not yet known and taken as running. A
        component is skipped when its gate is shut, or an input without ``if_skipped`` (or its gate's own producer) was
        skipped.
        """
        out: set[str] = set()
        for name in self.order:
            component = self.app.components[name]
            shut = component.when is not None and name in gates and not component.when.opens(gates[name])
            if component.when is not None and component.when.ref.producer in out:
                shut = True
            dead = any(ref.producer in out and ref.if_skipped is None for ref in component.inputs.values())
            if shut or dead:
                out.add(name)
        return frozenset(out)

    def runs(self, gates: Mapping[str, bool]) -> tuple[str, ...]:
        """The components that run, in order: the branch pattern of a request with these gate values."""
        out = self.skipped(gates)
        return tuple(name for name in self.order if name not in out)

    def descendants(self, nodes: Iterable[str]) -> frozenset[str]:
        """All components and sinks fed, directly or not, by `nodes`."""
        seen: set[str] = set()
        todo = list(nodes)
        while todo:
            node = todo.pop()
            for edge in self.consumers(node):
                if edge.consumer not in seen:
                    seen.add(edge.consumer)
                    todo.append(edge.consumer)
        return frozenset(seen)
