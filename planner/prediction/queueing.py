"""Waiting times: M/G/1 (Pollaczek and Khinchine, exact) and M/G/c (Allen and Cunneen, an approximation).

All times are in seconds and rates in events a second. Arrivals are taken as Poisson.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import erfc, exp, fsum, pi, sqrt
from typing import Final

from planner.moments import Moments

MAX_UTILISATION: Final = 0.9
"""A queue is never planned beyond this: above it a small error of the rate or the service changes the wait a lot."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait in a queue: 0 with probability 1 - `busy`; `mean` and `second` are moments over all arrivals."""

    busy: float
    mean: float
    second: float

    @property
    def variance(self) -> float:
        return max(0.0, self.second - self.mean**2)


NO_WAIT: Final = Wait(0.0, 0.0, 0.0)


def utilisation(arrivals: Iterable[tuple[float, Moments]]) -> float:
    """Of one server: the sum of rate times mean service over the classes of `arrivals`."""
    return fsum(rate * service.mean for rate, service in arrivals)


def single_server(arrivals: Iterable[tuple[float, Moments]]) -> Wait:
    """M/G/1, first come first served, with several classes (rate, service).

    E[W] = sum(l E[S^2]) / (2 (1 - r)) and E[W^2] = 2 E[W]^2 + sum(l E[S^3]) / (3 (1 - r)) with r the utilisation.
    Raises ValueError where r >= 1: the queue has no end.
    """
    given = list(arrivals)
    load = utilisation(given)
    if load >= 1:
        raise ValueError(f"utilisation {load:.3g} is not below 1")
    mean = fsum(rate * service.second for rate, service in given) / (2 * (1 - load))
    third = fsum(rate * service.third for rate, service in given) / (3 * (1 - load))
    return Wait(load, mean, 2 * mean**2 + third)


def likeness(lag: float, load: float, work: float) -> float:
    """Correlation of two waits at one queue that is met again `lag` seconds later.

    In heavy traffic the work that waits is a reflected Brownian motion with the drift load - 1 and the variance
    `work` = sum(l E[S^2]) a second; with t = lag (1 - load)^2 / work its correlation is
    2 (1 - 2t - t^2) P(Z > sqrt t) + 2 sqrt(t) (1 + t) phi(sqrt t), Z normal with density phi (Abate and Whitt, 1987).
    """
    if work <= 0 or load >= 1:
        return 0.0
    t = max(0.0, lag) * (1 - load) ** 2 / work
    if t > 50:
        return 0.0
    beyond = 0.5 * erfc(sqrt(t / 2))
    density = exp(-t / 2) / sqrt(2 * pi)
    return min(1.0, max(0.0, 2 * (1 - 2 * t - t * t) * beyond + 2 * sqrt(t) * (1 + t) * density))


def erlang_c(servers: int, load: float) -> float:
    """Probability that an arrival waits in M/M/c, for `load` in Erlang. Raises ValueError where load >= servers."""
    if load >= servers:
        raise ValueError(f"load {load:.3g} is not below {servers} servers")
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def many_servers(rate: float, service: Moments, servers: int) -> Wait:
    """M/G/c, one queue for `servers` alike servers.

    Allen and Cunneen: E[W] = C(c, a) / (c - a) * E[S] (1 + cv^2) / 2, with C Erlang's formula and a = rate E[S]. This
    is an M/G/1 wait with service S/c, kept with probability C instead of the utilisation; the second moment follows
    in the same way. Exact for one server and for exponential service. Raises ValueError where the load reaches the
    servers.
    """
    load = rate * service.mean
    if rate == 0 or service.mean == 0:
        return NO_WAIT
    busy = erlang_c(servers, load)
    alone = single_server([(rate, service.scaled(1 / servers))])
    return Wait(busy, alone.mean * busy / alone.busy, alone.second * busy / alone.busy)
