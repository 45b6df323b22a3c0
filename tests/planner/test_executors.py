"""Pools of several devices that share their time: each has its own queue, and requests are spread among them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from planner import solve, verify
from planner.formulation import formulate
from planner.moments import Moments
from planner.placement.demand import Demand
from planner.prediction.latency import Latency
from planner.prediction.queueing import single_server
from planner.problem import Problem
from planner.simulation import Conditions, Simulation
from planner.simulation.arrivals import Constant
from planner.simulation.faults import Fault
from planner.simulation.tables import ANSWERED
from planner.solver import Solution
from planner.solver.stop import Stop
from specs.errors import TierplanError
from specs.plan import Plan
from tests.planner.brute import TooLarge, brute_force
from tests.planner.networks import Server, chain, exponential
from tests.planner.test_simulation_cases import ends
from tests.planner.test_simulation_cases import play as play_at
from tests.planner.test_simulation_theory import agrees, play
from tests.planner.test_solver import compare_all
from tests.planner.test_strategies import EXACT
from tests.planner.worlds import serial

MOST = 20_000
"""Choices of a Problem that brute force looks at."""
SEVERAL = (0, 8, 16, 27)
"""Worlds whose plans have several devices that share their time."""
FORK = {"a": {"x": "src.v"}, "b": {"x": "src.v"}, "c": {"x": "a.out", "y": "b.out"}}


def executors(problem: Problem, solution: Solution) -> set[int]:
    """How many devices that share their time a solution has, by pool in use."""
    if solution.choice is None:
        return set()
    pools = ((problem.pools[s.pool], n) for s, n in zip(problem.stations, solution.choice.replicas, strict=True) if n)
    return {n for pool, n in pools if pool.sharing == "time"}


def equal(seeds: range) -> None:
    found = compare_all((formulate(serial(seed)) for seed in seeds), MOST)
    assert found.count >= 0.8 * len(seeds)
    assert found.infeasible >= 0.2 * found.count
    assert found.beaten >= 0.2 * found.count
    assert sum(bool(executors(*each) & {2, 3}) for each in found.solved) >= 0.1 * found.count


def test_status_and_objective_equal_brute_force() -> None:
    equal(range(40))


@pytest.mark.deep
def test_status_and_objective_equal_brute_force_on_many_more() -> None:
    equal(range(40, 1500))


def every_strategy(seeds: Sequence[int]) -> None:
    several = 0
    for seed in seeds:
        problem = formulate(serial(seed))
        try:
            best = brute_force(problem, most=MOST)
        except TooLarge:
            continue
        for strategy in EXACT.values():
            solution = strategy.solve(problem, Stop())
            assert solution.status == ("infeasible" if best is None else "optimal"), (seed, strategy)
            assert solution.objectives == (best or ()), (seed, strategy)
        several += bool(executors(problem, solution) & {2, 3})
    assert several


def test_every_exact_strategy_equals_brute_force() -> None:
    every_strategy(range(10))


@pytest.mark.deep
def test_every_exact_strategy_equals_brute_force_on_many_more() -> None:
    every_strategy(range(60, 400))


@cache
def planned(seed: int) -> Plan | None:
    """The plan, if it has several devices that share their time."""
    try:
        plan = solve(serial(seed), proofs=False)
    except TierplanError:
        return None
    return plan if any(d.sharing == "time" and d.bought > 1 for d in plan.devices) else None


def agree(seeds: Sequence[int]) -> int:
    """The verifier agrees with each plan, in which each stage of such a pool is on all of its devices."""
    found = 0
    for seed in seeds:
        plan = planned(seed)
        if plan is None:
            continue
        found += 1
        given = serial(seed)
        assert not (wrong := verify(given, plan, 20_000).wrong), (seed, wrong)
        many = {(d.site, d.pool): d.bought for d in plan.devices if d.sharing == "time"}
        assert all(a.replicas == many.get((a.site, a.pool), a.replicas) for a in plan.assignments)
    return found


def test_the_verifier_agrees_with_plans() -> None:
    assert agree(SEVERAL) == len(SEVERAL)


@pytest.mark.deep
def test_the_verifier_agrees_with_many_plans() -> None:
    assert agree(range(20, 300)) >= 50


def test_the_verifier_finds_a_stage_that_is_not_on_every_device() -> None:
    plan, given = planned(SEVERAL[0]), serial(SEVERAL[0])
    assert plan is not None
    pools = {(d.site, d.pool) for d in plan.devices if d.sharing == "time" and d.bought > 1}
    i = next(i for i, a in enumerate(plan.assignments) if (a.site, a.pool) in pools)
    fewer = plan.assignments[i].model_copy(update={"replicas": plan.assignments[i].replicas - 1})
    mutated = plan.model_copy(update={"assignments": (*plan.assignments[:i], fewer, *plan.assignments[i + 1 :])})
    assert verify(given, mutated, 20_000).wrong


def test_each_device_waits_as_pollaczek_and_khinchine_say() -> None:
    """Requests that come by chance do so to each of three devices, and are there for all their stages."""
    short, long = exponential(0.02), exponential(0.025)
    played = play({"a": Server(short, 3), "b": Server(long, 3)}, 400_000, sharing="time")
    flow = played.flows["src@here"]
    a, b = (Moments(float(np.mean(v)), float(np.mean(np.square(v))), 0.0) for v in (short, long))
    expected = single_server([(50 / 3, a.plus(b))])
    agrees(flow.waits[0], expected.mean)
    assert flow.waits[1].max() == 0.0
    assert played.loads["pool box at here"] == pytest.approx([expected.busy], rel=0.01)


@pytest.mark.parametrize("inputs", [None, FORK], ids=["row", "branches that meet"])
def test_the_prediction_is_what_is_simulated(inputs: dict[str, dict[str, str]] | None) -> None:
    servers = {"a": Server(exponential(0.02), 4), "b": Server([0.01], 4), "c": Server([0.02], 4)}
    situation, layout = chain(servers, 50.0, inputs=inputs, sharing="time")
    (path,) = Latency(layout, Demand(situation)).paths()
    times = Simulation(layout, Demand(situation), 3).run(300_000).flows["src@here"].times("end", [0]) * 1e3
    assert path.predicted.p50_ms == pytest.approx(np.quantile(times, 0.5), rel=0.03)
    assert path.predicted.p99_ms == pytest.approx(np.quantile(times, 0.99), rel=0.05)


def test_a_request_is_at_one_device_for_all_its_stages_and_others_pass_it_at_another() -> None:
    """Six come at once to two devices: the last of each device's is done when all of its own are, 3 s each."""
    found = ends(play_at({"a": Server([1.0], 2), "b": Server([2.0], 2)}, [0.0] * 6, sharing="time"))
    first = sum(1 for done in found if done == 3.0)
    assert first == 2
    rows = sorted(found)
    at_each = {done: rows.count(done) for done in rows}
    assert all(done % 3 == 0 and count <= 2 for done, count in at_each.items()), at_each


def test_a_member_that_is_lost_loses_what_each_of_its_devices_holds() -> None:
    """Of two members, of two devices each, the second is down from 10 s to 20 s."""
    servers = {"a": Server([0.4], 2)}
    situation, layout = chain(servers, 1.0, members=2, sharing="time")
    fault = Fault("site", "here", 1, 0.0, 10.0, 20.0)
    under = Conditions({"src": Constant()}, (fault,), None, 5.0, 0.0)
    flow = Simulation(layout, Demand(situation), 1, under).play(60.0).flows["src@here"]
    assert 0.7 < float((flow.status == ANSWERED).mean()) < 1.0
    before = flow.started < 9.0
    assert (flow.status[before] == ANSWERED).all()
