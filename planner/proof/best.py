"""Whether a plan is the best by prediction: what the tables forbid too soon is looked at, placement by placement.

The solver's tables of tails are on the safe side, so that a better plan may keep every limit where they see none. Here
the solver is given no path limit at all. What it finds is predicted: if the prediction keeps the limits, no plan is
better; if not, a no-good (no_goods.py) rules the placement out with all that misses for the same reason, and the solver
is asked again. What it finds is a bound at each step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Protocol

from planner.draft import Draft
from planner.formulation import Formulation
from planner.problem import Problem
from planner.proof.no_goods import NoGood, with_no_goods, without_limits
from planner.proof.reasons import Reasons
from planner.situation import Situation
from planner.solver import Choice, Solution, solve_problem
from planner.solver.evaluate import evaluate
from planner.solver.replicas import Together, replica_counts
from planner.solver.solution import relative_gap


class Search(Protocol):
    """How the solver is asked."""

    @property
    def left(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def strategy(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Settled:
    """The best draft known. `proven`: no placement that keeps its limits by prediction is better, or there is none.

    `bounding` is the Problem without path limits, in whose place it has the no-goods found.
    """

    best: Draft | None
    proven: bool
    bounding: Formulation


def settle(
    situation: Situation,
    base: Formulation,
    wanted: Mapping[str, float],
    best: Draft | None,
    clock: Search,
    rounds: int,
) -> Settled:
    """From the `best` draft that the tables allow to the best of all by prediction, or to a proof that there is none.

    Without a proof within the time left and `rounds`, `best` says what it said before, and a better one is called
    feasible. Raises KeyboardInterrupt on Ctrl-C.
    """
    first = best
    given = free = without_limits(base)
    bound: tuple[int, ...] = ()
    no_goods: list[NoGood] = []
    reasons = Reasons(situation, base, wanted)
    others = _Others(situation, base, free, wanted, clock)
    for _ in range(rounds):
        given = with_no_goods(free, no_goods)
        at_most = best.solution.objectives[0] if best else None
        solution = solve_problem(given.problem, clock.left, 0.0, clock.seed, strategy=clock.strategy, at_most=at_most)
        if solution.interrupted:
            raise KeyboardInterrupt
        nothing_better = best is not None and best.solution.objectives <= solution.objectives
        if solution.status == "infeasible" or (solution.status == "optimal" and nothing_better):
            return Settled(best and _proven(best, given), True, given)
        bound = solution.bounds or bound
        if solution.status != "optimal":
            break
        draft = Draft(situation, base, solution, {})
        missed = draft.missed(wanted)
        if not missed:
            return Settled(_proven(draft, given), True, given)
        found = reasons.no_goods(draft)
        if not found:
            best = others.better(draft.choice, best) or best
            if clock.left <= 0:  # nothing is known of the numbers of replicas that were not looked at
                break
            found = [reasons.exactly(draft.choice, missed)]
        no_goods += found
    return Settled(best if best is first else best and _unproven(best, bound, given), False, given)


@dataclass(frozen=True)
class _Others:
    """Placements that differ from one in replicas only."""

    situation: Situation
    base: Formulation
    free: Formulation
    wanted: Mapping[str, float]
    clock: Search

    def better(self, choice: Choice, best: Draft | None) -> Draft | None:
        """The best that keeps the limits with the options of `choice`, if it is better than `best`; of those looked at
        in the time left.
        """
        trials: list[tuple[tuple[int, ...], Choice]] = []
        for number, trial in enumerate(replica_choices(self.free.problem, choice)):
            if number == 0 and self._draft(trial, ()).missed(self.wanted):
                return None  # fewer replicas would not do either
            if self.clock.left <= 0:
                break
            found = evaluate(self.free.problem, trial)
            if found.holds() and (best is None or found.objectives < best.solution.objectives):
                trials.append((found.objectives, trial))
        for objectives, trial in sorted(trials, key=lambda each: (each[0], each[1].replicas)):
            draft = self._draft(trial, objectives)
            if not draft.missed(self.wanted):
                return draft
            if self.clock.left <= 0:
                break
        return None

    def _draft(self, choice: Choice, objectives: tuple[int, ...]) -> Draft:
        return Draft(self.situation, self.base, Solution("feasible", choice, objectives), {})


def replica_choices(problem: Problem, choice: Choice) -> Iterator[Choice]:
    """`choice` with every number of replicas that the tables have, the most of all stations first."""
    loads: dict[int, int] = {}
    for s, of in zip(choice.scenarios, choice.options, strict=True):
        for i, picked in enumerate(of):
            for o in picked:
                option = problem.scenarios[s].steps[i].options[o]
                loads[option.station] = loads.get(option.station, 0) + option.load_ppb
    stations: list[Together] = []
    counts: list[list[int]] = []
    for together, all_of in replica_counts(problem, choice.replicas):
        levels = problem.stations[together[0]].levels
        enough = {level.replicas for level in levels if level.load_ppb >= loads[together[0]]}
        stations.append(together)
        counts.append([n for n in reversed(all_of) if not levels or n in enough])
    for picked in product(*counts):
        number = {k: n for together, n in zip(stations, picked, strict=True) for k in together}
        replicas = tuple(number.get(k, 0) for k in range(len(problem.stations)))
        yield Choice(choice.scenarios, choice.options, choice.members, replicas)


def _proven(draft: Draft, bounding: Formulation) -> Draft:
    """`draft`, called optimal."""
    values = draft.solution.objectives
    return draft.claiming(replace(draft.solution, status="optimal", bounds=values, gap=0.0), bounding)


def _unproven(draft: Draft, bound: tuple[int, ...], bounding: Formulation) -> Draft:
    """`draft`, called feasible, with the bound that is known of the first objective."""
    values = draft.solution.objectives
    known = (min(values[0], bound[0]) if bound else 0, *[0] * (len(values) - 1))
    return draft.claiming(
        replace(draft.solution, status="feasible", bounds=known, gap=relative_gap(values, known)), bounding
    )
