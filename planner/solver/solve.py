"""Solves a Problem: lexicographic objectives, one after the other."""

from __future__ import annotations

import time
from typing import Literal

from planner.problem import Problem
from planner.solver import cpsat
from planner.solver.evaluate import evaluate
from planner.solver.greedy import solve_greedily
from planner.solver.model import Model, build, read_choice
from planner.solver.solution import Choice, Solution, relative_gap


def solve_problem(problem: Problem, time_limit: float = 60.0, gap: float = 0.0, seed: int = 0) -> Solution:
    """The best choice within `time_limit` seconds, or one within the relative `gap` of a bound, and what is proven.

    A later objective's bound is given the values found for those before it.
    """
    started = time.perf_counter()
    model = build(problem)
    values: tuple[int, ...] = ()
    bounds: list[int] = []
    proven = True
    first: float | None = None
    best: float | None = None
    for objective in model.objectives or [[]]:
        offset = time.perf_counter() - started
        answer = cpsat.run(model, objective, hint=values, time_limit=time_limit - offset, gap=gap, seed=seed)
        if answer.status in ("infeasible", "unknown") and not values:
            now = time.perf_counter() - started
            return Solution(answer.status, seconds=now, seconds_proof=now if answer.status == "infeasible" else None)
        if answer.values:
            improved = [offset + t for t in answer.improved]
            first = first if first is not None or not improved else improved[0]
            best = improved[-1] if improved and _value(objective, answer.values) != _value(objective, values) else best
            values = answer.values
        proven = proven and answer.status == "optimal"
        bounds.append(answer.bound if answer.bound is not None else 0)
        if model.objectives:
            model.add(list(objective), None, _value(objective, values))
    choice = fewest_replicas(problem, read_choice(problem, model, values))
    found = evaluate(problem, choice)
    if not found.holds():
        raise RuntimeError(f"the solver's answer breaks {sorted(found.broken)} of its own problem")
    limits = tuple(
        value if proven else min(value, bound) for value, bound in zip(found.objectives, bounds, strict=True)
    )
    now = time.perf_counter() - started
    return Solution(
        "optimal" if proven else "feasible",
        choice,
        found.objectives,
        limits,
        relative_gap(found.objectives, limits),
        now,
        first,
        best,
        now if proven else None,
    )


def _value(objective: list[tuple[int, int]], values: tuple[int, ...]) -> int | None:
    return sum(f * values[v] for v, f in objective) if values else None


def fewest_replicas(problem: Problem, choice: Choice) -> Choice:
    """`choice` without replicas that nothing asks for (they are free where devices are bought anyway)."""
    current, value = choice, evaluate(problem, choice)
    for k, station in enumerate(problem.stations):
        for fewer in sorted({level.replicas for level in station.levels if level.replicas < current.replicas[k]}):
            replicas = (*current.replicas[:k], fewer, *current.replicas[k + 1 :])
            trial = Choice(current.scenarios, current.options, current.members, replicas)
            found = evaluate(problem, trial)
            if found.holds() and found.objectives <= value.objectives:
                current, value = trial, found
                break
    return current


def is_feasible(
    problem: Problem, relaxed: frozenset[int], time_limit: float, below: int | None = None, seed: int = 0
) -> Literal["yes", "no", "unknown"]:
    """Whether any choice keeps the constraints not in `relaxed` (with a first objective below `below`, if given).

    A greedy choice that does is proof enough, and takes a hundredth of the time.
    """
    started = time.perf_counter()
    greedy = solve_greedily(problem, relaxed)
    if greedy.choice is not None and (below is None or greedy.objectives[0] < below):
        return "yes"
    model: Model = build(problem, relaxed)
    if below is not None and not model.impossible:
        model.add(list(model.objectives[0]), None, below - 1)
    answer = cpsat.run(model, time_limit=time_limit - (time.perf_counter() - started), seed=seed)
    return {"infeasible": "no", "unknown": "unknown"}.get(answer.status, "yes")  # type: ignore[return-value]
