"""The network between classes of sites: which member serves whom, which way messages go, how many links there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from itertools import count
from math import prod
from typing import Literal

from specs.errors import InputError, Issue
from specs.infrastructure import Direction, Infrastructure, Link
from specs.load import Document
from specs.retransmission import Retransmission

Way = Literal["up", "down"]
HOP_WEIGHT = 1e-9
"""Seconds added to each link when routes are compared: among routes of equal delay the shorter one is taken."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One direction of a link on a route."""

    link: str
    way: Way


def _shortest(start: str, leaving: Mapping[str, list[tuple[float, str, Passage]]]) -> dict[str, tuple[Passage, ...]]:
    """Dijkstra's algorithm; among equal weights, the link declared first.

    networkx has it too, but its import alone takes 0.14 s of each `planner solve`; tests compare the two.
    """
    found: dict[str, tuple[Passage, ...]] = {}
    heap: list[tuple[float, int, str, tuple[Passage, ...]]] = [(0.0, 0, start, ())]
    order = count(1)
    while heap:
        weight, _, site, route = heappop(heap)
        if site not in found:
            found[site] = route
            for more, other, passage in leaving[site]:
                heappush(heap, (weight + more, next(order), other, (*route, passage)))
    return found


@dataclass(frozen=True)
class Network:
    """Routes are found by delay among the sites whose member is settled for a request that entered at `origin`."""

    infra: Document[Infrastructure]

    def direction(self, passage: Passage) -> Direction:
        return self.link(passage).carrying(passage.way)

    def losing(self, route: tuple[Passage, ...]) -> Retransmission | None:
        """What lost packets cost on a route; None where none are lost."""
        links = [self.link(passage) for passage in route]
        kept = prod(1 - link.loss for link in links)
        if kept == 1:
            return None
        ways = [self.direction(passage) for passage in route]
        least = min([way.rate for way in ways] + [way.shared.rate for way in ways if way.shared])
        return Retransmission(1 - kept, 2 * sum(link.delay.mean for link in links), least)

    def link(self, passage: Passage) -> Link:
        return self.infra.value.links[passage.link]

    def instances(self, link: str) -> int:
        """How many links of the class there are: one for each member of its finer end."""
        return self.infra.value.members(self.finer_end(link))

    def finer_end(self, link: str) -> str:
        """The end of which there are more members; the first where both have as many."""
        first, second = self.infra.value.links[link].between
        members = self.infra.value.members
        return second if members(second) > members(first) else first

    def settled(self, origin: str, site: str) -> bool:
        """Whether a member of `origin` has one member of `site` to go to: its own, its parent's, or the only."""
        above = self._ancestors(origin)
        sites = self.infra.value.sites
        while site not in above:
            count = sites[site].count
            if count.count != 1:
                return False
            if count.per is None:
                return True
            site = count.per
        return True

    def sites_of(self, origin: str) -> tuple[str, ...]:
        """The classes of sites that a request of `origin` can use, as declared."""
        return tuple(site for site in self.infra.value.sites if self.settled(origin, site))

    def _ancestors(self, site: str) -> tuple[str, ...]:
        chain = [site]
        while (parent := self.infra.value.sites[chain[-1]].count.per) is not None and parent not in chain:
            chain.append(parent)
        return tuple(chain)

    @cached_property
    def _routes(self) -> dict[str, dict[tuple[str, str], tuple[Passage, ...]]]:
        return {}

    def routes(self, origin: str) -> dict[tuple[str, str], tuple[Passage, ...]]:
        """The route between every two different sites that requests of `origin` can use and that have one."""
        if origin not in self._routes:
            self._routes[origin] = self._find(origin)
        return self._routes[origin]

    def _find(self, origin: str) -> dict[tuple[str, str], tuple[Passage, ...]]:
        sites = self.sites_of(origin)
        leaving: dict[str, list[tuple[float, str, Passage]]] = {site: [] for site in sites}
        for name, link in self.infra.value.links.items():
            first, second = link.between
            if first in leaving and second in leaving:
                leaving[first].append((link.delay.mean + HOP_WEIGHT, second, Passage(name, "up")))
                leaving[second].append((link.delay.mean + HOP_WEIGHT, first, Passage(name, "down")))
        return {
            (start, end): route for start in sites for end, route in _shortest(start, leaving).items() if start != end
        }

    def route(self, origin: str, start: str, end: str) -> tuple[Passage, ...]:
        """The links from `start` to `end`, none where they are one site. Raises InputError where there is no route."""
        if start == end:
            return ()
        try:
            return self.routes(origin)[start, end]
        except KeyError:
            issue = Issue(
                f"no route between sites {start!r} and {end!r}",
                self.infra.place("sites", end),
                "add a link between them under `links`",
            )
            raise InputError(issue) from None
