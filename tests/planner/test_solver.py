"""The solver against brute force on random small worlds, and what it promises about statuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import pytest

from planner.formulation import formulate
from planner.problem import Problem
from planner.solver import Solution, cpsat, packing, solve_problem
from planner.solver.evaluate import evaluate
from planner.solver.greedy import solve_greedily
from planner.solver.packing import devices_needed, totals_suffice
from tests.planner.blog import situation
from tests.planner.brute import MOST, TooLarge, brute_force
from tests.planner.worlds import world

QUICK = [range(0, 500), range(500, 1000)]
DEEP = [range(first, first + 1000) for first in range(1000, 12_000, 1000)]
"""Seeds in make test and in make test-deep; over ten thousand there, of which a tenth may be too large."""
QUICK_CHOICES = 50_000
"""Problems with more choices are left out, twice as many in make test-deep: one of a hundred has most of them all."""
LEAST = 0.2
"""Share of each family's Problems that have no plan, and of those on which greedy is not optimal: so many at least."""


def compare(problem: Problem, most: int = MOST) -> tuple[Solution, bool]:
    """The solution, after it was found to equal brute force, and whether greedy finds no as good one."""
    best = brute_force(problem, most=most)
    solution = solve_problem(problem)
    assert solution.status == ("infeasible" if best is None else "optimal")
    assert solution.objectives == (best or ())
    if solution.choice is not None:
        found = evaluate(problem, solution.choice)
        assert found.holds()
        assert found.objectives == best
        assert solution.bounds == best
    greedy = solve_greedily(problem)
    if greedy.choice is not None:
        assert best is not None
        assert evaluate(problem, greedy.choice).holds()
        assert greedy.objectives >= best
    return solution, best is not None and greedy.objectives != best


@dataclass(frozen=True)
class Compared:
    """Problems that were found to equal brute force, with their solutions; `beaten` of them by more than greedily."""

    solved: list[tuple[Problem, Solution]]
    beaten: int

    @property
    def count(self) -> int:
        return len(self.solved)

    @property
    def infeasible(self) -> int:
        return sum(solution.status == "infeasible" for _, solution in self.solved)


def compare_all(problems: Iterable[Problem], most: int = MOST) -> Compared:
    """Those of `problems` that are small enough, and their shares: infeasible, and on which greedy is not optimal."""
    solved: list[tuple[Problem, Solution]] = []
    beaten = 0
    for problem in problems:
        try:
            solution, not_greedy = compare(problem, most)
        except TooLarge:
            continue
        solved.append((problem, solution))
        beaten += not_greedy
    found = Compared(solved, beaten)
    infeasible, better = found.infeasible / found.count, beaten / found.count
    print(f"{found.count} problems: {infeasible:.0%} infeasible, on {better:.0%} greedy is not optimal")
    return found


def family(
    made: Callable[[int], Problem], seeds: Sequence[int], most: int = MOST, *, small: float = 0.9, least: float = LEAST
) -> Compared:
    """`compare_all` of a Problem a seed, which are neither too easy nor, but for a share `small`, too large."""
    found = compare_all(map(made, seeds), most)
    assert found.count >= small * len(seeds)
    assert min(found.infeasible, found.beaten) >= least * found.count
    return found


def plain(seed: int) -> Problem:
    return formulate(world(seed))


@pytest.mark.parametrize("seeds", QUICK, ids=lambda seeds: str(seeds[0]))
def test_status_and_objective_equal_brute_force(seeds: range) -> None:
    family(plain, seeds, QUICK_CHOICES)


@pytest.mark.deep
@pytest.mark.parametrize("seeds", DEEP, ids=lambda seeds: str(seeds[0]))
def test_status_and_objective_equal_brute_force_on_many_more(seeds: range) -> None:
    family(plain, seeds, 2 * QUICK_CHOICES, small=0.92)


@pytest.mark.parametrize("seed", [1, 6, 25])
def test_presolve_does_not_lose_the_optimum(seed: int) -> None:
    """These three are wrong with the default presolve of OR-Tools 9.15; see planner/solver/cpsat.py."""
    problem = formulate(world(seed))
    assert solve_problem(problem).objectives == (brute_force(problem) or ())


def test_the_same_input_gives_the_same_choice() -> None:
    problem = formulate(situation())
    first = solve_problem(problem, seed=3)
    assert [solve_problem(problem, seed=3).choice for _ in range(3)] == [first.choice] * 3


def test_without_time_nothing_is_claimed() -> None:
    solution = solve_problem(formulate(situation()), time_limit=0.0)
    assert solution.status == "unknown"
    assert solution.choice is None


def test_an_answer_within_a_gap_is_called_feasible_unless_it_is_proven() -> None:
    problem = formulate(situation())
    solution = solve_problem(problem, gap=1.0)
    assert solution.gap is not None
    assert (solution.status == "optimal") == (solution.objectives == solution.bounds)
    assert solution.objectives >= solve_problem(problem).objectives


def test_a_budget_below_the_optimum_is_infeasible() -> None:
    problem = formulate(situation())
    cost = solve_problem(problem).objectives[0]
    tight = replace(problem, budgets=(replace(problem.budgets[0], limit=cost - 1),))
    exact = replace(problem, budgets=(replace(problem.budgets[0], limit=cost),))
    assert solve_problem(tight).status == "infeasible"
    assert solve_problem(exact).objectives[0] == cost


def test_replicas_are_packed_into_devices_not_summed() -> None:
    assert devices_needed([(2, 1), (2, 1), (2, 1)], 3, 10, 9) == 3
    assert devices_needed([(2, 1), (1, 1), (2, 1), (1, 1)], 3, 10, 9) == 2
    assert devices_needed([(1, 6), (1, 6)], 4, 10, 9) == 2
    assert devices_needed([(1, 6), (1, 6)], 4, 10, 1) is None
    assert devices_needed([(5, 1)], 4, 10, 9) is None
    assert devices_needed([], 4, 10, 9) == 0


def test_ctrl_c_while_replicas_are_packed_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MOST_STATES", 0)
    monkeypatch.setattr(cpsat, "run", lambda *_, **__: cpsat.Answer("unknown", interrupted=True))
    with pytest.raises(KeyboardInterrupt):
        devices_needed([(12, 1), (8, 1), (8, 1), (5, 1)], 12, 100, 9)


def test_totals_are_exact_only_for_threads_that_divide() -> None:
    assert totals_suffice([1, 2, 4], 8)
    assert not totals_suffice([2, 3], 6)
    assert not totals_suffice([2], 3)
