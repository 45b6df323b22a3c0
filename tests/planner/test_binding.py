"""Binding constraints: those without which the first objective would be better."""

from __future__ import annotations

import pytest

from planner import solve
from planner.formulation import formulate
from planner.problem import Problem
from tests.planner.brute import TooLarge, brute_force
from tests.planner.worlds import world


def binding(seeds: range) -> tuple[int, int]:
    """How many constraints were looked at, and how many of them bind."""
    bound = checked = 0
    for seed in seeds:
        given = world(seed)
        plan = solve(given)
        if plan.status != "optimal" or plan.tightened:
            continue
        problem = formulate(given)
        names = [c.name for c in problem.constraints]
        # By prediction a plan may be better than the best that the tables allow: what counts is the plan.
        best = round(plan.objective[0] * (1e6 if problem.objectives[0].kind == "cost" else 1e9))
        for check in plan.constraints:
            without = brute_force_or_none(problem, frozenset([names.index(check.name)]))
            if without is not None:
                checked += 1
                bound += check.binding
                assert check.binding == (without[0] < best), (seed, check.name)
    return checked, bound


def test_a_constraint_binds_if_and_only_if_the_plan_is_better_without_it() -> None:
    checked, bound = binding(range(16))
    assert checked > 20
    assert bound > 3


@pytest.mark.deep
def test_a_constraint_binds_if_and_only_if_the_plan_is_better_without_it_on_many_more() -> None:
    checked, bound = binding(range(16, 300))
    assert checked > 200
    assert bound > 40


def brute_force_or_none(problem: Problem, relaxed: frozenset[int]) -> tuple[int, ...] | None:
    try:
        return brute_force(problem, relaxed)
    except TooLarge:
        return None
