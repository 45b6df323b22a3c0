"""Branches: the choices of a Problem, divided by what is bought.

What makes a large model hard to prove is buying: its linear relaxation buys a tenth of a device for a tenth of the
price wherever that helps. So the paid pools are put in order of their price, and the choices are divided by the dearest
pool of which a device is bought: none at all, only of the cheapest, and so on. In each branch that device is paid
whole, and those that are dearer are not there. Every choice is in exactly one branch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from planner.problem import Problem
from planner.solver.coarse import Coarse
from planner.solver.draft import Draft
from planner.solver.model import Terms

MOST: Final = 16
"""Pools of about the same price are taken together where there would be more branches."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Of `some` of these pools (if there are any) a device is bought, of `none` of those."""

    some: frozenset[int] = frozenset()
    none: frozenset[int] = frozenset()


def branches_of(problem: Problem, coarse: Coarse) -> tuple[Branch, ...]:
    """From buying nothing to buying of the dearest pool; all choices in one where money buys no devices.

    Pools that are one in `coarse` are in one branch.
    """
    first = problem.objectives[0].kind
    if first not in ("cost", "energy"):
        return (Branch(),)
    price = {i: p.price if first == "cost" else p.energy for i, p in enumerate(problem.pools)}
    alike: dict[int, list[int]] = {}
    for index, pool in enumerate(problem.pools):
        if price[index] > 0 and not pool.minimum and pool.maximum > 0:
            alike.setdefault(coarse.pool.get(index, index), []).append(index)
    order = sorted(alike.values(), key=lambda pools: (price[pools[0]], pools))
    parts = min(MOST, len(order))
    cuts = [len(order) * k // parts for k in range(parts + 1)] if parts else [0]
    groups = [frozenset(p for pools in order[a:b] for p in pools) for a, b in pairwise(cuts)]
    every = frozenset[int]().union(*groups)
    found = [Branch(none=every)]
    for k, some in enumerate(groups):
        found.append(Branch(some, frozenset[int]().union(*groups[k + 1 :])))
    return tuple(found)


def limits_of(branch: Branch, draft: Draft) -> list[tuple[Terms, int]]:
    """Sums of the model's variables with the most that each may be."""
    found: list[tuple[Terms, int]] = []
    if branch.some:
        found.append(([(draft.bought[p], -1) for p in sorted(branch.some)], -1))
    if branch.none:
        found.append(([(draft.bought[p], 1) for p in sorted(branch.none)], 0))
    return found
