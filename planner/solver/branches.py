"""Branches: the choices of a Problem, divided by what is bought.

What makes a large model hard to prove is buying: its linear relaxation buys a tenth of a device for a tenth of the
price wherever that helps. So the choices are divided by how many devices of a pool are bought: at most so many, or
more. Every choice is in exactly one branch, so that the least bound of all branches is one of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from planner.problem import Problem
from planner.solver.build import Reduced
from planner.solver.coarse import Coarse
from planner.solver.draft import Draft
from planner.solver.linear import Bound
from planner.solver.model import Terms

Place = tuple[int, int, int, int]
"""A task at a site: group of scenarios, step, task, site."""
ROUND: Final = 1e-6
"""A number this near to an integer is one."""


@dataclass(frozen=True, slots=True)
class Group:
    """Pools that are bought from alike, each device for `price`."""

    pools: tuple[int, ...]
    price: int

    def bought(self, draft: Draft) -> Terms:
        """How many devices of them are bought."""
        return [(draft.bought[p], 1) for p in self.pools]


@dataclass(frozen=True, slots=True)
class Branch:
    """The choices that buy at least and at most so many devices of each group, in the order of the groups.

    None of them has a first objective below `bound`. `effort`: deterministic seconds for the next search;
    `others`: it looks at the neighbourhood of the linear relaxation's answer, with so many other choices of each step;
    None: at all choices. `done`: no search finds out more. `away` says where tasks are not (site_branches.py).
    """

    limits: tuple[tuple[int, int], ...]
    bound: int = 0
    effort: float = 0.0
    others: int | None = None
    done: bool = False
    away: frozenset[Place] = frozenset()

    def divided(self, group: int, at: int) -> tuple[Branch, Branch]:
        """Those with at most `at` devices of `group`, and the others."""
        low, high = self.limits[group]
        before, after = self.limits[:group], self.limits[group + 1 :]
        few = replace(self, limits=(*before, (low, at), *after))
        return few, replace(self, limits=(*before, (at + 1, high), *after))

    def rows(self, groups: tuple[Group, ...], draft: Draft) -> Iterator[tuple[Terms, int]]:
        """Sums of the model's variables with the most that each may be."""
        for group, (low, high) in zip(groups, self.limits, strict=True):
            bought = group.bought(draft)
            if high < sum(draft.model.domains[v][1] for v, _ in bought):
                yield bought, high
            if low > 0:
                yield [(v, -f) for v, f in bought], -low


def groups_of(given: Reduced, coarse: Coarse) -> tuple[Group, ...]:
    """What the first objective pays for by the device, the cheapest first. Pools that are one in `coarse` are one.

    Not those of which there are as many devices as anybody wants, since their constraint is relaxed.
    """
    problem, relaxed = given.problem, given.relaxed
    first = problem.objectives[0].kind
    if first not in ("cost", "energy"):
        return ()
    price = {i: p.price if first == "cost" else p.energy for i, p in enumerate(problem.pools)}
    alike: dict[int, list[int]] = {}
    for index, pool in enumerate(problem.pools):
        if price[index] > 0 and not pool.minimum and pool.maximum > 0 and pool.constraint not in relaxed:
            alike.setdefault(coarse.pool.get(index, index), []).append(index)
    found = [Group(tuple(pools), price[pools[0]]) for pools in alike.values()]
    return tuple(sorted(found, key=lambda group: (group.price, group.pools)))


def every_choice(problem: Problem, groups: tuple[Group, ...]) -> Branch:
    """All choices."""
    return Branch(tuple((0, sum(problem.pools[p].maximum for p in group.pools)) for group in groups))


def parts_of(groups: tuple[Group, ...], branch: Branch, bound: Bound) -> tuple[Branch, Branch] | None:
    """`branch` in two where the linear relaxation buys a part of a device, the more promising last; None where it buys
    whole ones.
    """
    best: tuple[float, int] | None = None
    for index, value in enumerate(bound.sums):
        low, high = branch.limits[index]
        part = value - int(value)
        weight = groups[index].price * part * (1 - part)
        # What is nearly whole may be so, and beyond the limits: sums are as exact as Glop's tolerances.
        if ROUND < part < 1 - ROUND and low <= int(value) < high and (best is None or weight > best[0]):
            best = weight, index
    if best is None:
        return None
    value = bound.sums[best[1]]
    few, many = branch.divided(best[1], int(value))
    return (many, few) if value - int(value) < 0.5 else (few, many)
