"""HEFT: heterogeneous earliest finish time (Topcuoglu, Hariri and Wu 2002, IEEE TPDS 13(3), 260-274).

Steps are ranked by their upward rank, the longest mean time from them to the end; each in turn goes where it finishes
soonest, given where those before it are. Requests follow each other here, so that a step holds replicas, not a slot of
time: an option is passed over once its pool has no cores left. HEFT looks at no price.
"""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import islice, product

from planner.problem import Option, Problem, Scenario
from planner.solver.evaluate import evaluate
from planner.solver.fixed import unproven
from planner.solver.greedy import MAX_SCENARIOS, Used, fewest_for_load, has_room, reserve
from planner.solver.solution import Choice, Solution
from planner.solver.stop import Clock, Stop
from planner.solver.ways import Ways


@dataclass(frozen=True)
class Heft:
    """The best of HEFT's choices over the combinations of variants; whole steps only, no splits."""

    name: str = "heft"

    def solve(self, problem: Problem, stop: Stop) -> Solution:
        clock, ways = Clock(stop), Ways()
        by_flow = [
            [s for s, each in enumerate(problem.scenarios) if each.flow == f and not each.barred]
            for f in range(len(problem.flows))
        ]
        best: tuple[tuple[int, ...], Choice] | None = None
        for scenarios in islice(product(*by_flow), MAX_SCENARIOS):
            used = Used()
            placed = [schedule(problem, problem.scenarios[s], used, ways) for s in scenarios]
            if any(p is None for p in placed):
                continue
            options = tuple(tuple((o,) for o in p) for p in placed if p is not None)
            choice = Choice(scenarios, options, problem.members, fewest_for_load(problem, scenarios, options))
            found = evaluate(problem, choice, ways=ways)
            if found.holds() and (best is None or found.objectives < best[0]):
                best = (found.objectives, choice)
        if best is None:
            return Solution("unknown", seconds=clock.spent, strategy=self.name)
        return unproven(best[1], best[0], clock, self.name)


def upward_ranks(scenario: Scenario) -> list[float]:
    """By step, the longest mean time from its start to the end, over options and transfers alike."""
    work = [_mean([o.mean_us for o in _whole(scenario, i)]) for i in range(len(scenario.steps))]
    after: dict[int, list[tuple[int, float]]] = {i: [] for i in range(len(scenario.steps))}
    for edge in scenario.edges:
        if edge.producer.step >= 0 and edge.consumer.step != edge.producer.step:
            moved = _mean([t.mean_us for t in edge.hops or edge.transfers])
            after[edge.producer.step].append((edge.consumer.step, moved))
    ranks = [0.0] * len(scenario.steps)
    graph = {i: [j for j, _ in to if j >= 0] for i, to in after.items()}
    for i in TopologicalSorter(graph).static_order():
        ranks[i] = work[i] + max((moved + (ranks[j] if j >= 0 else 0.0) for j, moved in after[i]), default=0.0)
    return ranks


def schedule(problem: Problem, scenario: Scenario, used: Used, ways: Ways) -> list[int] | None:
    """By step, its option; None where some step has none left."""
    ranks = upward_ranks(scenario)
    picked: dict[int, int] = {}
    finish: dict[int, int] = {}
    for i in sorted(range(len(ranks)), key=lambda i: (-ranks[i], i)):
        best: tuple[int, int, int] | None = None
        ready: dict[int, int | None] = {}
        for o, option in enumerate(scenario.steps[i].options):
            if option.barred or (option.first, option.last) != (0, scenario.steps[i].tasks - 1):
                continue
            if option.site not in ready:
                ready[option.site] = _ready(scenario, i, option.site, picked, finish, ways)
            start = ready[option.site]
            if start is not None and has_room(problem, option, used):
                way = (start + option.mean_us, option.cost, o)
                best = way if best is None or way < best else best
        if best is None:
            return None
        picked[i], finish[i] = best[2], best[0]
        reserve(problem, scenario.steps[i].options[best[2]], used)
    return [picked[i] for i in range(len(ranks))]


def _ready(
    scenario: Scenario, i: int, site: int, picked: dict[int, int], finish: dict[int, int], ways: Ways
) -> int | None:
    """When all messages of step `i` have come to `site`; None where one has no route."""
    latest = 0
    for edge in scenario.edges:
        if edge.consumer.step != i or edge.producer.step == i:
            continue
        p = edge.producer.step
        at = edge.producer.site if p < 0 else scenario.steps[p].options[picked[p]].site
        came = 0 if p < 0 else finish[p]
        if at != site:
            transfer = ways.between(edge, at, site)
            if transfer is None:
                return None
            came += transfer.mean_us
        latest = max(latest, came)
    return latest


def _whole(scenario: Scenario, i: int) -> list[Option]:
    return [o for o in scenario.steps[i].options if (o.first, o.last) == (0, scenario.steps[i].tasks - 1)]


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0
