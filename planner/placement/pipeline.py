"""A flow under one combination of variants: which tasks there are, which messages pass, and which ways requests go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from planner.inputs.flows import Flow
from planner.moments import ZERO, Moments
from planner.situation import CutPoints, Situation
from specs.application import PathConstraint, ShareConstraint
from specs.behaviour import Behaviour, BranchPattern, PayloadSize
from specs.errors import InputError, Issue
from specs.fan_out import items_of

MAX_PATHS: Final = 256


@dataclass(frozen=True, slots=True)
class Node:
    """A source, a sink, or the task `task` of a component (its model's segments between cuts)."""

    name: str
    task: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """What `consumer` takes from `producer`: `values` are keys of `Behaviour.payloads`. `share` of requests send it:
    those that run the components `needs`.

    A message from a source or to what it gates is sent always; any other only where both ends run.
    """

    producer: Node
    consumer: Node
    values: tuple[str, ...]
    share: float
    needs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Shape:
    """A branch pattern: the components that run, and the probability.

    `items` are (component, how many) of those that run per item, sorted; one with 0 passes an empty stack on at once.
    """

    runs: frozenset[str]
    probability: float
    items: tuple[tuple[str, int], ...] = ()

    def times(self, component: str) -> int:
        """How often a request runs `component`."""
        return dict(self.items).get(component, int(component in self.runs))


@dataclass(frozen=True)
class Pipeline:
    situation: Situation
    flow: Flow
    behaviour: Behaviour

    @property
    def variants(self) -> dict[str, str]:
        return {c: self.behaviour.variants[c] for c in self.flow.components}

    @cached_property
    def tasks(self) -> dict[str, int]:
        """How many tasks each component has."""
        return {c: len(self.cuts(c)) + 1 for c in self.variants}

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Branch patterns of this flow's components, most probable first; probabilities sum to 1."""
        found: dict[tuple[frozenset[str], tuple[tuple[str, int], ...]], float] = {}
        ours = set(self.flow.components)
        components = self.situation.app.value.components
        gates = {c: components[c].when for c in ours}
        shut = {c: not gate.opens(True) for c, gate in gates.items() if gate is not None}
        always = ours & set(self.situation.graph.runs(shut))
        for pattern in (p for p in self.behaviour.patterns if p.source == self.flow.source):
            runs = frozenset(pattern.runs) & ours
            if lacking := sorted(always - runs):
                where = self.situation.app.place("components", lacking[0])
                message = f"a branch pattern of {pattern.source!r} leaves out {lacking[0]!r}, which no gate does"
                raise InputError(Issue(message, where, "the profile was changed: profile again"))
            items = self._items(pattern, runs)
            found[runs, items] = found.get((runs, items), 0.0) + pattern.probability
        if not found:
            where = self.situation.app.place("sources", self.flow.source)
            raise InputError(Issue("the behaviour has no branch pattern of this source", where, "profile again"))
        total = sum(found.values())
        ordered = sorted(found.items(), key=lambda item: (-item[1], sorted(item[0][0]), item[0][1]))
        return tuple(Shape(runs, p / total, items) for (runs, items), p in ordered if p > 0)

    def _items(self, pattern: BranchPattern, runs: frozenset[str]) -> tuple[tuple[str, int], ...]:
        components = self.situation.app.value.components
        counts = pattern.items or {}
        fanned = sorted(c for c in runs if components[c].per is not None)
        if lacking := [c for c in fanned if c not in counts]:
            where = self.situation.app.place("components", lacking[0], "per")
            message = f"the behaviour does not say how many items {lacking[0]!r} has"
            raise InputError(Issue(message, where, "profile again"))
        return tuple((c, counts[c]) for c in fanned)

    def share(self, component: str) -> float:
        """Of requests that run `component`."""
        return sum(s.probability for s in self.shapes if component in s.runs)

    def runs(self, component: str) -> float:
        """How often a request runs `component`, on average: more than once where it runs per item."""
        return sum(s.probability * s.times(component) for s in self.shapes)

    def counts(self, component: str) -> dict[int, float]:
        """How often a request that runs `component` does so, with the probability among those requests; once where
        none does."""
        found: dict[int, float] = {}
        share = self.share(component)
        for s in (s for s in self.shapes if component in s.runs):
            found[s.times(component)] = found.get(s.times(component), 0.0) + s.probability / share
        return found or {1: 1.0}

    def cuts(self, component: str) -> CutPoints:
        """Where the component's model is cut here: between its tasks."""
        return self.situation.cuts(component, self.variants[component], self.behaviour.wire(component))

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        app, graph = self.situation.app.value, self.situation.graph
        found: list[Message] = []
        for component, tasks in self.tasks.items():
            cuts = self.cuts(component)
            for i in range(tasks - 1):
                keys = tuple(f"{component}@{tensor}" for tensor in cuts[i])
                found.append(self._message(Node(component, i), Node(component, i + 1), keys, frozenset({component})))
        for edge in graph.edges:
            if edge.consumer not in self.flow.components and edge.consumer not in self.flow.sinks:
                continue
            consumer = app.components.get(edge.consumer)
            needs: frozenset[str] = frozenset()
            start = Node(edge.producer)
            if edge.producer != self.flow.source:
                start = Node(edge.producer, self.tasks[edge.producer] - 1)
                gates = (
                    consumer is not None and consumer.when is not None and consumer.when.ref.producer == edge.producer
                )
                needs = frozenset({edge.producer} if gates or consumer is None else {edge.producer, edge.consumer})
            values = tuple(f"{edge.producer}.{output}" for output in edge.outputs)
            found.append(self._message(start, Node(edge.consumer), values, needs))
        return tuple(found)

    def _message(self, producer: Node, consumer: Node, values: tuple[str, ...], needs: frozenset[str]) -> Message:
        share = sum(s.probability for s in self.shapes if needs <= s.runs) if needs else 1.0
        return Message(producer, consumer, values, share, needs)

    def payloads(self, message: Message) -> list[PayloadSize]:
        """Raises InputError where the behaviour lacks a size."""
        sizes = self.behaviour.payloads
        absent = [v for v in message.values if v not in sizes]
        if absent:
            where = self.situation.app.place("components", message.producer.name)
            raise InputError(Issue(f"payload size of {absent[0]!r} is not in the behaviour", where, "profile again"))
        return [sizes[v] for v in message.values]

    def size(self, message: Message) -> Moments:
        """Bytes of `message`: its values are taken as independent."""
        total = ZERO
        for payload in self.payloads(message):
            total = total.plus(Moments(payload.mean, payload.second, payload.third))
        return total

    def ranks(self, message: Message, value: str, shape: Shape) -> tuple[float, float]:
        """Between which ranks, of 0 to 1, the sizes of `value` in `message` lie in requests of `shape`.

        A stack is the larger the more items it has: by how many there are, the requests that send it are ordered as its
        sizes are, so that their mean is that of all sizes. Of what is no stack, or of a stack whose items nothing
        counts: from 0 to 1.
        """
        items = self._entries(value, shape)
        if items is None:
            return 0.0, 1.0
        sending = (s for s in self.shapes if message.needs <= s.runs)
        known = [(n, s.probability) for s in sending if (n := self._entries(value, s)) is not None]
        total = sum(p for _, p in known)
        fewer, no_more = (sum(p for n, p in known if n < most) / total for most in (items, items + 1))
        return fewer, no_more

    def _entries(self, value: str, shape: Shape) -> int | None:
        """How many items the stack `value` has in requests of `shape`; None where it is none, or that is not known."""
        app = self.situation.app.value
        maker, at_cut, _ = value.partition("@")
        maker = maker if at_cut else value.partition(".")[0]
        if maker in app.components and app.components[maker].per is not None:
            counting = {maker}
        else:
            per = {c: app.components[c].per for c in shape.runs}
            counting = {c for c, of in per.items() if of is not None and not at_cut and items_of(app, of) == value}
        return next((n for c, n in shape.items if c in counting), None)

    def reached(self, shape: Shape, to: str) -> bool:
        """Whether requests of `shape` reach the sink (or run the component) `to`."""
        if to in self.flow.components:
            return to in shape.runs
        inputs = self.situation.app.value.sinks[to].inputs.values()
        late = [ref for ref in inputs if ref.producer != self.flow.source]
        return all(ref.producer in shape.runs or ref.if_skipped is not None for ref in late)

    def live(self, shape: Shape) -> tuple[int, ...]:
        """Indices of the messages that a request of `shape` waits for: both ends run."""
        apps = self.situation.app.value.components

        def runs(name: str) -> bool:
            return name in shape.runs or name not in apps

        return tuple(i for i, m in enumerate(self.messages) if runs(m.producer.name) and runs(m.consumer.name))

    def requests(self, constraint: PathConstraint) -> tuple[Shape, ...]:
        """The branch patterns of the constraint's requests, with probabilities among them; none if there are none."""
        over = constraint.over
        chosen = [s for s in self.shapes if self.reached(s, constraint.to) and (over == "all" or over.when in s.runs)]
        total = sum(s.probability for s in chosen)
        return tuple(replace(s, probability=s.probability / total) for s in chosen)

    def ways(self, constraint: PathConstraint) -> tuple[Shape, ...]:
        """As `requests`, of all numbers of items together."""
        found: dict[frozenset[str], float] = {}
        for s in self.requests(constraint):
            found[s.runs] = found.get(s.runs, 0.0) + s.probability
        return tuple(Shape(runs, probability) for runs, probability in found.items())

    def paths(self, shape: Shape, to: str) -> tuple[tuple[int, ...], ...]:
        """Every way from the source to `to` in `shape`, as message indices. Raises InputError beyond `MAX_PATHS`."""
        after: dict[Node, list[int]] = {}
        for i in self.live(shape):
            after.setdefault(self.messages[i].producer, []).append(i)
        end = Node(to, self.tasks.get(to, 1) - 1)
        found: list[tuple[int, ...]] = []
        stack: list[tuple[Node, tuple[int, ...]]] = [(Node(self.flow.source), ())]
        while stack:
            node, way = stack.pop()
            if node == end:
                found.append(way)
            elif len(found) > MAX_PATHS:
                place = self.situation.app.place("components")
                raise InputError(Issue(f"not supported yet: more than {MAX_PATHS} paths to {to!r}", place))
            else:
                stack += [(self.messages[i].consumer, (*way, i)) for i in after.get(node, [])]
        return tuple(sorted(found))


def relevant(situation: Situation, flow: Flow) -> Mapping[str, PathConstraint]:
    """The path constraints of the flow's source, by name."""
    found = situation.app.value.constraints.items()
    return {n: c for n, c in found if isinstance(c, PathConstraint) and c.from_ == flow.source}


def paths_asked(situation: Situation, flow: Flow) -> tuple[PathConstraint, ...]:
    """Each path that constraints of the flow's source speak of once, then one for each sink that none speaks of.

    Where several constraints are about one path, it has the shortest of their limits on each percentile.
    """
    found: dict[tuple[str, str], PathConstraint] = {}
    constraints = situation.app.value.constraints.values()
    named = (c.path if isinstance(c, ShareConstraint) else c for c in constraints)
    for constraint in (c for c in named if isinstance(c, PathConstraint) and c.from_ == flow.source):
        about = constraint.to, constraint.about
        found[about] = _shortest(found[about], constraint) if about in found else constraint
    spoken = {to for to, _ in found}
    rest = (s for s in flow.sinks if s not in spoken)
    return (
        *found.values(),
        *(PathConstraint.model_construct(from_=flow.source, to=sink, over="all") for sink in rest),
    )


def _shortest(one: PathConstraint, other: PathConstraint) -> PathConstraint:
    both = {p: [v for v in (getattr(one, p), getattr(other, p)) if v is not None] for p in ("p50", "p95", "p99")}
    return one.model_copy(update={p: min(limits, default=None) for p, limits in both.items()})
