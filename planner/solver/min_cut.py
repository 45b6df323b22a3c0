"""Min-cut between two sites: the partition that costs least, as in MAUI, Wishbone and DADS.

Every component is on the side of the requests' site or on that of one other site; its cost there, with its part of a
device and time at a price, is an arc to the other terminal, and what its messages cost between the sites are arcs
between components. The minimal cut (Ford and Fulkerson) is the best partition for that price of time; capacities are
not in it. Each price and each other site is tried; the options of the partition are then chosen exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from planner.problem import Edge, Option, Problem, Scenario
from planner.solver.fixed import solve_restricted
from planner.solver.largest import largest
from planner.solver.one_site import home
from planner.solver.solution import Solution
from planner.solver.stop import Clock, Stop
from planner.solver.ways import Ways

PRICES: Final = (0, 30, 300, 3000, 10**9)
"""What a microsecond is worth (ucur), tried in turn."""


@dataclass(frozen=True)
class MinCut:
    """The best partition between where requests enter and the site with most cores; one source site only."""

    name: str = "min-cut"

    def solve(self, problem: Problem, stop: Stop) -> Solution:
        clock, ways = Clock(stop), Ways()
        homes = frozenset().union(*(home(s) for s in problem.scenarios))
        best = Solution("unknown", strategy=self.name)
        if len(homes) == 1:
            here, there = next(iter(homes)), largest(problem)
            tried: set[tuple[frozenset[int], ...]] = set()
            for price in PRICES:
                sides = tuple(partition(problem, s, here, there, price, ways) for s in problem.scenarios)
                if here == there or sides in tried or clock.left <= 0:
                    continue
                tried.add(sides)

                def on_its_side(
                    s: int, i: int, o: Option, sides: tuple[frozenset[int], ...] = sides, here: int = here
                ) -> bool:
                    return o.site == (here if i in sides[s] else there)

                limit = replace(stop, time_limit=clock.left / (len(PRICES) - len(tried) + 1))
                found = solve_restricted(problem, on_its_side, limit, self.name)
                if found.choice is not None and (best.choice is None or found.objectives < best.objectives):
                    best = found
        return replace(best, seconds=clock.spent)


def partition(problem: Problem, scenario: Scenario, here: int, there: int, price: int, ways: Ways) -> frozenset[int]:
    """The steps on the side of `here` in the cheapest partition with time at `price`."""
    import networkx as nx  # a sixth of a second to import, for this baseline alone

    graph: Any = nx.DiGraph()
    graph.add_nodes_from(["here", "there"])
    for i in range(len(scenario.steps)):
        for site, other in ((here, "there"), (there, "here")):
            cost = _least(problem, scenario, i, site, price)
            pair = (i, other) if other == "there" else (other, i)
            if cost is None:
                graph.add_edge(*pair)  # without capacity: it cannot be cut
            else:
                graph.add_edge(*pair, capacity=cost)
    for edge in scenario.edges:
        _join(graph, edge, here, there, price, ways)
    try:
        _, (side, _) = nx.minimum_cut(graph, "here", "there")
    except nx.NetworkXUnbounded:
        return frozenset()
    return frozenset(i for i in side if isinstance(i, int))


def _join(graph: Any, edge: Edge, here: int, there: int, price: int, ways: Ways) -> None:
    """Arcs for a message: what it costs if its producer is at `here` and its consumer at `there`, and the reverse."""

    def node(step: int, site: int) -> int | str:
        return step if step >= 0 else ("here" if site == here else "there")

    a, b = node(edge.producer.step, edge.producer.site), node(edge.consumer.step, edge.consumer.site)
    for start, end, tail, head in ((here, there, a, b), (there, here, b, a)):
        transfer = ways.between(edge, start, end)
        if a == b:
            continue
        if transfer is None:
            graph.add_edge(tail, head)
        elif graph.has_edge(tail, head) and "capacity" not in graph[tail][head]:
            continue
        else:
            before = graph[tail][head]["capacity"] if graph.has_edge(tail, head) else 0
            graph.add_edge(tail, head, capacity=before + transfer.cost + price * transfer.mean_us)


def _least(problem: Problem, scenario: Scenario, i: int, site: int, price: int) -> int | None:
    """The least cost of a step at a site: its own, its part of the devices, and its time. None: not possible there."""

    def cost(option: Option) -> int:
        station = problem.stations[option.station]
        pool = problem.pools[station.pool]
        fewest = min((level.replicas for level in station.levels if level.load_ppb >= option.load_ppb), default=1)
        device = 0 if pool.minimum else pool.price * fewest * station.threads // pool.cores
        return option.cost + device + price * option.mean_us

    step = scenario.steps[i]
    here = [o for o in step.options if o.site == site and not o.barred and (o.first, o.last) == (0, step.tasks - 1)]
    return min((cost(o) for o in here), default=None)
