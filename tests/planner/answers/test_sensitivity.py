"""How far a plan holds: inside the range it is as good as the best, one step outside it is not."""

from __future__ import annotations

import time

import pytest

from planner.answers.again import Again
from planner.answers.forced import as_planned
from planner.answers.sensitivity import Input, inputs_of, sensitivity, slower, with_placement
from planner.plan import solve
from planner.situation import Situation
from specs.errors import InputError
from specs.plan import Plan
from tests.planner.test_example_plan import recorded

STEP = 0.25


def stays(given: Situation, plan: Plan, each: Input, value: float) -> bool:
    again = Again(each.scaled(given, value / each.value), time.perf_counter() + 60)
    own, best = again.plan(restrict=as_planned(plan)), again.plan()
    return own is not None and best is not None and own.objective[0] <= best.objective[0] * (1 + 1e-6)


def test_the_plan_is_optimal_within_its_range_and_not_a_step_beyond() -> None:
    given = recorded({}, {})
    plan = solve(given)
    found = sensitivity(given, plan, only="hardware.c2.price", step=STEP)
    assert found.complete
    (price,) = found.ranges
    each = next(i for i in inputs_of(given) if i.name == price.name)
    assert price.high is not None
    assert stays(given, plan, each, price.high)
    assert not stays(given, plan, each, price.high * (1 + STEP))
    assert price.low is None
    assert stays(given, plan, each, price.value / 4)


@pytest.mark.deep
def test_a_plan_does_not_stay_where_solving_finds_a_better_one_that_the_tables_forbid() -> None:
    """At 64 Mbit/s the tables forbid a cheaper placement, whose prediction keeps all limits."""
    given = recorded({}, {})
    plan = solve(given)
    (rate,) = sensitivity(given, plan, only="link.lte.up.rate", step=2.2).ranges
    each = next(i for i in inputs_of(given) if i.name == rate.name)
    beyond = solve(each.scaled(given, 3.2))
    own = Again(each.scaled(given, 3.2), time.perf_counter() + 60).plan(restrict=as_planned(plan))
    assert own is not None
    assert beyond.objective[0] < own.objective[0] * (1 - 1e-6)
    assert rate.high == rate.value


def test_regrets_are_what_solving_again_says_and_never_negative() -> None:
    given = recorded({}, {})
    found = sensitivity(given, solve(given), only="nothing")
    assert not found.ranges
    assert len(found.regrets) >= 5
    for r in found.regrets:
        assert r.regret is None or r.regret >= -1e-9
        assert (r.regret is None) == (r.planned is None or r.best is None)


def test_a_placement_is_kept_where_another_now_beats_its_ways_to_run_in_everything() -> None:
    given = recorded({}, {})
    plan = solve(given)
    used = {a.record for a in plan.assignments}
    wrong = slower(slower(given, 0.8, lambda r: r.digest not in used), 1.2, lambda r: r.digest in used)
    kept = with_placement(Again(wrong, time.perf_counter() + 60), plan)
    assert kept is not None
    ways = [[(a.component, a.site, a.backend, a.threads) for a in p.assignments] for p in (kept, plan)]
    assert ways[0] == ways[1]


@pytest.mark.deep
def test_a_placement_that_would_miss_a_limit_says_by_how_much() -> None:
    given = recorded({"p99: 500 ms": "p99: 360 ms"}, {})
    found = sensitivity(given, solve(given), only="nothing", off=0.5)
    slow = next(r for r in found.regrets if r.case == "all 50 % slower")
    assert slow.planned is None
    assert slow.missed["answer_time.p99"] > 0


def test_every_kind_of_input_is_there() -> None:
    found = list(inputs_of(recorded({}, {})))
    money = {"price", "electricity", "power", "egress"}
    assert {i.kind for i in found} == {"rate", "bandwidth", "delay", "service time"} | money
    for each in found:
        more = each.scaled(recorded({}, {}), 1.5)  # every one can be said
        if each.kind != "service time":
            (same,) = (i for i in inputs_of(more) if i.name == each.name)
            assert same.value == pytest.approx(1.5 * each.value)


def test_only_a_proven_plan_can_stay_optimal() -> None:
    given = recorded({}, {})
    with pytest.raises(InputError, match="its search ended early"):
        sensitivity(given, solve(given).model_copy(update={"status": "feasible"}))
