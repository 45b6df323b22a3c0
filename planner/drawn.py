"""The time of requests whose ways meet again and again, by drawing them: as exact as the number drawn allows.

Every wait, service and transfer is drawn as equally likely values in a shuffled (but fixed) order, so that its own
distribution is kept in full (Latin hypercube sampling: McKay, Beckman and Conover, 1979); at a node a request goes on
when the last of what it waits for is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from planner.distribution import POINTS, Grid, Reals
from planner.layout import FlowLayout, Leg
from planner.pipeline import Shape
from planner.request_graph import SOURCE, RequestGraph
from planner.timings import Timings

DRAWS: Final = 4 * POINTS
_LEVELS: Final[Reals] = np.asarray((np.arange(DRAWS) + 0.5) / DRAWS, dtype=np.float64)


@dataclass(frozen=True)
class Drawn:
    """Requests of one branch pattern; all that is drawn follows from one seed."""

    timings: Timings
    of: FlowLayout
    shape: Shape
    graph: RequestGraph
    grid: Grid
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def times(self) -> Reals:
        """Seconds from a request's start to its end, of `DRAWS` requests."""
        ends: dict[int, Reals] = {SOURCE: np.zeros(DRAWS)}
        left: dict[tuple[int, str], Reals] = {}
        visited: dict[str, tuple[Reals, Reals]] = {}
        for node in self.graph.order:
            if not self.graph.on_the_way(node):
                continue
            arriving = [ends[leg.producer] + self._transfer(leg, left) for leg in self.graph.arriving[node]]
            ready: Reals = np.maximum.reduce(arriving)
            ends[node] = ready
            if node >= 0:
                timing = self.timings.stage(self.of, self.shape, node)
                for values in timing.parts:
                    ends[node] = ends[node] + self._shuffled(values)
                for name in timing.queues:
                    ends[node] = ends[node] + self._wait(name, ready, visited)
        return ends[self.graph.end]

    def _shuffled(self, values: Reals) -> Reals:
        return self.random.permutation(np.resize(values, DRAWS))

    def _fresh(self, name: str) -> Reals:
        """Waits as the queue's distribution says."""
        if self.timings.queues[name].wait.mean <= 0:
            return np.zeros(DRAWS)
        below = np.cumsum(self.grid.masses(self.timings.waiting(self.grid, name)))
        waits = np.searchsorted(below, _LEVELS).astype(np.float64) * self.grid.step
        return self.random.permutation(waits)

    def _wait(self, name: str, ready: Reals, visited: dict[str, tuple[Reals, Reals]]) -> Reals:
        """At an executor: what it was at the visit before, as often as waits are alike after the time in between."""
        queue = self.timings.queues[name]
        waits = self._fresh(name)
        if name in visited:
            before, waited = visited[name]
            alike = queue.likeness(float(ready.mean() - before.mean()))
            waits = np.where(self.random.random(DRAWS) < alike, waited, waits)
        visited[name] = ready, waits
        return waits

    def _transfer(self, leg: Leg, left: dict[tuple[int, str], Reals]) -> Reals:
        """Messages that leave a stage over one link at once wait for it together."""
        if not leg.route:
            return np.zeros(DRAWS)
        timing = self.timings.leg(self.of, leg)
        total: Reals = np.zeros(DRAWS)
        for values in (*timing.parts, *self.timings.behind(self.of, leg, self.graph.sent)):
            total = total + self._shuffled(values)
        first = {name for name, _, _ in self.timings.link_servers(leg.route[0])}
        for name in timing.queues:
            key = leg.producer, name
            waits = left[key] if name in first and key in left else self._fresh(name)
            if name in first:
                left[key] = waits
            total = total + waits
        return total
