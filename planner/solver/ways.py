"""What an edge's message needs between two sites, from the edge's table or from the hops of its tree."""

from __future__ import annotations

from dataclasses import dataclass, field

from planner.problem import Edge, Transfer
from planner.problem.tree import Tree, tree_of


@dataclass
class Ways:
    """Looks transfers up, and keeps what it found: edges are known by identity, so keep their Problem alive."""

    tables: dict[int, dict[tuple[int, int], Transfer]] = field(default_factory=dict)
    trees: dict[tuple[tuple[int, int], ...], Tree] = field(default_factory=dict)
    joined: dict[tuple[int, int, int], Transfer | None] = field(default_factory=dict)

    def table(self, edge: Edge) -> dict[tuple[int, int], Transfer]:
        """The edge's transfers, or its hops, by (start, end)."""
        if id(edge) not in self.tables:
            self.tables[id(edge)] = {(t.start, t.end): t for t in edge.hops or edge.transfers}
        return self.tables[id(edge)]

    def tree(self, edge: Edge) -> Tree:
        """The tree of an edge with hops."""
        key = tuple((t.start, t.end) for t in edge.hops)
        if key not in self.trees:
            self.trees[key] = tree_of(key)
        return self.trees[key]

    def between(self, edge: Edge, start: int, end: int) -> Transfer | None:
        """The whole transfer from `start` to another site, None where there is no route."""
        if not edge.hops:
            return self.table(edge).get((start, end))
        key = (id(edge), start, end)
        if key not in self.joined:
            self.joined[key] = self._join(edge, start, end)
        return self.joined[key]

    def _join(self, edge: Edge, start: int, end: int) -> Transfer | None:
        way = self.tree(edge).way(start, end)
        table = self.table(edge)
        if way is None or any(pair not in table for pair in way):
            return None
        hops = [table[pair] for pair in way]
        return Transfer(
            start,
            end,
            edge.apart_us + sum(h.mean_us for h in hops),
            edge.apart_us2 + sum(h.var_us2 for h in hops),
            tuple(v for h in hops for v in h.visits),
            sum(h.cost for h in hops),
        )
