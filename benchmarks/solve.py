"""Solve time and cost of plans on random worlds by size, beside greedy, brute force and single-tier baselines.

`python -m benchmarks.solve` writes benchmarks/results/solve.json. Worlds are those of
tests/planner/worlds.py, made from seeds only, so that the rows can be made again. A ratio below 1 is in our favour.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.about import about
from benchmarks.applications import application
from benchmarks.instances import Shape, instance, with_budget
from planner import baselines, solve
from planner.answers.explain import explain
from planner.answers.pareto import pareto
from planner.formulation import formulate
from planner.problem import Problem
from planner.problem.file import write_problem
from planner.proof.conflict import minimal_conflict
from planner.solver import Solution, solve_problem
from planner.solver.greedy import solve_greedily
from planner.solver.stop import Stop
from planner.solver.strategy import STRATEGIES
from tests.planner.blog import situation
from tests.planner.brute import TooLarge, brute_force
from tests.planner.worlds import world


@dataclass(frozen=True)
class Case:
    """`limit`: seconds for each search. `milp`: so many of the instances are given to HiGHS too."""

    name: str
    shape: Shape
    seeds: int
    limit: float
    target: float
    milp: int


CASES = (
    Case("tree 10 x 10", Shape("tree", 10, 10, slack=1.25), 20, 10.0, 0.2, 4),
    Case("tree 10 x 10, the cloud bought whole", Shape("tree", 10, 10, slack=1.25, by_use=False), 3, 10.0, 0.2, 0),
    Case("tree 20 x 17", Shape("tree", 20, 17, slack=1.25), 3, 20.0, 1.0, 0),
    Case("network 10 x 12", Shape("network", 10, 12, slack=1.25), 4, 10.0, 0.2, 2),
    Case("tree 50 x 73", Shape("tree", 50, 73, slack=1.25), 1, 60.0, 5.0, 0),
    Case("network 30 x 40", Shape("network", 30, 40, slack=1.25), 1, 60.0, 10.0, 0),
    Case("tree 100 x 100", Shape("tree", 100, 100, slack=1.25), 1, 60.0, 30.0, 0),
)
RUNS = 5
PEER_SECONDS = 1.0
"""For each heuristic and instance; what they find, they find at once."""
WORLDS = 200
LATENCY_MS = 900.0
ANSWER_SECONDS = 30.0
"""For a plan, a front and an explanation each."""
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


def generated(case: Case) -> list[dict[str, Any]]:
    """A case's instances of benchmarks/instances.py: time to the first plan and to the proof, and what others make of
    them.

    HiGHS has the same linear model and two threads, in a process of its own. Seconds are wall-clock; where a limit
    ended a search they are the limit. Targets are those of the project; a ratio above 1 misses them.
    """
    rows: list[dict[str, Any]] = []
    problems = [instance(case.shape, seed) for seed in range(case.seeds)]
    ours = [solve_problem(p, time_limit=case.limit) for p in problems]
    feasible = [(p, s) for p, s in zip(problems, ours, strict=True) if s.objectives]
    name, number = case.name, len(ours)
    for metric, values in (
        ("seconds to an end", [s.seconds for s in ours]),
        ("seconds to the first plan", [s.seconds_first for _, s in feasible if s.seconds_first is not None]),
    ):
        if values:
            label = f"{metric} ({spread(values)})"
            rows.append(row(name, label, statistics.median(values), "target", case.target, number))
    proven = sum(s.status in ("optimal", "infeasible") for s in ours)
    rows.append(row(name, "1 + share not proven in time", _left_open(proven / number), "all proven", 1.0, number))
    infeasible = sum(s.status == "infeasible" for s in ours)
    rows.append(row(name, "share infeasible", infeasible / number, "none", 1.0, number))
    gaps = [s.gap for _, s in feasible if s.gap is not None]
    if gaps:
        rows.append(row(name, "1 + gap left at the limit", 1 + statistics.median(gaps), "no gap", 1.0, len(gaps)))
    for peer in ("greedy", "heft", "min-cut", "all-edge", "all-cloud"):
        rows += _beside(name, peer, feasible, PEER_SECONDS)
    if case.milp:
        rows += _beside_milp(case, problems, ours)
    return rows


def spread(values: list[float]) -> str:
    return f"{min(values):.3g} to {max(values):.3g}"


def _beside(case: str, peer: str, solved: list[tuple[Problem, Solution]], limit: float) -> list[dict[str, Any]]:
    """Cost, where the peer has a plan, and the share of instances where it has none."""
    pairs: list[tuple[int, int]] = []
    for problem, solution in solved:
        found = STRATEGIES[peer].solve(problem, Stop(limit))
        if found.objectives:
            pairs.append((solution.objectives[0], found.objectives[0]))
    with_plan = len(pairs) / max(1, len(solved))
    share = row(case, f"1 + share without a plan by {peer}", 1.0, peer, _left_open(with_plan), len(solved))
    if not pairs:
        return [share]
    ours, theirs = (statistics.median(c) for c in zip(*pairs, strict=True))
    cost = row(case, "cost a month", ours / 1e6, peer, theirs / 1e6, len(pairs))
    cost["ratio"] = float(f"{statistics.mean(a / b for a, b in pairs):.4g}")
    return [cost, share]


def _beside_milp(case: Case, problems: list[Problem], ours: list[Solution]) -> list[dict[str, Any]]:
    """Seconds to a proof by HiGHS, and its cost."""
    import subprocess
    from tempfile import TemporaryDirectory

    seconds_: list[tuple[float, float]] = []
    costs: list[tuple[float, float]] = []
    with TemporaryDirectory() as folder:
        for problem, solution in list(zip(problems, ours, strict=True))[: case.milp]:
            file = Path(folder) / "problem.json"
            write_problem(problem, file)
            command = [sys.executable, "-m", "benchmarks.milp", str(file), str(case.limit)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            seconds_.append((solution.seconds, found["seconds"] + found["building"]))
            if solution.objectives and found["status"] != "Infeasible" and found["objective"] < 1e15:
                costs.append((solution.objectives[0], found["objective"]))
    rows: list[dict[str, Any]] = []
    for metric, pairs in (("seconds to an end", seconds_), ("cost a month", costs)):
        if pairs:
            a, b = (statistics.median(c) for c in zip(*pairs, strict=True))
            scale = 1e6 if pairs is costs else 1.0
            rows.append(row(case.name, metric, a / scale, "HiGHS 1.12.0", b / scale, len(pairs)))
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


def conflicts() -> list[dict[str, Any]]:
    """What cannot hold together where the budget is 5 % below the least cost, on three instances."""
    taken: list[float] = []
    for seed in range(3):
        problem = instance(Shape("tree", 20, 17, slack=1.25), seed)
        least = solve_problem(problem).objectives[0]
        tight = with_budget(problem, least * 95 // 100)
        started = time.perf_counter()
        found = minimal_conflict(tight)
        taken.append(time.perf_counter() - started)
        assert found is not None
        assert tight.constraints[found[-1]].name == "budget"
    metric = f"seconds to a conflict with a budget 5 % too low ({spread(taken)})"
    return [row("tree 20 x 17", metric, statistics.median(taken), "target", 10.0, len(taken))]


def answers() -> list[dict[str, Any]]:
    """A front, and one component explained, of an application with its facts; both end at a limit.

    The plan stands beside: answers are made of solves. Without a plan nothing is explained, in 0 runs.
    """
    given = application(20, 17, 0, LATENCY_MS)
    started = time.perf_counter()
    plan = solve(given, time_limit=ANSWER_SECONDS, proofs=False)
    whole = time.perf_counter() - started
    name, target = "application 20 x 17", 10.0
    rows = [row(name, f"seconds to a whole plan, {plan.status}", whole, "target", 1.0, 1)]
    started = time.perf_counter()
    front = pareto(given, ("latency", "cost"), time_limit=ANSWER_SECONDS)
    taken = time.perf_counter() - started
    metric = f"seconds to a front of {len(front.points)} points"
    rows.append(row(name, metric, taken, "target", target, 1))
    each = taken / max(1, len(front.points))
    rows.append(row(name, "seconds for each point of the front", each, "20 in ten seconds", target / 20, 1))
    rows.append(row(name, "1 + share of fronts left open", _left_open(front.complete), "all complete", 1.0, 1))
    if not plan.assignments:
        metric = "seconds to explain one component, not begun for want of a plan: the limit"
        rows.append(row(name, metric, ANSWER_SECONDS, "target", target, 0))
        return [*rows, row(name, "1 + share of explanations left open", _left_open(0), "all complete", 1.0, 0)]
    started = time.perf_counter()
    found = explain(given, plan, components=[plan.assignments[0].component], time_limit=ANSWER_SECONDS)
    taken = time.perf_counter() - started
    rows.append(
        row(name, f"seconds to explain one component, {len(found.candidates)} choices", taken, "target", target, 1)
    )
    return [*rows, row(name, "1 + share of explanations left open", _left_open(found.complete), "all complete", 1.0, 1)]


def _left_open(success: float) -> float:
    """One more than what a share of success leaves open: lower is better, as of all figures here."""
    return 2.0 - success


def start_up() -> list[dict[str, Any]]:
    """What importing CP-SAT costs through the module that we use, beside the public one, each in a fresh process."""
    import subprocess

    def fresh(module: str) -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True))

    ours, public = fresh("ortools.sat.python.cp_model_helper"), fresh("ortools.sat.python.cp_model")
    return [row("python start-up included", "import seconds", ours, "ortools.sat.python.cp_model", public, RUNS)]


def main() -> None:
    """Writes the result after each part, so that a run cut short leaves what it measured."""
    rows: list[dict[str, Any]] = []
    parts: list[Callable[[], list[dict[str, Any]]]] = [start_up, example, random_worlds, conflicts, answers]
    parts += [partial(generated, case) for case in CASES]
    for part in parts:
        found = part()
        for each in found:
            print(each, flush=True)
        rows += found
        _write(rows)


def _write(rows: list[dict[str, Any]]) -> None:
    result = about("ortools", "numpy", "pydantic") | {"rows": rows}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
