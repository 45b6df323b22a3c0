"""Queues that feed one another: predicted beside theory, beside what is simulated, and by the verifier's own means."""

from __future__ import annotations

import random

import numpy as np
import pytest

from planner import verify
from planner.moments import Moments
from planner.placement.demand import Demand
from planner.placement.layout import Layout, plan_layout
from planner.prediction.latency import Latency
from planner.prediction.queueing import single_server
from planner.prediction.tandem import Passing, Tandem, begins
from planner.simulation import Simulation
from planner.situation import Situation
from planner.verification.constraints import _fed
from planner.verification.reading import Pattern, Reading
from planner.verification.tandem import Coming, play_row
from specs.run_result import Slice
from tests.planner.networks import Server, chain, exponential
from tests.planner.planned import planned
from tests.planner.pressed import pressed, with_rates

REQUESTS = 600_000
BOTH = [0.005, 0.015]
"""A coefficient of variation of a half."""


def agrees(given: Situation, layout: Layout, part: Slice | None = None, requests: int = REQUESTS) -> None:
    demand = Demand(given, part)
    (path,) = Latency(layout, demand).paths()
    played = Simulation(layout, demand, 1).run(requests).flows["src@here"]
    p50, p99 = np.quantile(played.times("end", [*range(len(set(played.pattern.tolist())))]), [0.5, 0.99]) * 1e3
    assert path.predicted.p50_ms == pytest.approx(p50, rel=0.03)
    assert path.predicted.p99_ms == pytest.approx(p99, rel=0.05)


def test_who_begins_when_is_as_told_one_by_one() -> None:
    draw = random.Random(1)
    for _ in range(50):
        n = draw.randint(1, 30)
        come = np.cumsum([draw.choice([0.0, 0.5, 1.0, 3.0]) for _ in range(n)])
        services = np.array([draw.choice([0.0, 1.0, 2.0]) for _ in range(n)])
        free, expected = 0.0, []
        for at, service in zip(come.tolist(), services.tolist(), strict=True):
            expected.append(max(at, free))
            free = expected[-1] + service
        assert begins(come, services) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("services", [(0.01, 0.01, 0.01), (0.004, 0.01, 0.007), (0.01, 0.002), (0.002, 0.01)])
def test_where_services_are_fixed_only_the_slowest_makes_requests_wait(services: tuple[float, ...]) -> None:
    """Friedman (1965): however the servers stand, a request waits in all as at the slowest alone."""
    names = "abc"[: len(services)]
    feeders = dict(zip(names, (None, *names[:-1]), strict=True))
    of = Passing(70.0, {n: {i: np.array([s])} for i, (n, s) in enumerate(zip(names, services, strict=True))})
    times = Tandem(feeders, (of,)).times(0)
    slowest = max(services)
    alone = single_server([(70.0, Moments(slowest, slowest**2, slowest**3))])
    total = np.sum([times[i] - s for i, s in enumerate(services)], axis=0)
    assert float(total.mean()) == pytest.approx(alone.mean, rel=0.03)
    assert float((total**2).mean()) == pytest.approx(alone.second, rel=0.06)


def test_behind_exponential_services_all_comes_by_chance() -> None:
    """Burke (1956)."""
    values = np.array(exponential(0.01))
    of = Passing(70.0, {"a": {0: values}, "b": {1: values}})
    tandem = Tandem({"a": None, "b": "a"}, (of,))
    alone = single_server([(70.0, Moments(0.01, 2 * 0.01**2, 6 * 0.01**3))])
    for name in "ab":
        assert float(tandem.waits(name).mean()) == pytest.approx(alone.mean, rel=0.05)


