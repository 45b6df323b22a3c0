"""Where there is no plan: every independent conflict, and the smallest changes of limits that make a plan exist."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from math import ceil
from typing import Final

from planner.answers.again import Again, TimeIsUp
from planner.answers.dial import Dial, Sites, dial_of
from planner.problem import Problem
from planner.proof.conflict import minimal_conflict
from planner.situation import Situation
from planner.solver.solve import is_feasible
from specs.plan import Conflict, Plan, Relaxation, RelaxedLimit

UNBOUNDED: Final = ("MB", "Mbit/s", "/s")
"""Units of which the limit says nothing about how much is needed: a step suits what is found to be enough."""
MOST: Final = 8
"""How many joint relaxations are worked out before the cheapest of them is named."""


def with_relaxations(
    situation: Situation, plan: Plan, *, time_limit: float = 60.0, seed: int = 0, anew: bool = False
) -> Plan:
    """`plan`, which is infeasible, with all its independent conflicts, and the relaxations found in `time_limit`.

    A relaxation is of one constraint of the conflict, where that alone makes a plan exist; else of the fewest that
    together do. Each amount is found by solving again, to the step that it names. The conflict of `plan`, if it names
    one, is taken for true unless all is to be found `anew`.
    """
    search = _Search(Again(situation, time.perf_counter() + time_limit, seed))
    if plan.conflict and not plan.tightened and not anew:  # tightened: it is of other limits
        search.know(plan.conflict)
    with suppress(TimeIsUp):
        search.run()
    further = tuple(search.named(c) for c in search.conflicts if search.named(c) != plan.conflict)
    return plan.model_copy(update={"further_conflicts": further, "relaxations": _ranked(search.found)})


def _ranked(found: Sequence[Relaxation]) -> tuple[Relaxation, ...]:
    """The cheapest first, and marked: the fewest changes, then the smallest share, then the least money.

    None changes all that another does, and more.
    """

    def order(r: Relaxation) -> tuple[int, float, float]:
        return len(r.changes), float("inf") if r.share is None else r.share, r.per_month or 0.0

    names = {r: frozenset(c.name for c in r.changes) for r in found}
    ranked = [r for r in sorted(names, key=order) if not any(other < names[r] for other in names.values())]
    return tuple(r.model_copy(update={"cheapest": i == 0}) for i, r in enumerate(ranked))


class _Search:
    """Collects conflicts and relaxations as they are found, so that what is there when time runs out counts."""

    def __init__(self, again: Again) -> None:
        self.again = again
        self.conflicts: list[frozenset[int]] = []
        self.found: list[Relaxation] = []

    @property
    def problem(self) -> Problem:
        return self.again.given.problem

    def know(self, conflict: Sequence[Conflict]) -> None:
        """Begin with a conflict that was found."""
        index = {c.name: i for i, c in enumerate(self.problem.constraints)}
        self.conflicts.append(frozenset(index[c.name] for c in conflict))

    def run(self) -> None:
        self._independent()
        if not self.conflicts:
            return
        size: int | None = None
        for chosen in self._hitting():
            if size is not None and len(chosen) > size:
                break  # all that are as few as can be are found
            relaxed = self._relaxed(chosen)
            if relaxed is not None:
                self.found.append(relaxed)
                size = len(chosen)
                if size > 1 and len(self.found) >= MOST:
                    break

    def _independent(self) -> None:
        """Conflicts that have no constraint in common, until the rest has a plan."""
        while not self._possible(frozenset().union(*self.conflicts)):
            if not self._another(frozenset().union(*self.conflicts)):
                break

    def _another(self, without: frozenset[int]) -> bool:
        found = minimal_conflict(self.problem, self.again.left, self.again.seed, without)
        if not found:
            return False
        self.conflicts.append(frozenset(found))
        return True

    def _possible(self, without: frozenset[int]) -> bool:
        answer = is_feasible(self.problem, without, self.again.left, seed=self.again.seed)
        if answer == "unknown":
            raise TimeIsUp("time ran out; allow more --time-limit")
        return answer == "yes"

    def _hitting(self) -> Iterator[tuple[int, ...]]:
        """Sets of constraints without which there is a plan, the fewest first, none containing another.

        Each has one of every conflict known; where that leaves no plan, a conflict that it missed becomes known.
        """
        done: list[frozenset[int]] = []
        size = 1
        while size <= len(frozenset().union(*self.conflicts)):
            again = False
            for chosen in combinations(sorted(frozenset().union(*self.conflicts)), size):
                one = frozenset(chosen)
                if any(d <= one for d in done) or not all(one & c for c in self.conflicts):
                    continue
                done.append(one)
                if self._possible(one):
                    yield chosen
                elif self._another(one):
                    again = True
                    break
            size += not again

    def _relaxed(self, chosen: tuple[int, ...]) -> Relaxation | None:
        """The smallest changes of the constraints `chosen`, one after the other; None where they cannot help.

        Fewer change where the rest is enough.
        """
        dials = [dial_of(self.again.situation, self.problem.constraints[i]) for i in chosen]
        turned: dict[int, _Turned] = {}
        for number, dial in enumerate(dials):
            rest = [_loosest(d) for d in dials[number + 1 :]]
            others = [*(t.text for t in turned.values()), *rest]
            if others and self.again.plan(others, anew=True) is not None:
                continue  # the tables ask for it, the prediction of the whole path does not
            found = self._turn(dial, others)
            if found is None:
                return None
            turned[chosen[number]] = found
        plan = self.again.plan([t.text for t in turned.values()], anew=True)
        if plan is None or plan.cost is None:
            return None
        shares = [t.share for t in turned.values()]
        known = [s for s in shares if s is not None]
        changes = tuple(self._change(i, t) for i, t in turned.items())
        total = sum(known) if len(known) == len(shares) else None
        return Relaxation(changes=changes, share=total, per_month=plan.cost.per_month, currency=plan.cost.currency)

    def _turn(self, dial: Dial | Sites, others: list[str]) -> _Turned | None:
        if isinstance(dial, Sites):
            text = next((t for t in dial.texts if self.again.plan([*others, t], anew=True) is not None), None)
            return _Turned(text) if text else None
        guess = 1
        if dial.best:  # what is best for this limit alone is near the answer
            plan = self.again.plan([*others, dial.best, dial.text(dial.far)])
            if plan is None:
                return None
            value = dial.value(plan)
            dial = dial.for_values(value)
            guess = ceil(abs(value - dial.at(0)) / dial.step - 1e-9)

        elif dial.unit in UNBOUNDED:
            plan = self.again.plan([*others, dial.text(dial.far)])
            if plan is None:
                return None
            loose = (v for v in dial.doublings() if self.again.plan([*others, dial.text(v)]) is not None)
            value = dial.value(plan) or next(loose, dial.far)
            dial = dial.stepping_to(value)
            guess = ceil(abs(value - dial.at(0)) / dial.step - 1e-9)

        def exists(steps: int, anew: bool = False) -> bool:
            return self.again.plan([*others, dial.text(dial.at(steps))], anew=anew) is not None

        steps = fewest_steps(exists, dial.steps, guess)
        if steps is not None:  # what is told is what the changed files give, to the step
            steps = fewest_steps(lambda n: exists(n, anew=True), dial.steps, steps)
        return None if steps is None else _Turned(dial.text(dial.at(steps)), dial, dial.at(steps))

    def _change(self, index: int, turned: _Turned) -> RelaxedLimit:
        constraint = self.problem.constraints[index]
        said = {"name": constraint.name, "file": constraint.file, "line": constraint.line, "set": turned.text}
        dial = turned.dial
        numbers = {"limit": dial.limit, "relaxed": turned.value, "step": dial.step} if dial else {}
        return RelaxedLimit.model_validate(said | {"unit": dial.unit if dial else "sites"} | numbers)

    def named(self, conflict: frozenset[int]) -> tuple[Conflict, ...]:
        found = (self.problem.constraints[i] for i in sorted(conflict))
        return tuple(Conflict(name=c.name, file=c.file, line=c.line) for c in found)


@dataclass(frozen=True)
class _Turned:
    """How a dial was turned; without one, which sites are allowed."""

    text: str
    dial: Dial | None = None
    value: float | None = None

    @property
    def share(self) -> float | None:
        """The change relative to the limit."""
        if self.dial is None or self.value is None or not self.dial.limit:
            return None
        return abs(self.value - self.dial.limit) / abs(self.dial.limit)


def _loosest(dial: Dial | Sites) -> str:
    return dial.text(dial.far) if isinstance(dial, Dial) else dial.texts[-1]


def fewest_steps(exists: Callable[[int], bool], most: int, guess: int = 1) -> int | None:
    """The fewest steps from 1 to `most` at which `exists` holds while one step before it does not; None if it does not
    even hold at `most`. Doubles its way up or down from `guess`, then halves what is between.
    """
    if most < 1:
        return None
    width = 1
    guess = max(1, min(guess, most))
    if exists(guess):
        low, high = guess - 1, guess
        while low > 0 and exists(low):
            width *= 2
            low, high = max(0, low - width), low
    elif not exists(most):
        return None
    else:
        low, high = guess, min(most, guess + width)
        while high < most and not exists(high):
            width *= 2
            low, high = high, min(most, high + width)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if exists(middle) else (middle, high)
    return high
