"""Ways that meet again and again: predicted beside what is simulated."""

from __future__ import annotations

import numpy as np
import pytest

from planner.placement.demand import Demand
from planner.placement.request_graph import SINK, request_graph
from planner.prediction.latency import Latency
from planner.simulation import Simulation
from tests.planner.networks import Server, chain, exponential


def test_ways_that_share_a_slow_stage_are_not_late_independently() -> None:
    """`c` takes from `a` and `b`, and `b` from `a` and the source over a link: `a` counts once in both ways."""
    inputs = {"a": {"x": "src.v"}, "b": {"x": "a.out", "z": "src.v"}, "c": {"x": "a.out", "y": "b.out"}}
    servers = {
        "a": Server(exponential(0.1), replicas=50),
        "b": Server([1e-3], replicas=20, site="there"),
        "c": Server([1e-3], replicas=20, site="there"),
    }
    situation, layout = chain(servers, 1.0, inputs=inputs, link={"delay": "50 ms", "rate": "1 GB/s"})
    (of,) = layout.flows
    assert request_graph(of, of.pipeline.shapes[0], "end", SINK).meets_itself
    (path,) = Latency(layout, Demand(situation)).paths()
    times = Simulation(layout, Demand(situation), 1).run(200_000).flows["src@here"].times("end", [0]) * 1e3
    predicted = path.predicted.p50_ms, path.predicted.p95_ms, path.predicted.p99_ms
    assert predicted == pytest.approx(np.quantile(times, [0.5, 0.95, 0.99]), rel=0.02)
