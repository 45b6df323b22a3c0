"""Proven schedules of one isolated request beside the heuristics of SAGA (anrg-saga), in one run.

`python -m benchmarks.schedule` writes benchmarks/results/schedule.json. Instances are those of
benchmarks/task_graphs.py, made from seeds only. SAGA's licence allows no commercial use: it is in the extra `bench`
alone. What its heuristics place, in the order in which they do, is played by our rules, each step as soon as it can
start; times are whole microseconds on both sides, so that nothing is lost by rounding. Some of SAGA's ties are broken
by the order of Python's sets, a little otherwise in each run. Seconds are of the processor, of one thread. A ratio
below 1 is in our favour.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.about import about
from benchmarks.solve import row, spread
from benchmarks.task_graphs import TaskGraph, task_graph
from planner.solver import solve_problem
from planner.solver.scheduling import Schedule, wrong_in
from planner.solver.scheduling.dispatch import play
from planner.solver.scheduling.task_graph import task_graph_of


@dataclass(frozen=True, slots=True)
class Case:
    """A message takes about `ratio` times as long as a step."""

    steps: int
    devices: int
    ratio: float

    @property
    def name(self) -> str:
        return f"{self.steps} steps, {self.devices} devices, messages {self.ratio:g} of a step"


CASES: Final = (
    Case(10, 4, 0.3),
    Case(10, 4, 1.0),
    Case(15, 4, 0.3),
    Case(15, 4, 1.0),
    Case(20, 4, 0.3),
    Case(20, 4, 1.0),
    Case(20, 8, 0.3),
)
SEEDS: Final = 20
LIMIT: Final = 60.0
TARGET: Final = 10.0
"""Seconds to a proof."""
HEURISTICS: Final = (
    "BIL", "Cpop", "DPS", "Duplex", "ETF", "FastestNode", "FCP", "FLB", "GDL", "Heft", "MaxMin", "MCT", "MET",
    "MinMin", "MST", "OLB", "Sufferage", "WBA",
)  # fmt: skip
"""Of SAGA, all that take no exponential time and no parameter, but HBMCT: the orders of 2.0.2 wait for each other in
circles on most of these instances."""
RESULT: Final = Path(__file__).parent / "results" / "schedule.json"


@dataclass(frozen=True, slots=True)
class Found:
    """A makespan (us), and the processor's seconds that it took."""

    makespan: int
    seconds: float


def spent(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    return work(), time.process_time() - started


def by_saga(heuristic: str, graph: TaskGraph, problem: Any) -> Found:
    """What a heuristic of SAGA makes of `graph`, played as `problem`."""
    from saga import Network, schedulers
    from saga import TaskGraph as Tasks

    network = Network.create(
        [(f"d{k}", float(speed)) for k, speed in enumerate(graph.speeds)],
        [(f"d{p}", f"d{q}", float(rate)) for (p, q), rate in graph.rates.items()],
    )
    tasks = Tasks.create(
        [(f"t{i}", float(cost)) for i, cost in enumerate(graph.costs)],
        [(f"t{a}", f"t{b}", float(size)) for (a, b), size in graph.sizes.items()],
    )
    made, seconds = spent(lambda: getattr(schedulers, f"{heuristic}Scheduler")().schedule(network, tasks))
    given = task_graph_of(problem)
    number = {step.name: i for i, step in enumerate(given.scenario.steps)}
    orders = tuple(tuple(number[task.name] for task in sorted(made[pool.name], key=_when)) for pool in problem.pools)
    placed = {i: next(w for w in given.ways[i] if w.pool == pool) for pool, order in enumerate(orders) for i in order}
    played = play(given, placed, orders)
    assert played is not None, f"{heuristic} has no schedule"
    assert played.makespan <= made.makespan + 1e-3, f"{heuristic} says {made.makespan}, it takes {played.makespan}"
    return Found(played.makespan, seconds)


def _when(task: Any) -> tuple[float, float]:
    return task.start, task.end


def compared(case: Case) -> list[dict[str, Any]]:
    """Ours beside each heuristic, over all seeds."""
    graphs = [task_graph(case.steps, case.devices, case.ratio, seed) for seed in range(SEEDS)]
    problems = [graph.problem(f"{case.name} #{seed}") for seed, graph in enumerate(graphs)]
    ours: list[Found] = []
    proven = 0
    for problem in problems:
        solution, seconds = spent(partial(solve_problem, problem, time_limit=LIMIT))
        assert isinstance(solution, Schedule)
        assert not (wrong := wrong_in(problem, solution)), wrong
        proven += solution.status == "optimal"
        ours.append(Found(solution.objectives[0], seconds))
    taken = [f.seconds for f in ours]
    label = f"processor seconds to an end ({spread(taken)})"
    rows = [
        row(case.name, "share proven", proven / SEEDS, "all", 1.0, SEEDS),
        row(case.name, label, statistics.median(taken), "target", TARGET, SEEDS),
    ]
    for heuristic in HEURISTICS:
        theirs = [by_saga(heuristic, graph, problem) for graph, problem in zip(graphs, problems, strict=True)]
        rows += _beside(case, f"SAGA {heuristic}", ours, theirs)
    return rows


def _beside(case: Case, peer: str, ours: list[Found], theirs: list[Found]) -> list[dict[str, Any]]:
    ratios = [a.makespan / b.makespan for a, b in zip(ours, theirs, strict=True)]
    means = [statistics.mean(f.makespan for f in found) for found in (ours, theirs)]
    as_good = sum(ratio == 1.0 for ratio in ratios)
    makespan = row(case.name, f"makespan us ({as_good} of {SEEDS} by the peer are as good)", *_pair(means, peer), SEEDS)
    makespan["ratio"] = float(f"{statistics.mean(ratios):.4g}")
    seconds = [statistics.median(f.seconds for f in found) for found in (ours, theirs)]
    return [makespan, row(case.name, "processor seconds", *_pair(seconds, peer), SEEDS)]


def _pair(values: list[float], peer: str) -> tuple[float, str, float]:
    return values[0], peer, values[1]


def main() -> None:
    """Writes the result after each case, so that a run cut short leaves what it measured."""
    rows: list[dict[str, Any]] = []
    for case in CASES:
        found = compared(case)
        for each in found:
            print(each, flush=True)
        rows += found
        result = about("ortools", "anrg-saga") | {"rows": rows}
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
