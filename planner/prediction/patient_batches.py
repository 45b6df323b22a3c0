"""A queue of batches whose oldest request waits for others: M/G^[1..b]/c with patience, played.

No formula is known for it. A batch leaves when a server is free and it is full or its oldest request has waited the
patience, whichever is first; its service is a full batch's, however many are in it. All times are in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from heapq import heapreplace
from math import inf
from typing import Final

import numpy as np

from planner.prediction.distribution import Reals
from planner.prediction.queueing import Wait

PLAYED: Final = 40_000
"""Requests at least; more where the queue is busy, since waits are then alike for longer."""
MOST_PLAYED: Final = 200_000
WARM_UP: Final = 0.05
"""Share of the requests that come first and are not counted: they find empty queues."""
SEED: Final = 11


@dataclass(frozen=True)
class PatientQueue:
    """`rate` requests a second come by chance to `servers` that take up to `batch` at once for one of `services`.

    The load of full batches must be below 1.
    """

    rate: float
    services: Reals
    servers: int
    batch: int
    patience: float

    @cached_property
    def waits(self) -> Reals:
        """Equally likely waits; 0 where nothing comes."""
        if self.rate <= 0:
            return np.zeros(1)
        services = np.ascontiguousarray(self.services, dtype=np.float64).tobytes()
        return _played(self.rate, services, self.servers, self.batch, self.patience)

    @property
    def wait(self) -> Wait:
        waits = self.waits
        return Wait(float((waits > 0).mean()), float(waits.mean()), float((waits**2).mean()))


@lru_cache(maxsize=64)
def _played(rate: float, services: bytes, servers: int, batch: int, patience: float) -> Reals:
    """The waits of a queue; proofs look at many placements that have it. `services` are float64."""
    known = np.frombuffer(services, np.float64)
    load = rate * float(known.mean()) / (servers * batch)
    count = min(MOST_PLAYED, int(PLAYED / (1 - load) ** 2))
    random = np.random.default_rng(SEED)
    arrivals = np.cumsum(random.exponential(1 / rate, count))
    begun = begins(arrivals.tolist(), random.choice(known, count).tolist(), servers, batch, patience)
    found: Reals = (np.array(begun) - arrivals)[int(WARM_UP * count) :]
    found.flags.writeable = False  # it is everybody's
    return found


def begins(
    arrivals: Sequence[float], services: Sequence[float], servers: int, batch: int, patience: float
) -> list[float]:
    """When the batch of each request leaves; `arrivals` rise, and the k-th batch takes the k-th of `services`."""
    free = [-inf] * servers
    found: list[float] = []
    number, count = 0, len(arrivals)
    while len(found) < count:
        first = len(found)
        full = arrivals[first + batch - 1] if first + batch <= count else inf
        now = max(free[0], min(full, arrivals[first] + patience))
        after = first + 1
        while after < min(count, first + batch) and arrivals[after] <= now:
            after += 1
        found += [now] * (after - first)
        heapreplace(free, now + services[number])
        number += 1
    return found
