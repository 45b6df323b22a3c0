"""Components that run per item and take several items at once: played, predicted, verified and solved."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import numpy as np
import pytest

from planner import solve, verify
from planner.formulation import formulate
from planner.formulation.fan_out import Served, fan_out_of, last_of, on_idle
from planner.placement.demand import Demand
from planner.prediction.latency import Latency
from planner.prediction.measured import moments
from planner.simulation import Simulation
from planner.simulation.tables import ANSWERED, REFUSED
from tests.planner.networks import Server, chain, exponential
from tests.planner.test_simulation_cases import ends, play, statuses
from tests.planner.test_solver import family
from tests.planner.worlds import fanned_in_batches

MANY = {0: 0.2, 1: 0.3, 3: 0.3, 9: 0.2}
BATCHED = (8, 13, 14, 25)
"""Worlds whose plans take several items at once."""


def fan(count: int) -> tuple[str, Mapping[int, float]]:
    return "b", {count: 1.0}


def test_items_of_one_request_fill_a_batch() -> None:
    """Five items, two at once for 2 s: three batches one after another, or on two servers in two goes."""
    assert ends(play({"a": Server([1.0]), "b": Server([2.0], batch=2)}, [0], fan_out=fan(5))) == [7.0]
    assert ends(play({"a": Server([1.0]), "b": Server([2.0], 2, batch=2)}, [0], fan_out=fan(5))) == [5.0]


def test_items_of_two_requests_share_a_batch() -> None:
    """Three items at 1 s and three at 2 s, two at once for 2 s: the second batch has one of each request."""
    servers = {"a": Server([1.0]), "b": Server([2.0], batch=2)}
    assert ends(play(servers, [0, 1], fan_out=fan(3))) == [5.0, 6.0]


def test_only_a_batch_that_is_not_full_waits_for_others() -> None:
    """Three items, two at once for 2 s: a pair leaves at 1 s; the third might leave when it has waited 3 s, at 4."""
    servers = {"a": Server([1.0]), "b": Server([2.0], 2, batch=2, batch_wait_ms=3000)}
    assert ends(play(servers, [0], fan_out=fan(3))) == [6.0]
    assert ends(play(servers, [0], fan_out=fan(4))) == [3.0]


def test_items_that_do_not_all_fit_into_a_queue_take_no_room_from_others() -> None:
    """Three items a request, one at a time for 1 s, four may wait: at 1 s two do, at 1.7 s one."""
    played = play({"a": Server([0.5]), "b": Server([1.0])}, [0, 0.1, 1.2], fan_out=fan(3), limit=4)
    assert statuses(played) == [ANSWERED, REFUSED, ANSWERED]


CASES = [
    (1, 4, 0.35, 0.0, [0.01]),
    (1, 2, 0.65, 0.0, exponential(0.01)),
    (3, 4, 0.5, 0.0, exponential(0.01)),
    (2, 8, 0.7, 0.0, exponential(0.01)),
    (1, 4, 0.5, 20.0, exponential(0.01)),
    (4, 2, 0.2, 30.0, [0.01]),
]


@pytest.mark.parametrize(("replicas", "batch", "load", "wait_ms", "values"), CASES)
def test_predicted_percentiles_are_those_that_are_played(
    replicas: int, batch: int, load: float, wait_ms: float, values: list[float]
) -> None:
    """Within 3 % at the median and 5 % at the 99th percentile; the tables say no less than either."""
    mean = sum(n * p for n, p in MANY.items())
    b = Server(values, replicas, batch, wait_ms)
    rate = load * replicas * batch / (mean * 0.01)
    situation, layout = chain({"a": Server([1e-6]), "b": b, "c": Server([1e-6])}, rate, fan_out=("b", MANY))
    (path,) = Latency(layout, Demand(situation)).paths()
    played = Simulation(layout, Demand(situation), 3).run(300_000).flows["src@here"]
    times = played.times("end", range(len(MANY))) * 1e3
    assert path.predicted.p50_ms == pytest.approx(np.quantile(times, 0.5), rel=0.03)
    assert path.predicted.p99_ms == pytest.approx(np.quantile(times, 0.99), rel=0.05)
    assert path.predicted.mean_ms == pytest.approx(times.mean(), rel=0.03)
    record = layout.stages[1].record.model_copy(update={"batch": batch})
    by, many = Served(moments(record), batch, wait_ms / 1e3), fan_out_of(MANY)
    table = last_of(many, by, rate * mean, replicas, on_idle(many, record, replicas))
    assert table.mean * 1e3 + wait_ms + 10 >= times.mean()
    assert sqrt(table.variance + record.service.variance) * 1e3 + wait_ms / 2 >= times.std()


def test_the_verifier_agrees_with_plans_that_batch_items() -> None:
    for seed in BATCHED:
        given = fanned_in_batches(seed)
        plan = solve(given, proofs=False)
        per = {name for name, c in given.app.value.components.items() if c.per}
        assert any(a.batch > 1 for a in plan.assignments if a.component in per)
        assert not (wrong := verify(given, plan, 30_000).wrong), (seed, wrong)


@pytest.mark.deep
def test_the_verifier_agrees_with_many_plans_that_batch_items() -> None:
    planned = 0
    for seed in range(40, 340):
        given = fanned_in_batches(seed, (2, 8))
        plan = solve(given, proofs=False)
        if plan.assignments and any(c.per for c in given.app.value.components.values()):
            planned += any(a.batch > 1 for a in plan.assignments)
            assert not (wrong := verify(given, plan, 30_000).wrong), (seed, wrong)
    assert planned >= 20


def equal(seeds: range) -> None:
    family(lambda seed: formulate(fanned_in_batches(seed, (2,))), seeds, 20_000, small=0.7)


def test_problems_with_batches_of_items_equal_brute_force() -> None:
    equal(range(30))


@pytest.mark.deep
def test_many_more_problems_with_batches_of_items_equal_brute_force() -> None:
    equal(range(30, 330))
