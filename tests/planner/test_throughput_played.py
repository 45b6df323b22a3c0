"""What a plan says that it carries, the simulator carries too, and not much more."""

from __future__ import annotations

import pytest

from planner import solve
from planner.placement.demand import Demand
from planner.placement.layout import plan_layout
from planner.placement.slicing import default_slice
from planner.prediction.queueing import MAX_UTILISATION
from planner.simulation import Conditions, Simulation
from planner.simulation.tables import ANSWERED
from tests.planner.test_throughput import example

REQUESTS = 60_000


@pytest.mark.parametrize(("share", "all_answered"), [(1.0, True), (1.15 / MAX_UTILISATION, False)])
def test_as_much_as_is_carried_comes_through_and_more_than_queues_can_do_is_refused(
    share: float, all_answered: bool
) -> None:
    given = example(">= 1/min")
    plan = solve(given, proofs=False)
    assert plan.carries is not None
    everyone = {"phones": 1200, "bases": 4, "frankfurt": 1}
    demand = Demand(given, default_slice(given, plan, everyone, plan.carries.multiple * share, REQUESTS))
    played = Simulation(plan_layout(given, plan), demand, 1, Conditions(queue_limit=256)).run(REQUESTS)
    (flow,) = played.flows.values()
    assert bool((flow.status == ANSWERED).all()) == all_answered
