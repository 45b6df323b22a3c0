"""Solve time and cost of plans on random worlds by size, beside greedy, brute force and single-tier baselines.

`python -m benchmarks.solve` writes benchmarks/results/solve.json. Worlds are those of
tests/planner/worlds.py, made from seeds only, so that the rows can be made again. A ratio below 1 is in our favour.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from planner import baselines, solve
from planner.formulation import formulate
from planner.problem import Problem
from planner.solver import solve_problem
from planner.solver.greedy import solve_greedily
from tests.planner.blog import situation
from tests.planner.brute import TooLarge, brute_force
from tests.planner.worlds import world

RUNS = 5
WORLDS = 200
RESULT = Path(__file__).parent / "results" / "solve.json"


def seconds(work: Callable[[], Any], runs: int = RUNS) -> float:
    """The median of `runs`."""
    taken: list[float] = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def row(case: str, metric: str, ours: float, peer_name: str, peer: float, runs: int) -> dict[str, Any]:
    ratio = ours / peer if peer else None
    return {
        "case": case,
        "metric": metric,
        "ours": float(f"{ours:.4g}"),
        "peer_name": peer_name,
        "peer": float(f"{peer:.4g}"),
        "ratio": None if ratio is None else float(f"{ratio:.4g}"),
        "runs": runs,
    }


def size(problem: Problem) -> int:
    """Options in all scenarios."""
    return sum(len(step.options) for s in problem.scenarios for step in s.steps)


def random_worlds() -> list[dict[str, Any]]:
    """Medians over worlds of three sizes; cost where both ours and greedy have an answer."""
    groups: dict[str, list[tuple[float, float, float, float]]] = {}
    costs: dict[str, list[float]] = {}
    for seed in range(WORLDS):
        problem = formulate(world(seed))
        options = size(problem)
        case = "up to 20 options" if options <= 20 else "21 to 40 options" if options <= 40 else "over 40 options"
        started = time.perf_counter()
        solution = solve_problem(problem)
        ours = time.perf_counter() - started
        started = time.perf_counter()
        greedy = solve_greedily(problem)
        quick = time.perf_counter() - started
        started = time.perf_counter()
        try:
            brute_force(problem)
        except TooLarge:
            continue
        groups.setdefault(case, []).append((ours, quick, time.perf_counter() - started, float(options)))
        if solution.objectives and greedy.objectives and greedy.objectives[0]:
            costs.setdefault(case, []).append(solution.objectives[0] / greedy.objectives[0])
    rows: list[dict[str, Any]] = []
    for case, found in sorted(groups.items()):
        ours, quick, brute, _ = (statistics.median(column) for column in zip(*found, strict=True))
        rows.append(row(case, "solve seconds", ours, "brute force", brute, len(found)))
        rows.append(row(case, "solve seconds", ours, "greedy (no proof)", quick, len(found)))
        if costs.get(case):
            rows.append(row(case, "first objective", statistics.mean(costs[case]), "greedy", 1.0, len(costs[case])))
    return rows


def example() -> list[dict[str, Any]]:
    """The blog example, with made-up facts: time to a proof, and what single tiers cost."""
    given = situation()
    problem = formulate(given)
    rows = [
        row("blog example", "solve seconds", seconds(lambda: solve_problem(problem)), "greedy (no proof)",
            seconds(lambda: solve_greedily(problem)), RUNS),
        row("blog example", "seconds to a whole plan", seconds(lambda: solve(given)), "one second", 1.0, RUNS),
    ]  # fmt: skip
    best = solve(given)
    assert best.cost is not None
    for baseline in baselines(given):
        if baseline.plan is not None and baseline.plan.cost is not None:
            name = f"all on {baseline.tier}"
            rows.append(row("blog example", "cost a month", best.cost.per_month, name, baseline.plan.cost.per_month, 1))
    return rows


def start_up() -> list[dict[str, Any]]:
    """What importing CP-SAT costs through the module that we use, beside the public one, each in a fresh process."""
    import subprocess

    def fresh(module: str) -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True))

    ours, public = fresh("ortools.sat.python.cp_model_helper"), fresh("ortools.sat.python.cp_model")
    return [row("python start-up included", "import seconds", ours, "ortools.sat.python.cp_model", public, RUNS)]


def main() -> None:
    result = {
        "schema": "tierplan.benchmark/v1",
        "versions": {name: version(name) for name in ("ortools", "numpy", "pydantic")}
        | {"python": platform.python_version()},
        "machine": {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0))},
        "rows": [*start_up(), *example(), *random_worlds()],
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    for each in result["rows"]:
        print(each)


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
