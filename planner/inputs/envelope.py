"""How dense recorded arrivals get, as the rate of a Poisson process that gets as dense.

Queues are planned for Poisson arrivals at the peak. Recorded ones may come in bursts, which make queues wait longer
than their mean rate tells. Their *envelope*, the most arrivals in any window of each length (Cruz, 1991), tells it:
this module finds the least rate at which a Poisson process would as often have as many in its fullest window, for
windows of every length. Planned for that rate, waits are those of arrivals that are as dense all the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

SHORTEST: Final = 1 / 64
"""Of the mean gap between arrivals: the shortest window that is looked at. Each is twice as long as the one before."""
USUAL: Final = 0.5
"""The probability of that many arrivals in the fullest window at the rate that is found."""


def poisson_rate(streams: Sequence[NDArray[np.float64]], seconds: float) -> float:
    """Arrivals a second of one stream; the times of each rise from 0, and all stand for `seconds`.

    What none of them shows often enough to tell it from chance does not raise it.
    """
    most = max(len(times) for times in streams)
    window = SHORTEST * seconds / most
    rate = sum(len(times) for times in streams) / len(streams) / seconds
    while window < seconds:
        windows = 2 * len(streams) * seconds / window  # of both grids
        fullest = max(_fullest(times, window) for times in streams)
        rate = max(rate, _mean_with(fullest, USUAL / windows) / window)
        window *= 2
    return rate


def _fullest(times: NDArray[np.float64], window: float) -> int:
    """The most arrivals in a window of two grids that are half a window apart: one holds any burst half as long."""
    found = 0
    for offset in (0.0, 0.5):
        of = np.floor(times / window + offset)
        starts = np.flatnonzero(np.diff(of, prepend=-1.0, append=np.inf))
        found = max(found, int(np.diff(starts).max(initial=0)))
    return found


def _mean_with(count: int, probability: float) -> float:
    """The mean of a Poisson variable that is `count` or more with that probability."""
    low, high = 0.0, float(count) + 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if _at_least(count, middle) > probability else (middle, high)
    return low


def _at_least(count: int, mean: float) -> float:
    """P(X >= count) of a Poisson variable X, for means up to about `count`."""
    if mean <= 0:
        return float(count == 0)
    first = count * math.log(mean) - mean - math.lgamma(count + 1)
    more = np.arange(1, int(10 * math.sqrt(count) + 50))
    return float(math.exp(first) * (1 + np.exp(np.cumsum(np.log(mean / (count + more)))).sum()))
