"""Which processes serve slower than the plan says, as an origin tells from the services that its answers bring home.

A service is the time that a stage works on a request (of several items of it, on the middle one), without any wait, so
it depends neither on the load nor on links. The rule looks at the latest `LATEST` of a stage at a process:

- it is slow where most of them took more than `SLOW` times the 95th percentile that the plan predicts and `FLOOR_MS`
  more, and these came over at least `SLOW_FOR`: a pause makes one service long, not most of a second's;
- it is well again where their median has been at most `WELL` times that percentile and `FLOOR_MS` more, for as long as
  is asked.

If services were as planned and independent, 3 in 100,000 windows had most beyond the 95th percentile itself (five of
nine, binomial); twice that leaves room for what a plan does not know. What lies between both limits changes nothing.
"""

from __future__ import annotations

import statistics
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from runtime.fleet import site_of
from runtime.hosting.replicas import member_of

LATEST: Final = 9
SLOW: Final = 2.0
WELL: Final = 1.5
FLOOR_MS: Final = 5.0
"""Milliseconds for which nobody goes another way."""
SLOW_FOR: Final = 1.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Slow:
    """`stage` at `process`: the median of its latest services and the 95th percentile that is planned, in ms."""

    process: str
    stage: str
    median_ms: float
    planned_ms: float

    def __str__(self) -> str:
        took, planned = f"{self.median_ms:.3g} ms at the median", f"{self.planned_ms:.3g} ms at the 95th percentile"
        return f"{self.stage} takes {took}, planned {planned}"


@dataclass(slots=True)
class _Services:
    """(when, milliseconds) of the latest; `well_since` is when their median came down, None while it has not."""

    planned_ms: float
    latest: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=LATEST))
    well_since: float | None = None

    def add(self, at: float, ms: float) -> None:
        self.latest.append((at, ms))
        if len(self.latest) < LATEST or self.median() > WELL * self.planned_ms + FLOOR_MS:
            self.well_since = None
        elif self.well_since is None:
            self.well_since = at

    def median(self) -> float:
        return statistics.median(ms for _, ms in self.latest)

    def slow(self) -> bool:
        limit = SLOW * self.planned_ms + FLOOR_MS
        beyond = [at for at, ms in self.latest if ms > limit]
        return 2 * len(beyond) > LATEST and beyond[-1] - beyond[0] >= SLOW_FOR


@dataclass
class Pace:
    """Of one origin. `planned_ms` holds the 95th percentile of each stage's service, by (stage, site).

    Methods may be called from any thread.
    """

    planned_ms: Mapping[tuple[str, str], float]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _services: dict[tuple[str, str], _Services] = field(default_factory=dict)
    _latencies: dict[str, deque[float]] = field(default_factory=dict)

    def saw(self, flow: str, latency: float, services: Iterable[tuple[str, str, float]], now: float) -> None:
        """A request of `flow` was answered after `latency` seconds, by `services`: (stage, process, seconds)."""
        found: dict[tuple[str, str], list[float]] = {}
        for stage, process, seconds in services:
            found.setdefault((stage, process), []).append(seconds)
        with self._lock:
            self._latencies.setdefault(flow, deque(maxlen=LATEST)).append(latency)
            for key, items in found.items():
                planned = self.planned_ms.get((key[0], site_of(member_of(key[1]))))
                if planned is not None:
                    kept = self._services.setdefault(key, _Services(planned))
                    kept.add(now, 1e3 * statistics.median_low(items))

    def latency(self, flow: str) -> float:
        """The median of the latest answers, in seconds; 0 where there is none."""
        with self._lock:
            return statistics.median(self._latencies.get(flow) or [0.0])

    def slow(self) -> dict[str, Slow]:
        """By process; of its stages, the one that is furthest from the plan."""
        with self._lock:
            found = [
                Slow(process, stage, kept.median(), kept.planned_ms)
                for (stage, process), kept in self._services.items()
                if kept.slow()
            ]
        return {each.process: each for each in sorted(found, key=lambda s: s.median_ms - s.planned_ms)}

    def forget(self, process: str) -> None:
        """Judge it by what comes from now on."""
        with self._lock:
            for key in [key for key in self._services if key[1] == process]:
                del self._services[key]

    def well_for(self, process: str, stage: str) -> float:
        """For how many seconds of evidence `stage` has been well there, and no other stage of the process is slow."""
        with self._lock:
            mine = [kept for (_, at), kept in self._services.items() if at == process]
            kept = self._services.get((stage, process))
            if kept is None or kept.well_since is None or any(each.slow() for each in mine):
                return 0.0
            return kept.latest[-1][0] - kept.well_since
