"""Why there is no plan: a minimal set of the user's constraints and capacities that cannot hold together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Final

from planner.problem import Problem
from planner.situation import Situation
from planner.solver.evaluate import NOT_IN_TABLES, evaluate
from planner.solver.solve import any_choice, is_feasible
from specs.errors import AnswerIsNo, Issue

CAPACITIES: Final = ("devices", "rate")


def minimal_conflict(
    problem: Problem, time_limit: float = 30.0, seed: int = 0, without: frozenset[int] = frozenset()
) -> tuple[int, ...] | None:
    """Indices of constraints, none of `without`, that cannot hold together, of which every proper subset can.

    Found by deletion: a constraint is dropped only if it is proven that the rest is still infeasible, never for want of
    time. Capacities are dropped first, so that the user's own constraints are named where either would do. None if even
    no constraint at all leaves no choice. The set may not be minimal if `time_limit` (seconds) runs out.
    """
    tests = _Tests(problem, time_limit, seed)
    if tests.impossible(frozenset()):
        return None
    everything = frozenset(range(len(problem.constraints))) - without
    own = frozenset(i for i in everything if problem.constraints[i].kind not in CAPACITIES)
    kept = _infeasible(tests, own, everything)
    todo = [sorted(kept & own), sorted(kept - own)]
    while todo:  # what cannot be dropped at once is tried by halves: the same set, in far fewer tests
        part = todo.pop()
        if part and tests.impossible(kept - set(part)):
            kept -= set(part)
        elif len(part) > 1:
            todo += [part[len(part) // 2 :], part[: len(part) // 2]]
    return tuple(sorted(kept))


def _infeasible(tests: _Tests, own: frozenset[int], everything: frozenset[int]) -> frozenset[int]:
    """Constraints that cannot hold together, hardly more than are needed: the user's own, and capacities that choices
    without them break.
    """
    kept = own
    while kept != everything and not tests.impossible(kept):
        more = tests.broken_last & everything
        if more <= kept:
            return everything
        kept |= more
    return kept


@dataclass
class _Tests:
    """Whether constraints can hold together. `held`: sets that can; `broken`: what each choice found so far breaks, and
    nothing else.
    """

    problem: Problem
    time_limit: float
    seed: int
    held: list[frozenset[int]] = field(default_factory=list)
    broken: list[frozenset[int]] = field(default_factory=list)
    broken_last: frozenset[int] = frozenset()
    started: float = field(default_factory=time.perf_counter)

    def impossible(self, kept: frozenset[int]) -> bool:
        """Whether it is proven that no choice keeps all of `kept`."""
        if any(kept <= held for held in self.held) or any(kept.isdisjoint(broken) for broken in self.broken):
            return False
        self.broken_last = frozenset()
        left = self.time_limit - (time.perf_counter() - self.started)
        if left <= 0:
            return False
        relaxed = frozenset(range(len(self.problem.constraints))) - kept
        answer, choice = any_choice(self.problem, relaxed, left, seed=self.seed)
        if answer == "yes":
            self.held.append(kept)
        if choice is not None:
            found = evaluate(self.problem, choice)
            self.broken_last = found.broken
            if found.possible and NOT_IN_TABLES not in found.broken:
                self.broken.append(found.broken)
        return answer == "no"


def flows_without_a_way(problem: Problem, time_limit: float = 5.0) -> tuple[str, ...]:
    """Flows that have no placement even alone and without any constraint: some message finds no route."""
    everything = frozenset(range(len(problem.constraints)))
    alone = ((name, _of_flow(problem, f)) for f, name in enumerate(problem.flows))
    return tuple(name for name, only in alone if is_feasible(only, everything, time_limit) == "no")


def _of_flow(problem: Problem, flow: int) -> Problem:
    return replace(
        problem,
        flows=(problem.flows[flow],),
        members=(problem.members[flow],),
        throughputs=(),
        scenarios=tuple(replace(s, flow=0) for s in problem.scenarios if s.flow == flow),
    )


def no_option(situation: Situation, problem: Problem) -> AnswerIsNo:
    """The answer where even without any constraint nothing can run: says what has no option."""
    options: dict[str, int] = {}
    for scenario in problem.scenarios:
        for step in scenario.steps:
            tasks = {t for o in step.options for t in range(o.first, o.last + 1)}
            options[step.name] = max(options.get(step.name, 0), len(tasks) // step.tasks)
    absent = [name for name, covered in options.items() if not covered]
    if not absent:
        flows = ", ".join(flows_without_a_way(problem)) or "all of them together"
        return AnswerIsNo(f"no plan: no way for the messages of {flows} between the sites that can run the application")
    place = situation.app.place("components", absent[0])
    hint = "give a pool more memory or cores, or profile a smaller variant"
    return AnswerIsNo(str(Issue(f"component {absent[0]!r} has no option: no device of any pool holds it", place, hint)))
