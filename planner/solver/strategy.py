"""One interface for every way to solve a Problem, and which is taken where none is asked for."""

from __future__ import annotations

from typing import Final, Protocol

from planner.problem import Problem
from planner.solver.exact import Exact
from planner.solver.greedy import Greedy
from planner.solver.heft import Heft
from planner.solver.min_cut import MinCut
from planner.solver.one_site import AllCloud, AllEdge
from planner.solver.solution import Solution
from planner.solver.stop import Stop

PAIRS: Final = 200_000
"""With more pairs of sites than this over all messages, times are conditions instead of pairs."""


class Strategy(Protocol):
    """A way to solve: `feasible` at best unless it proves more, never `infeasible` without a proof."""

    @property
    def name(self) -> str: ...

    def solve(self, problem: Problem, stop: Stop) -> Solution: ...


PAIR, COND = Exact("pair", "pair"), Exact("cond", "cond")

STRATEGIES: Final[dict[str, Strategy]] = {
    s.name: s for s in (PAIR, COND, Greedy(), Heft(), MinCut(), AllEdge(), AllCloud())
}
"""By name. Messages on trees are encoded by links in both `pair` and `cond`."""


def exact_for(problem: Problem) -> Exact:
    """The exact strategy that fits the size: products of sites where there are few, conditions where there are many."""
    pairs = sum(len(edge.transfers) for scenario in problem.scenarios for edge in scenario.edges)
    return COND if pairs > PAIRS else PAIR
