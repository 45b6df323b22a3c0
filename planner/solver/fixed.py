"""What the baselines share: the best choice once each step may run only at certain sites or by certain options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.problem import Option, Problem
from planner.solver.exact import Exact
from planner.solver.solution import Choice, Solution
from planner.solver.stop import Clock, Stop

Keep = Callable[[int, int, Option], bool]
"""Whether an option (of a scenario and step, by their indices) stays."""


def solve_restricted(problem: Problem, keep: Keep, stop: Stop, name: str) -> Solution:
    """The best choice among the options that `keep` leaves, as a solution of the whole problem.

    `unknown` where there is none: that nothing is left says nothing about the whole. The bound is 0, what any cost has.
    """
    kept = [
        [[o for o, option in enumerate(step.options) if keep(s, i, option)] for i, step in enumerate(scenario.steps)]
        for s, scenario in enumerate(problem.scenarios)
    ]
    scenarios = tuple(
        replace(
            scenario,
            steps=tuple(
                replace(step, options=tuple(step.options[o] for o in of))
                for step, of in zip(scenario.steps, kept[s], strict=True)
            ),
        )
        for s, scenario in enumerate(problem.scenarios)
    )
    found = Exact().solve(replace(problem, scenarios=scenarios), stop)
    if found.choice is None:
        return Solution("unknown", seconds=found.seconds, strategy=name, interrupted=found.interrupted)
    options = tuple(
        tuple(tuple(kept[s][i][o] for o in of) for i, of in enumerate(flow))
        for s, flow in zip(found.choice.scenarios, found.choice.options, strict=True)
    )
    return replace(
        found,
        status="feasible",
        choice=Choice(found.choice.scenarios, options, found.choice.members, found.choice.replicas),
        bounds=(0,) * len(found.objectives),
        gap=1.0 if any(found.objectives) else 0.0,
        seconds_proof=None,
        strategy=name,
    )


def unproven(choice: Choice, objectives: tuple[int, ...], clock: Clock, name: str) -> Solution:
    """A choice that keeps all constraints, found by a heuristic just now."""
    clock.found(objectives[0])
    zeros = (0,) * len(objectives)
    gap = 1.0 if any(objectives) else 0.0
    return Solution("feasible", choice, objectives, zeros, gap, clock.spent, clock.first, clock.best, strategy=name)
