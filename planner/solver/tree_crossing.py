"""Messages on a tree: a link is crossed if the two ends of the message are on different sides of it."""

from __future__ import annotations

from planner.problem import Edge, End
from planner.problem.tree import Tree
from planner.solver.cover import sites
from planner.solver.crossing import charge
from planner.solver.draft import Crossing, Draft


def cross_on_tree(draft: Draft, g: int, e: int, edge: Edge) -> None:
    """`up` - `down` = [producer below the link] - [consumer below it], of which at most one is true."""
    tree, table = draft.ways.tree(edge), draft.ways.table(edge)
    starts, ends = below(draft, g, edge.producer, tree), below(draft, g, edge.consumer, tree)
    present = draft.present[g]
    crossed: list[int] = []
    found = draft.crossing.setdefault((g, e), [])
    _same_tree(draft, g, edge, tree)
    for site, parent in tree.parent.items():
        p, c = starts.get(site), ends.get(site)
        if p == c:  # both have all they can below, or neither has anything there
            continue
        up, down = _sides(draft, p, c, present)
        for literal, pair in ((up, (site, parent)), (down, (parent, site))):
            if literal is None:
                continue
            if pair not in table:
                draft.model.add([(literal, 1)], 0, 0)
                continue
            found.append(charge(draft, draft.groups[g].flow, literal, table[pair]))
            crossed.append(literal)
    if crossed and (edge.apart_us or edge.apart_us2):
        apart = draft.model.boolean()
        for literal in crossed:
            draft.model.add([(apart, 1), (literal, -1)], 0, None)
        found.append(Crossing(apart, edge.apart_us, edge.apart_us2, ()))


def _sides(draft: Draft, p: int | None, c: int | None, present: int) -> tuple[int | None, int | None]:
    """Literals of crossing upwards and downwards, from those of both ends being below (None: never)."""
    model = draft.model
    if c is None:
        return p, None
    if p is None:
        return None, c
    if p == present:
        return _differ(draft, p, c), None
    if c == present:
        return None, _differ(draft, c, p)
    up, down = model.boolean(), model.boolean()
    model.add([(up, 1), (down, -1), (p, -1), (c, 1)], 0, 0)
    model.add([(up, 1), (down, 1)], None, 1)
    return up, down


def _differ(draft: Draft, whole: int, part: int) -> int:
    """The literal of `whole` without `part`."""
    literal = draft.model.boolean()
    draft.model.add([(literal, 1), (part, 1), (whole, -1)], 0, 0)
    return literal


def below(draft: Draft, g: int, end: End, tree: Tree) -> dict[int, int]:
    """By site, the literal that says that this end is at it or below it in the tree; no site where it cannot be."""
    key = (g, end.step, end.task if end.step >= 0 else end.site, id(tree))
    if key not in draft.below:
        at = sites(draft, g, end)
        parts: dict[int, list[int]] = {}
        found: dict[int, int] = {}
        for site in reversed(tree.order):
            literals = parts.get(site, []) + ([at[site]] if site in at else [])
            if not literals:
                continue
            found[site] = draft.present[g] if _holds_all(tree, site, at) else draft.model.any_of(literals)
            if site in tree.parent:
                parts.setdefault(tree.parent[site], []).append(found[site])
        draft.below[key] = found
    return draft.below[key]


def _holds_all(tree: Tree, site: int, at: dict[int, int]) -> bool:
    """Whether every site in `at` is `site` or below it."""

    def under(q: int) -> bool:
        while q != site and q in tree.parent:
            q = tree.parent[q]
        return q == site

    return all(under(q) for q in at)


def _same_tree(draft: Draft, g: int, edge: Edge, tree: Tree) -> None:
    """Both ends at one site, or at sites that are joined."""
    starts, ends = sites(draft, g, edge.producer), sites(draft, g, edge.consumer)
    components = {tree.root.get(q, ~q) for q in (*starts, *ends)}
    if len(components) > 1:
        for component in components:
            first = [(v, 1) for q, v in starts.items() if tree.root.get(q, ~q) == component]
            other = [(v, -1) for q, v in ends.items() if tree.root.get(q, ~q) == component]
            draft.model.add([*first, *other], 0, 0)
