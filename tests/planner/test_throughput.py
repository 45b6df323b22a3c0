"""Throughput: as a limit and as an objective the solver's best is the best, and the plan carries what it says."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from planner import solve, verify
from planner.answers.again import vary
from planner.answers.relaxations import with_relaxations
from planner.formulation import formulate
from planner.situation import Situation
from specs.check import check
from specs.errors import InputError
from tests.planner.planned import planned
from tests.planner.test_example_plan import recorded
from tests.planner.test_solver import family
from tests.planner.worlds import busy

MOST = 20_000
"""Choices of a Problem that brute force looks at: replicas make many."""


def equal(seeds: range) -> None:
    found = family(lambda seed: formulate(busy(seed)), seeds, MOST, small=0.7)
    asked = sum(any(t.scale > 10**6 for t in problem.throughputs) for problem, _ in found.solved)
    aimed = sum(any(o.kind == "throughput" for o in problem.objectives) for problem, _ in found.solved)
    assert min(asked, aimed) >= 0.2 * found.count


def test_with_throughput_status_and_objective_equal_brute_force() -> None:
    equal(range(40))


@pytest.mark.deep
def test_with_throughput_status_and_objective_equal_brute_force_on_many_more() -> None:
    equal(range(40, 1000))


def agree(seeds: range) -> int:
    seen = 0
    for seed in seeds:
        plan = planned(busy(seed))
        if plan is not None and plan.carries is not None:
            seen += 1
            assert not verify(busy(seed), plan, 20_000).wrong
            more = plan.carries.model_copy(update={"multiple": plan.carries.multiple * 1.01})
            assert verify(busy(seed), plan.model_copy(update={"carries": more}), 20_000).wrong
            assert verify(busy(seed), plan.model_copy(update={"carries": None}), 20_000).wrong
            kept = [
                c.model_copy(update={"value": c.value * 1.01}) if c.name == "crowd" else c for c in plan.constraints
            ]
            if list(plan.constraints) != kept:
                assert verify(busy(seed), plan.model_copy(update={"constraints": tuple(kept)}), 20_000).wrong
    return seen


def test_the_verifier_agrees_with_what_every_plan_carries_and_finds_a_false_claim() -> None:
    assert agree(range(8)) >= 2


@pytest.mark.deep
def test_the_verifier_agrees_with_what_many_more_plans_carry() -> None:
    assert agree(range(8, 300)) >= 80


def example(throughput: str, *changes: str) -> Situation:
    line = f"crowd: {{throughput: {throughput!r}}}"
    return vary(recorded({"quality: {accuracy": f"{line}\n  quality: {{accuracy"}, {}), changes)


def test_a_plan_is_sized_for_the_throughput_and_says_the_highest_rate_it_carries() -> None:
    free = solve(recorded({}, {}))
    small = solve(example(">= 1/min"))
    (crowd,) = (c for c in small.constraints if c.name == "crowd")
    assert free.carries is None
    assert small.carries is not None
    assert crowd.value == pytest.approx(crowd.slack + crowd.limit, rel=1e-5)
    asked = crowd.value * 1.5
    large = solve(example(f">= {asked}/s", "constraint.budget.cost=50000 USD/month"))
    (wide,) = (c for c in large.constraints if c.name == "crowd")
    assert asked <= wide.value
    assert large.objective[0] >= small.objective[0]
    assert wide.binding == (
        large.objective[0] > solve(example(">= 1/min", "constraint.budget.cost=50000 USD/month")).objective[0]
    )


def test_what_rests_on_an_estimate_carries_what_its_upper_end_allows() -> None:
    given = example(">= 1/min", "constraint.answer_time.p99=5 s", "constraint.budget.cost=50000 USD/month")
    guessed = {"provenance": "estimated", "emulated_by": None, "method": "a guess", "interval": (0.5, 1.5)}
    given = replace(given, records=tuple(record.model_copy(update=guessed) for record in given.records))
    plan = solve(given)
    assert plan.carries is not None
    assert not verify(given, plan, 20_000).wrong


def test_no_plan_carries_more_than_the_one_that_is_to_carry_most() -> None:
    most = solve(example(">= 1/min", "objective=[throughput]"))
    assert most.carries is not None
    assert most.objective[0] == pytest.approx(1 / most.carries.multiple, rel=1e-3)
    (crowd,) = (c for c in most.constraints if c.name == "crowd")
    given = example(f">= {crowd.value * 1.01}/s")
    beyond = solve(given)
    assert beyond.status == "infeasible"
    assert "crowd" in {c.name for c in beyond.conflict}
    (relaxation,) = (r for r in with_relaxations(given, beyond).relaxations if r.changes[0].name == "crowd")
    (change,) = relaxation.changes
    assert change.unit == "/s"
    assert solve(vary(given, [change.set])).assignments


def test_a_throughput_without_a_source_needs_one_source() -> None:
    given = recorded(
        {
            "sources:\n": "sources:\n  other: {at: {tier: cloud}, rate: 1/s, values: {v: {type: jpeg, size: 1 kB}}}\n",
            'quality: {accuracy: ">= 0.92"': 'crowd: {throughput: 3/s}\n  quality: {accuracy: ">= 0.92"',
        },
        {},
    )
    (issue,) = [i for i in check(given.app, given.infra) if "throughput" in str(i)]
    assert re.search(r"app\.yaml:\d+:\d+: a throughput of which source\? There are several.*add from: ", str(issue))


def test_a_throughput_beyond_all_that_can_be_planned_is_told_as_what_it_is() -> None:
    with pytest.raises(InputError) as caught:
        solve(example("1e17/s"))
    (issue,) = caught.value.issues
    assert issue.place is not None
    assert issue.place.line > 0
    assert re.match(r"crowd asks for 1e\+17/s, which is .* times the peak of 'upload'", issue.message)
    assert "at most" in issue.hint
