"""Solves a Problem by the strategy asked for, or by the one that fits its size and structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from planner.problem import Problem
from planner.solver import cpsat
from planner.solver.exact import Possible
from planner.solver.greedy import greedy_choices
from planner.solver.solution import Choice, Solution
from planner.solver.stop import Clock, Progress, Stop, silent
from planner.solver.strategy import STRATEGIES, exact_for
from specs.errors import InputError, Issue


def solve_problem(
    problem: Problem,
    time_limit: float = 60.0,
    gap: float = 0.0,
    seed: int = 0,
    *,
    strategy: str = "auto",
    tell: Callable[[Progress], None] = silent,
    at_most: int | None = None,
) -> Solution:
    """The best choice within `time_limit` seconds, or one within the relative `gap` of a bound, and what is proven.

    A later objective's bound is given the values found for those before it. `strategy` is a name of `STRATEGIES`, or
    ``auto``; `tell` hears of each better value and bound of the first objective. Choices whose first objective is more
    than `at_most` need not be found, and do not count as choices in what is proven. Ctrl-C ends the search:
    `Solution.interrupted` is then set, and the best choice so far is the answer. Raises InputError for an unknown name,
    for numbers whose sums leave 64 bits, and for what cannot be scheduled where an objective is a makespan. The answer
    is then a `planner.solver.scheduling.Schedule`, by ``auto`` or ``heft``.
    """
    if any(objective.kind == "makespan" for objective in problem.objectives):
        from planner.solver.scheduling import solve_schedule

        with _in_64_bits(problem):
            return solve_schedule(problem, Stop(time_limit, gap, seed, tell, at_most), strategy)
    if strategy != "auto" and strategy not in STRATEGIES:
        raise InputError(Issue(f"no strategy {strategy!r}: expected auto, {', '.join(STRATEGIES)}"))
    chosen = exact_for(problem) if strategy == "auto" else STRATEGIES[strategy]
    with _in_64_bits(problem):
        return chosen.solve(problem, Stop(time_limit, gap, seed, tell, _most(problem, frozenset(), at_most)))


def is_feasible(
    problem: Problem, relaxed: frozenset[int], time_limit: float, below: int | None = None, seed: int = 0
) -> Possible:
    """Whether any choice keeps the constraints not in `relaxed` (with a first objective below `below`, if given)."""
    return any_choice(problem, relaxed, time_limit, below, seed)[0]


def any_choice(
    problem: Problem, relaxed: frozenset[int], time_limit: float, below: int | None = None, seed: int = 0
) -> tuple[Possible, Choice | None]:
    """As `is_feasible`, with such a choice where one is at hand.

    A greedy choice is proof enough, in a hundredth of the time.
    """
    clock = Clock(Stop(time_limit))
    for choice, found in greedy_choices(problem, clock, relaxed):
        if below is None or found.objectives[0] < below:
            return "yes", choice
    with _in_64_bits(problem):
        at_most = _most(problem, relaxed, None if below is None else below - 1)
        return exact_for(problem).possible(problem, relaxed, Stop(clock.left, seed=seed, at_most=at_most))


def _most(problem: Problem, relaxed: frozenset[int], at_most: int | None) -> int | None:
    """What the first objective may be at most, by its budget too: a bound above it proves that there is no choice."""
    first = problem.objectives[0].kind
    budgets = [b.limit for b in problem.budgets if b.of == first and b.constraint not in relaxed]
    return min([*budgets, *([] if at_most is None else [at_most])], default=None)


@contextmanager
def _in_64_bits(problem: Problem) -> Iterator[None]:
    """Raises InputError, naming the largest number of `problem`, where the sums of its model leave 64 bits."""
    try:
        yield
    except cpsat.TooLarge as error:
        from planner.problem.file import numbers_of

        where, largest = max(numbers_of(problem, "problem"), key=lambda found: found[1])
        message = f"the Problem's numbers are too large: sums leave 64 bits; the largest is {where}, {largest:.3g}"
        raise InputError(Issue(message, None, "lower prices, loads and times, or leave out what has them")) from error
