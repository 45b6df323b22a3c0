"""Branches by where steps run, as those by what is bought.

The linear relaxation runs half of an application at one site and half at another, with half of each message between
them, where both alone are too slow or too dear. What takes part in many paths decides much: the last step of 100 on a
tree of 100 sites at a base station or elsewhere lifts the bound from 629 to at least 635. So choices are divided by
whether a task is at a site or not. Which task and which site is found by trying: of a few that are most between two
sites, and on most paths, both parts' linear relaxations are solved (strong branching; Applegate, Bixby, Chvatal and
Cook, Finding cuts in the TSP, 1995).

Sites are named by all that a merged one stands for, so that branches stay what they are when it is split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from planner.solver.branches import Branch
from planner.solver.coarse import Coarse
from planner.solver.draft import Draft
from planner.solver.linear import Bound

TRIED: Final = 4
"""Of so many tasks both parts are tried."""
BETWEEN: Final = 0.02
"""A task of which a site has less than this, or nearly all, is not between two."""

Solve = Callable[[Branch], Bound | None]
_Task = tuple[int, int, int]


def barred(draft: Draft, coarse: Coarse, branch: Branch) -> frozenset[int]:
    """The literals of tasks at sites that are false in `branch`: a merged site's if it is false of all that it is."""
    away: dict[_Task, set[int]] = {}
    for g, step, task, site in branch.away:
        away.setdefault((g, step, task), set()).add(site)
    return frozenset(
        literal
        for key, sites in away.items()
        for site, literal in draft.sites.get(key, {}).items()
        if sites.issuperset(coarse.members.get(site, (site,)))
    )


def by_site(
    draft: Draft, coarse: Coarse, branch: Branch, bound: Bound, solve: Solve, ceiling: int | None
) -> tuple[Branch, Branch] | None:
    """`branch` in two, the more promising last, by whether a task is at a site; None where each is at one site.

    `bound` is of the branch's linear relaxation, and `solve` gives that of a part.
    """
    passed, closed = _paths(draft), barred(draft, coarse, branch)
    found: list[tuple[float, int, _Task, int]] = []
    for key, at in draft.sites.items():
        shares = [(min(bound.values[v], 1 - bound.values[v]), v, site) for site, v in at.items() if v not in closed]
        if len(shares) < 2:
            continue
        share, v, site = max(shares, key=lambda each: (each[0], -each[1]))
        if share > BETWEEN:
            found.append((-share * passed[key[:2]], v, key, site))
    best: tuple[int, tuple[Branch, Branch]] | None = None
    for _, _, key, site in sorted(found)[:TRIED]:
        parts = _parts(draft, coarse, branch, key, site)
        few, many = (_bounded(part, solve(part)) for part in parts)
        least, most = sorted((few, many), key=lambda part: part.bound)
        lifts = [1 + _capped(part.bound, ceiling) - branch.bound for part in (least, most)]
        if best is None or lifts[0] * lifts[1] > best[0]:
            best = lifts[0] * lifts[1], (most, least)
        if ceiling is not None and least.bound >= ceiling:
            break
    return None if best is None else best[1]


def _paths(draft: Draft) -> Counter[tuple[int, int]]:
    """By (group, step), how many paths of limits it is on, and one."""
    found = Counter({(g, i): 1 for g, i, _ in draft.sites})
    for g, group in enumerate(draft.groups):
        paths = (path for limit in group.limits for shape in limit.shapes for path in shape.paths)
        found.update((g, i) for path in paths for i in path.steps)
    return found


def _parts(draft: Draft, coarse: Coarse, branch: Branch, key: _Task, site: int) -> tuple[Branch, Branch]:
    """Where the task is not at `site`, and where it is."""
    here = {(*key, each) for each in coarse.members.get(site, (site,))}
    others = {(*key, each) for q in draft.sites[key] if q != site for each in coarse.members.get(q, (q,))}
    return replace(branch, away=branch.away | here), replace(branch, away=branch.away | others)


def _bounded(part: Branch, bound: Bound | None) -> Branch:
    return part if bound is None else replace(part, bound=max(part.bound, bound.value))


def _capped(bound: int, ceiling: int | None) -> int:
    return bound if ceiling is None else min(bound, ceiling)
