"""Affinity (`with`) and separation (`apart_from`): which two components a site may hold together.

Both are said by servers at which nothing waits and which one visit fills. What must not be chosen together visits the
same one: two components kept apart, at each site; two kept together, one at a site and the other at any other. A server
is of one task of either component, since a component cut in parts has several options at once, but one for each task.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from planner.formulation.names import ConstraintTable
from planner.formulation.servers import ServerTable
from planner.problem import ConstraintKind, Visit
from planner.situation import Situation


@dataclass(frozen=True, slots=True)
class Pairing:
    """`one` names `other` under this `word` of its own."""

    one: str
    other: str
    word: str
    kind: ConstraintKind


@dataclass(frozen=True, slots=True)
class Placing:
    """Tasks `first` to `last` of a component at a site, for the flow of this index."""

    flow: int
    component: str
    first: int
    last: int
    site: str

    @property
    def tasks(self) -> range:
        return range(self.first, self.last + 1)


@dataclass(frozen=True)
class Pairings:
    """Adds to the tables what pairings need."""

    situation: Situation
    constraints: ConstraintTable
    servers: ServerTable

    @cached_property
    def all(self) -> tuple[Pairing, ...]:
        components = self.situation.app.value.components.items()
        together = [Pairing(name, other, "with", "affinity") for name, c in components for other in c.with_]
        apart = [Pairing(name, other, "apart_from", "separation") for name, c in components for other in c.apart_from]
        return (*together, *apart)

    def visits(self, placing: Placing) -> Iterator[Visit]:
        """What a placing takes of the servers of every pairing that its component is part of."""
        for pairing in self.all:
            if placing.component == pairing.one:
                yield from self._visits(pairing, placing, pairing.other, leads=True)
            elif placing.component == pairing.other:
                yield from self._visits(pairing, placing, pairing.one, leads=False)

    def visit_encoded(self, placing: Placing) -> Visit:
        """What a side of an encoded cut takes at its site: within one, nothing is encoded, so that both cannot be
        there."""
        place = self.situation.app.place("components", placing.component, "split", "codec")
        constraint = self.constraints.add("separation", f"components.{placing.component}.split.codec", place)
        key = ("encoded", placing.component, placing.site, str(placing.flow))
        return self.servers.claim(key, f"{placing.component} encodes at {placing.site}", constraint)

    def _visits(self, pairing: Pairing, placing: Placing, partner: str, leads: bool) -> Iterator[Visit]:
        """Of requests of one flow for `with`; of all flows for `apart_from`, since all of them run at the site."""
        apart = pairing.kind == "separation"
        flows = [f for f, flow in enumerate(self.situation.flows) if partner in flow.components]
        for f in flows if apart else [f for f in flows if f == placing.flow]:
            for site in (placing.site,) if apart or leads else self._elsewhere(placing):
                for mine in placing.tasks:
                    for theirs in range(self._tasks(partner)):
                        ends = ((placing.flow, mine), (f, theirs))
                        yield self.servers.claim(
                            (pairing.word, pairing.one, pairing.other, site, str(ends if leads else ends[::-1])),
                            f"{pairing.one} {pairing.word} {pairing.other} at {site}",
                            self._constraint(pairing),
                        )

    def _elsewhere(self, placing: Placing) -> Iterator[str]:
        home = self.situation.flows[placing.flow].site
        return (site for site in self.situation.network.sites_of(home) if site != placing.site)

    def _tasks(self, component: str) -> int:
        """The most parts that any variant may be cut in."""
        variants = self.situation.app.value.components[component].realisations
        encoded = any(b.wire(component) for b in self.situation.behaviours)
        return max(1 + encoded, *(len(self.situation.cuts(component, variant)) + 1 for variant in variants))

    def _constraint(self, pairing: Pairing) -> int:
        place = self.situation.app.place("components", pairing.one, pairing.word)
        return self.constraints.add(pairing.kind, f"components.{pairing.one}.{pairing.word}", place)
