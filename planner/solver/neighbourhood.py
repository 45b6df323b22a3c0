"""The neighbourhood of a linear relaxation's answer, where a plan is soon found: steps stay at the sites it gives them.

Relaxation enforced neighbourhood search (Berthold, RENS: the optimal rounding, 2014), but for sites: which option runs
there, with how many replicas, stays open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from planner.solver.draft import Draft
from planner.solver.linear import Bound

LEAST: Final = 1e-3
"""A site that has less of a step is not one of its sites."""


def neighbourhood(draft: Draft, bound: Bound, number: int, domains: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """`domains` with the candidates of each step at the sites that the answer gives it, and the `number` of the others
    that add least.
    """
    kept = list(domains)
    for (g, i, j), picked in draft.picked.items():
        options = draft.groups[g].slots[i][j].step.options
        at = {x: options[c.option].site for x, c in picked}
        share: dict[int, float] = {}
        for x, site in at.items():
            share[site] = share.get(site, 0.0) + bound.values[x]
        others = [x for x, site in at.items() if share[site] < LEAST]
        for x in sorted(others, key=lambda v: (bound.reduced[v], v))[number:]:
            kept[x] = 0, min(0, kept[x][1])
    return kept
