"""Servers to which requests bring several items at once, played on a clock: request by request, or batch by batch."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Sample = NDArray[np.float64]
REQUESTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class PlayedQueue:
    """Waits until the first item of a request is served, and by number of items the time until its last is done."""

    first: Sample
    last: Mapping[int, Sample]

    def last_of(self, items: int) -> Sample:
        """Of so many items; of the nearest number that was played, where none of `REQUESTS` brought as many."""
        return self.last[min(self.last, key=lambda n: abs(n - items))]


def play(rates: Mapping[int, float], times: Sample, servers: int, random: np.random.Generator) -> PlayedQueue:
    """`rates` are requests a second by how many items they bring (at least 1); an item takes one of `times`.

    The queue is first come first served, and its load must be below 1.
    """
    sizes = np.array(list(rates))
    total = sum(rates.values())
    brought = random.choice(sizes, REQUESTS, p=np.array(list(rates.values())) / total)
    arrivals = np.cumsum(random.exponential(1 / total, REQUESTS))
    services = iter(random.choice(times, int(brought.sum())).tolist())
    ends = [0.0] * servers  # when servers come free, the soonest first
    first = np.zeros(REQUESTS)
    last = np.zeros(REQUESTS)
    for r, (now, items) in enumerate(zip(arrivals.tolist(), brought.tolist(), strict=True)):
        done = now
        first[r] = max(0.0, ends[0] - now)
        for _ in range(items):
            end = max(now, ends.pop(0)) + next(services)
            bisect.insort(ends, end)
            done = max(done, end)
        last[r] = done - now
    return PlayedQueue(first, {int(n): last[brought == n] for n in sizes if (brought == n).any()})


@dataclass(frozen=True, slots=True)
class Batched:
    """`servers` that take up to `most` items at once, of which the oldest waits up to `patience` seconds for others."""

    servers: int
    most: int
    patience: float


def play_batches(rates: Mapping[int, float], times: Sample, by: Batched, random: np.random.Generator) -> PlayedQueue:
    """As `play`, where a batch takes one of `times`, however many items are in it. The load is that of full ones."""
    sizes = np.array(list(rates))
    total = sum(rates.values())
    brought = random.choice(sizes, REQUESTS, p=np.array(list(rates.values())) / total)
    arrivals = np.cumsum(random.exponential(1 / total, REQUESTS))
    owner = np.repeat(np.arange(REQUESTS), brought)
    came = arrivals[owner]
    begun, ended = (
        np.array(each) for each in batches_formed(came.tolist(), random.choice(times, len(owner)).tolist(), by)
    )
    oldest = np.cumsum(brought) - brought
    last = np.maximum.reduceat(ended, oldest) - arrivals
    return PlayedQueue(begun[oldest] - arrivals, {int(n): last[brought == n] for n in sizes if (brought == n).any()})


def batches_formed(came: list[float], services: list[float], by: Batched) -> tuple[list[float], list[float]]:
    """When each item is begun and done, of items in the order in which they come."""
    ends = [0.0] * by.servers
    begun: list[float] = []
    done: list[float] = []
    while len(done) < len(came):
        oldest = len(done)
        filled = oldest + by.most - 1
        leaves = max(ends.pop(0), min(came[oldest] + by.patience, came[filled] if filled < len(came) else math.inf))
        taken = min(bisect.bisect_right(came, leaves, oldest, min(len(came), filled + 1)), filled + 1) - oldest
        end = leaves + services[oldest]
        bisect.insort(ends, end)
        begun += [leaves] * taken
        done += [end] * taken
    return begun, done
