"""A sink whose input may be skipped: planned, verified, and played alike."""

from __future__ import annotations

import pytest

from planner import solve, verify
from planner.placement.demand import Demand
from planner.placement.layout import plan_layout
from planner.prediction.latency import Latency
from planner.simulation import Simulation
from planner.simulation.figures import asked, percentiles
from tests.planner.test_example_plan import recorded

SINK = "inputs: {verdict: decide.verdict}}"


def test_an_answer_with_what_a_gate_may_leave_out_is_verified_and_played_as_planned() -> None:
    given = recorded({SINK: "inputs: {verdict: decide.verdict, vector: {from: language.vector, if_skipped: 0}}}"}, {})
    plan = solve(given, proofs=False)
    assert not verify(given, plan, 50_000).wrong
    layout = plan_layout(given, plan)
    (of,) = layout.flows
    assert any(leg.name == "language -> answer" for leg in of.legs)
    (predicted,) = Latency(layout, Demand(given)).paths()
    played = Simulation(layout, Demand(given), 1).run(50_000)
    ((path, patterns),) = asked(layout, of)
    assert len(patterns) == len(of.pipeline.shapes) > 1
    found = percentiles(played.flows[of.flow.name].times(path.to, patterns))
    assert found.p99_ms == pytest.approx(predicted.predicted.p99_ms, rel=0.05)
