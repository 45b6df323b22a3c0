"""What of an Infrastructure is emulated: some members of each site, and who of them is joined to whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from runtime.emulate.topology import Direction, Host, Network, Way
from runtime.fleet import Member, ancestors, chosen
from specs.errors import InputError, Issue
from specs.infrastructure import Infrastructure, Link
from specs.load import Document
from specs.nearest import near

MOST_HOSTS: Final = 64
"""Each is a process and some 10 MB of memory."""
LONGEST_DELAY: Final = 60.0
"""Seconds; what is on its way is held in memory."""
_NETWORK: Final = "10.77.0"
_CONTROL_NETWORK: Final = "10.78.0"


def network(infra: Document[Infrastructure], members: Mapping[str, int]) -> Network:
    """The first `members` (one where it does not say) of each site, what they belong to, and the links between them.

    Raises InputError for a site that is not there, for more members than there are or than fit on a machine, for a
    link that does not say who is joined to whom, and for one of minutes.
    """
    spec = infra.value
    for site in members:
        if site not in spec.sites:
            raise InputError(Issue(f"unknown site {site!r}", infra.place("sites"), near(site, spec.sites)))
    asked = [m for site in spec.sites for m in _first(infra, members, site)]
    found = sorted({a for m in asked for a in ancestors(spec, m)}, key=lambda m: ([*spec.sites].index(m.site), m.index))
    if len(found) > MOST_HOSTS:
        message = f"{len(found)} members of sites to emulate; at most {MOST_HOSTS} fit on a machine"
        raise InputError(Issue(message, infra.place("sites"), "ask for fewer with --members"))
    return Network(
        hosts=tuple(_hosts(spec, found)),
        ways=tuple(way for name, link in spec.links.items() for way in _ways(infra, name, link, found)),
        unslowed=_unslowed(spec, found),
    )


def with_control(net: Network) -> Network:
    """`net` with a second network, which joins all members directly."""
    hosts = (replace(h, control=f"{_CONTROL_NETWORK}.{number}") for number, h in enumerate(net.hosts, start=1))
    return replace(net, hosts=tuple(hosts))


def _first(infra: Document[Infrastructure], members: Mapping[str, int], site: str) -> tuple[Member, ...]:
    asked = members.get(site, 1)
    if asked > MOST_HOSTS:
        message = f"{asked} members of {site}; at most {MOST_HOSTS} sites fit on a machine"
        raise InputError(Issue(message, infra.place("sites", site), "ask for fewer with --members"))
    return chosen(infra.value, members, site)


def _hosts(infra: Infrastructure, found: list[Member]) -> Iterator[Host]:
    taken = {str(member) for member in found}
    for number, member in enumerate(found, start=1):
        alone = sum(other.site == member.site for other in found) == 1 and member.site not in taken
        names = (str(member), member.site) if alone else (str(member),)
        yield Host(names, member.site, infra.sites[member.site].tier, f"{_NETWORK}.{number}")


def _check_delay(infra: Document[Infrastructure], name: str, link: Link) -> None:
    if max(link.delay.mean, link.delay.jitter) > LONGEST_DELAY:
        place = infra.place("links", name, "delay")
        raise InputError(Issue(f"expected a delay of at most {LONGEST_DELAY:g} s to emulate", place))


def _ways(infra: Document[Infrastructure], name: str, link: Link, found: list[Member]) -> Iterator[Way]:
    _check_delay(infra, name, link)
    first, second = ([m for m in found if m.site == site] for site in link.between)
    pairs = [(a, b) for a in first for b in second if _joined(infra.value, a, b)]
    several = {pair[side] for pair in pairs for side in (0, 1) if sum(p[side] == pair[side] for p in pairs) > 1}
    if any(a in several and b in several for a, b in pairs):
        message = (
            f"who is joined by {name}? there are {len(first)} {link.between[0]} and {len(second)} {link.between[1]}"
        )
        hint = "say how they belong together with count: N per SITE, or emulate one member of one of them"
        raise InputError(Issue(message, infra.place("links", name, "between"), hint))
    for a, b in pairs:
        yield _way(name, link, "up", a, b)
        yield _way(name, link, "down", b, a)


def _joined(infra: Infrastructure, a: Member, b: Member) -> bool:
    """Whether both belong to the same member of every class that both belong to."""
    above = {member.site: member for member in ancestors(infra, a)}
    return all(above.get(member.site, member) == member for member in ancestors(infra, b))


def _way(name: str, link: Link, direction: Direction, start: Member, end: Member) -> Way:
    given = link.direction(direction)
    shared = given.shared
    by = next((m for m in (start, end) if shared and m.site == shared.by), None)
    return Way(
        link=name,
        direction=direction,
        start=str(start),
        end=str(end),
        rate=given.rate,
        delay=link.delay.mean,
        jitter=link.delay.jitter,
        loss=link.loss,
        shared=f"{name} {direction} at {by}" if by else "",
        shared_rate=shared.rate if shared and by else 0.0,
        shared_first=by == start,
    )


def _unslowed(infra: Infrastructure, found: list[Member]) -> dict[str, float]:
    used = {pool.hardware for member in found for pool in infra.sites[member.site].pools.values()}
    return {
        name: hardware.emulate.cpu
        for name, hardware in infra.hardware.items()
        if name in used and hardware.emulate is not None and hardware.emulate.cpu < 1
    }
