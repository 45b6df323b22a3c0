"""The network between classes of sites: which member serves whom, which way messages go, how many links there are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from specs.errors import InputError, Issue
from specs.infrastructure import Direction, Infrastructure, Link
from specs.load import Document

Way = Literal["up", "down"]
HOP_WEIGHT = 1e-9
"""Seconds added to each link when routes are compared: among routes of equal delay the shorter one is taken."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One direction of a link on a route."""

    link: str
    way: Way


@dataclass(frozen=True)
class Network:
    """Routes are found by delay among the sites whose member is settled for a request that entered at `origin`."""

    infra: Document[Infrastructure]

    def direction(self, passage: Passage) -> Direction:
        return self.link(passage).direction(passage.way)

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
        import networkx as nx  # costs 0.1 s to import, and `validate` needs none of this

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.sites_of(origin))
        for name, link in self.infra.value.links.items():
            first, second = link.between
            if first not in graph or second not in graph:
                continue
            ways: tuple[tuple[str, str, Way], ...] = ((first, second, "up"), (second, first, "down"))
            for a, b, way in ways:
                weight = link.delay.mean + HOP_WEIGHT
                if not graph.has_edge(a, b) or weight < graph[a][b]["weight"]:
                    graph.add_edge(a, b, weight=weight, passage=Passage(name, way))
        found: dict[tuple[str, str], tuple[Passage, ...]] = {}
        for start, paths in nx.all_pairs_dijkstra_path(graph):
            for end, path in paths.items():
                if start != end:
                    pairs = pairwise(path)
                    found[start, end] = tuple(graph[a][b]["passage"] for a, b in pairs)
        return found

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
