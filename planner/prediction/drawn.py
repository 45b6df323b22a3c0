"""The times of requests whose ways meet again and again, by drawing them: as exact as the number drawn allows.

Every wait, service and transfer is drawn as equally likely values in a shuffled (but fixed) order, so that its own
distribution is kept in full (Latin hypercube sampling: McKay, Beckman and Conover, 1979); at a node a request goes on
when the last of what it waits for is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from planner.placement.layout import FlowLayout, Leg
from planner.placement.pipeline import Shape
from planner.placement.request_graph import SOURCE, RequestGraph
from planner.prediction.distribution import POINTS, Reals

if TYPE_CHECKING:
    from planner.prediction.timings import Timings

DRAWS: Final = 4 * POINTS


@dataclass(frozen=True)
class Drawn:
    """`count` requests of one branch pattern; all that is drawn follows from one seed."""

    timings: Timings
    of: FlowLayout
    shape: Shape
    graph: RequestGraph
    count: int = DRAWS
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def times(self) -> Reals:
        """Seconds from a request's start to its end, of each request."""
        ends: dict[int, Reals] = {SOURCE: np.zeros(self.count)}
        visited: dict[str, tuple[Reals, Reals]] = {}
        tandem = self._in_tandem()
        for node in self.graph.order:
            if not self.graph.on_the_way(node):
                continue
            ready = self.ready(node, ends)
            ends[node] = ready
            if node in tandem:
                ends[node] = ready + tandem[node]
            elif node >= 0:
                timing = self.timings.stage(self.of, self.shape, node)
                for values in timing.parts:
                    ends[node] = ends[node] + self.shuffled(values)
                for name in timing.queues:
                    ends[node] = ends[node] + self._wait(name, ready, visited)
        return ends[self.graph.end]

    def _in_tandem(self) -> dict[int, Reals]:
        """Waits and services by stage, where queues feed one another."""
        found: dict[int, Reals] = {}
        for times in self.timings.in_tandem(self.of, self.shape, self.graph):
            which = self.random.random(self.count)
            found |= {stage: each[(which * len(each)).astype(np.int64)] for stage, each in times.items()}
        return found

    def ready(self, node: int, ends: Mapping[int, Reals]) -> Reals:
        """When the last of what a node waits for is there."""
        arriving = [ends[leg.producer] + self.transfer(leg) for leg in self.graph.arriving[node]]
        latest: Reals = np.maximum.reduce(arriving)
        return latest

    def shuffled(self, values: Reals) -> Reals:
        return self.random.permutation(values[np.arange(self.count) % len(values)])

    def fresh(self, name: str) -> Reals:
        """Waits as the queue's distribution says."""
        return self.shuffled(self.timings.queues[name].waits)

    def _wait(self, name: str, ready: Reals, visited: dict[str, tuple[Reals, Reals]]) -> Reals:
        """At an executor: what it was at the visit before, as often as waits are alike after the time in between."""
        queue = self.timings.queues[name]
        waits = self.fresh(name)
        if name in visited:
            before, waited = visited[name]
            alike = queue.likeness(float(ready.mean() - before.mean()))
            waits = np.where(self.random.random(self.count) < alike, waited, waits)
        visited[name] = ready, waits
        return waits

    def transfer(self, leg: Leg) -> Reals:
        """Messages that leave a stage over one link at once wait for it together."""
        if leg.name not in self._transfers:
            self._transfers[leg.name] = self._drawn_transfer(leg) if leg.route else np.zeros(self.count)
        return self._transfers[leg.name]

    def _drawn_transfer(self, leg: Leg) -> Reals:
        timing = self.timings.leg(self.of, leg, self.shape)
        total: Reals = np.zeros(self.count)
        behind = self.timings.behind(self.of, leg, self.graph.sent, self.shape)
        for values in (*timing.parts, *behind):
            total = total + self.shuffled(values)
        first = {name for name, _, _ in self.timings.link_servers(leg.route[0])}
        for name in timing.queues:
            key = leg.producer, name
            waits = self._left[key] if name in first and key in self._left else self.fresh(name)
            if name in first:
                self._left[key] = waits
            total = total + waits
        return total

    @cached_property
    def _transfers(self) -> dict[str, Reals]:
        return {}

    @cached_property
    def _left(self) -> dict[tuple[int, str], Reals]:
        """Waits for first links, by the stage that sends."""
        return {}
