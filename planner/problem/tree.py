"""Sites joined by links without a cycle, so that there is one way between any two."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Tree:
    """One or several rooted trees. `order` has parents before children; roots have no `parent`."""

    order: tuple[int, ...]
    parent: dict[int, int]
    depth: dict[int, int]
    root: dict[int, int]

    def way(self, start: int, end: int) -> list[tuple[int, int]] | None:
        """The pairs of neighbours from `start` to `end`; None where they are not joined."""
        if start not in self.root or end not in self.root or self.root[start] != self.root[end]:
            return None
        up: list[tuple[int, int]] = []
        down: list[tuple[int, int]] = []
        while start != end:
            if self.depth[start] >= self.depth[end]:
                up.append((start, self.parent[start]))
                start = self.parent[start]
            else:
                down.append((self.parent[end], end))
                end = self.parent[end]
        return up + down[::-1]


def tree_of(pairs: Iterable[tuple[int, int]]) -> Tree:
    """The tree of these neighbours; (a, b) and (b, a) are one link. Raises ValueError where there is a cycle."""
    links = {(min(pair), max(pair)) for pair in pairs}
    beside: dict[int, list[int]] = {}
    for a, b in sorted(links):
        beside.setdefault(a, []).append(b)
        beside.setdefault(b, []).append(a)
    order: list[int] = []
    parent: dict[int, int] = {}
    depth: dict[int, int] = {}
    root: dict[int, int] = {}
    for first in sorted(beside, key=lambda site: (-len(beside[site]), site)):
        if first in root:
            continue
        root[first], depth[first] = first, 0
        todo = [first]
        while todo:
            site = todo.pop()
            order.append(site)
            for other in beside[site]:
                if other not in root:
                    root[other], depth[other], parent[other] = first, depth[site] + 1, site
                    todo.append(other)
    if len(parent) != len(links):
        raise ValueError("the links of a tree have no cycle")
    return Tree(tuple(order), parent, depth, root)
