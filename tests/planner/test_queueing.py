"""The queueing formulas against simulated queues, and against the cases where the exact answer is known."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from planner.moments import Moments
from planner.prediction.queueing import erlang_c, many_servers, single_server

SHAPES = {"exponential": 1.0, "steady": 25.0, "bursty": 0.4}


def sample_of(random: np.random.Generator, shape: float, mean: float, n: int) -> np.ndarray:
    return random.gamma(shape, mean / shape, n)


def of(values: np.ndarray) -> Moments:
    return Moments(float(values.mean()), float((values**2).mean()), float((values**3).mean()))


def simulated(arrivals: np.ndarray, services: np.ndarray, servers: int) -> np.ndarray:
    """Waits in order of arrival: each request goes to the server that is free first."""
    free = [0.0] * servers
    waits = np.empty(len(arrivals))
    for i, (at, service) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
        start = max(at, heapq.heappop(free))
        waits[i] = start - at
        heapq.heappush(free, start + service)
    return waits


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_server_waits_as_pollaczek_and_khinchine_say(shape: float, load: float) -> None:
    random = np.random.default_rng(7)
    n = 300_000
    services = sample_of(random, shape, 0.01, n)
    arrivals = np.cumsum(random.exponential(0.01 / load, n))
    waits = simulated(arrivals, services, 1)[10_000:]
    wait = single_server([(load / 0.01, of(services))])
    assert wait.busy == pytest.approx((waits > 0).mean(), rel=0.02)
    assert wait.mean == pytest.approx(waits.mean(), rel=0.06)
    assert wait.second == pytest.approx((waits**2).mean(), rel=0.2)


def test_one_server_of_several_classes_waits_by_their_sum() -> None:
    random = np.random.default_rng(8)
    n = 300_000
    short, long = sample_of(random, 4.0, 0.004, n), sample_of(random, 2.0, 0.02, n)
    second = random.random(n) < 0.2
    services = np.where(second, long, short)
    arrivals = np.cumsum(random.exponential(1 / 80, n))
    waits = simulated(arrivals, services, 1)[10_000:]
    wait = single_server([(64.0, of(short)), (16.0, of(long))])
    assert wait.mean == pytest.approx(waits.mean(), rel=0.06)


@pytest.mark.parametrize("servers", [2, 4])
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_many_servers_are_exact_for_exponential_service(servers: int, load: float) -> None:
    random = np.random.default_rng(9)
    n = 300_000
    services = random.exponential(0.01, n)
    arrivals = np.cumsum(random.exponential(0.01 / load / servers, n))
    waits = simulated(arrivals, services, servers)[10_000:]
    wait = many_servers(load * servers / 0.01, Moments(0.01, 2e-4, 6e-6), servers)
    assert wait.busy == pytest.approx((waits > 0).mean(), rel=0.04)
    assert wait.mean == pytest.approx(waits.mean(), rel=0.08)
    assert wait.second == pytest.approx((waits**2).mean(), rel=0.25)


@pytest.mark.parametrize("shape", [25.0, 0.6])
def test_many_servers_are_close_for_other_service(shape: float) -> None:
    random = np.random.default_rng(10)
    n = 300_000
    services = sample_of(random, shape, 0.01, n)
    arrivals = np.cumsum(random.exponential(0.01 / 0.7 / 3, n))
    waits = simulated(arrivals, services, 3)[10_000:]
    wait = many_servers(0.7 * 3 / 0.01, of(services), 3)
    assert wait.mean == pytest.approx(waits.mean(), rel=0.2)


def test_one_of_many_servers_is_a_single_server() -> None:
    service = Moments(0.01, 1.5e-4, 3e-6)
    one, many = single_server([(60.0, service)]), many_servers(60.0, service, 1)
    assert (many.busy, many.mean, many.second) == pytest.approx((one.busy, one.mean, one.second))


def test_erlang_c_of_one_server_is_its_load() -> None:
    assert erlang_c(1, 0.4) == pytest.approx(0.4)


def test_a_queue_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="not below 1"):
        single_server([(100.0, Moments(0.01, 1e-4, 1e-6))])
    with pytest.raises(ValueError, match="not below 2 servers"):
        erlang_c(2, 2.0)


def test_moments_of_a_sum_are_those_of_the_sum() -> None:
    random = np.random.default_rng(11)
    a, b = random.gamma(2, 1, 400_000), random.gamma(3, 0.5, 400_000)
    total = of(a).plus(of(b))
    assert (total.mean, total.second, total.third) == pytest.approx(
        tuple(float(((a + b) ** k).mean()) for k in (1, 2, 3)), rel=0.02
    )
