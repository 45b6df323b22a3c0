"""Waits at a queue whose servers take several requests at once, played batch by batch."""

from __future__ import annotations

import heapq
from typing import Final

import numpy as np
from numpy.typing import NDArray

Sample = NDArray[np.float64]

WARM_UP: Final = 0.1
"""The first share of the requests is not counted: the queue begins empty."""


def played_waits(
    rate: float, times: Sample, servers: int, batch: int, patience: float, n: int, random: np.random.Generator
) -> Sample:
    """Seconds that about `n` requests wait that come by chance, `rate` a second; a batch takes one of `times`.

    A batch leaves when a server is free and it is full or its oldest request has waited `patience`.
    """
    count = int(n / (1 - WARM_UP)) + batch
    came = np.cumsum(random.exponential(1 / rate, count)).tolist()
    takes = random.choice(times, count).tolist()
    free = [0.0] * servers
    waits: list[float] = []
    first = 0
    while first + batch <= count:
        leaves = max(free[0], min(came[first + batch - 1], came[first] + patience))
        last = first + 1
        while last < first + batch and came[last] <= leaves:
            last += 1
        waits += [leaves - at for at in came[first:last]]
        heapq.heapreplace(free, leaves + takes[first])
        first = last
    kept: Sample = np.array(waits[int(len(waits) * WARM_UP) :])
    return kept
