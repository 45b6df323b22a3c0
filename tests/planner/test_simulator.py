"""The simulator against exact results, and what is predicted without it against the simulator."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from planner.placement.demand import Demand
from planner.placement.layout import Layout, plan_layout
from planner.placement.visits import visits
from planner.plan import solve
from planner.prediction.latency import Latency
from planner.prediction.timings import Timings
from planner.simulation import Simulation
from planner.simulation.of_slice import predict
from planner.situation import Situation
from specs.plan import Plan
from specs.run_result import Slice
from tests.planner.blog import situation
from tests.planner.worlds import world


@cache
def example() -> tuple[Situation, Plan, Layout]:
    given = situation()
    plan = solve(given)
    return given, plan, plan_layout(given, plan)


def part(multiplier: float) -> Slice:
    members = {"phones": 2, "bases": 1, "frankfurt": 1}
    return Slice(members=members, multiplier=multiplier, requests=300, seed=1)


def test_a_request_waits_once_for_each_visit_to_an_executor() -> None:
    """A request that goes away and comes back waits again; one whose next stage is here does not."""
    _, _, layout = example()
    (of,) = layout.flows
    names = {i: s.assignment.component for i, s in enumerate(layout.stages)}
    for shape in of.pipeline.shapes:
        groups = [[names[i] for i in visit] for visit in visits(layout, of, shape)]
        assert sorted(c for g in groups for c in g) == sorted(shape.runs)
        for group in groups:
            sites = {layout.stages[i].assignment.site for i in names if names[i] in group}
            assert len(sites) == 1


def test_a_visit_to_a_lone_executor_waits_as_pollaczek_and_khinchine_say() -> None:
    """The first queue that requests meet is an M/G/1 queue of visits: there the sums are exact at any load."""
    _, _, layout = example()
    (of,) = layout.flows
    demand = Demand(example()[0], part(350))
    timings = Timings(layout, demand)
    first = next(i for i in of.stages if layout.stages[i].assignment.component == "shrink")
    played = Simulation(layout, demand, 7).run(30_000).flows[of.flow.name]
    queue = timings.queues[timings.executor(first)]
    assert 0.2 < queue.load < 0.8
    assert played.waits[first].mean() == pytest.approx(queue.wait.mean, rel=0.08)


def test_sums_of_distributions_agree_with_the_simulation_where_queues_are_short() -> None:
    seeds = []
    for seed in range(24):
        given = world(seed)
        plan = solve(given)
        if plan.status not in ("optimal", "feasible"):
            continue
        layout = plan_layout(given, plan)
        demand = Demand(given)
        latency = Latency(layout, demand)
        if any(queue.load > 0.15 for queue in latency.timings.queues.values()):
            continue
        seeds.append(seed)
        played = Simulation(layout, demand, seed).run(10_000).flows
        for path in latency.paths():
            of = next(f for f in layout.flows if f.flow.name == path.flow)
            if path.over != "all" or len(of.pipeline.shapes) > 1:
                continue
            times = played[path.flow].times(path.to, range(len(of.pipeline.shapes))) * 1e3
            assert path.predicted.p50_ms == pytest.approx(np.quantile(times, 0.5), rel=0.05), seed
            # Joins are predicted as if branches were independent, which is on the safe side.
            assert path.predicted.p99_ms >= 0.9 * np.quantile(times, 0.99), seed
    assert len(seeds) >= 3


def test_a_slice_is_predicted_by_playing_it_and_the_same_every_time() -> None:
    given, plan, _ = example()
    one, other = (predict(given, plan, part(60)) for _ in range(2))
    assert one == other
    busy = predict(given, plan, part(160))
    assert busy.paths[0].predicted.p99_ms > 1.1 * one.paths[0].predicted.p99_ms
    assert {s.name for s in one.stages if s.kind == "stage"} == {a.component for a in plan.assignments}
