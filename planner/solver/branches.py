"""Branches: the choices of a Problem, divided by what is bought.

What makes a large model hard to prove is buying: its linear relaxation buys a tenth of a device for a tenth of the
price wherever that helps. So the paid pools are put in order of their price, and the choices are divided by the dearest
pool of which a device is bought: none at all, one of the cheaper half, or one of the dearer; and halves that are hard
to settle again in halves. In each branch one such device is paid whole, and those that are dearer are not there. Every
choice is in exactly one branch.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.problem import Problem
from planner.solver.coarse import Coarse
from planner.solver.draft import Draft
from planner.solver.model import Terms


@dataclass(frozen=True, slots=True)
class Branch:
    """The dearest pool of which a device is bought is in one of `some`, the cheapest first, if there are any; of `none`
    of those nothing is bought.
    """

    some: tuple[frozenset[int], ...] = ()
    none: frozenset[int] = frozenset()

    def halves(self) -> tuple[Branch, ...]:
        """The choices of this branch in two, the cheaper first; itself alone where there is nothing to divide."""
        middle = len(self.some) // 2
        if not middle:
            return (self,)
        dearer = self.some[middle:]
        return Branch(self.some[:middle], self.none.union(*dearer)), Branch(dearer, self.none)


def branches_of(problem: Problem, coarse: Coarse) -> tuple[Branch, ...]:
    """Buying nothing, and buying something; all choices in one where money buys no devices.

    Pools that are one in `coarse` stay together.
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
    if not order:
        return (Branch(),)
    some = tuple(map(frozenset, order))
    return Branch(none=frozenset[int]().union(*some)), Branch(some)


def limits_of(branch: Branch, draft: Draft) -> list[tuple[Terms, int]]:
    """Sums of the model's variables with the most that each may be."""
    found: list[tuple[Terms, int]] = []
    if branch.some:
        found.append(([(draft.bought[p], -1) for p in sorted(frozenset[int]().union(*branch.some))], -1))
    if branch.none:
        found.append(([(draft.bought[p], 1) for p in sorted(branch.none)], 0))
    return found
