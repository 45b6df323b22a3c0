"""A Solution for people: names for indices, units for integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cli.output import number, table

if TYPE_CHECKING:
    from rich.console import Console

    from planner.problem import Objective, Problem
    from planner.solver.scheduling import Schedule
    from planner.solver.solution import Solution


def show_solution(problem: Problem, solution: Solution, out: Console) -> None:
    """What each flow chose and which stations serve it, or what each device runs in which order; and the proof."""
    from planner.solver.scheduling import Schedule

    if isinstance(solution, Schedule):
        if solution.choice is not None:
            columns = ["device", "step", "station", "start ms", "end ms"]
            out.print(table(columns, _order(problem, solution), right=["start ms", "end ms"]))
    elif solution.choice is not None:
        out.print(
            table(["flow", "scenario", "step", "station", "replicas"], _rows(problem, solution), right=["replicas"])
        )
    bounds = [*solution.bounds, *[None] * (len(solution.objectives) - len(solution.bounds))]
    for objective, value, bound in zip(problem.objectives, solution.objectives, bounds, strict=False):
        known = f", bound {amount(objective.kind, bound)}" if bound is not None else ""
        out.print(f"{_called(objective)}: {amount(objective.kind, value)}{known}")
    gap = f", gap {100 * solution.gap:.2f} %" if solution.gap is not None else ""
    proof = f" (certain after {solution.seconds_proof:.2f} s)" if solution.seconds_proof is not None else ""
    out.print(f"status: {solution.status}{gap}, {solution.seconds:.2f} s{proof}")


def _rows(problem: Problem, solution: Solution) -> list[list[str]]:
    assert solution.choice is not None
    choice = solution.choice
    rows: list[list[str]] = []
    for flow, (number_of, options) in enumerate(zip(choice.scenarios, choice.options, strict=True)):
        scenario = problem.scenarios[number_of]
        for step, picked in zip(scenario.steps, options, strict=True):
            for index in picked:
                station = step.options[index].station
                names = [problem.flows[flow], scenario.name, step.name, problem.stations[station].name]
                rows.append([*names, str(choice.replicas[station])])
    return rows


def _order(problem: Problem, schedule: Schedule) -> list[list[str]]:
    assert schedule.choice is not None
    (options,), steps = schedule.choice.options, problem.scenarios[0].steps
    rows: list[list[str]] = []
    for pool, order in zip(problem.pools, schedule.orders, strict=True):
        for i in order:
            station = problem.stations[steps[i].options[options[i][0]].station].name
            times = [f"{t / 1000:,.3f}" for t in (schedule.starts[i], schedule.ends[i])]
            rows.append([pool.name, steps[i].name, station, *times])
    return rows


def _called(objective: Objective) -> str:
    if objective.kind == "accuracy":
        return "answers that are wrong"
    if objective.kind == "makespan":
        return "makespan"
    if objective.kind == "throughput":
        return "the fullest queue at the peak, of what it may carry"
    return f"latency {objective.name}".strip() if objective.kind == "latency" else f"{objective.kind} a month"


def amount(kind: str, value: int) -> str:
    """Of an objective of this kind: millionths of the currency or of kWh a month; microseconds, of latencies times
    parts per million; or ppb of requests, or of what a queue may carry.
    """
    if kind == "makespan":
        return f"{value / 1000:,.3f} ms"
    if kind in ("accuracy", "throughput"):
        return f"{value / 1e9:.2%}"
    if kind == "latency":
        return f"{number(value / 1e9)} ms"
    return f"{value / 1e6:,.2f}" + (" kWh" if kind == "energy" else "")
