"""The latest requests of one host: percentiles by path, stage and transfer, for those who ask now."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from runtime.measured import percentiles
from runtime.message import Trace
from specs.plan import Percentiles

LATEST: Final = 4096
"""Requests that percentiles are over: the 99th rests on forty of them."""


@dataclass(frozen=True, slots=True)
class Times:
    """Percentiles over the latest `n`, in milliseconds. `wait` is the zero of a path, which has none."""

    n: int
    wait: Percentiles
    service: Percentiles


@dataclass(frozen=True, slots=True)
class Seen:
    """Counts by outcome since the start; times by flow, by (stage, member), and by (flow, edge, member)."""

    counts: dict[str, int] = field(default_factory=dict)
    paths: dict[str, Times] = field(default_factory=dict)
    stages: dict[tuple[str, str], Times] = field(default_factory=dict)
    transfers: dict[tuple[str, str, str], Times] = field(default_factory=dict)


class Window:
    """Written by one thread, read by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._kept: dict[tuple[str, ...], deque[tuple[float, float]]] = {}

    def ended(self, outcome: str) -> None:
        """Count a request."""
        with self._lock:
            self._counts[outcome] += 1

    def answered(self, flow: str, latency: float, trace: Trace) -> None:
        """Keep the times of an answered request, in seconds."""
        with self._lock:
            self._keep(("path", flow), 0.0, latency)
            for stage in trace.stages:
                self._keep(("stage", stage.stage, stage.member), stage.wait, stage.service)
            for passed in trace.transfers:
                key = ("transfer", flow, passed.edge, passed.member)
                self._keep(key, passed.wait, passed.seconds - passed.wait)

    def _keep(self, key: tuple[str, ...], wait: float, service: float) -> None:
        if key not in self._kept:
            self._kept[key] = deque(maxlen=LATEST)
        self._kept[key].append((wait, service))

    def seen(self) -> Seen:
        """What there is now."""
        with self._lock:
            kept = {key: list(pairs) for key, pairs in self._kept.items()}
            counts = dict(self._counts)
        times = {key: _times(pairs) for key, pairs in kept.items()}
        return Seen(
            counts,
            {key[1]: t for key, t in times.items() if key[0] == "path"},
            {(key[1], key[2]): t for key, t in times.items() if key[0] == "stage"},
            {(key[1], key[2], key[3]): t for key, t in times.items() if key[0] == "transfer"},
        )


def _times(pairs: list[tuple[float, float]]) -> Times:
    return Times(len(pairs), percentiles([w for w, _ in pairs]), percentiles([s for _, s in pairs]))
