"""Memory as a limit at sites: the solver's best is the best, the verifier agrees, a conflict says how much helps."""

from __future__ import annotations

import pytest

from planner import solve, verify
from planner.answers.again import vary
from planner.answers.relaxations import with_relaxations
from planner.formulation import formulate
from planner.problem.file import parse_problem, problem_json
from planner.situation import Situation
from specs.check import check
from specs.plan import Plan
from tests.planner.brute import TooLarge
from tests.planner.planned import planned
from tests.planner.test_example_plan import recorded
from tests.planner.test_solver import LEAST, compare
from tests.planner.worlds import cramped, world


def equal(seeds: range) -> None:
    infeasible = beaten = bound = count = 0
    for seed in seeds:
        problem = formulate(cramped(seed))
        try:
            solution, not_greedy = compare(problem)
            free, _ = compare(formulate(world(seed)))
        except TooLarge:
            continue
        count += 1
        infeasible += solution.status == "infeasible"
        beaten += not_greedy
        bound += (solution.status, solution.objectives) != (free.status, free.objectives)
    print(f"{count} problems: {infeasible / count:.0%} infeasible, on {beaten / count:.0%} greedy is not optimal")
    print(f"the limit of memory changes the answer on {bound / count:.0%}")
    assert min(infeasible, beaten) >= LEAST * count >= 0.9 * LEAST * len(seeds)
    assert bound >= 0.1 * count


def test_with_limits_of_memory_status_and_objective_equal_brute_force() -> None:
    equal(range(40, 80))


@pytest.mark.deep
def test_with_limits_of_memory_status_and_objective_equal_brute_force_on_many_more() -> None:
    equal(range(80, 1040))


def test_the_verifier_agrees_with_the_memory_of_every_plan_and_finds_a_false_claim() -> None:
    seen = 0
    for seed in range(20):
        plan = planned(cramped(seed))
        if plan is not None and any(c.name == "room" and c.value > 0 for c in plan.constraints):
            seen += 1
            assert not verify(cramped(seed), plan, 20_000).wrong
            assert verify(cramped(seed), claimed(plan), 20_000).wrong
    assert seen >= 5


def claimed(plan: Plan) -> Plan:
    """`plan`, which says that it takes a tenth less memory."""
    less = [
        c.model_copy(update={"value": 0.9 * c.value, "slack": c.limit - 0.9 * c.value}) if c.name == "room" else c
        for c in plan.constraints
    ]
    return plan.model_copy(update={"constraints": tuple(less)})


def roomy(limit: str, at: str) -> Situation:
    """The example with a limit of memory."""
    room = f"room: {{memory: {limit}, at: {{{at}}}}}"
    return recorded({'quality: {accuracy: ">= 0.92"': f'{room}\n  quality: {{accuracy: ">= 0.92"'}, {})


def test_less_memory_costs_more_and_too_little_is_told_how_much_is_enough() -> None:
    free = solve(roomy("1 TB", "tier: cloud"))
    (room,) = (c for c in free.constraints if c.name == "room")
    assert room.value > 1
    assert not room.binding
    none = roomy("1 MB", "tier: cloud")
    plan = solve(none)
    if plan.status == "infeasible":
        assert "room" in [c.name for c in plan.conflict]
        found = with_relaxations(none, plan).relaxations
        changes = next([c.set for c in r.changes] for r in found if any(c.name == "room" for c in r.changes))
        assert solve(vary(none, changes)).status == "optimal"
    else:
        assert plan.objective[0] > free.objective[0]
    tighter = solve(vary(none, [f"constraint.room.memory={room.value * 0.99} MB"]))
    assert tighter.objective[0] >= free.objective[0]
    assert next(c.value for c in tighter.constraints if c.name == "room") <= room.value * 0.99


def test_a_problem_with_a_limit_of_memory_is_read_back() -> None:
    problem = formulate(cramped(1))
    assert any(b.of == "memory" and b.pools for b in problem.budgets)
    assert parse_problem(problem_json(problem)) == problem


def test_a_limit_of_memory_at_no_site_is_refused() -> None:
    given = recorded(
        {'quality: {accuracy: ">= 0.92"': 'room: {memory: 3 MB, at: {tier: clout}}\n  quality: {accuracy: ">= 0.92"'},
        {},
    )
    (issue,) = [i for i in check(given.app, given.infra) if "clout" in str(i)]
    assert "no site with tier 'clout'" in str(issue)
