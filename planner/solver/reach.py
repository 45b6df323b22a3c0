"""Which sites a step can run at and still keep every limit, were it alone: shortest times to it and on from it.

For each path of a limit, dynamic programming forward and backward over its messages, with the least mean of each step
at each site, no waits at servers, and the largest mean that the limit's table has. On a tree a message is two sweeps
over the links. Where a step adds to the variance, the table has less mean to give: it is looked up with the least
variance of all other steps. Rows of the table that ask for less than any choice has are left out too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from planner.problem import Edge, Limit, LimitShape, Option, Path
from planner.solver.candidates import Candidate, Key
from planner.solver.groups import Group
from planner.solver.tails import Tail, tails_of
from planner.solver.ways import Ways

FAR: Final = 10**18
Times = dict[int, int]
"""By site, the least time; a site that is not there cannot be reached."""
Node = tuple[int, int]
"""(step, task)"""
Least = Mapping[Node, Times]


def room(group: Group, least: Least, tails: Sequence[Tail], ways: Ways) -> dict[Node, list[tuple[Tail, Times]]]:
    """By (step, task) and path, for each site the most time that may be spent there itself. No site: cannot be used."""
    search = _Search(group.edges, least, ways)
    found: dict[Node, list[tuple[Tail, Times]]] = {}
    for tail in tails:
        nodes = _chain(group.edges, tail.path)
        if nodes is None:
            continue
        before, behind = search.forward(tail.path.edges), search.backward(tail.path.edges)
        for k, node in enumerate(nodes):
            head, rest = before[k], behind[k + 1]
            times = {
                site: tail.most - head[site] - rest[site]
                for site in head
                if site in rest and head[site] + rest[site] <= tail.most
            }
            found.setdefault(node, []).append((tail, times))
    return found


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
        free = room(group, least, tails_of(group, relaxed), ways)
        for i, forms in enumerate(group.slots):
            for j, slot in enumerate(forms):
                sites: set[int] = set()
                for site in {o.site for o in slot.step.options}:
                    tasks = [free[i, t] for t in range(slot.step.tasks) if (i, t) in free]
                    if slot.step.tasks > 1 or all(site in at for paths in tasks for _, at in paths):
                        sites.add(site)
                found[g, i, j] = frozenset(sites)
    return found


def within_reach(
    groups: Sequence[Group], of: Mapping[Key, Sequence[Candidate]], relaxed: frozenset[int], ways: Ways
) -> tuple[list[Group], dict[Key, list[Candidate]]]:
    """Of the candidates, those that keep every limit with the soonest and evenest of all others; of the tables of the
    groups' limits, the rows that these may take.
    """
    found: dict[Key, list[Candidate]] = {}
    narrowed: list[Group] = []
    for g, group in enumerate(groups):
        here = {
            (i, j): [(c, slot.step.options[c.option]) for c in of[g, i, j]]
            for i, forms in enumerate(group.slots)
            for j, slot in enumerate(forms)
        }
        reach = _Reach(group, here, relaxed, ways)
        narrowed.append(reach.narrowed())
        for (i, j), at in here.items():
            found[g, i, j] = [c for c, o in at if reach.keeps(i, c, o)]
    return narrowed, found


class _Reach:
    """What the limits of `group` leave of its candidates `here`, by (step, form)."""

    def __init__(
        self,
        group: Group,
        here: Mapping[tuple[int, int], Sequence[tuple[Candidate, Option]]],
        relaxed: frozenset[int],
        ways: Ways,
    ) -> None:
        self.group, self.relaxed = group, relaxed
        self.tails = tails_of(group, relaxed)
        self.least = least_times((i, o.first, o.last, o.site, c.mean_us) for (i, _), at in here.items() for c, o in at)
        every = [(i, t) for i, forms in enumerate(group.slots) for t in range(forms[0].step.tasks)]
        covered = all(node in self.least for node in every)
        self.room = room(group, self.least, self.tails, ways) if covered else {}
        self.evenest = [
            min((c.var_us2 for j in range(len(forms)) for c, _ in here[i, j]), default=0)
            if forms[0].step.tasks == 1
            else 0  # a part of the step may take as little
            for i, forms in enumerate(group.slots)
        ]
        self.variance = {tail: sum(self.evenest[i] for i in tail.path.steps) for tail in self.tails}
        self.most = {node: _least_of([times for _, times in paths]) for node, paths in self.room.items()}
        self.known: dict[tuple[Node, int], tuple[int, ...]] = {}

    def keeps(self, i: int, c: Candidate, option: Option) -> bool:
        """Whether each path has a row for the least mean and the least variance that it has with `c` of step `i`."""
        node = i, option.first
        if node not in self.room:
            return True
        most = self.most[node].get(option.site, -1)
        if c.mean_us > most:
            return False
        less = self._less(node, c.var_us2)
        if c.mean_us <= most - max(less):  # nearly always
            return True
        return all(c.mean_us <= at[option.site] - each for (_, at), each in zip(self.room[node], less, strict=True))

    def _less(self, node: Node, variance: int) -> tuple[int, ...]:
        """By path, how much less mean its table has where `node` has this variance."""
        if (node, variance) not in self.known:
            others = -self.evenest[node[0]] + variance
            paths = (tail for tail, _ in self.room[node])
            self.known[node, variance] = tuple(t.most - t.mean(self.variance[t] + others) for t in paths)
        return self.known[node, variance]

    def narrowed(self) -> Group:
        """The group, whose limits have a table for each path, without the rows that give less than each choice has."""
        soonest = dict.fromkeys(self.tails, 0)
        for node, paths in self.room.items():
            for tail, times in paths:
                left = max((spent - self.least[node][site] for site, spent in times.items()), default=-1)
                soonest[tail] = tail.most - left
        tails = iter(self.tails)

        def one_each(shape: LimitShape) -> Iterable[LimitShape]:
            for tail in islice(tails, len(shape.paths)):
                low = soonest[tail], self.variance[tail]
                yield LimitShape(
                    (tail.path,), tuple(r for r in shape.rows if r.mean_us >= low[0] and r.var_us2 >= low[1])
                )

        def narrow(limit: Limit) -> Limit:
            if limit.constraint in self.relaxed:
                return limit
            return replace(limit, shapes=tuple(each for shape in limit.shapes for each in one_each(shape)))

        return replace(self.group, limits=tuple(narrow(limit) for limit in self.group.limits))
