"""What one request's own messages and visits do to one another, predicted beside what is simulated."""

from __future__ import annotations

import numpy as np
import pytest

from planner.placement.demand import Demand
from planner.placement.request_graph import SINK, request_graph
from planner.prediction.latency import Latency
from planner.prediction.queueing import likeness
from planner.prediction.timings import Timings
from planner.simulation import Simulation
from tests.planner.networks import Server, chain, exponential


def test_waits_are_alike_at_once_and_not_after_long() -> None:
    assert likeness(0.0, 0.7, 0.02) == pytest.approx(1.0)
    falling = [likeness(lag, 0.7, 0.02) for lag in (0.0, 0.02, 0.1, 0.5, 3.0, 1e6)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == 0.0
    # In heavy traffic the integral of the correlation in M/M/1 is 2 service / (1 - load)^2: 1 at this scale.
    t = np.linspace(0, 40, 40_001)
    values = [likeness(float(x), 0.0, 1.0) for x in t]
    assert float(np.trapezoid(values, t)) == pytest.approx(1.0, rel=0.001)


def test_messages_that_leave_at_once_pass_a_link_one_behind_the_other() -> None:
    """Of 0.1 s each: the second is there after 0.2 s, at any load."""
    inputs = {"a": {"x": "src.v"}, "b": {"x": "src.v"}, "c": {"x": "a.out", "y": "b.out"}}
    servers = {n: Server([1e-4], replicas=20, site="there") for n in "abc"}
    link = {"rate": None, "up": {"rate": "1 kB/s"}, "down": {"rate": "1 GB/s"}}
    situation, layout = chain(servers, 0.01, inputs=inputs, link=link, payload=100.0)
    (path,) = Latency(layout, Demand(situation)).paths()
    times = Simulation(layout, Demand(situation), 1).run(20_000).flows["src@here"].times("end", [0])
    assert path.predicted.p50_ms == pytest.approx(np.quantile(times, 0.5) * 1e3, rel=0.005)
    assert path.predicted.p50_ms == pytest.approx(200.2, rel=0.005)


def test_a_link_waits_for_what_leaves_at_once_as_for_one_message() -> None:
    inputs = {"a": {"x": "src.v"}, "b": {"x": "src.v"}, "c": {"x": "a.out", "y": "b.out"}}
    servers = {n: Server([1e-4], replicas=20, site="there") for n in "abc"}
    link = {"rate": None, "up": {"rate": "10 kB/s"}, "down": {"rate": "1 GB/s"}}
    situation, layout = chain(servers, 30.0, inputs=inputs, link=link, payload=100.0)
    queue = Timings(layout, Demand(situation)).queues["link wire up"]
    assert queue.load == pytest.approx(0.6)
    played = Simulation(layout, Demand(situation), 1).run(400_000).flows["src@here"]
    assert played.waits["src -> a"].mean() == pytest.approx(queue.wait.mean, rel=0.05)


def test_a_request_that_comes_back_to_a_busy_device_waits_there_as_it_did() -> None:
    """Waits taken as independent promise too little at the 99th percentile; those taken as alike come close."""
    servers = {
        "a": Server(exponential(0.007)),
        "b": Server([1e-3], replicas=9, site="there"),
        "c": Server(exponential(0.007)),
    }
    situation, layout = chain(servers, 50.0, sharing="time")
    latency = Latency(layout, Demand(situation))
    (path,) = latency.paths()
    times = Simulation(layout, Demand(situation), 1).run(600_000).flows["src@here"].times("end", [0]) * 1e3
    simulated = np.quantile(times, 0.99)
    (of,) = layout.flows
    shape = of.pipeline.shapes[0]
    grid = latency._grid(of)
    alone, _ = latency._finish(of, shape, request_graph(of, shape, "end", SINK), grid, {})
    (independent,) = grid.quantiles(alone, [0.99])
    assert independent * 1e3 < 0.9 * simulated
    assert path.predicted.p99_ms == pytest.approx(simulated, rel=0.1)
