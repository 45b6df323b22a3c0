"""Several servers to which requests bring several items at once, played request by request on a clock."""

from __future__ import annotations

import bisect
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
