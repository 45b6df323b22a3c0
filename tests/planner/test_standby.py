"""Warm standbys: on devices, in memory and in the price they count as replicas; they make nothing faster."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from planner import verify
from planner.formulation import formulate
from planner.situation import Situation
from specs.plan import Plan
from tests.planner.brute import MOST, TooLarge
from tests.planner.planned import planned
from tests.planner.test_solver import LEAST, compare
from tests.planner.worlds import busy, cramped, world


def standing_by(given: Situation, seed: int) -> Situation:
    """`given`, in which one or more components ask for one or two standbys."""
    draw = random.Random(seed)
    names = sorted(given.app.value.components)
    chosen = {name: draw.choice([1, 1, 2]) for name in names if name == names[0] or draw.random() < 0.25}
    app = given.app.value
    components = {n: c.model_copy(update={"standby": chosen.get(n, 0)}) for n, c in app.components.items()}
    return replace(given, app=replace(given.app, value=app.model_copy(update={"components": components})))


def equal(seeds: range, most: int = MOST) -> None:
    count = dearer = infeasible = impossible = beaten = 0
    for seed in seeds:
        given = (world, cramped, busy)[seed % 3](seed)
        try:
            solution, not_greedy = compare(formulate(standing_by(given, seed)), most)
            free, _ = compare(formulate(given), most)
        except TooLarge:
            continue
        count += 1
        infeasible += solution.status == "infeasible"
        beaten += not_greedy
        impossible += solution.status == "infeasible" and free.status == "optimal"
        if solution.status == "optimal":
            assert solution.objectives >= free.objectives
            dearer += solution.objectives > free.objectives
    print(f"{count} problems: {infeasible / count:.0%} infeasible, on {beaten / count:.0%} greedy is not optimal")
    print(f"standbys cost something on {dearer / count:.0%}, are impossible on {impossible / count:.0%}")
    assert min(infeasible, beaten) >= LEAST * count >= 0.8 * LEAST * len(seeds)
    assert dearer >= 0.1 * count
    assert impossible >= 0.05 * count


def test_with_standbys_status_and_objective_equal_brute_force() -> None:
    equal(range(40, 80), 50_000)


@pytest.mark.deep
def test_with_standbys_status_and_objective_equal_brute_force_on_many_more() -> None:
    equal(range(80, 680))


def with_standby(plan: Plan, count: int) -> Plan:
    first, *others = plan.assignments
    return plan.model_copy(update={"assignments": (first.model_copy(update={"standby": count}), *others)})


def test_the_verifier_agrees_with_every_plan_and_finds_standbys_that_are_missing_or_do_not_fit() -> None:
    seen = 0
    for seed in range(30):
        given = standing_by(world(seed), seed)
        plan = planned(given)
        if plan is None:
            continue
        seen += 1
        assert not verify(given, plan, 20_000).wrong
        asked = {name: c.standby for name, c in given.app.value.components.items()}
        assert {a.component: a.standby for a in plan.assignments} == {
            a.component: asked[a.component] for a in plan.assignments
        }
        fewer, many = (with_standby(plan, plan.assignments[0].standby + change) for change in (-1, 40))
        assert any("standby" in check.name for check in verify(given, fewer, 20_000).wrong)
        assert verify(given, many, 20_000).wrong
    assert seen >= 7