@pytest.mark.parametrize("load", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("values", [[0.01], BOTH, exponential(0.01)], ids=["fixed", "half", "exponential"])
def test_three_in_a_row_are_predicted_as_simulated(values: list[float], load: float) -> None:
    agrees(*chain({n: Server(values) for n in "abc"}, load / 0.01))


def test_where_some_requests_leave_the_row_it_is_predicted_as_simulated() -> None:
    agrees(*chain({n: Server([0.01]) for n in "abc"}, 65.0, skipped=0.4))


def test_branches_of_a_row_are_predicted_as_simulated() -> None:
    """Two begin where one ends, and are joined."""
    inputs = {"z": {"x": "src.v"}, "a": {"x": "z.out"}, "b": {"x": "z.out"}, "c": {"x": "a.out", "y": "b.out"}}
    servers = {n: Server([0.01]) for n in "zab"} | {"c": Server([0.001], replicas=4)}
    agrees(*chain(servers, 60.0, inputs=inputs))


def test_what_a_slice_leaves_out_comes_to_each_queue_of_a_row_by_itself() -> None:
    """Nearly all that comes to each is background."""
    given, layout = chain({n: Server([0.01]) for n in "abc"}, 3.0)
    part = Slice(members={"here": 1}, multiplier=1, background={"here": 57.0}, requests=300, seed=1)
    agrees(given, layout, part, 100_000)


def test_what_several_members_send_does_not_come_from_one_queue() -> None:
    """Queues of different sites, and those behind several replicas, are as if requests came by chance."""
    for servers in (
        {"a": Server([0.01]), "b": Server([0.01], site="there")},
        {"a": Server([0.01], replicas=2), "b": Server([0.01])},
    ):
        given, layout = chain(servers, 50.0)
        timings = Latency(layout, Demand(given)).timings
        assert all(queue.played is None for queue in timings.queues.values())


def test_the_verifier_knows_how_long_the_tables_let_requests_wait_where_queues_feed_one_another() -> None:
    """As if they came by chance, of visits of several stages too; not where a queue has no end."""
    seen = 0
    for seed in range(8):
        given = pressed(seed, 0.6, 1.3)
        plan = planned(given) if given is not None else None
        if given is None or plan is None:
            continue
        timings = Latency(plan_layout(given, plan), Demand(given)).timings
        reading = Reading(given, plan)
        names = {reading.queue_of(i): timings.executor(i) for i in range(len(plan.assignments))}
        for queue, wait in _fed(reading).items():
            seen += 1
            by_chance = single_server((a.rate, a.service) for a in timings.queues[names[queue]].arrivals)
            assert wait == pytest.approx(1e3 * by_chance.mean, rel=0.01)
        assert all(wait >= 0 for wait in _fed(Reading(with_rates(given, 20), plan)).values())
    assert seen >= 2


def agreed(seeds: range, load: float) -> int:
    """Plans with a queue that another feeds, with which the verifier agrees."""
    seen = 0
    for seed in seeds:
        given = pressed(seed, load, 1.3)
        plan = planned(given) if given is not None else None
        if given is None or plan is None:
            continue
        timings = Latency(plan_layout(given, plan), Demand(given)).timings
        if any(queue.played is not None for queue in timings.queues.values()):
            seen += 1
            assert not (wrong := verify(given, plan, 30_000).wrong), (seed, wrong)
    return seen


def test_the_verifier_agrees_with_plans_of_queues_in_a_row() -> None:
    assert agreed(range(12), 0.6) >= 2


def test_the_verifier_agrees_with_plans_of_busy_queues_in_a_row() -> None:
    assert agreed(range(6), 0.85) >= 1


def test_a_row_is_played_beside_theory_and_to_an_end_where_it_has_none() -> None:
    """The verifier's: of fixed services only the first of two alike makes requests wait."""
    way = Pattern(frozenset("ab"), {})
    for load in (0.85, 1.0):
        coming = Coming("f", way, load / 0.01, {n: {i: np.array([0.01])} for i, n in enumerate("ab")})
        row = play_row({"a": None, "b": "a"}, [coming], np.random.default_rng(1))
        waits = row.all_at("a")
        assert np.isfinite(waits).all()
        assert float(row.all_at("b").max()) == pytest.approx(0.0, abs=1e-9)
        if load < 0.9:
            alone = single_server([(coming.rate, Moments(0.01, 0.01**2, 0.01**3))])
            assert float(waits.mean()) == pytest.approx(alone.mean, rel=0.02)
        else:
            assert float(waits.mean()) > 0.04
