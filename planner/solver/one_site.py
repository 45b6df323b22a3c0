"""Everything in one place: where the requests enter, or where there is most to buy."""

from __future__ import annotations

from dataclasses import dataclass

from planner.problem import Problem, Scenario
from planner.solver.fixed import solve_restricted
from planner.solver.largest import largest
from planner.solver.solution import Solution
from planner.solver.stop import Stop


@dataclass(frozen=True)
class AllEdge:
    """Every flow's components at the site where its requests enter, by the best options there."""

    name: str = "all-edge"

    def solve(self, problem: Problem, stop: Stop) -> Solution:
        homes = [home(s) for s in problem.scenarios]
        return solve_restricted(problem, lambda s, _, option: option.site in homes[s], stop, self.name)


@dataclass(frozen=True)
class AllCloud:
    """All components at the site with most cores to buy, by the best options there."""

    name: str = "all-cloud"

    def solve(self, problem: Problem, stop: Stop) -> Solution:
        there = largest(problem)
        return solve_restricted(problem, lambda _s, _i, option: option.site == there, stop, self.name)


def home(scenario: Scenario) -> frozenset[int]:
    """The sites where a scenario's messages enter from outside."""
    return frozenset(edge.producer.site for edge in scenario.edges if edge.producer.step < 0)
