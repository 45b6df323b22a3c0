"""What one request's own messages and visits do to one another, predicted beside what is simulated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.placement.demand import Demand
from planner.placement.request_graph import SINK, request_graph
from planner.prediction.latency import Latency
from planner.prediction.queueing import likeness
from planner.prediction.timings import Timings
from planner.simulation import Simulation
from specs.behaviour import BranchPattern, PayloadSize
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


def is_as_simulated_over_a_slow_link(servers: dict[str, Server], inputs: dict[str, dict[str, str]]) -> None:
    link = {"rate": None, "up": {"rate": "10 kB/s"}, "down": {"rate": "1 GB/s"}}
    situation, layout = chain(servers, 30.0, inputs=inputs, link=link, payload=100.0)
    (path,) = Latency(layout, Demand(situation)).paths()
    times = Simulation(layout, Demand(situation), 1).run(400_000).flows["src@here"].times("end", [0]) * 1e3
    p50, p99 = np.quantile(times, [0.5, 0.99])
    assert path.predicted.p50_ms == pytest.approx(p50, rel=0.03)
    assert path.predicted.p99_ms == pytest.approx(p99, rel=0.05)


def test_messages_that_left_over_a_link_at_once_and_are_joined_again_waited_for_it_once() -> None:
    inputs = {"a": {"x": "src.v"}, "b": {"x": "src.v"}, "c": {"x": "a.out", "y": "b.out"}}
    servers = {n: Server([1e-4], replicas=20, site="there") for n in "abc"}
    is_as_simulated_over_a_slow_link(servers, inputs)


def test_messages_that_left_at_once_waited_for_their_link_once_also_where_another_way_joins_them() -> None:
    inputs = {"a": {"x": "src.v"}, "b": {"x": "src.v"}, "c": {"x": "src.v"}}
    inputs["d"] = {"x": "a.out", "y": "b.out", "z": "c.out"}
    servers = {n: Server([1e-4], replicas=20, site="there" if n in "ab" else "here") for n in "abcd"}
    is_as_simulated_over_a_slow_link(servers, inputs)


def test_stacks_of_those_who_send_them_are_as_large_on_average_as_all() -> None:
    """Only requests of three and of eight items send them to what a gate leaves out for those of one."""
    inputs = {"a": {"x": "src.v"}, "b": {"x": "a.out"}, "z": {"x": "src.v"}, "c": {"x": "b.out"}}
    servers = {n: Server([1e-6], site="there" if n == "c" else "here") for n in inputs}
    link = {"rate": None, "up": {"rate": "1 MB/s"}, "down": {"rate": "1 GB/s"}}
    situation, layout = chain(servers, 10.0, inputs=inputs, link=link, skipped=0.5)
    app = situation.app.value
    per = app.components | {"b": app.components["b"].model_copy(update={"per": "a.out"})}
    (behaviour,) = situation.behaviours
    stack = PayloadSize.stack(10_000, {1: 0.5, 3: 0.3, 8: 0.2})
    patterns = tuple(
        BranchPattern(source="src", runs=tuple(runs), items={"b": n}, probability=p, count=1)
        for runs, n, p in (("abz", 1, 0.5), ("abzc", 3, 0.3), ("abzc", 8, 0.2))
    )
    changed = behaviour.model_copy(update={"payloads": behaviour.payloads | {"b.out": stack}, "patterns": patterns})
    situation = replace(
        situation,
        app=replace(situation.app, value=app.model_copy(update={"components": per})),
        behaviours=(changed,),
    )
    layout = replace(layout, situation=situation)
    timings = Timings(layout, Demand(situation))
    (of,) = layout.flows
    (leg,) = (leg for leg in of.legs if leg.message.values == ("b.out",) and leg.message.consumer.name == "c")
    sizes = {dict(s.items)["b"]: s.probability * timings.bytes_of(of, leg, s).mean() for s in of.pipeline.shapes}
    assert sizes[3] + sizes[8] == pytest.approx(0.5 * stack.mean, rel=0.01)
    assert sizes[8] / 0.2 > 1.5 * sizes[3] / 0.3


def test_a_request_of_more_items_has_a_larger_stack() -> None:
    """One item: 10 ms over the link and 10 ms of service. Eight: 80 ms of each. No request has one of both."""
    counts = {1: 0.7, 8: 0.3}
    servers = {"a": Server([1e-6]), "b": Server([0.01], site="there"), "c": Server([1e-6], site="there")}
    link = {"rate": None, "up": {"rate": "1 MB/s"}, "down": {"rate": "1 GB/s"}}
    situation, layout = chain(servers, 1e-3, link=link, payload=1.0, fan_out=("b", counts))
    (behaviour,) = situation.behaviours
    sizes = behaviour.payloads | {"a.out": PayloadSize.stack(10_000, counts)}
    stacked = replace(situation, behaviours=(behaviour.model_copy(update={"payloads": sizes}),))
    layout = replace(layout, situation=stacked)
    (path,) = Latency(layout, Demand(stacked)).paths()
    times = Simulation(layout, Demand(stacked), 1).run(20_000).flows["src@here"].times("end", [0, 1]) * 1e3
    for level, figure, expected in ((0.5, "p50_ms", 20.0), (0.95, "p95_ms", 160.0)):
        assert np.quantile(times, level) == pytest.approx(expected, rel=0.01)
        assert getattr(path.predicted, figure) == pytest.approx(expected, rel=0.01)
    assert np.mean((times > 25) & (times < 155)) < 0.002
