"""When requests come, and to which members: Poisson, constant, in bursts, or as recorded."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from planner.flows import Flow
from specs.errors import InputError, Issue, Place
from specs.input_file import read_input

MAX_TRACE: Final = 200_000_000
"""Bytes of a recorded trace."""


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


def _poisson(rate: float, start: float, end: float, random: np.random.Generator) -> NDArray[np.float64]:
    n = random.poisson(rate * (end - start))
    times: NDArray[np.float64] = np.sort(random.uniform(start, end, n))
    return times


def _anybody(asking: int, n: int, random: np.random.Generator) -> NDArray[np.int32]:
    return random.integers(asking, size=n, dtype=np.int32)


def read_trace(file: Path, flows: list[Flow]) -> tuple[tuple[float, str, int], ...]:
    """Arrivals of one source, by rising time, as `Recorded` takes them.

    A CSV file with a header, or JSON lines, with `time` (seconds, or ISO 8601) and, if known, `site` and `member`.
    Raises InputError, with the line, for anything else.
    """
    try:
        lines = read_input(file, MAX_TRACE).decode().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(Issue(f"cannot read the trace {file}: {error}", Place(str(file)))) from error
    members = {f.site: f.members for f in flows}
    rows = _json_rows(file, lines) if file.suffix in (".jsonl", ".json") else _csv_rows(file, lines)
    found = sorted(_arrival(file, number, row, members) for number, row in rows)
    if not found:
        raise InputError(Issue("the trace holds no arrivals", Place(str(file))))
    return tuple(found)


def _csv_rows(file: Path, lines: list[str]) -> list[tuple[int, Mapping[str, object]]]:
    reader = csv.DictReader(lines)
    if "time" not in (reader.fieldnames or ()):
        raise InputError(Issue("expected a first line that names a column `time`", Place(str(file), 1, 1)))
    return [(reader.line_num, dict(row)) for row in reader]


def _json_rows(file: Path, lines: list[str]) -> list[tuple[int, Mapping[str, object]]]:
    rows: list[tuple[int, Mapping[str, object]]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise InputError(Issue("expected one JSON object a line", Place(str(file), number, 1)))
        rows.append((number, row))
    return rows


def _arrival(file: Path, line: int, row: Mapping[str, object], members: Mapping[str, int]) -> tuple[float, str, int]:
    place = Place(str(file), line, 1)
    time = _time(row.get("time"), place)
    site, member = str(row.get("site") or ""), row.get("member")
    if site and site not in members:
        raise InputError(Issue(f"site {site!r} is not one of the source's: {', '.join(members)}", place))
    if member in (None, ""):
        return time, site, -1
    number = int(str(member)) if str(member).isdecimal() and len(str(member)) < 9 else -1
    most = members[site] if site else min(members.values())
    if not 0 <= number < most:
        raise InputError(Issue(f"expected a member from 0 to {most - 1}, got {member!r}", place))
    return time, site, number


def _time(value: object, place: Place) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        try:
            seconds = datetime.fromisoformat(str(value)).timestamp()
        except (ValueError, OverflowError, OSError):
            seconds = math.nan
    if not math.isfinite(seconds) or abs(seconds) > 1e12:
        raise InputError(Issue(f"expected `time` in seconds or ISO 8601, got {value!r}", place))
    return seconds
