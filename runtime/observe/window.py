"""The latest requests of one host: percentiles by path, stage and transfer, for those who ask now."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from runtime.observe.requests import Ended, Listener
from runtime.running.measured import percentiles
from specs.plan import Percentiles
from specs.statistics import Z

LATEST: Final = 4096
"""Requests that percentiles are over: the 99th rests on forty of them."""
RATE_SECONDS: Final = 10.0
"""Seconds that rates are over."""
_QUANTILES: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Sample:
    """Percentiles, and between what the 50th, 95th and 99th lie with 95 % confidence; milliseconds.

    `low` is 0 and `high` is infinite where the sample is too small to say.
    """

    percentiles: Percentiles
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Times:
    """Of the latest `n`; `rate` in requests a second. `wait` is the zero of a path, which has none."""

    n: int
    rate: float
    wait: Sample
    service: Sample


@dataclass(frozen=True, slots=True)
class Seen:
    """Counts by outcome since the start; times by flow, by (stage, member), and by (flow, edge, member)."""

    counts: dict[str, int] = field(default_factory=dict)
    paths: dict[str, Times] = field(default_factory=dict)
    stages: dict[tuple[str, str], Times] = field(default_factory=dict)
    transfers: dict[tuple[str, str, str], Times] = field(default_factory=dict)


class Window(Listener):
    """Written by one thread, read by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._kept: dict[tuple[str, ...], deque[tuple[float, float, float]]] = {}

    def counted(self, model: str, outcome: str, protocol: str) -> None:
        with self._lock:
            self._counts[outcome] += 1

    def ended(self, request: Ended) -> None:
        """Keep the times of an answered request."""
        entry, at = request.entry, request.ended
        if entry.status != "answered":
            return
        with self._lock:
            self._keep(("path", entry.flow), at, 0.0, entry.latency)
            for stage in entry.trace.stages:
                self._keep(("stage", stage.stage, stage.member), at, stage.wait, stage.service)
            for passed in entry.trace.transfers:
                key = ("transfer", entry.flow, passed.edge, passed.member)
                self._keep(key, at, passed.wait, passed.seconds - passed.wait)

    def _keep(self, key: tuple[str, ...], at: float, wait: float, service: float) -> None:
        if key not in self._kept:
            self._kept[key] = deque(maxlen=LATEST)
        self._kept[key].append((at, wait, service))

    def seen(self) -> Seen:
        """What there is now."""
        with self._lock:
            kept = {key: list(triples) for key, triples in self._kept.items()}
            counts = dict(self._counts)
        now = time.monotonic()
        times = {key: _times(triples, now) for key, triples in kept.items()}
        return Seen(
            counts,
            {key[1]: t for key, t in times.items() if key[0] == "path"},
            {(key[1], key[2]): t for key, t in times.items() if key[0] == "stage"},
            {(key[1], key[2], key[3]): t for key, t in times.items() if key[0] == "transfer"},
        )


def _times(triples: list[tuple[float, float, float]], now: float) -> Times:
    at, waits, services = (list(column) for column in zip(*triples, strict=True))
    return Times(len(triples), _rate(at, now), sample(waits), sample(services))


def _rate(at: Sequence[float], now: float) -> float:
    """Over the last seconds; over fewer, where so many came that the window holds fewer."""
    since = now - RATE_SECONDS
    if len(at) == LATEST:
        since = max(since, at[0])
    return sum(moment > since for moment in at) / max(now - since, 1e-3)


def sample(seconds: Sequence[float]) -> Sample:
    """What is measured, and how sure it is.

    The bounds are order statistics: of n values, the number below the p-quantile is binomial, n p on average
    (W. J. Conover, Practical Nonparametric Statistics, 3.2; normal approximation).
    """
    ordered = np.sort(np.asarray(seconds)) * 1e3
    n = len(ordered)
    low, high = [], []
    for p in _QUANTILES:
        half = Z * math.sqrt(n * p * (1 - p))
        below, above = math.floor(n * p - half), math.ceil(n * p + half)
        low.append(float(ordered[below - 1]) if below >= 1 else 0.0)
        high.append(float(ordered[above]) if above < n else math.inf)
    return Sample(percentiles(seconds), tuple(low), tuple(high))
