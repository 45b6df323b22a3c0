"""The simulator against queues whose answer is known: within the confidence intervals of what it plays."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from planner.moments import Moments
from planner.placement.demand import Demand
from planner.prediction.queueing import erlang_c, single_server
from planner.simulation import Played, Simulation
from tests.planner.networks import Server, chain, exponential

RATE = 50.0
BATCHES = 25
T = 3.75
"""Of Student's distribution with 24 degrees of freedom at 99.9 %: chance fails one test in a thousand."""


def play(servers: dict[str, Server], requests: int, seed: int = 1, rate: float = RATE, **more: object) -> Played:
    situation, layout = chain(servers, rate, **more)  # type: ignore[arg-type]
    return Simulation(layout, Demand(situation), seed).run(requests)


def agrees(sample: NDArray[np.float64], expected: float, rounding: float = 0.003, within: float = 0.12) -> None:
    """The mean of a correlated sample is `expected`: batch means give its interval.

    `rounding` is the share by which 4,096 values that stand for a service miss its higher moments; the interval must be
    narrower than the share `within`.
    """
    means = np.array([part.mean() for part in np.array_split(sample, BATCHES)])
    half = T * means.std(ddof=1) / sqrt(BATCHES) + rounding * abs(expected)
    assert abs(means.mean() - expected) < half, (means.mean(), expected, half)
    assert half < within * abs(expected), "too few requests to tell"


def waits(played: Played, stage: int) -> NDArray[np.float64]:
    return played.flows["src@here"].waits[stage]


def test_one_server_waits_as_m_m_1() -> None:
    """W = load / (rate of service (1 - load)), and P(W > t) = load exp(-(1 - load) t / service)."""
    load = 0.7
    service = load / RATE
    found = waits(play({"a": Server(exponential(service))}, 400_000), 0)
    agrees(found, load * service / (1 - load))
    for level in (0.5, 0.9, 0.99):
        t = max(0.0, -log((1 - level) / load) * service / (1 - load))
        agrees((found > t).astype(float), min(load, 1 - level), within=0.3)


@pytest.mark.parametrize(("servers", "load"), [(2, 0.7), (3, 0.8), (8, 0.6)])
def test_several_servers_of_one_queue_wait_as_m_m_c(servers: int, load: float) -> None:
    service = load * servers / RATE
    found = waits(play({"a": Server(exponential(service), servers)}, 400_000), 0)
    busy = erlang_c(servers, load * servers)
    agrees((found > 0).astype(float), busy)
    agrees(found, busy * service / (servers * (1 - load)))


@pytest.mark.parametrize("cv", ["fixed", "bimodal"])
def test_any_service_waits_as_pollaczek_and_khinchine_say(cv: str) -> None:
    values = [0.012] if cv == "fixed" else [0.004] * 9 + [0.084]
    x = np.array(values)
    found = waits(play({"a": Server(values)}, 1_500_000), 0)
    wait = single_server([(RATE, Moments(x.mean(), (x**2).mean(), (x**3).mean()))])
    agrees(found, wait.mean)
    agrees(found**2, wait.second, within=0.4)


def test_queues_in_a_row_are_independent_as_jackson_says() -> None:
    """In a row of M/M/1 queues the times at each are independent and exponential."""
    services = {"a": 0.010, "b": 0.014, "c": 0.006}
    played = play({n: Server(exponential(s)) for n, s in services.items()}, 500_000)
    times = played.flows["src@here"].times("end", [0])
    means = [s / (1 - RATE * s) for s in services.values()]
    agrees(times, sum(means))
    agrees((times - sum(means)) ** 2, sum(m**2 for m in means), 0.01, within=0.3)
    limit = 2.5 * sum(means)
    rates = [1 / m for m in means]
    tail = sum(
        exp(-r * limit) * np.prod([o / (o - r) for o in rates if o != r]) for r in rates
    )  # of a sum of exponential times
    agrees((times > limit).astype(float), float(tail), 0.02, within=0.3)


def test_two_kinds_of_visits_to_one_executor_wait_alike() -> None:
    """Where time is shared, a stage and its neighbour are one visit: an M/G/1 queue of two kinds of services."""
    short, long = exponential(0.008), exponential(0.016)
    played = play({"a": Server(short), "b": Server(long)}, 500_000, sharing="time", skipped=0.6)
    flow = played.flows["src@here"]
    a, b = (Moments(float(np.mean(v)), float(np.mean(np.square(v))), 0.0) for v in (short, long))
    expected = single_server([(0.6 * RATE, a), (0.4 * RATE, a.plus(b))])
    agrees(flow.waits[0], expected.mean)
    assert flow.waits[1].max() == 0.0
    assert played.loads["pool box at here"][0] == pytest.approx(expected.busy, rel=0.01)


def test_regular_arrivals_wait_as_d_m_1() -> None:
    """W = s / (1 - s) service, with s = exp(-(1 - s) gap / service)."""
    service, share = 0.7 / RATE, 0.5
    for _ in range(200):
        share = exp(-(1 - share) / 0.7)
    found = waits(play({"a": Server(exponential(service))}, 400_000, arrivals="constant"), 0)
    agrees(found, share / (1 - share) * service)


def test_a_link_is_a_server_of_its_rate() -> None:
    """M/D/1: messages of one size, the load 0.6, half a service of waiting at load / (1 - load)."""
    bytes_, rate = 10_000.0, 50 * 10_000.0 / 0.6
    played = play(
        {"a": Server([1e-6], site="there")},
        400_000,
        link={"rate": None, "up": {"rate": f"{rate} B/s"}, "down": {"rate": "1 GB/s"}},
        payload=bytes_,
    )
    agrees(played.flows["src@here"].waits["src -> a"], 0.6 / 0.4 * (bytes_ / rate) / 2)
    assert played.loads["link wire up"][0] == pytest.approx(0.6, rel=0.01)


def test_members_have_queues_of_their_own_at_home_and_share_what_is_above_them() -> None:
    played = play(
        {"a": Server(exponential(0.014)), "b": Server(exponential(0.0014), site="there")}, 600_000, members=10
    )
    found = played.flows["src@here"]
    agrees(found.waits[0], 0.7 * 0.014 / 0.3)
    assert found.waits[1].mean() > 0.5 * 0.7 * 0.0014 / 0.3  # the departures of many queues are nearly Poisson
    assert played.loads["stage a at here.box (0)"] == pytest.approx(np.full(10, 0.7), rel=0.05)


def test_the_same_seed_gives_the_same_and_another_one_does_not() -> None:
    one, same, other = (play({"a": Server(exponential(0.01))}, 2000, seed).flows["src@here"] for seed in (3, 3, 4))
    assert np.array_equal(one.times("end", [0]), same.times("end", [0]))
    assert not np.array_equal(one.times("end", [0])[:500], other.times("end", [0])[:500])
