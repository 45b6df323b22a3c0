"""Which sites a step can run at and still keep every limit, were it alone: shortest times to it and on from it.

For each path of a limit, dynamic programming forward and backward over its messages, with the least mean of each step
at each site, no waits at servers, and the largest mean that the limit's table has. On a tree a message is two sweeps
over the links.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from planner.problem import Edge, Path
from planner.solver.candidates import Candidate, Key
from planner.solver.groups import Group
from planner.solver.ways import Ways

FAR: Final = 10**18
Times = dict[int, int]
"""By site, the least time; a site that is not there cannot be reached."""
Node = tuple[int, int]
"""(step, task)"""
Least = Mapping[Node, Times]


def limits_of(group: Group, relaxed: frozenset[int]) -> list[tuple[Path, int]]:
    """Each path of the group's limits with the largest mean it may have."""
    return [
        (path, max((row.mean_us for row in shape.rows), default=-1))
        for limit in group.limits
        if limit.constraint not in relaxed
        for shape in limit.shapes
        for path in shape.paths
    ]


def room(group: Group, least: Least, relaxed: frozenset[int], ways: Ways) -> dict[Node, tuple[Times, ...]]:
    """By (step, task) and path, for each site the most time that may be spent there itself. No site: cannot be used."""
    search = _Search(group.edges, least, ways)
    found: dict[Node, list[Times]] = {}
    for path, most in limits_of(group, relaxed):
        nodes = _chain(group.edges, path)
        if nodes is None:
            continue
        heads, tails = search.forward(path.edges), search.backward(path.edges)
        for k, node in enumerate(nodes):
            head, tail = heads[k], tails[k + 1]
            found.setdefault(node, []).append(
                {
                    site: most - head[site] - tail[site]
                    for site in head
                    if site in tail and head[site] + tail[site] <= most
                }
            )
    return {node: tuple(times) for node, times in found.items()}


def _chain(edges: Sequence[Edge], path: Path) -> list[Node] | None:
    """The (step, task) between each two messages of a path; None if they are no chain from end to end."""
    nodes: list[Node] = []
    for a, b in zip(path.edges, path.edges[1:], strict=False):
        into, out = edges[a].consumer, edges[b].producer
        if (into.step, into.task) != (out.step, out.task) or into.step < 0:
            return None
        nodes.append((into.step, into.task))
    if not path.edges or {step for step, _ in nodes} != set(path.steps):
        return None
    return nodes


class _Search:
    """Shortest times, kept by the messages passed: paths share beginnings and ends."""

    def __init__(self, edges: Sequence[Edge], least: Least, ways: Ways) -> None:
        self.edges, self.least, self.ways = edges, least, ways
        self.heads: dict[tuple[int, ...], Times] = {}
        self.tails: dict[tuple[int, ...], Times] = {}

    def forward(self, path: tuple[int, ...]) -> list[Times]:
        """By message, when it is at each site at which its consumer may be."""
        return [self._head(path[: k + 1]) for k in range(len(path))]

    def backward(self, path: tuple[int, ...]) -> list[Times]:
        """By message, how long it takes from each site at which its producer may be to the end."""
        return [self._tail(path[k:]) for k in range(len(path))]

    def _head(self, passed: tuple[int, ...]) -> Times:
        if passed not in self.heads:
            edge = self.edges[passed[-1]]
            start = edge.producer
            if start.step < 0:
                at = {start.site: 0}
            elif len(passed) == 1:
                at = dict.fromkeys(self.least[start.step, start.task], 0)
            else:
                at = _plus(self._head(passed[:-1]), self.least[start.step, start.task])
            self.heads[passed] = self._among(
                self._moved(edge, at, False), edge.consumer.step, edge.consumer.task, edge.consumer.site
            )
        return self.heads[passed]

    def _tail(self, left: tuple[int, ...]) -> Times:
        if left not in self.tails:
            edge = self.edges[left[0]]
            end = edge.consumer
            if end.step < 0:
                at = {end.site: 0}
            elif len(left) == 1:
                at = dict(self.least[end.step, end.task])
            else:
                at = _plus(self._tail(left[1:]), self.least[end.step, end.task])
            self.tails[left] = self._among(
                self._moved(edge, at, True), edge.producer.step, edge.producer.task, edge.producer.site
            )
        return self.tails[left]

    def _among(self, at: Times, step: int, task: int, site: int) -> Times:
        if step < 0:
            return {site: at[site]} if site in at else {}
        usable = self.least[step, task]
        return {q: spent for q, spent in at.items() if q in usable}

    def _moved(self, edge: Edge, at: Times, backward: bool) -> Times:
        """Least times after the message is taken anywhere, or before it was."""
        if not edge.hops:
            found = dict(at)
            for transfer in edge.transfers:
                a, b = (transfer.end, transfer.start) if backward else (transfer.start, transfer.end)
                if a in at and at[a] + transfer.mean_us < found.get(b, FAR):
                    found[b] = at[a] + transfer.mean_us
            return found
        tree, table = self.ways.tree(edge), self.ways.table(edge)
        best = dict(at)

        def relax(a: int, b: int) -> None:
            hop = table.get((b, a) if backward else (a, b))
            if hop is not None and a in best and best[a] + hop.mean_us < best.get(b, FAR):
                best[b] = best[a] + hop.mean_us

        for site in reversed(tree.order):
            if site in tree.parent:
                relax(site, tree.parent[site])
        for site in tree.order:
            if site in tree.parent:
                relax(tree.parent[site], site)
        return {q: min(at.get(q, FAR), spent + edge.apart_us) for q, spent in best.items()}


