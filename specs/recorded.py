"""Recorded arrivals: read from a file, and repeated."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from specs.errors import InputError, Issue, Place
from specs.input_file import read_input

MAX_TRACE: Final = 200_000_000
"""Bytes of a recorded trace."""


class Arrival(NamedTuple):
    """Seconds, and where the request enters."""

    time: float
    site: str
    member: int


@dataclass(frozen=True, slots=True)
class Recording:
    """Arrivals at known members by rising time from 0, and the `seconds` after which they begin anew."""

    arrivals: tuple[Arrival, ...]
    seconds: float

    @property
    def rate(self) -> float:
        """Of all members together, a second."""
        return len(self.arrivals) / self.seconds

    def times(self, site: str, member: int, speed: float) -> Iterator[float]:
        """When requests enter there, without end (or none at all), everything `speed` times as fast."""
        mine = [a.time for a in self.arrivals if (a.site, a.member) == (site, member)]
        start = 0.0
        while mine:
            yield from ((start + time) / speed for time in mine)
            start += self.seconds


def recording(arrivals: Sequence[Arrival], members: Mapping[str, int]) -> Recording:
    """Of what `read_trace` gave. Where a site or member is not said, one is drawn, always the same.

    The pause before it begins anew is the mean gap. Raises InputError where all come at one moment.
    """
    first, last = arrivals[0].time, arrivals[-1].time
    if last <= first:
        raise InputError(Issue("expected arrivals at two moments at least"))
    draw = random.Random(len(arrivals))
    sites, counts = list(members), list(members.values())
    placed = []
    for time, said, member in arrivals:
        site = said or draw.choices(sites, counts)[0]
        placed.append(Arrival(time - first, site, member if member >= 0 else draw.randrange(members[site])))
    return Recording(tuple(placed), (last - first) * len(arrivals) / (len(arrivals) - 1))


def read_trace(file: Path, members: Mapping[str, int], most: int = MAX_TRACE) -> tuple[Arrival, ...]:
    """Arrivals of one source, by rising time; a site is "" and a member -1 where it is not said.

    `members` is how many each of the source's sites has; the file has `most` bytes at most.

    A CSV file with a header, or JSON lines, with `time` (seconds, or ISO 8601) and, if known, `site` and `member`.
    Raises InputError, with the line, for anything else.
    """
    try:
        lines = read_input(file, most).decode().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(Issue(f"cannot read the trace {file}: {error}", Place(str(file)))) from error
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


def _arrival(file: Path, line: int, row: Mapping[str, object], members: Mapping[str, int]) -> Arrival:
    place = Place(str(file), line, 1)
    time = _time(row.get("time"), place)
    site, member = str(row.get("site") or ""), row.get("member")
    if site and site not in members:
        raise InputError(Issue(f"site {site!r} is not one of the source's: {', '.join(members)}", place))
    if member in (None, ""):
        return Arrival(time, site, -1)
    number = int(str(member)) if str(member).isdecimal() and len(str(member)) < 9 else -1
    most = members[site] if site else min(members.values())
    if not 0 <= number < most:
        raise InputError(Issue(f"expected a member from 0 to {most - 1}, got {member!r}", place))
    return Arrival(time, site, number)


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
