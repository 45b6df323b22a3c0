"""Relaxations with few sites: those far from the requests become one, as good as the best of them in everything.

Nearly all sites of a large network are far from where requests enter and answers leave, and no plan needs them; what
takes time is to prove it. So they are merged into *blocks*: within a block messages are free, between blocks they take
the least that they take between any members, alike pools are one, and what a step may choose there with as many threads
and replicas is one candidate, with the least time, memory and cost of all. Whatever can be done in
the network can be done in its blocks, and for no more: the bound is one of the whole. A block that an answer uses is
split, until an answer uses none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from planner.problem import Edge, End, Option, Pool, Problem, Station, Transfer, Visit
from planner.solver.build import Reduced
from planner.solver.candidates import Candidate, Key
from planner.solver.cover import sites
from planner.solver.draft import Draft
from planner.solver.largest import largest
from planner.solver.reach import FAR
from planner.solver.solution import Choice
from planner.solver.ways import Ways

NEAR: Final = 8
"""In a network with cycles, so many sites are soonest reached from an end, and not merged."""
PARTS: Final = 4
"""A block that is split becomes so many."""

Labels = Mapping[int, tuple[int, ...]]
"""By site: sites of equal label, whose neighbours towards the requests are in one block, are in one block."""


@dataclass(frozen=True)
class Coarse:
    """`given` with its sites merged. `block` is by site: its members' first. `merged` are blocks of several. `pool` is
    by pool: the one that stands for it.
    """

    given: Reduced
    block: Mapping[int, int] = field(default_factory=dict)
    merged: frozenset[int] = frozenset()
    pool: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def members(self) -> Mapping[int, tuple[int, ...]]:
        """By block, the sites in it."""
        found: dict[int, list[int]] = {}
        for site, block in self.block.items():
            found.setdefault(block, []).append(site)
        return {block: tuple(sites) for block, sites in found.items()}


@dataclass(frozen=True)
class _Map:
    """`near` sites stay as they are. `towards` is by other site: its neighbour towards them, in a tree, or towards the
    root where no way leads to them.
    """

    near: frozenset[int]
    towards: Mapping[int, int]


def labels_of(given: Reduced) -> Labels:
    """At first, far sites of equal pools have one label; a site where several steps may share a queue has its own."""
    near = _map(given).near | _sharing(given)
    pools: dict[int, list[tuple[object, ...]]] = {}
    for index, site in sorted(_site_of_pool(given).items()):
        pools.setdefault(site, []).append(_kind(given.problem.pools[index]))
    kinds = sorted({repr(of) for of in pools.values()})
    return {
        site: (0, site) if site in near else (1, kinds.index(repr(pools[site])) if site in pools else -1)
        for site in range(len(given.problem.sites))
    }


def coarsen(given: Reduced, labels: Labels) -> Coarse:
    """`given` with a site for each block."""
    block = _blocks(_map(given), labels)
    size: dict[int, int] = {}
    for b in block.values():
        size[b] = size.get(b, 0) + 1
    merged = frozenset(b for b, n in size.items() if n > 1)
    if not merged:
        return Coarse(given, block, merged)
    pool_of, pools = _pools(given, block, merged)
    stations, private = list(given.problem.stations), set(given.private)
    merger = _Merger(given, block, merged, pool_of, stations)
    groups, candidates = [], dict(given.candidates)
    for g, group in enumerate(given.groups):
        slots = []
        for i, forms in enumerate(group.slots):
            made = []
            for j, slot in enumerate(forms):
                options, candidates[g, i, j] = merger.merge((g, i, j))
                made.append(replace(slot, step=replace(slot.step, options=options)))
            slots.append(tuple(made))
        edges = tuple(_merged_edge(edge, block, merged) for edge in group.edges)
        groups.append(replace(group, slots=tuple(slots), edges=edges))
    private |= set(range(len(given.problem.stations), len(stations)))
    problem = replace(given.problem, stations=tuple(stations), pools=pools)
    coarse = replace(given, problem=problem, groups=groups, candidates=candidates, private=frozenset(private))
    coarse = replace(coarse, merged=merged)
    return Coarse(replace(coarse, ways=Ways()), block, merged, pool_of)


def used_blocks(coarse: Coarse, draft: Draft, values: Sequence[int]) -> frozenset[int]:
    """The merged blocks at which an answer places anything, or through which it sends a message from link to link."""
    used = {
        draft.groups[g].slots[i][j].step.options[c.option].site
        for (g, i, j), picked in draft.picked.items()
        for x, c in picked
        if values[x]
    }
    for g, group in enumerate(draft.groups):
        for edge in group.edges:
            if edge.hops and values[draft.present[g]]:
                start, end = (_site_in(draft, g, at, values) for at in (edge.producer, edge.consumer))
                used |= {site for hop in draft.ways.tree(edge).way(start, end) or () for site in hop}
    return coarse.merged & used


def _site_in(draft: Draft, g: int, end: End, values: Sequence[int]) -> int:
    """Where an end of a message is in an answer."""
    return next(site for site, literal in sites(draft, g, end).items() if values[literal])


def split(given: Reduced, labels: Labels, coarse: Coarse, used: Iterable[int]) -> Labels:
    """`labels` with the blocks in `used` split, the sites soonest reached apart from the others."""
    far = _distances(given)
    found = dict(labels)
    for b in used:
        members = sorted((site for site, at in coarse.block.items() if at == b), key=lambda site: (far[site], site))
        parts = min(PARTS, len(members))
        for k, site in enumerate(members):
            found[site] = (*labels[site], k * parts // len(members))
    return found


def real(problem: Problem, choice: Choice) -> Choice:
    """`choice` of a relaxation that uses no merged block, as one of `problem`."""
    return replace(choice, replicas=choice.replicas[: len(problem.stations)])


# Blocks


def _map(given: Reduced) -> _Map:
    """Near are the ends of messages, the site with most to buy, and all on the ways between them."""
    edges = [edge for group in given.groups for edge in group.edges]
    ends = {end.site for edge in edges for end in (edge.producer, edge.consumer) if end.step < 0}
    anchors = sorted(ends | {largest(given.problem)})
    everywhere = frozenset(range(len(given.problem.sites)))
    by_hops = [edge for edge in edges if edge.hops]
    if not by_hops:
        far = _distances(given)
        return _Map(frozenset(sorted(everywhere, key=lambda site: (far[site], site))[:NEAR]) | set(anchors), {})
    links = {frozenset((hop.start, hop.end)) for hop in by_hops[0].hops}
    if any({frozenset((hop.start, hop.end)) for hop in edge.hops} != links for edge in by_hops):
        return _Map(everywhere, {})
    tree = given.ways.tree(by_hops[0])
    near = set(anchors)
    for a in anchors:
        near |= {site for pair in tree.way(anchors[0], a) or () for site in pair}
    beside: dict[int, list[int]] = {}
    for a, b in sorted(tuple(sorted(link)) for link in links):
        beside.setdefault(a, []).append(b)
        beside.setdefault(b, []).append(a)
    towards: dict[int, int] = {}
    todo = sorted(near)
    for site in todo:
        for other in beside.get(site, ()):
            if other not in near and other not in towards:
                towards[other] = site
                todo.append(other)
    apart = {site: parent for site, parent in tree.parent.items() if site not in near and site not in towards}
    return _Map(frozenset(near), towards | apart)


def _blocks(where: _Map, labels: Labels) -> dict[int, int]:
    """By site, the first site of its block."""
    keys: dict[int, object] = {}
    first: dict[object, int] = {}

    def key(site: int) -> object:
        if site not in keys:
            before = where.towards.get(site)
            keys[site] = (None if before is None else key(before), labels[site])
        return keys[site]

    return {site: first.setdefault(key(site), site) for site in sorted(labels)}


def _distances(given: Reduced) -> dict[int, int]:
    """By site, the least mean time of a message from or to an end; a large number where there is none."""
    found = dict.fromkeys(range(len(given.problem.sites)), FAR)
    for group in given.groups:
        for edge in group.edges:
            for end in (edge.producer, edge.consumer):
                if end.step < 0:
                    found[end.site] = 0
            if edge.producer.step < 0:
                for site in found:
                    way = given.ways.between(edge, edge.producer.site, site) if site != edge.producer.site else None
                    if way is not None:
                        found[site] = min(found[site], way.mean_us)
    return found


def _sharing(given: Reduced) -> set[int]:
    """Sites with stations that several may use at a time."""
    return {
        given.groups[g].slots[i][j].step.options[c.option].site
        for (g, i, j), of in given.candidates.items()
        for c in of
        if given.groups[g].slots[i][j].step.options[c.option].station not in given.private
    }


# Pools


def _site_of_pool(given: Reduced) -> dict[int, int]:
    return {
        given.problem.stations[option.station].pool: option.site
        for group in given.groups
        for forms in group.slots
        for slot in forms
        for option in slot.step.options
    }


def _kind(pool: Pool) -> tuple[object, ...]:
    return pool.sharing, pool.cores, pool.memory_kb, pool.price, pool.energy


def _pools(given: Reduced, block: Mapping[int, int], merged: frozenset[int]) -> tuple[dict[int, int], tuple[Pool, ...]]:
    """By pool the one that stands for it, and all pools: those of one kind in one block may be bought together."""
    pools = list(given.problem.pools)
    stands: dict[int, int] = {}
    first: dict[tuple[object, ...], int] = {}
    limited = {pool for budget in given.problem.budgets for pool in budget.pools}
    for index, site in sorted(_site_of_pool(given).items()):
        pool = given.problem.pools[index]
        stands[index] = index
        alone = pool.sharing == "time" or pool.minimum or index in limited or pool.constraint in given.relaxed
        if block[site] not in merged or alone:
            continue
        stands[index] = first.setdefault((block[site], *_kind(pool)), index)
        if stands[index] != index:
            kept = pools[stands[index]]
            pools[stands[index]] = replace(kept, maximum=kept.maximum + pool.maximum)
    return stands, tuple(pools)


# Candidates


@dataclass(frozen=True)
class _Merger:
    given: Reduced
    block: Mapping[int, int]
    merged: frozenset[int]
    pool_of: Mapping[int, int]
    stations: list[Station]

    def merge(self, key: Key) -> tuple[tuple[Option, ...], list[Candidate]]:
        """The options of a step, and its candidates: one for each pool and tasks at merged blocks."""
        g, i, j = key
        options = list(self.given.groups[g].slots[i][j].step.options)
        candidates: list[Candidate] = []
        places: dict[tuple[object, ...], list[tuple[Candidate, Option]]] = {}
        for c in self.given.candidates[key]:
            option = options[c.option]
            if self.block[option.site] not in self.merged:
                candidates.append(c)
                continue
            station = self.given.problem.stations[option.station]
            servers = tuple(v.server for v in option.visits)
            room = self.pool_of[station.pool], station.threads, c.replicas
            places.setdefault((option.first, option.last, servers, room), []).append((c, option))
        for members in places.values():
            option, station, c = self._one(members, len(options))
            options.append(option)
            self.stations.append(station)
            candidates.append(c)
        return tuple(options), candidates

    def _one(self, members: Sequence[tuple[Candidate, Option]], number: int) -> tuple[Option, Station, Candidate]:
        """The option (`number` of its step), station and candidate with the least of all members, which have equal
        threads and replicas, and one pool that stands for theirs.
        """
        of = [o for _, o in members]
        stations = [self.given.problem.stations[o.station] for o in of]
        visits = tuple(
            Visit(at[0].server, min(v.work_ns for v in at), min(v.load_ppb for v in at))
            for at in zip(*(o.visits for o in of), strict=True)
        )
        mean, variance = min(c.mean_us for c, _ in members), min(c.var_us2 for c, _ in members)
        option = Option(
            station=len(self.stations),
            site=self.block[of[0].site],
            first=of[0].first,
            last=of[0].last,
            mean_us=mean,
            var_us2=variance,
            load_ppb=min(o.load_ppb for o in of),
            visits=visits,
            cost=min(o.cost for o in of),
            energy=min(o.energy for o in of),
            barred=(),
        )
        station = replace(
            stations[0],
            name=f"{len(of)} like {stations[0].name}",
            pool=self.pool_of[stations[0].pool],
            memory_kb=min(s.memory_kb for s in stations),
        )
        return option, station, Candidate(number, -1, mean, variance, members[0][0].replicas)


# Messages


def _merged_edge(edge: Edge, block: Mapping[int, int], merged: frozenset[int]) -> Edge:
    def end(at: int) -> int:
        return block.get(at, at)

    producer, consumer = (replace(e, site=end(e.site)) if e.step < 0 else e for e in (edge.producer, edge.consumer))
    return replace(
        edge,
        producer=producer,
        consumer=consumer,
        transfers=_merged_transfers(edge.transfers, block, merged),
        hops=_merged_transfers(edge.hops, block, merged),
    )


def _merged_transfers(
    transfers: Sequence[Transfer], block: Mapping[int, int], merged: frozenset[int]
) -> tuple[Transfer, ...]:
    """Between blocks, the least of those between their members; those at merged blocks visit no server."""
    found: dict[tuple[int, int], Transfer] = {}
    for t in transfers:
        a, b = block[t.start], block[t.end]
        if a == b:
            continue
        visits = t.visits if a not in merged and b not in merged else ()
        known = found.get((a, b))
        found[a, b] = Transfer(
            a,
            b,
            t.mean_us if known is None else min(known.mean_us, t.mean_us),
            t.var_us2 if known is None else min(known.var_us2, t.var_us2),
            visits,
            t.cost if known is None else min(known.cost, t.cost),
        )
    return tuple(found.values())
