"""Conflicts: what cannot hold together, each named, none too many."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.instances import with_budget
from planner import solve
from planner.answers.forced import at_place
from planner.formulation import formulate, formulation
from planner.problem import LIMIT
from planner.proof.conflict import flows_without_a_way, minimal_conflict
from planner.solver import solve_problem
from planner.solver.solve import is_feasible
from specs.errors import AnswerIsNo
from tests.planner.blog import situation
from tests.planner.brute import TooLarge, brute_force
from tests.planner.test_variants import changed
from tests.planner.worlds import world


def minimal(seeds: range) -> None:
    found = 0
    for seed in seeds:
        problem = formulate(world(seed))
        if solve_problem(problem).status != "infeasible":
            continue
        conflict = minimal_conflict(problem)
        everything = frozenset(range(len(problem.constraints)))
        if conflict is None:
            continue
        found += 1
        kept = frozenset(conflict)
        try:
            assert brute_force(problem, everything - kept) is None, seed
            for one in kept:
                assert brute_force(problem, everything - kept | {one}) is not None, (seed, problem.constraints[one])
        except TooLarge:
            continue
    assert found >= 0.15 * len(seeds)


def test_every_proper_subset_of_a_conflict_is_feasible() -> None:
    minimal(range(12))


@pytest.mark.deep
def test_every_proper_subset_of_a_conflict_is_feasible_on_many_more() -> None:
    minimal(range(12, 800))


def budgets_are_ceilings(seeds: range) -> int:
    """Brute force says what the least cost is. Returns how many Problems were looked at."""
    seen = 0
    for seed in seeds:
        problem = formulate(world(seed))
        if problem.objectives[0].kind != "cost":
            continue
        try:
            best = brute_force(with_budget(problem, LIMIT))
        except TooLarge:
            continue
        if best is None:
            continue
        enough, too_low = (with_budget(problem, best[0] - less) for less in (0, 1))
        assert is_feasible(enough, frozenset(), 30) == "yes", seed
        assert is_feasible(too_low, frozenset(), 30) == "no", seed
        assert solve_problem(enough).objectives == best, seed
        assert solve_problem(too_low).status == "infeasible", seed
        conflict = minimal_conflict(too_low)
        assert conflict is not None
        assert len(too_low.constraints) - 1 in conflict, seed
        seen += 1
    return seen


def test_a_budget_of_the_least_cost_is_enough_and_one_unit_less_is_not() -> None:
    assert budgets_are_ceilings(range(14)) >= 4


@pytest.mark.deep
def test_a_budget_of_the_least_cost_is_enough_on_many_more() -> None:
    assert budgets_are_ceilings(range(14, 400)) >= 100


def test_a_conflict_names_constraints_and_lines() -> None:
    plan = solve(changed(app={"p99: 500 ms": "p99: 60 ms"}))
    assert plan.status == "infeasible"
    assert [c.name for c in plan.conflict] == ["answer_time.p99"]
    lines = situation().app.yaml.place("constraints", "answer_time", "p99")
    assert (plan.conflict[0].file, plan.conflict[0].line) == (lines.file, lines.line)


def test_a_budget_and_a_floor_can_conflict_with_latency() -> None:
    plan = solve(changed(app={"80 USD/month": "1 USD/month"}))
    assert plan.status == "infeasible"
    assert "budget" in {c.name for c in plan.conflict}


def test_a_component_that_no_device_holds_is_named() -> None:
    small = {"memory: 120 MB": "memory: 1 MB", "memory: 4 GB": "memory: 1 MB", "memory: 8 GB": "memory: 1 MB"}
    with pytest.raises(AnswerIsNo, match=r"component 'shrink' has no option: no device of any pool holds it"):
        solve(changed(infra=small))


def test_flows_whose_messages_find_no_route_are_named() -> None:
    problem = formulate(situation())
    assert flows_without_a_way(problem) == ()
    cut = at_place("language", "frankfurt", "vm")(formulation(situation())).problem
    there = problem.sites.index("frankfurt")
    scenarios = tuple(
        replace(
            s,
            edges=tuple(
                replace(e, transfers=tuple(t for t in e.transfers if there not in (t.start, t.end))) for e in s.edges
            ),
        )
        for s in cut.scenarios
    )
    assert flows_without_a_way(replace(cut, scenarios=scenarios)) == problem.flows
