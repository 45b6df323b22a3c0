"""Why here and not there: no choice that is forced beats the plan, and what forbids one really does."""

from __future__ import annotations

import time
from functools import cache

import pytest

from planner.answers.again import Again, vary
from planner.answers.candidates import Candidate, candidates
from planner.answers.explain import Explanation, explain
from planner.answers.forced import as_planned, at_place
from planner.answers.sensitivity import slower
from planner.answers.worth import worths
from planner.formulation import formulate
from planner.plan import solve
from planner.situation import Situation
from planner.solver.solve import is_feasible
from specs.errors import AnswerIsNo, InputError
from specs.plan import Plan
from tests.planner.test_example_plan import recorded
from tests.planner.worlds import world


@cache
def planned(seed: int) -> Plan | None:
    try:
        plan = solve(world(seed))
    except AnswerIsNo:
        return None
    return plan if plan.status == "optimal" and not plan.tightened else None


@cache
def choices(seed: int) -> tuple[Candidate, ...]:
    plan = planned(seed)
    assert plan is not None
    return candidates(searching(world(seed)), plan, list(world(seed).app.value.components))


def searching(given: Situation) -> Again:
    return Again(given, time.perf_counter() + 60, dominated=True)


def no_forced_choice_is_better(seeds: range) -> int:
    priced = 0
    for seed in seeds:
        plan = planned(seed)
        if plan is None:
            continue
        for c in choices(seed):
            if c.status == "possible":
                assert c.prices[0] >= -1e-6 * max(1.0, abs(plan.objective[0])), (seed, c)
                priced += 1
    return priced


def test_a_forced_choice_never_beats_the_plan() -> None:
    assert no_forced_choice_is_better(range(4)) >= 4


@pytest.mark.deep
def test_a_forced_choice_never_beats_the_plan_on_many_more() -> None:
    assert no_forced_choice_is_better(range(4, 100)) >= 100


def looser_gains_and_tighter_costs(seeds: range) -> int:
    limits = 0
    for seed in seeds:
        plan = planned(seed)
        if plan is None:
            continue
        found, complete = worths(searching(world(seed)), plan)
        assert complete
        for worth in found:
            assert worth.looser <= 0
            assert worth.tighter is None or worth.tighter >= -1e-6
            limits += 1
    return limits


def test_a_looser_limit_never_costs_and_a_tighter_one_never_gains() -> None:
    assert looser_gains_and_tighter_costs(range(2)) >= 1


@pytest.mark.deep
def test_a_looser_limit_never_costs_and_a_tighter_one_never_gains_in_many_more() -> None:
    assert looser_gains_and_tighter_costs(range(2, 100)) >= 100


def test_what_forbids_a_choice_really_does() -> None:
    """With the constraints named and no other there is no plan with the choice; without any one of them there is."""
    seen = 0
    for seed in range(5):
        plan = planned(seed)
        if plan is None:
            continue
        given = world(seed)
        problem = formulate(given)
        names = [c.name for c in problem.constraints]
        for c in choices(seed):
            if c.kind == "site" and c.status == "infeasible" and c.forbidden_by:
                site, pool = c.choice.split(".")
                forced = at_place(c.component, site, pool)(Again(given, time.perf_counter() + 60).given).problem
                rest = frozenset(range(len(names))) - {names.index(name) for name in c.forbidden_by}
                assert is_feasible(forced, rest, 30) == "no", (seed, c)
                for name in c.forbidden_by:
                    assert is_feasible(forced, rest | {names.index(name)}, 30) == "yes", (seed, c)
                seen += 1
    assert seen >= 2


def of(found: Explanation, component: str, choice: str) -> Candidate:
    return next(c for c in found.candidates if (c.component, c.choice) == (component, choice))


def test_a_backend_that_another_beats_everywhere_costs_what_solving_with_it_alone_says() -> None:
    """Where TVM is better than ONNX Runtime in everything, that does not forbid ONNX Runtime."""
    given = recorded({}, {})
    decide = given.digests["decide/default"]
    given = slower(given, 2, lambda r: r.source == decide and r.backend == "onnxruntime")
    plan = solve(given)
    found = [c for c in candidates(searching(given), plan, ["decide"]) if c.kind == "backend"]
    assert {c.status for c in found} == {"chosen", "possible"}
    for c in found:
        alone = solve(vary(given, [f"component.decide.backends=[{c.choice}]"]))
        differences = [new - old for new, old in zip(alone.objective, plan.objective, strict=True)]
        assert c.prices == pytest.approx(differences, abs=1e-4)


def test_the_example_is_explained() -> None:
    given = recorded({}, {})
    plan = solve(given)
    found = explain(given, plan, components=["language", "vision"])
    assert found.units == ("USD/month", "ms")
    assert {c.component for c in found.candidates} == {"language", "vision"}
    assert of(found, "language", "frankfurt.vm").status == "chosen"
    assert of(found, "language", "bases.rack").prices[0] > 10
    small = of(found, "vision", "small")
    assert (small.status, small.forbidden_by) == ("infeasible", ("quality",))
    assert [p.name for p in found.critical if p.kind == "stage"] == ["shrink", "vision", "tokens", "language", "decide"]
    assert sum(p.part for p in found.critical) == pytest.approx(1)


@pytest.mark.deep
def test_a_step_of_a_limit_is_worth_what_solving_again_says() -> None:
    given = vary(recorded({}, {}), ["constraint.answer_time.p99=350 ms"])
    plan = solve(given)
    (worth,) = (w for w in worths(searching(given), plan)[0] if w.name == "answer_time.p99")
    assert worth.binding
    more = worth.step if worth.looser else worth.next_gain[0] if worth.next_gain else 0.0
    saved = worth.looser or (worth.next_gain[1] if worth.next_gain else 0.0)
    again = solve(vary(given, [f"constraint.answer_time.p99={350 + more} ms"]))
    assert saved < 0
    assert again.objective[0] - plan.objective[0] == pytest.approx(saved)


@pytest.mark.deep
def test_what_a_file_rounds_away_is_no_price() -> None:
    given = recorded({}, {})
    plan = solve(given)
    read = Plan.model_validate(plan.dump())
    assert read.objective != plan.objective
    prices = [c.prices for c in explain(given, read, components=["decide"]).candidates if c.prices]
    assert all(price == 0 or abs(price) > 1e-4 for price, *_ in prices)


def test_a_plan_of_other_inputs_is_not_explained() -> None:
    plan = solve(recorded({}, {}))
    with pytest.raises(InputError, match="made with no --set"):
        explain(vary(recorded({}, {}), ["hardware.c2.price=1/h"]), plan)
    with pytest.raises(InputError, match="did you mean 'vision'"):
        explain(recorded({}, {}), plan, components=["vison"])


def test_the_placement_of_a_plan_alone_gives_the_plan() -> None:
    given = recorded({}, {})
    plan = solve(given)
    alone = Again(given, time.perf_counter() + 60).plan(restrict=as_planned(plan))
    assert alone is not None
    assert alone.objective == plan.objective
