"""The share of requests that is answered before it is given up: planned, verified, and what is played."""

from __future__ import annotations

import random
import re

import pytest
from pydantic import ValidationError

from planner import solve, verify
from planner.answers.again import vary
from planner.formulation import formulation
from planner.limits import with_limits
from planner.placement.demand import Demand
from planner.placement.layout import plan_layout
from planner.prediction.latency import Latency
from planner.problem import Problem
from planner.simulation import Conditions, Simulation
from planner.simulation.outcome import shares_of
from planner.situation import Situation
from specs.application import ShareConstraint
from specs.check import check
from tests.planner.planned import planned
from tests.planner.test_example_plan import recorded
from tests.planner.test_solver import family
from tests.planner.worlds import patient


def problem(seed: int) -> Problem:
    """With a time for the share that matters: that of a world, ten times its limit, hardly ever does."""
    given = patient(seed)
    seconds = random.Random(f"deadline {seed}").choice([0.04, 0.06, 0.09, 0.15])
    return with_limits(given, formulation(given), {"answered": seconds}).problem


def equal(seeds: range) -> None:
    family(problem, seeds, 50_000)


def test_with_shares_status_and_objective_equal_brute_force() -> None:
    equal(range(50))


@pytest.mark.deep
def test_with_shares_status_and_objective_equal_brute_force_on_many_more() -> None:
    equal(range(50, 1000))


def test_the_verifier_agrees_with_the_share_of_every_plan_and_finds_a_false_claim() -> None:
    seen = 0
    for seed in range(6):
        plan = planned(patient(seed))
        if plan is not None:
            seen += 1
            assert not verify(patient(seed), plan, 20_000).wrong
            less = [c.model_copy(update={"value": 0.5}) if c.name == "answered" else c for c in plan.constraints]
            assert verify(patient(seed), plan.model_copy(update={"constraints": tuple(less)}), 20_000).wrong
            gone = [c for c in plan.constraints if c.name != "answered"]
            assert verify(patient(seed), plan.model_copy(update={"constraints": tuple(gone)}), 20_000).wrong
    assert seen >= 2


def example(share: str, limit: str, *changes: str) -> Situation:
    """The example, which has a limit on the median alone, a tenth of the time in which requests must be answered."""
    line = f"answered: {{from: upload, to: answer, share: {share!r}}}"
    app = {"p99: 500 ms": f"p50: {limit}", "quality: {accuracy": f"{line}\n  quality: {{accuracy"}
    return vary(recorded(app, {}), changes)


def test_a_share_that_cannot_be_is_told_with_the_most_that_can() -> None:
    # Uploads vary: the slowest percent of them takes ten times 40 ms.
    given = example(">= 99.99 %", "40 ms", "constraint.answer_time.p50=40 ms")
    plan = solve(given)
    names = {c.name for c in plan.conflict}
    assert plan.status == "infeasible"
    assert names & {"answered", "answer_time.p50"}


def test_the_share_that_is_planned_is_the_one_that_is_played() -> None:
    given = example(">= 50 %", "400 ms")
    plan = solve(given, proofs=False)
    layout = plan_layout(given, plan)
    constraint = given.app.value.constraints["answered"]
    assert isinstance(constraint, ShareConstraint)
    latency = Latency(layout, Demand(given))
    tight = latency.slowest(constraint.path, 0.97)
    assert latency.within(constraint.path, tight) == pytest.approx(0.97, abs=1e-6)
    played = Simulation(layout, Demand(given), 1, Conditions(deadline=tight)).run(60_000)
    (share,) = shares_of(layout, played)
    assert share.value == pytest.approx(0.97, abs=0.01)
    assert share.verdict == "kept"
    assert share.n > 50_000


def test_all_requests_cannot_be_asked_for_and_a_share_is_of_a_sink() -> None:
    with pytest.raises(ValidationError, match="expected less than 100 %"):
        ShareConstraint.model_validate({"from": "a", "to": "b", "share": ">= 100 %"})
    given = recorded({"quality: {accuracy": "share: {from: upload, to: vision, share: 99 %}\n  quality: {accuracy"}, {})
    (issue,) = check(given.app, None)
    assert re.search(r"unknown sink 'vision'", str(issue))
