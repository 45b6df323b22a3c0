"""Fan-outs in the tables: how many items requests bring, and what a request waits for the last of them.

Tables are to the safe side: of several numbers of items the largest of each class counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import ceil
from typing import Final

from planner.moments import ZERO, Moments
from planner.prediction.queueing import NO_WAIT, Wait, single_server
from specs.profile import Record

EDGES: Final = (0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Quantiles of the number of items at which its classes end."""
DRAWS: Final = 512
"""Of how long the items of one class take on idle servers."""


@dataclass(frozen=True)
class FanOut:
    """`counts`: how many items a request that runs the component brings, with probabilities; some may bring none."""

    counts: tuple[tuple[int, float], ...]

    @property
    def alone(self) -> bool:
        """Whether it is no fan-out: every request brings one."""
        return all(n == 1 for n, _ in self.counts)

    @property
    def some(self) -> float:
        """The share of requests that bring any."""
        return sum(p for n, p in self.counts if n > 0)

    @property
    def burst(self) -> float:
        """Items that come together with an item on average: of fan-outs at one station the largest counts."""
        mean = sum(n * p for n, p in self.counts)
        return sum(n * n * p for n, p in self.counts) / mean if mean > 0 else 0.0

    def work(self, service: Moments) -> Moments:
        """Moments of the time of all items one after another, of requests that bring none too."""
        found = ZERO
        for n, p in self.counts:
            every = service.times(n)
            found = Moments(found.mean + p * every.mean, found.second + p * every.second, found.third + p * every.third)
        return found

    @cached_property
    def classes(self) -> tuple[tuple[int, float], ...]:
        """The largest number of items up to each of `EDGES`, with the share of requests that it stands for."""
        ordered = sorted(self.counts)
        total = sum(p for _, p in ordered)
        reached = [p / total for p in accumulate(p for _, p in ordered)]
        found: dict[int, float] = {}
        for before, edge in zip((0.0, *EDGES), EDGES, strict=False):
            n = ordered[min(bisect_left(reached, edge - 1e-9), len(ordered) - 1)][0]
            found[n] = found.get(n, 0.0) + (edge - before)
        return tuple(found.items())

    @property
    def usual(self) -> int:
        """The number of items that hardly any request exceeds (one in twenty)."""
        return max(n for n, _ in self.classes if n <= 1 or sum(p for m, p in self.classes if m >= n) > 0.05)


def fan_out_of(counts: Mapping[int, float]) -> FanOut:
    return FanOut(tuple(sorted(counts.items())))


@dataclass(frozen=True, slots=True)
class Served:
    """How long a replica takes for up to `batch` requests, or items of them, at once, of which the oldest waits up to
    `patience` seconds for others.
    """

    service: Moments
    batch: int = 1
    patience: float = 0.0


def last_of(fan: FanOut, by: Served, rate: float, servers: int, idle: tuple[float, float]) -> Wait:
    """What requests wait beyond one service until the last of their items is done.

    `rate` is that of items. The first item waits as `_first` says; then they take what they take on idle servers,
    `idle` (mean and second moment).
    """
    service = by.service
    some = tuple((n, p / fan.some) for n, p in fan.counts if n > 0)
    first = (_first if by.batch == 1 else _first_batch)(FanOut(some), by, rate, servers)
    mean, second = idle
    mean_beyond = max(0.0, first.mean + mean - service.mean)
    variance = max(0.0, first.variance + second - mean**2 - service.variance)
    return Wait(1.0, mean_beyond, variance + mean_beyond**2)


def _first(fan: FanOut, by: Served, rate: float, servers: int) -> Wait:
    """Of the first item: as in M/G/1 with a server as fast as all together, whose service is a request's items."""
    work = fan.work(by.service)
    requests = rate * by.service.mean / work.mean if work.mean > 0 else 0.0
    return single_server([(requests, work.scaled(1 / servers))])


def _first_batch(fan: FanOut, by: Served, rate: float, servers: int) -> Wait:
    """Of the first item's batch, where servers take several items at once.

    What waits before it is cut into full batches, each of which takes 1/`servers` of a service; where all servers are
    busy, the first is free after the rest of a service. With q items waiting, the load r of full batches, B the
    probability that all are busy and R that rest, an item waits at most B R + (q + those of its own request before it)
    S / (b c) on average, and q = rate times that wait (Little): E[W] = (B R + own S / (b c)) / (1 - r). The first
    item of a request waits B R + q S / (b c). B is at most the load of batches that no two requests share (Markov).
    The variance is that of an exponential wait and of a request's own work and that rest, as in M/G/1.
    """
    service, each = by.service, 1 / (by.batch * servers)
    items = sum(n * p for n, p in fan.counts)
    if service.mean <= 0 or items <= 0 or rate <= 0:
        return NO_WAIT
    load = rate * service.mean * each
    requests = rate / items
    batches = sum(ceil(n / by.batch) * p for n, p in fan.counts)
    busy = min(1.0, requests * batches * service.mean / servers)
    free = 2 / (servers + 1)  # of as many rests as there are servers the first, between one that never varies and more
    rest = Wait(
        busy, busy * free * service.second / (2 * service.mean), busy * free**2 * service.third / (3 * service.mean)
    )
    own = (fan.burst - 1) / 2
    mean = rest.mean + load * (rest.mean + own * service.mean * each) / (1 - load)
    third = sum(p * n**3 for n, p in fan.counts) * service.third * each**3
    return Wait(busy, mean, 2 * mean**2 + requests * third / (3 * (1 - load)) + rest.second)


def on_idle(fan: FanOut, record: Record, servers: int) -> tuple[float, float]:
    """Mean and second moment of the time that a request's items take on so many idle servers, drawn."""
    import numpy as np  # here: hardly any application fans out, and numpy makes each start longer

    from planner.prediction.distribution import from_quantiles
    from planner.prediction.fan_out_queue import finish

    values = from_quantiles(record.service.points(), record.service.mean)[4::8]
    mean = second = 0.0
    for items, p in fan.classes:
        random = np.random.default_rng(items)
        batches = ceil(items / record.batch)
        times = finish(np.zeros((DRAWS, min(servers, max(1, batches)))), batches, random.permutation(values), random)
        mean += p * float(times.mean())
        second += p * float((times**2).mean())
    return mean, second
