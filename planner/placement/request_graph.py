"""Who waits for whom while a request of one branch pattern is on its way to a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from planner.placement.layout import FlowLayout, Leg
from planner.placement.pipeline import Shape
from planner.placement.visits import in_order

SOURCE: Final = -1
SINK: Final = -2


@dataclass(frozen=True)
class RequestGraph:
    """Nodes are stages (indices), the source and the sink.

    `sent` are all legs of such a request in the order in which they leave; `order` has every node after what it takes
    from, without the source; `arriving` says which legs a node waits for, without those that cannot be the last;
    `above` has all that a node waits for; `parent` is the last node that all ways to a node pass (its immediate
    dominator).
    """

    end: int
    sent: Sequence[Leg]
    order: Sequence[int]
    arriving: Mapping[int, Sequence[Leg]]
    above: Mapping[int, frozenset[int]]
    parent: Mapping[int, int]

    def on_the_way(self, node: int) -> bool:
        return node == self.end or node in self.above[self.end]

    @cached_property
    def meets_itself(self) -> bool:
        """Whether ways that meet at a node have stages in common since its parent: their times are dependent."""
        return any(self._shared(node) for node in self.order if self.on_the_way(node))

    def _shared(self, node: int) -> bool:
        before = self.above[self.parent[node]] | {self.parent[node]}
        seen: set[int] = set()
        for leg in self.arriving[node]:
            way = (self.above[leg.producer] | {leg.producer}) - before
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
    return RequestGraph(end, [leg for leg, _ in sent], order, arriving, above, _dominators(order, arriving))


def _dominators(order: Sequence[int], arriving: Mapping[int, Sequence[Leg]]) -> dict[int, int]:
    parent: dict[int, int] = {}

    def chain(node: int) -> list[int]:
        found = [node]
        while found[-1] != SOURCE:
            found.append(parent[found[-1]])
        return found

    for node in order:
        common = set.intersection(*(set(chain(leg.producer)) for leg in arriving[node]))
        parent[node] = next(n for n in chain(arriving[node][0].producer) if n in common)
    return parent
