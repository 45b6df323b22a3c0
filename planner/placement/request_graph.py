"""Who waits for whom while a request of one branch pattern is on its way to a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from planner.inputs.network import Passage
from planner.placement.layout import FlowLayout, Leg
from planner.placement.pipeline import Shape
from planner.placement.visits import in_order

SOURCE: Final = -1
SINK: Final = -2

Bundle = tuple[int, Passage]
"""Messages that a node sends over one link at once."""
Step = int | Bundle


@dataclass(frozen=True)
class RequestGraph:
    """Nodes are stages (indices), the source and the sink.

    `sent` are all legs of such a request in the order in which they leave; `order` has every node after what it takes
    from, without the source; `arriving` says which legs a node waits for, without those that cannot be the last;
    `above` has all that a node waits for. Steps are nodes, and bundles of several messages, whose wait is in common.
    """

    end: int
    sent: Sequence[Leg]
    order: Sequence[int]
    arriving: Mapping[int, Sequence[Leg]]
    above: Mapping[int, frozenset[int]]

    def on_the_way(self, node: int) -> bool:
        return node == self.end or node in self.above[self.end]

    @cached_property
    def meets_itself(self) -> bool:
        """Whether ways that meet at a node have steps in common since the last that all pass: their times are
        dependent."""
        return any(self._shared(node) for node in self.order if self.on_the_way(node))

    @cached_property
    def bundles(self) -> frozenset[Bundle]:
        """Of several messages each, for all of which the end waits."""
        legs = [leg for node in self.order if self.on_the_way(node) for leg in self.arriving[node] if leg.route]
        sent = [(leg.producer, leg.route[0]) for leg in legs]
        return frozenset(bundle for bundle in sent if sent.count(bundle) > 1)

    def sent_by(self, leg: Leg) -> Step:
        """The bundle that a message leaves in, if it is of several, else the node that sends it."""
        bundle = (leg.producer, leg.route[0]) if leg.route else None
        return bundle if bundle is not None and bundle in self.bundles else leg.producer

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Each after what it takes from, without the source."""
        found: dict[Step, None] = {}
        for node in self.order:
            found |= dict.fromkeys(by for by in map(self.sent_by, self.arriving[node]) if isinstance(by, tuple))
            found[node] = None
        return tuple(found)

    @cached_property
    def passed(self) -> Mapping[Step, Step]:
        """The last step that all ways to a step pass (its immediate dominator)."""
        return _dominators(self.steps, self._into)

    @cached_property
    def _into(self) -> Mapping[Step, Sequence[Step]]:
        """What each step takes from."""
        into: dict[Step, list[Step]] = {node: list(map(self.sent_by, self.arriving[node])) for node in self.order}
        return into | {bundle: [bundle[0]] for bundle in self.bundles}

    @cached_property
    def _until(self) -> Mapping[Step, frozenset[Step]]:
        """A step and all that it waits for."""
        found: dict[Step, frozenset[Step]] = {SOURCE: frozenset({SOURCE})}
        for step in self.steps:
            found[step] = frozenset({step}).union(*(found[by] for by in self._into[step]))
        return found

    def _shared(self, node: int) -> bool:
        before = self._until[self.passed[node]]
        seen: set[Step] = set()
        for by in self._into[node]:
            way = self._until[by] - before
            if seen & way:
                return True
            seen |= way
        return False


def request_graph(of: FlowLayout, shape: Shape, to: str, end: int) -> RequestGraph:
    """Of requests of `shape` until the node `end`, which is the sink `to` or the last stage of the component `to`."""
    sent = of.sent(shape)
    into: dict[int, list[Leg]] = {}
    for leg, awaited in sent:
        if awaited and (leg.consumer != SINK or leg.message.consumer.name == to):
            into.setdefault(leg.consumer, []).append(leg)
    order = [*in_order(of, into), *([SINK] if end == SINK else [])]
    above: dict[int, frozenset[int]] = {SOURCE: frozenset()}
    for node in order:
        above[node] = frozenset().union(*({leg.producer} | above[leg.producer] for leg in into[node]))
    arriving = {
        node: [leg for leg in into[node] if leg.route or not any(leg.producer in above[o.producer] for o in into[node])]
        for node in order
    }
    return RequestGraph(end, [leg for leg, _ in sent], order, arriving, above)


def _dominators(order: Sequence[Step], into: Mapping[Step, Sequence[Step]]) -> dict[Step, Step]:
    """`into` says what each of `order` takes from."""
    parent: dict[Step, Step] = {}

    def chain(node: Step) -> list[Step]:
        found = [node]
        while found[-1] != SOURCE:
            found.append(parent[found[-1]])
        return found

    for node in order:
        common = set.intersection(*(set(chain(maker)) for maker in into[node]))
        parent[node] = next(n for n in chain(into[node][0]) if n in common)
    return parent
