"""Convolution of whole distributions against sampling."""

from __future__ import annotations

import numpy as np
import pytest

from planner.moments import Moments
from planner.placement.demand import Demand
from planner.placement.layout import plan_layout
from planner.plan import solve
from planner.prediction.distribution import POINTS, Grid, from_quantiles, normal
from planner.prediction.queueing import single_server
from planner.prediction.timings import Arrival, Queue, Timings
from specs.errors import InputError
from tests.planner.blog import situation
from tests.planner.worlds import spread

LEVELS = (0.5, 0.95, 0.99)


def of(values: np.ndarray) -> Moments:
    return Moments(float(values.mean()), float((values**2).mean()), float((values**3).mean()))


def test_a_sum_has_the_percentiles_of_sampled_sums() -> None:
    random = np.random.default_rng(1)
    parts = [random.gamma(2, 0.01, POINTS), random.gamma(30, 0.002, POINTS), normal(0.02, 0.003)]
    grid = Grid(0.4 / 8192)
    total = np.prod([grid.transform(p) for p in parts], axis=0)
    sampled = np.sum([random.choice(p, 500_000) for p in parts], axis=0)
    assert grid.quantiles(total, LEVELS) == pytest.approx(list(np.quantile(sampled, LEVELS)), rel=0.01)
    assert grid.mean(total) == pytest.approx(sampled.mean(), rel=0.005)


def test_the_mean_is_kept_even_where_values_are_smaller_than_a_step() -> None:
    grid = Grid(0.01)
    assert grid.mean(grid.transform(np.full(10, 0.0031))) == pytest.approx(0.0031)


def test_the_largest_of_independent_times_has_sampled_percentiles() -> None:
    random = np.random.default_rng(2)
    a, b = random.gamma(4, 0.01, POINTS), random.gamma(9, 0.005, POINTS)
    grid = Grid(0.3 / 8192)
    slowest = grid.slowest([grid.transform(a), grid.transform(b)])
    sampled = np.maximum(random.choice(a, 500_000), random.choice(b, 500_000))
    assert grid.quantiles(slowest, LEVELS) == pytest.approx(list(np.quantile(sampled, LEVELS)), rel=0.01)


def test_a_wait_has_the_percentiles_of_a_simulated_queue() -> None:
    random = np.random.default_rng(3)
    service = random.gamma(4, 0.0025, POINTS)
    rate, n = 60.0, 400_000
    services, arrivals = random.choice(service, n), np.cumsum(random.exponential(1 / rate, n))
    waits, free = np.empty(n), 0.0
    for i, (at, length) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
        start = max(at, free)
        waits[i], free = start - at, start + length
    queue = Queue("q", 1, (Arrival(rate, of(service), service),))
    grid = Grid(0.3 / 8192)
    found = grid.quantiles(queue.transform(grid), LEVELS)
    assert found == pytest.approx(list(np.quantile(waits[5000:], LEVELS)), rel=0.05, abs=2e-4)
    assert grid.mean(queue.transform(grid)) == pytest.approx(single_server([(rate, of(service))]).mean, rel=0.01)


def test_quantile_points_give_back_their_quantiles_and_their_mean() -> None:
    known = spread(0.02, 0.4)
    values = from_quantiles(known.points(), known.mean)
    assert values.mean() == pytest.approx(known.mean, rel=1e-6)
    assert float(np.quantile(values, 0.99)) == pytest.approx(dict(known.points())[0.99], rel=0.03)


def test_quantiles_that_stop_short_reach_as_far_as_the_mean_asks_for() -> None:
    values = from_quantiles([(0.0, 1.0), (0.5, 1.0), (0.9, 1.0)], 1.5)
    assert values.mean() == pytest.approx(1.5, rel=0.01)
    assert values.max() > 5


def test_an_overloaded_queue_names_its_stage() -> None:
    world = situation()
    plan = solve(world)
    demand = Demand(world)
    layout = plan_layout(world, plan)
    busy = Timings(layout, demand)
    name = next(n for n in busy.queues if n.startswith("stage language"))
    arrival = busy.queues[name].arrivals[0]
    more = arrival._replace(rate=arrival.rate / busy.queues[name].load * 1.2)
    with pytest.raises(InputError, match="overloaded: stage language at frankfurt"):
        _ = Queue(busy.queues[name].name, 1, (more,)).wait
