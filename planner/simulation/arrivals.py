"""When requests come, and to which members: Poisson, constant, in bursts, or as recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from planner.inputs.flows import Flow
from specs.errors import InputError, Issue
from specs.recorded import Recording


class Stream(NamedTuple):
    """Arrivals of one flow: rising seconds after the start, and the member at which each enters."""

    times: NDArray[np.float64]
    members: NDArray[np.int32]


class Arrivals(Protocol):
    def stream(self, flow: Flow, rate: float, asking: int, seconds: float, random: np.random.Generator) -> Stream:
        """Of `rate` requests a second of the first `asking` members together, for `seconds`."""
        ...


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent requests."""

    def stream(self, flow: Flow, rate: float, asking: int, seconds: float, random: np.random.Generator) -> Stream:
        times = _poisson(rate, 0.0, seconds, random)
        return Stream(times, _anybody(asking, len(times), random))


@dataclass(frozen=True, slots=True)
class Constant:
    """Each member's requests at equal gaps, from a random phase."""

    def stream(self, flow: Flow, rate: float, asking: int, seconds: float, random: np.random.Generator) -> Stream:
        gap = asking / rate
        each = max(1, math.ceil(seconds / gap))
        times = (random.random((asking, 1)) + np.arange(each)) * gap
        members = np.broadcast_to(np.arange(asking, dtype=np.int32)[:, None], times.shape)
        order = np.argsort(times, axis=None, kind="stable")
        order = order[times.ravel()[order] <= seconds]
        return Stream(times.ravel()[order], members.ravel()[order].astype(np.int32))


@dataclass(frozen=True, slots=True)
class Bursts:
    """A Poisson process of two rates (MMPP): bursts at `factor` times the mean rate, on average `seconds` long.

    Half of all requests come in bursts, so these take 1/(2 `factor`) of the time; between them comes the other half.
    The lengths of both are exponential. All members of a flow burst together.
    """

    factor: float
    seconds: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor > 1 and math.isfinite(self.seconds) and self.seconds > 0):
            raise InputError(Issue("bursts have a factor above 1 and last more than 0 seconds", None, "burst:5,10s"))

    def stream(self, flow: Flow, rate: float, asking: int, seconds: float, random: np.random.Generator) -> Stream:
        share = 1 / (2 * self.factor)
        between = self.seconds * (1 - share) / share
        parts: list[NDArray[np.float64]] = []
        at, bursting = 0.0, bool(random.random() < share)
        while at < seconds:
            end = min(seconds, at + random.exponential(self.seconds if bursting else between))
            pace = rate * self.factor if bursting else rate / 2 / (1 - share)
            parts.append(_poisson(pace, at, end, random))
            at, bursting = end, not bursting
        times = np.concatenate(parts)
        return Stream(times, _anybody(asking, len(times), random))


@dataclass(frozen=True)
class Recorded:
    """Arrivals of each source as a trace has them: (seconds, site or "", member or -1); -1 is drawn at random."""

    sources: Mapping[str, tuple[tuple[float, str, int], ...]]
    flows: tuple[Flow, ...]
    otherwise: Arrivals

    def stream(self, flow: Flow, rate: float, asking: int, seconds: float, random: np.random.Generator) -> Stream:
        if flow.source not in self.sources:
            return self.otherwise.stream(flow, rate, asking, seconds, random)
        sites = {f.site: f.members for f in self.flows if f.source == flow.source}
        draw = np.random.default_rng(len(self.sources[flow.source]))  # the same choice of sites in every flow
        of = draw.choice(
            len(sites), len(self.sources[flow.source]), p=np.array([*sites.values()]) / sum(sites.values())
        )
        names = list(sites)
        mine = [
            (time, member)
            for (time, site, member), i in zip(self.sources[flow.source], of.tolist(), strict=True)
            if (site or names[i]) == flow.site and time <= seconds
        ]
        times = np.array([time for time, _ in mine], float)
        given = np.array([member for _, member in mine], np.int32)
        return Stream(times, np.where(given < 0, _anybody(asking, len(mine), random), given).astype(np.int32))


@dataclass(frozen=True)
class Replay:
    """What the application's own trace says of each member, over and over: as `runtime.running.arrivals` has it.

    Asked for another rate than the peak of all asking members, it goes faster or slower by as much.
    """

    recording: Recording

    def stream(self, flow: Flow, rate: float, asking: int, seconds: float, random: np.random.Generator) -> Stream:
        period = self.recording.seconds * flow.peak * asking / rate
        times, members = self._placed
        mine = np.array([a.site == flow.site for a in self.recording.arrivals], bool) & (members < asking)
        rounds = np.arange(math.ceil(seconds / period))
        every = (times[mine] / self.recording.seconds + rounds[:, None]).ravel() * period
        kept = every <= seconds
        return Stream(every[kept], np.tile(members[mine], len(rounds))[kept])

    def rate(self, flow: Flow, asking: int, multiplier: float) -> float:
        """Requests a second that the first `asking` members make on average."""
        mine = sum(a.site == flow.site and a.member < asking for a in self.recording.arrivals)
        return multiplier * mine / self.recording.seconds

    @cached_property
    def _placed(self) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        return (
            np.array([a.time for a in self.recording.arrivals]),
            np.array([a.member for a in self.recording.arrivals], np.int32),
        )


def _poisson(rate: float, start: float, end: float, random: np.random.Generator) -> NDArray[np.float64]:
    n = random.poisson(rate * (end - start))
    times: NDArray[np.float64] = np.sort(random.uniform(start, end, n))
    return times


def _anybody(asking: int, n: int, random: np.random.Generator) -> NDArray[np.int32]:
    return random.integers(asking, size=n, dtype=np.int32)