def _least_of(several: Sequence[Times]) -> Times:
    """Where all of them have a time, the least."""
    sites = set(several[0]).intersection(*several[1:])
    return {site: min(times[site] for times in several) for site in sorted(sites)}


def _plus(a: Times, b: Times) -> Times:
    return {site: spent + b[site] for site, spent in a.items() if site in b}


def least_times(forms: Iterable[tuple[int, int, int, int, int]]) -> dict[Node, Times]:
    """From (step, first, last, site, mean): the least mean by (step, task) and site; an option's first task has it."""
    found: dict[Node, Times] = {}
    for step, first, last, site, mean in forms:
        for task in range(first, last + 1):
            at = found.setdefault((step, task), {})
            spent = mean if task == first else 0
            if spent < at.get(site, FAR):
                at[site] = spent
    return found


def reachable(groups: Sequence[Group], relaxed: frozenset[int], ways: Ways) -> dict[Key, frozenset[int]]:
    """By key, the sites of options that keep every limit were they alone."""
    found: dict[Key, frozenset[int]] = {}
    for g, group in enumerate(groups):
        least = least_times(
            (i, o.first, o.last, o.site, o.mean_us)
            for i, forms in enumerate(group.slots)
            for f in forms
            for o in f.step.options
        )
        free = room(group, least, relaxed, ways)
        for i, forms in enumerate(group.slots):
            for j, slot in enumerate(forms):
                sites: set[int] = set()
                for site in {o.site for o in slot.step.options}:
                    tasks = [free[i, t] for t in range(slot.step.tasks) if (i, t) in free]
                    if slot.step.tasks > 1 or all(site in at for times in tasks for at in times):
                        sites.add(site)
                found[g, i, j] = frozenset(sites)
    return found


def within_reach(
    groups: Sequence[Group], of: Mapping[Key, Sequence[Candidate]], relaxed: frozenset[int], ways: Ways
) -> dict[Key, list[Candidate]]:
    """Of the candidates, those that keep every limit with the soonest of all others."""
    found: dict[Key, list[Candidate]] = {}
    for g, group in enumerate(groups):
        here = {
            (i, j): [(c, slot.step.options[c.option]) for c in of[g, i, j]]
            for i, forms in enumerate(group.slots)
            for j, slot in enumerate(forms)
        }
        least = least_times((i, o.first, o.last, o.site, c.mean_us) for (i, _), at in here.items() for c, o in at)
        if any((i, t) not in least for i, forms in enumerate(group.slots) for t in range(forms[0].step.tasks)):
            free: dict[Node, tuple[Times, ...]] = {}
        else:
            free = room(group, least, relaxed, ways)
        most = {node: _least_of(times) for node, times in free.items() if times}
        for (i, j), at in here.items():
            found[g, i, j] = [
                c for c, o in at if (i, o.first) not in most or c.mean_us <= most[i, o.first].get(o.site, -1)
            ]
    return found
