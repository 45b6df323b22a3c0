"""Waits at a queue whose servers take several requests at once: many such queues, played batch by batch."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Sample = NDArray[np.float64]

QUEUES: Final = 2000
COUNTED: Final = 60
"""Batches of each queue."""
WARM_UP: Final = 400
"""Batches of each server before them: queues begin empty."""
MOST: Final = 4000


def played_waits(
    rate: float, times: Sample, servers: int, batch: int, patience: float, random: np.random.Generator
) -> Sample:
    """Seconds that requests wait that come by chance, `rate` a second; a batch takes one of `times`.

    A batch leaves when a server is free and it is full or its oldest request has waited `patience`. Who comes after it
    left is drawn anew for the next: arrivals by chance do not depend on those before.
    """
    every = np.arange(QUEUES)
    free = np.zeros((QUEUES, servers))
    oldest = random.exponential(1 / rate, QUEUES)
    waits: list[Sample] = []
    warm_up = min(MOST, WARM_UP * servers)
    for turn in range(warm_up + COUNTED):
        after = np.cumsum(random.exponential(1 / rate, (QUEUES, batch)), axis=1)
        first = np.argmin(free, axis=1)
        waited = np.maximum(free[every, first] - oldest, np.minimum(after[:, batch - 2], patience))
        others = waited[:, None] - after[:, : batch - 1]
        free[every, first] = oldest + waited + random.choice(times, QUEUES)
        if turn >= warm_up:
            waits += [waited, others[others >= 0]]
        oldest = oldest + after[every, (others >= 0).sum(axis=1)]
    return np.concatenate(waits)
