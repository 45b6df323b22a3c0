"""Faults: sites and links that are down or slow for a while, as calendars of how fast they go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf
from typing import Final, Literal

from specs.errors import InputError, Issue
from specs.infrastructure import Infrastructure
from specs.quantities import TIME, parse_quantity

EXAMPLE: Final = "'site bases down 10s..40s', 'link lte down 5s..6s' or 'site frankfurt slow 0.5 10s..'"
_FAULT: Final = re.compile(
    r"\s*(?P<kind>site|link)\s+(?P<name>\S+)\s+(?:(?P<down>down)|slow\s+(?P<pace>[\d.]+))"
    r"\s+(?P<since>[^.\s]\S*?)\s*\.\.\s*(?P<until>\S*)\s*"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """`name` goes at `pace` (0: it is down) from `since` to `until`, in seconds after the start.

    `member` is one member of a class of sites; None stands for all. A site that is down loses what it holds and cannot
    be reached; a link that is down makes messages wait.
    """

    kind: Literal["site", "link"]
    name: str
    member: int | None
    pace: float
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Calendar:
    """How fast a site (or one member) or a link goes: `paces` from `times` on, 1 before the first."""

    kind: Literal["site", "link"]
    name: str
    member: int | None
    down: bool
    times: tuple[float, ...]
    paces: tuple[float, ...]


def parse_fault(text: str, infra: Infrastructure) -> Fault:
    """What `EXAMPLE` shows; ``bases-0`` names one member. Raises InputError for anything else."""
    match = _FAULT.fullmatch(text) if len(text) < 200 else None
    if match is None:
        raise InputError(Issue(f"expected a fault such as {EXAMPLE}, got {text!r}"))
    since, until = _seconds(match["since"], text), _seconds(match["until"], text) if match["until"] else inf
    if until <= since:
        raise InputError(Issue(f"the fault {text!r} ends before it begins"))
    pace = 0.0 if match["down"] else _pace(match["pace"], text)
    if match["kind"] == "link":
        name = _known(match["name"], infra.links, "link", text)
        return Fault("link", name, None, pace, since, until)
    site, dash, number = match["name"].rpartition("-")
    member: int | None = None
    if match["name"] not in infra.sites and dash and number.isdecimal() and site in infra.sites:
        member = int(number)
        if member >= infra.members(site):
            raise InputError(Issue(f"{site} has {infra.members(site)} members, counted from 0: {text!r}"))
    else:
        site = _known(match["name"], infra.sites, "site", text)
    return Fault("site", site, member, pace, since, until)


def _seconds(text: str, fault: str) -> float:
    try:
        return parse_quantity(text, TIME, "10s")
    except ValueError as error:
        raise InputError(Issue(f"fault {fault!r}: {error}")) from error


def _pace(text: str, fault: str) -> float:
    try:
        pace = float(text)
    except ValueError:
        pace = 0.0
    if not 0 < pace <= 1:
        raise InputError(Issue(f"fault {fault!r}: expected a share of its speed above 0 and up to 1, got {text}"))
    return pace


def _known(name: str, names: Iterable[str], kind: str, fault: str) -> str:
    known = list(names)
    if name in known:
        return name
    near = get_close_matches(name, known, 1)
    meant = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
    raise InputError(Issue(f"fault {fault!r}: unknown {kind} {name!r}{meant}"))


def calendars(faults: Sequence[Fault]) -> list[Calendar]:
    """One for each thing and way to fail; where faults overlap, the slowest pace holds."""
    found: dict[tuple[Literal["site", "link"], str, int | None, bool], list[Fault]] = {}
    for fault in faults:
        down = fault.kind == "site" and fault.pace == 0
        found.setdefault((fault.kind, fault.name, fault.member, down), []).append(fault)
    made: list[Calendar] = []
    for (kind, name, member, down), mine in found.items():
        if member is not None:  # what befalls all members befalls this one
            mine = [*mine, *found.get((kind, name, None, down), [])]
        times = sorted({t for f in mine for t in (f.since, f.until) if t < inf})
        paces = [min((f.pace for f in mine if f.since <= t < f.until), default=1.0) for t in times]
        made.append(Calendar(kind, name, member, down, tuple(times), tuple(paces)))
    return sorted(made, key=lambda c: c.member is not None)
