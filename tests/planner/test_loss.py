"""Links that lose packets: solved, verified packet by packet, and played as predicted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner import solve, verify
from planner.formulation import formulate
from planner.placement.demand import Demand
from planner.placement.layout import plan_layout
from planner.prediction.latency import Latency
from planner.simulation import Simulation
from planner.simulation.figures import asked, percentiles
from tests.planner.planned import planned
from tests.planner.test_example_plan import recorded
from tests.planner.test_solver import family
from tests.planner.worlds import lossy


def equal(seeds: range) -> None:
    family(lambda seed: formulate(lossy(seed)), seeds, 50_000)


def test_with_loss_status_and_objective_equal_brute_force() -> None:
    equal(range(50))


@pytest.mark.deep
def test_with_loss_status_and_objective_equal_brute_force_on_many_more() -> None:
    equal(range(50, 1000))


def agree(seeds: range) -> int:
    seen = 0
    for seed in seeds:
        plan = planned(lossy(seed))
        if plan is not None and plan.routes:
            seen += 1
            assert not verify(lossy(seed), plan, 50_000).wrong
    return seen


def test_the_verifier_agrees_with_plans_over_links_that_lose_packets() -> None:
    assert agree(range(8)) >= 2


@pytest.mark.deep
def test_the_verifier_agrees_with_many_more_plans_over_links_that_lose_packets() -> None:
    assert agree(range(8, 300)) >= 80


def test_a_plan_that_was_made_without_loss_does_not_hold_with_it() -> None:
    plan = solve(recorded({}, {}), proofs=False)
    lost = recorded({}, {"delay: {mean: 12 ms, jitter: 3 ms}": "delay: {mean: 12 ms, jitter: 3 ms}\n    loss: 1 %"})
    same = plan.model_copy(update={"inputs": plan.inputs.model_copy(update={"infra": lost.infra.digest})})
    wrong = {check.subject for check in verify(lost, same, 20_000).wrong}
    assert "latency" in wrong


def test_what_lost_packets_cost_is_played_as_it_is_predicted() -> None:
    given = recorded(
        {"p99: 500 ms": "p99: 5 s", "60/h": "6/h", "12/h": "6/h"},
        {"delay: {mean: 12 ms, jitter: 3 ms}": "delay: {mean: 12 ms, jitter: 3 ms}\n    loss: 1 %"},
    )
    plan = solve(given, proofs=False)
    layout = plan_layout(given, plan)
    assert any(leg.route for of in layout.flows for leg in of.legs)
    (predicted,) = Latency(layout, Demand(given)).paths()
    played = Simulation(layout, Demand(given), 1).run(60_000)
    (of,) = layout.flows
    ((path, patterns),) = asked(layout, of)
    found = percentiles(played.flows[of.flow.name].times(path.to, patterns))
    assert found.mean_ms == pytest.approx(predicted.predicted.mean_ms, rel=0.03)
    assert found.p99_ms == pytest.approx(predicted.predicted.p99_ms, rel=0.05)
    kept = replace(given, infra=recorded({}, {}).infra)
    (without,) = Latency(plan_layout(kept, plan), Demand(kept)).paths()
    assert without.predicted.mean_ms < predicted.predicted.mean_ms
